"""The host record of a checkpoint, of this version and of older ones."""

import functools
import json

import numpy as np
import pytest

from kimina_jax.pipeline import partial_rollouts
from kimina_jax.pipeline.state import HOST_VERSION, upgrade_host
from kimina_jax.prompts.template import make_prompt
from kimina_jax.prompts.tokenizer import load_tokenizer
from kimina_jax.types import Status, UsageError

# One array each of two int32 and two float32, in base64.
TOKENS, LOGPS = "AQAAAAIAAAA=", "AAAAvwAAgL8="
ROLLOUT = {
  "row": 5,
  "text": "ab",
  "stop": "stop",
  "step": 3,
  "num_carried": 1,
  "tokens": TOKENS,
  "logps": LOGPS,
  "model_logps": LOGPS,
}
# As commit a669fd3 wrote it.
VERSION_0 = {
  "curriculum": {"last_step": 3, "records": {}},
  "carried": [
    {
      "problem": {
        "name": "t",
        "header": "import Mathlib\n\n",
        "statement": "theorem t : 1 < 2 := by",
        "informal": "",
        "split": "train",
        "source": "numeric",
      },
      "judged": [
        {
          "rollout": ROLLOUT,
          "verdict": {
            "status": "proved",
            "messages": [],
            "axioms": ["propext"],
            "detail": "",
            "notes": [],
            "confirmed": False,
            "queue_s": 0.0,
            "load_s": 0.0,
            "exec_s": 0.25,
          },
          "format_error": "",
          "reward": 1.0,
        }
      ],
      "begun": [{**ROLLOUT, "row": 4, "stop": "budget"}],
    }
  ],
  "num_updates": 12,
}


def test_partial_rollouts_of_version_0():
  host = upgrade_host(VERSION_0)
  assert host["version"] == HOST_VERSION
  assert host["num_updates"] == 12
  assert host["curriculum"] == VERSION_0["curriculum"]
  (group,) = partial_rollouts.from_json(
    host["partial_rollouts"],
    functools.partial(make_prompt, tokenizer=load_tokenizer("embedded")),
  )
  (sample,), (rollout,) = group.finished, group.unfinished
  assert sample.verdict.status is Status.PROVED
  for found, index in ((sample.rollout, 5), (rollout, 4)):
    assert (found.iteration, found.index) == (3, index)
    np.testing.assert_array_equal(found.tokens, [1, 2])
    np.testing.assert_array_equal(found.logps, np.float32([-0.5, -1.0]))
  assert not rollout.finished


def test_a_record_of_this_version_stays_as_it_is():
  host = upgrade_host(VERSION_0)
  assert upgrade_host(json.loads(json.dumps(host))) == host


def test_supervised_training_adds_nothing_to_the_record():
  assert upgrade_host({"num_updates": 3}) == {
    "num_updates": 3,
    "version": HOST_VERSION,
  }


def test_a_newer_version_is_refused():
  with pytest.raises(UsageError, match="version 7, .* reads up to version 1"):
    upgrade_host({"version": 7, "num_updates": 0})
