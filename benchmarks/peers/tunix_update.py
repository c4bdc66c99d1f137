"""An update of Qwen2 in Tunix: its model, its trainer, its GRPO loss.

  python tunix_update.py DIRECTORY sft|grpo

benchmarks/update.py writes DIRECTORY: weights and batch.json.
"""

import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import serve
from tunix.models.qwen2 import model as qwen2
from tunix.models.qwen2 import params as qwen2_params
from tunix.rl import algo_core
from tunix.rl.grpo import grpo_learner
from tunix.sft import peft_trainer, utils


def main() -> None:
  directory, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
  batch = json.loads((directory / "batch.json").read_text())
  trainer = peft_trainer.PeftTrainer(
    _model(directory),
    optax.adamw(batch["learning_rate"], weight_decay=1e-4),
    peft_trainer.TrainingConfig(eval_every_n_steps=10**9, max_steps=10**6),
  )
  prepare = _prepare_sft if mode == "sft" else _prepare_grpo
  example = prepare(trainer, batch, np.int32(batch["tokens"]))
  train_step, _ = trainer.jit_train_and_eval_step(cache_nnx_graph=True)

  def step() -> float:
    return float(jax.block_until_ready(train_step(example))[0])

  serve.serve(step)


def _model(directory: pathlib.Path):
  hf = json.loads((directory / "config.json").read_text())
  config = qwen2.ModelConfig(
    num_layers=hf["num_hidden_layers"],
    vocab_size=hf["vocab_size"],
    embed_dim=hf["hidden_size"],
    hidden_dim=hf["intermediate_size"],
    num_heads=hf["num_attention_heads"],
    head_dim=hf["hidden_size"] // hf["num_attention_heads"],
    num_kv_heads=hf["num_key_value_heads"],
    rope_theta=hf["rope_theta"],
    norm_eps=hf["rms_norm_eps"],
    use_tied_embedding=True,
    dtype=jnp.float32,
    param_dtype=jnp.float32,
  )
  return qwen2_params.create_model_from_safe_tensors(
    str(directory), config, None
  )


def _prepare_sft(trainer, batch, tokens_BT):
  def inputs(x):
    return {
      "input_tokens": x.input_tokens,
      "input_mask": x.input_mask,
      "positions": utils.build_positions_from_mask(x.input_mask),
      "attention_mask": utils.make_causal_attn_mask(x.input_mask),
    }

  trainer.with_gen_model_input_fn(inputs)
  return peft_trainer.TrainingInput(
    input_tokens=jnp.asarray(tokens_BT),
    input_mask=jnp.ones(tokens_BT.shape, bool),
  )


def _prepare_grpo(trainer, batch, tokens_BT):
  num_rows, num_tokens = tokens_BT.shape
  num_prompt = batch["num_prompt"]["grpo"]
  shape = (num_rows, num_tokens - num_prompt)
  config = grpo_learner.GRPOConfig(
    num_generations=num_rows, beta=0.0, epsilon=batch["clip"]
  )
  config.temperature = 1.0

  def loss(model, train_example, algo_config):
    return algo_core.grpo_loss_fn(
      model, train_example, algo_config=config, pad_id=0, eos_id=-1
    )

  trainer.with_loss_fn(loss, has_aux=True)
  trainer.with_gen_model_input_fn(
    lambda x: {"train_example": x, "algo_config": config}
  )
  return grpo_learner.TrainExample(
    prompt_ids=jnp.asarray(tokens_BT[:, :num_prompt]),
    prompt_mask=jnp.ones((num_rows, num_prompt), bool),
    completion_ids=jnp.asarray(tokens_BT[:, num_prompt:]),
    completion_mask=jnp.ones(shape, jnp.int32),
    advantages=jnp.asarray(batch["advantages"], jnp.float32),
    ref_per_token_logps=None,
    old_per_token_logps=jnp.full(shape, batch["old_logp"], jnp.float32),
  )


if __name__ == "__main__":
  main()
