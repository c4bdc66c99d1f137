"""The embedded default: a tiny prover on generated arithmetic.

  ./launch/demo.sh

Machine: 2 CPU cores, no accelerator, no Lean, no download.
"""

from ml_collections import ConfigDict

from kimina_jax.configs import common


def get_config(arg: str = "") -> ConfigDict:
  """Tiny model, embedded tokenizer, problems and checker."""
  config = common.get_config(arg)
  config.model.compute_dtype = "float32"
  config.model.remat = "none"
  config.problems.decontaminate_ngram = 0  # splits are disjoint as they are
  config.problems.num_train = 1200
  config.problems.num_eval = 100
  config.rollouts.max_prompt_len = 64
  config.rollouts.max_response_len = 96
  config.rollouts.num_slots = 64
  config.optimizer.learning_rate = 1.5e-4
  config.optimizer.reset = False  # few and small minibatches: less noise
  config.train.num_iterations = 60
  config.train.num_problems = 16
  config.train.num_per_problem = 8
  config.train.num_minibatches = 4
  config.train.sequence_len = 256
  config.train.rows_per_batch = 16
  config.sft.num_examples = 12_000
  config.sft.num_epochs = 1
  config.sft.sequence_len = 256
  config.sft.rows_per_batch = 8
  config.sft.learning_rate = 3e-3
  config.sft.skill = 0.3
  config.eval.num_samples = 4
  config.eval.ks = (1, 4)
  return config
