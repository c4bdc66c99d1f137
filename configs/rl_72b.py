"""RL of a 72B prover, from a cold-started checkpoint.

  kimina train --config=rl_72b \
      --run_dir=runs/rl_72b --config.init_from=runs/sft_72b

Machine: 128 TPU v5p chips (4 × 4 × 8), fsdp 32 × tensor 4. Hours: not yet
run. The paper's 72B reaches pass@1 52.94 and pass@8192 80.74 on miniF2F-test.
Needs Lean and Mathlib (`checker.command`, `checker.lean_path`) and a JSONL
file of statements (`problems.train`).
"""

from ml_collections import ConfigDict

from kimina_jax.configs import common


def get_config(arg: str = "") -> ConfigDict:
  """Qwen2.5-72B, real Lean, the paper's 32K context."""
  config = common.get_config(arg)
  config.model.name = "qwen2.5-72b"
  config.tokenizer = "checkpoints/qwen2.5-72b/model"
  config.init_from = "checkpoints/qwen2.5-72b"
  config.mesh.tensor = 4
  config.problems.train = "data/train.jsonl"
  config.problems.eval = "data/minif2f.jsonl"
  config.problems.eval_split = "valid"
  common.use_lean(config, num_workers=160)
  config.rollouts.max_prompt_len = 2048
  config.rollouts.max_response_len = 30720
  config.rollouts.tensor = 4
  config.rollouts.num_slots = 512
  config.rollouts.page_size = 128
  config.train.sequence_len = 32768
  config.train.rows_per_batch = 32
  return config
