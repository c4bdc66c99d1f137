"""What backward computes again, and what it finds saved, by name.

In: the body of a layer. Out: the same body under a policy. The names are those
that layers and attention give their tensors; no policy changes a value.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_policies

# The stream that enters a layer.
INPUT = "layer_input"
# Rotated queries and keys, and values.
QUERY, KEY, VALUE = "query", "key", "value"
# What attention gives, and what its kernel's backward wants of its forward.
ATTENTION = "attention"
# The two halves of the gated feed-forward.
GATE, UP = "gate", "up"

_SAVED = {
  "full": (),
  "save_attention": (ATTENTION,),
  "save_projections": (QUERY, KEY, VALUE, ATTENTION, GATE, UP),
}


def remat(body: Callable[..., Any], name: str) -> Callable[..., Any]:
  """The body of a scan over layers, with what backward may keep of it.

  Args:
    body: of one layer.
    name: of `model.config.REMATS`:
      none: whatever backward needs is saved.
      full: only what enters a layer is saved.
      save_attention: and what attention gives: its kernel runs once.
      save_projections: and what every matmul gives: backward repeats none.
      offload: as full, with what enters a layer in the host's memory.
  """
  if name == "none":
    return body
  if name == "offload":
    policy = checkpoint_policies.save_and_offload_only_these_names(
      names_which_can_be_saved=[],
      names_which_can_be_offloaded=[INPUT],
      offload_src="device",
      offload_dst="pinned_host",
    )
  else:
    policy = checkpoint_policies.save_only_these_names(*_SAVED[name])
  # The scan keeps forward and backward apart.
  return jax.checkpoint(body, prevent_cse=False, policy=policy)
