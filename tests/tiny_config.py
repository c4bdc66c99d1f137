"""The experiment of tests that start whole programs: seconds, not minutes."""

from ml_collections import ConfigDict

from kimina_jax.configs import debug
from kimina_jax.model.config import SIZES

SIZES["tiny"] = SIZES["debug"] | {
  "model_dim": 32,
  "num_layers": 1,
  "head_dim": 8,
  "ffn_dim": 64,
}


def get_config(arg: str = "") -> ConfigDict:
  """A tiny model; four problems of four rollouts in each of four iterations."""
  config = debug.get_config(arg)
  config.model.name = "tiny"
  config.problems.num_train = 32
  config.problems.num_eval = 4
  config.rollouts.max_response_len = 48
  config.rollouts.num_slots = 8
  config.checker.num_workers = 1
  # After so few updates nothing is proved: only lengths give a signal.
  config.advantage.length_penalty = True
  config.train.num_iterations = 4
  config.train.num_problems = 4
  config.train.num_per_problem = 4
  config.train.num_minibatches = 2
  config.train.sequence_len = 256
  config.train.rows_per_batch = 4
  config.eval.every = 2
  config.eval.num_samples = 1
  config.eval.ks = (1,)
  config.checkpoint.every = 1
  config.sft.num_examples = 48
  config.sft.num_epochs = 4
  config.sft.rows_per_batch = 4
  config.sft.save_every = 2
  config.sft.log_every = 1
  return config
