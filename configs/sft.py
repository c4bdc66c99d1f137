"""Cold start (or distillation) of a Qwen2.5 policy by supervised training.

  kimina sft --config=sft --run_dir=runs/sft_1p5b

Machine: 16 TPU v5e chips (4 × 4). Hours: not yet run. For another size set
`model.name`, `tokenizer` and `init_from`; for distillation let `sft.sources`
name the rollouts.jsonl of a run, whose proved rollouts are imitated.
"""

from ml_collections import ConfigDict

from kimina_jax.configs import common


def get_config(arg: str = "") -> ConfigDict:
  """Qwen2.5-1.5B on about 20,000 demonstrations mixed with informal maths."""
  config = common.get_config(arg)
  config.model.name = "qwen2.5-1.5b"
  config.tokenizer = "checkpoints/qwen2.5-1.5b/model"
  config.init_from = "checkpoints/qwen2.5-1.5b"
  config.problems.eval = "data/minif2f.jsonl"
  config.rollouts.max_prompt_len = 2048
  config.rollouts.max_response_len = 30720
  config.sft.sources = (
    ("data/cold_start.jsonl", 0.8),
    ("data/informal.jsonl", 0.2),
  )
  config.sft.sequence_len = 16384
  config.sft.rows_per_batch = 16
  return config
