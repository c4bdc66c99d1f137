"""kimina_jax: reinforcement learning of Lean 4 provers on JAX."""

import pathlib

import setuptools

# Each dependency has one purpose.
REQUIRES = [
  "jax>=0.10.2,<0.12",  # arrays, compilation, meshes
  "flax>=0.12.8,<0.13",  # modules of the model (NNX)
  "optax>=0.2.8,<0.3",  # optimizers and schedules
  "orbax-checkpoint>=0.12,<0.13",  # checkpoints
  "etils>=1.9,<2",  # paths, as Orbax takes them
  "tensorstore>=0.1.80,<0.2",  # storage under the checkpoints
  "transformers>=5.0,<6",  # Hugging Face tokenizers and configurations
  "sentencepiece>=0.2.1,<0.3",  # SentencePiece tokenizers
  "ml-collections>=1.1,<2",  # configurations
  "absl-py>=2.3,<3",  # flags and logging
  "numpy>=2.0,<3",  # host arrays
  "rich>=14,<16",  # progress on the terminal
  "psutil>=6,<8",  # processes and memory of the checker
  "urllib3>=2.2,<3",  # HTTP to Kimina Lean Servers
  "tensorboardX>=2.6.4,<3",  # TensorBoard files
  "lark>=1.2,<2",  # grammar of the embedded checker
  "z3-solver>=4.13,<6",  # arithmetic of the embedded checker
]

SCALE = [
  "jax[tpu]",  # the TPU's compiler, which needs no TPU
  "matplotlib>=3.9,<4",  # plots
]

EXTRAS = {
  "tpu": ["jax[tpu]"],
  "cuda": ["jax[cuda13]"],
  "scale": SCALE,
  "test": [
    *SCALE,
    "pytest>=8.4,<10",
    "pytest-xdist>=3.6,<4",  # both cores
    "hypothesis>=6.130,<7",  # properties
    "safetensors>=0.6,<0.9",  # weight files, as an oracle
    "scipy>=1.14,<2",  # statistics, as an oracle
    "ruff>=0.12,<1",  # style
    "torch==2.13.0",  # oracle for parity with transformers
  ],
}

setuptools.setup(
  name="kimina_jax",
  version="0.1.0",
  description="Reinforcement learning of Lean 4 provers on JAX",
  long_description=pathlib.Path(__file__).with_name("README.md").read_text(),
  long_description_content_type="text/markdown",
  python_requires=">=3.11",
  packages=setuptools.find_packages(include=["kimina_jax", "kimina_jax.*"]),
  package_data={"kimina_jax": ["**/*.lark", "**/*.model", "**/*.html"]},
  install_requires=REQUIRES,
  extras_require=EXTRAS,
)
