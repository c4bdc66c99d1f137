"""The KV cache of the slots: its few sizes, and how a prefill is shared.

In: lengths, and the keys and values of a prefill. Out: sizes and caches. A
slot owns one dense stretch, as long as the longest prompt and response
together. Never decides which row gets which slot.
"""

import jax
import jax.numpy as jnp

from kimina_jax.model.transformer import KVCache

_MIN_BUCKET = 64


def cache_len(max_prompt_len: int, max_response_len: int) -> int:
  """S, the positions of a slot."""
  return round_up(max_prompt_len + max_response_len, _MIN_BUCKET)


def bucket(length: int, limit: int) -> int:
  """The smallest power of two, at least 64, that holds length; or limit.

  Shapes come from these few, so that few programs are compiled.
  """
  size = _MIN_BUCKET
  while size < length:
    size *= 2
  return min(size, limit)


def round_up(length: int, multiple: int) -> int:
  """The smallest multiple that holds length."""
  return -(-length // multiple) * multiple


def share(cache: KVCache, prefilled: KVCache, source_B: jax.Array) -> KVCache:
  """Copies rows of a prefill to the front of slots, in place under donation.

  Args:
    cache: of the B slots, S positions.
    prefilled: of P prompts, T <= S positions.
    source_B: int32 [B], which prompt a slot gets; -1 leaves it as it is.
  """

  # A choice for every slot and not a scatter: each device fills its own slots
  # without asking the others.
  def fill(old_LBSKH: jax.Array, new_LPTKH: jax.Array) -> jax.Array:
    new_LBTKH = new_LPTKH[:, jnp.maximum(source_B, 0)]
    front_LBTKH = jnp.where(
      (source_B >= 0)[None, :, None, None, None],
      new_LBTKH,
      old_LBSKH[:, :, : new_LPTKH.shape[2]],
    )
    return jax.lax.dynamic_update_slice(old_LBSKH, front_LBTKH, (0,) * 5)

  return jax.tree.map(fill, cache, prefilled)
