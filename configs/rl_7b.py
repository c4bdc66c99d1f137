"""RL of a 7B prover, from a cold-started checkpoint.

  kimina train --config=rl_7b \
      --run_dir=runs/rl_7b --config.init_from=runs/sft_7b

Machine: 64 TPU v5e chips (8 × 8), fsdp 32 × tensor 2. Hours and pass@k: not
yet run. Needs Lean and Mathlib (`checker.command`, `checker.lean_path`) and a
JSONL file of statements (`problems.train`).
"""

from ml_collections import ConfigDict

from kimina_jax.configs import common


def get_config(arg: str = "") -> ConfigDict:
  """Qwen2.5-7B, real Lean, 16K responses."""
  config = common.get_config(arg)
  config.model.name = "qwen2.5-7b"
  config.tokenizer = "checkpoints/qwen2.5-7b/model"
  config.init_from = "checkpoints/qwen2.5-7b"
  config.mesh.tensor = 2
  config.problems.train = "data/train.jsonl"
  config.problems.eval = "data/minif2f.jsonl"
  config.problems.eval_split = "valid"
  common.use_lean(config, num_workers=80)
  config.rollouts.max_prompt_len = 2048
  config.rollouts.max_response_len = 16384
  config.rollouts.tensor = 4
  config.rollouts.num_slots = 256
  config.rollouts.page_size = 128
  config.train.sequence_len = 18432
  config.train.rows_per_batch = 32
  return config
