"""Resume policy: keys that may change, and configs of older versions."""

import dataclasses
import json
import pathlib

import pytest

from kimina_jax.configs import common, debug
from kimina_jax.pipeline.experiment import Experiment
from kimina_jax.pipeline.resume_policy import (
  MACHINE,
  RESULTS,
  changes_of_run,
  check_changes,
  compare,
  upgrade_config,
)
from kimina_jax.types import UsageError

OLD = pathlib.Path(__file__).parent / "data" / "config_a669fd3.json"


def flat(tree, prefix=""):
  found = {}
  for key, value in tree.items():
    if isinstance(value, dict):
      found |= flat(value, f"{prefix}{key}.")
    else:
      found[prefix + key] = value
  return found


def experiment(**overrides) -> Experiment:
  config = debug.get_config()
  config.update_from_flattened_dict(
    {key.replace("__", "."): value for key, value in overrides.items()}
  )
  return Experiment.from_config(config)


def as_json(experiment: Experiment, program: str) -> dict:
  return json.loads(
    json.dumps({"program": program, **dataclasses.asdict(experiment)})
  )


def begin(root, program="train", **overrides) -> None:
  """Leaves what a started run leaves in its directory."""
  root.mkdir(exist_ok=True)
  saved = as_json(experiment(**overrides), program)
  (root / "config.json").write_text(json.dumps(saved))
  (root / "metrics.jsonl").write_text('{"step": 0}\n')


def resume(root, program="train", **overrides) -> list[str]:
  """Keys that changed and may; raises UsageError if any may not."""
  found = changes_of_run(root, experiment(**overrides), program=program)
  check_changes(root, found)
  return [change.key for change in found]


def test_every_key_is_classified_once():
  keys = {
    f"{section}.{name}".removeprefix(".")
    for table in (MACHINE, RESULTS)
    for section, names in table.items()
    for name in names
  }
  number = sum(len(names) for t in (MACHINE, RESULTS) for names in t.values())
  assert number == len(keys)
  assert keys == flat(common.get_config().to_dict()).keys()


def test_the_same_again(tmp_path):
  begin(tmp_path)
  assert resume(tmp_path) == []


def test_longer_is_the_same_run(tmp_path):
  begin(tmp_path)
  assert resume(tmp_path, train__num_iterations=90) == ["train.num_iterations"]
  assert resume(tmp_path, eval__ks=(1,)) == ["eval.ks"]
  assert resume(tmp_path, eval__num_samples=8) == ["eval.num_samples"]


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("mesh.tensor", 2),
    ("rollouts.num_slots", 32),
    ("rollouts.page_size", 32),
    ("rollouts.cache_tokens", 4096),
    ("train.rows_per_batch", 4),
    ("checker.urls", ("http://lean-2:8000",)),
    ("checker.exec_timeout_s", 90.0),
    ("checker.verdict_cache", "verdicts.sqlite"),
    ("checker.num_standby", 4),
    ("checkpoint.every", 5),
    ("init_from", "moved/sft"),
    ("tokenizer", "moved/tokenizer"),
    ("sft.num_epochs", 7),  # another program's
  ],
)
def test_the_machine_may_change(tmp_path, key, value):
  begin(tmp_path)
  changed = resume(tmp_path, **{key.replace(".", "__"): value})
  assert changed == ([] if key.startswith("sft.") else [key])


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("seed", 1),
    ("train.num_problems", 4),
    ("rollouts.temperature", 0.5),
    ("rollouts.cache_dtype", "int8"),
    ("loss.tau", 0.1),
    ("checker.native_decide", True),
  ],
)
def test_what_changes_results_is_refused_and_named(tmp_path, key, value):
  begin(tmp_path)
  with pytest.raises(UsageError, match=rf"{key}: .* there, .* now") as caught:
    resume(tmp_path, **{key.replace(".", "__"): value})
  assert "\n" not in str(caught.value)
  assert "choose another --run_dir" in str(caught.value)


def test_a_directory_holds_one_program_s_run(tmp_path):
  begin(tmp_path)
  with pytest.raises(UsageError, match="program: 'train' there, 'sft' now"):
    resume(tmp_path, program="sft")


def test_an_evaluation_is_its_samples(tmp_path):
  """With another number of samples the rows there mean something else."""
  begin(tmp_path, "evaluate", eval__num_samples=8, eval__ks=(1,))
  again = {"eval__num_samples": 8, "eval__ks": (8,)}
  assert resume(tmp_path, "evaluate", **again) == ["eval.ks"]
  with pytest.raises(UsageError, match="eval.num_samples: 8 there, 4 now"):
    resume(tmp_path, "evaluate", eval__num_samples=4, eval__ks=(1,))
  # Parts are cut by the slots; the weights are those that are evaluated.
  for change in ({"rollouts__num_slots": 8}, {"init_from": "other"}):
    with pytest.raises(UsageError, match="there, .* now"):
      resume(tmp_path, "evaluate", eval__num_samples=8, **change)


def test_a_run_that_never_began_binds_to_nothing(tmp_path):
  begin(tmp_path, seed=7)
  (tmp_path / "metrics.jsonl").unlink()
  assert resume(tmp_path) == []


def test_a_torn_config_is_one_line(tmp_path):
  begin(tmp_path)
  (tmp_path / "config.json").write_text('{"seed": 0, "tra')
  with pytest.raises(UsageError, match="cannot be read"):
    resume(tmp_path)


def test_a_run_of_commit_a669fd3_goes_on():
  """Its config.json has loss.sft_kl, which exists no more."""
  old = json.loads(OLD.read_text())
  assert old["loss"]["sft_kl"] == 0.0
  now = as_json(
    experiment(init_from=old["init_from"], train__num_iterations=10), "train"
  )
  assert compare(old, now) == []


def test_old_keys_by_their_names_of_today():
  found = upgrade_config(json.loads(OLD.read_text()))
  assert found["checker.num_standby"] == 1
  assert found["checker.verdict_cache"] == ""
  assert found["program"] == "train"
  assert not {"checker.num_spares", "loss.sft_kl"} & found.keys()


def test_keys_that_did_not_exist_take_their_defaults():
  old = json.loads(OLD.read_text())
  del old["rollouts"]["min_p"], old["checker"]["num_spares"]
  same = experiment(init_from=old["init_from"], train__num_iterations=10)
  assert compare(old, as_json(same, "train")) == []
  other = experiment(
    init_from=old["init_from"],
    train__num_iterations=10,
    rollouts__min_p=0.1,
  )
  (change,) = compare(old, as_json(other, "train"))
  assert str(change) == "rollouts.min_p: 0.0 there, 0.1 now"
  assert not change.allowed


def test_keys_that_exist_no_more():
  old = json.loads(OLD.read_text())
  now = as_json(
    experiment(init_from=old["init_from"], train__num_iterations=10), "train"
  )
  old["loss"]["sft_kl"] = 0.5
  old["rollouts"]["forgotten"] = 1
  found = compare(old, now)
  assert [str(change) for change in found] == [
    "loss.sft_kl: 0.5 there, 'absent' now",
    "rollouts.forgotten: 1 there, 'absent' now",
  ]
  assert not any(change.allowed for change in found)
