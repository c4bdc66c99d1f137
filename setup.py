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
  "ml_dtypes>=0.5,<1",  # bfloat16 in NumPy arrays
  "transformers>=5.0,<6",  # Hugging Face tokenizers and configurations
  "sentencepiece>=0.2.1,<0.3",  # SentencePiece tokenizers
  "ml-collections>=1.1,<2",  # configurations
  "absl-py>=2.3,<3",  # logging, and the parsing of overrides
  "numpy>=2.0,<3",  # host arrays
  "rich>=14,<16",  # progress on the terminal
  "tensorboardX>=2.6.4,<3",  # TensorBoard files
  "psutil>=6,<8",  # processes and memory of checkers
  "urllib3>=2.2,<3",  # Kimina Lean Servers over HTTP
]

MINILEAN = [
  "lark>=1.2,<2",  # grammar of the embedded checker
  "z3-solver>=4.13,<6",  # arithmetic of the embedded checker
]

SCALE = [
  "jax[tpu]",  # the TPU's compiler, which needs no TPU
  "matplotlib>=3.9,<4",  # plots
]

WANDB = ["wandb>=0.19,<1"]  # Weights & Biases

EXTRAS = {
  "tpu": ["jax[tpu]"],
  "cuda": ["jax[cuda13]"],
  "minilean": MINILEAN,
  "scale": SCALE,
  "wandb": WANDB,
  "test": [
    *MINILEAN,
    *SCALE,
    *WANDB,
    "pytest>=8.4,<10",
    "pytest-xdist>=3.6,<4",  # both cores
    "hypothesis>=6.130,<7",  # properties
    "safetensors>=0.6,<0.9",  # weight files, as an oracle
    "scipy>=1.14,<2",  # statistics, as an oracle
    "ruff>=0.12,<1",  # style
    "mypy>=1.18,<3",  # types
    "types-psutil>=6,<8",  # types of psutil
    "setuptools>=77,<100",  # the files that are installed
    "torch==2.13.0",  # oracle for parity with transformers
  ],
}

setuptools.setup(
  name="kimina_jax",
  version="0.1.0",
  description="Reinforcement learning of Lean 4 provers on JAX",
  long_description=pathlib.Path(__file__).with_name("README.md").read_text(),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  license_files=["LICENSE"],
  classifiers=[
    "Development Status :: 4 - Beta",
    "Intended Audience :: Science/Research",
    "Operating System :: POSIX :: Linux",
    "Programming Language :: Python :: 3 :: Only",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
    "Typing :: Typed",
  ],
  keywords=["Lean", "theorem proving", "reinforcement learning", "JAX", "TPU"],
  python_requires=">=3.11",
  # kimina_jax/configs is a link to configs/, and so a package like the others.
  packages=setuptools.find_packages(include=["kimina_jax", "kimina_jax.*"]),
  package_data={
    "kimina_jax": ["py.typed", "**/*.lark", "**/*.model", "**/*.html"]
  },
  entry_points={"console_scripts": ["kimina = kimina_jax.__main__:main"]},
  install_requires=REQUIRES,
  extras_require=EXTRAS,
)
