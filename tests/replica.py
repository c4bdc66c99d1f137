"""One of the processes of tests/test_replica.py: they form one replica.

  python tests/replica.py PORT NUM_PROCESSES PROCESS_ID [STOP_AFTER]

Prints its rollouts as JSON; with STOP_AFTER, process 1 is asked to stop after
so many looks, and each prints how many rollouts it had by then.
"""

import dataclasses
import json
import sys

import jax
from tiny_sampler import (
  CONFIG,
  LetterTokenizer,
  draw_params,
  options,
  some_prompts,
)

from kimina_jax.infra import distributed, interruption
from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.rollouts.engine import Engine


def main(port: str, size: str, rank: str, stop_after: str = "0") -> None:
  """Both processes own one device, of a replica of two."""
  distributed.initialize(
    coordinator=f"localhost:{port}",
    num_processes=int(size),
    process_id=int(rank),
  )
  mesh = make_mesh(MeshSettings(data=1, fsdp=-1, context=1, tensor=1))
  # Few pages, so that sequences are preempted.
  settings = options(tensor=len(jax.devices()), cache_tokens=150)
  engine = Engine(CONFIG, LetterTokenizer(), mesh, settings)
  params = draw_params(engine.replicas)
  looks = 0

  def poll() -> None:
    nonlocal looks
    looks += 1
    if rank == "1" and 0 < int(stop_after) < looks:
      raise interruption.Interrupted("asked")

  found, stopped = [], ""
  try:
    rollouts = engine.generate(
      params, some_prompts(), num_per_prompt=3, seed=0, iteration=0, poll=poll
    )
    for rollout in rollouts:
      found.append(
        [rollout.index, rollout.tokens.tolist(), rollout.stop_reason]
      )
  except interruption.Interrupted as reason:
    stopped = str(reason)
  facts = {
    "found": found,
    "stopped": stopped,
    "preempted": rollouts.stats["preemptions"],
    "group": dataclasses.astuple(engine.process_group),
  }
  print(json.dumps(facts), flush=True)
  distributed.shutdown()


if __name__ == "__main__":
  main(*sys.argv[1:])
