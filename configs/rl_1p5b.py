"""RL of a 1.5B prover, from a cold-started checkpoint.

  kimina train --config=rl_1p5b \
      --run_dir=runs/rl_1p5b --config.init_from=runs/sft_1p5b

Machine: 16 TPU v5e chips (4 × 4), 96 host cores for Lean. Hours and pass@k:
not yet run. Needs Lean and Mathlib (`checker.command`, `checker.lean_path`)
and a JSONL file of statements (`problems.train`).
"""

from ml_collections import ConfigDict

from kimina_jax.configs import common


def get_config(arg: str = "") -> ConfigDict:
  """Qwen2.5-1.5B, real Lean, 8K responses."""
  config = common.get_config(arg)
  config.model.name = "qwen2.5-1.5b"
  config.tokenizer = "checkpoints/qwen2.5-1.5b/model"
  config.init_from = "checkpoints/qwen2.5-1.5b"
  config.problems.train = "data/train.jsonl"
  config.problems.eval = "data/minif2f.jsonl"
  config.problems.eval_split = "valid"
  common.use_lean(config, num_workers=80)
  config.rollouts.max_prompt_len = 2048
  config.rollouts.max_response_len = 8192
  config.rollouts.num_slots = 256
  config.train.sequence_len = 10240
  config.train.rows_per_batch = 16
  return config
