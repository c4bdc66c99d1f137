"""Rematerialization: which activations backward saves and which it recomputes.

In: the function of a layer. Out: the same function under a jax.checkpoint
policy, which names activations of layers, attention and transformer by the
constants below. No policy changes a value.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_policies

# The residual stream that enters a layer.
INPUT = "layer_input"
# Rotated queries and keys, and values.
QUERY, KEY, VALUE = "query", "key", "value"
# The output of attention, and the residuals of its kernel.
ATTENTION = "attention"
# The two projections of the gated feed-forward network.
GATE, UP = "gate", "up"

_SAVED: dict[str, tuple[str, ...]] = {
  "full": (),
  "save_attention": (ATTENTION,),
  "save_projections": (QUERY, KEY, VALUE, ATTENTION, GATE, UP),
}


def rematerialize(layer: Callable[..., Any], name: str) -> Callable[..., Any]:
  """The function of a layer, for a scan over layers, with a remat policy.

  Args:
    layer: function of one layer.
    name: the policy, one of `model.config.REMATS`:
      none: everything that backward needs is saved.
      full: only the input of each layer is saved.
      save_attention: also the output of attention, whose kernel runs once.
      save_projections: also the output of every matmul; none is recomputed.
      offload: as full, with the layers' inputs in the host's memory.
  """
  if name == "none":
    return layer
  if name == "offload":
    policy = checkpoint_policies.save_and_offload_only_these_names(
      names_which_can_be_saved=[],
      names_which_can_be_offloaded=[INPUT],
      offload_src="device",
      offload_dst="pinned_host",
    )
  else:
    policy = checkpoint_policies.save_only_these_names(*_SAVED[name])
  # The scan prevents that recomputation is merged with forward.
  return jax.checkpoint(layer, prevent_cse=False, policy=policy)
