"""pass@k of a checkpoint on miniF2F-test.

  kimina evaluate --config=eval_minif2f \
      --checkpoint=runs/rl_7b --run_dir=runs/eval_7b

Machine: 8 TPU v5e chips, 96 host cores for Lean. Paper: the distilled 7B
reaches 52.5 (1), 63.1 (32), 70.8 (1024); the 72B 52.94 (1), 80.74 (8192).
Never train on this file's test split.
"""

from ml_collections import ConfigDict

from kimina_jax.configs import common


def get_config(arg: str = "") -> ConfigDict:
  """Qwen2.5-7B shapes, 32 samples of each of the 244 statements."""
  config = common.get_config(arg)
  config.model.name = "qwen2.5-7b"
  config.tokenizer = "checkpoints/qwen2.5-7b/model"
  config.problems.eval = "data/minif2f.jsonl"
  config.problems.eval_split = "test"
  common.use_lean(config, num_workers=80)
  config.mesh.tensor = 4
  config.rollouts.max_prompt_len = 2048
  config.rollouts.max_response_len = 30720
  config.rollouts.tensor = 4
  config.rollouts.num_slots = 16
  config.eval.num_samples = 32
  config.eval.ks = (1, 8, 32)
  return config
