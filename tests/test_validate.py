"""All errors of an experiment are in one report, before anything is written."""

import json
import math

import pytest

from kimina_jax import evaluate, sft, train
from kimina_jax.configs import debug
from kimina_jax.infra import config_file
from kimina_jax.pipeline.dry_run import describe
from kimina_jax.pipeline.experiment import Experiment
from kimina_jax.pipeline.validate import validate
from kimina_jax.types import UsageError


def experiment(**overrides) -> Experiment:
  config = debug.get_config()
  small = {"problems__num_train": 32, "problems__num_eval": 4}
  config.update_from_flattened_dict(
    {key.replace("__", "."): v for key, v in (small | overrides).items()}
  )
  return Experiment.from_config(config)


def faults(program="train", run_dir=None, **overrides) -> str:
  with pytest.raises(UsageError) as caught:
    validate(experiment(**overrides), program=program, run_dir=run_dir)
  return str(caught.value)


def test_a_valid_experiment_leaves_no_trace(tmp_path):
  run_dir = tmp_path / "run"
  setup = validate(experiment(), program="train", run_dir=str(run_dir))
  assert (len(setup.train_problems), len(setup.eval_problems)) == (32, 4)
  assert setup.mesh.size == 8
  assert setup.tokenizer.vocab_size <= setup.model.vocab_size
  assert not run_dir.exists()


@pytest.mark.parametrize("name", ["common", "debug"])
def test_what_runs_anywhere_is_valid_as_it_stands(name):
  config = config_file.load_config(name)
  validate(Experiment.from_config(config), program="train")


@pytest.mark.parametrize(
  ("program", "num_train", "num_eval"),
  [("sft", 0, 0), ("evaluate", 0, 4), ("prove", 0, 0)],
)
def test_a_program_loads_the_problems_that_it_reads(
  program, num_train, num_eval
):
  setup = validate(experiment(), program=program)
  sizes = len(setup.train_problems), len(setup.eval_problems)
  assert sizes == (num_train, num_eval)


@pytest.mark.parametrize(
  ("overrides", "text"),
  [
    ({"train__sequence_len": 128}, "max_response_len = 160 tokens do not fit"),
    ({"rollouts__max_response_len": 4000}, "was trained for 2048 positions"),
    ({"train__num_minibatches": 7}, "128 samples do not split into"),
    ({"train__num_per_problem": 1}, "every advantage is 0; choose at least 2"),
    ({"train__rows_per_batch": 3}, "3 rows of a batch over data × fsdp = 8"),
    ({"rollouts__num_slots": 12}, "choose a multiple of 8"),
    ({"rollouts__tensor": 3}, "rollouts.tensor = 3"),
    ({"rollouts__tensor": 8}, "kv heads"),
    ({"rollouts__cache_tokens": 64}, "the longest rollout needs"),
    ({"rollouts__num_slots": 80_000_000}, "GiB"),
    ({"mesh__data": 3}, "there are 8"),
    ({"tokenizer": "nowhere.model"}, "nowhere.model"),
    ({"init_from": "nowhere"}, "nowhere"),
    ({"problems__train": "nowhere.jsonl"}, "nowhere.jsonl"),
    ({"problems__eval": "nowhere.jsonl"}, "nowhere.jsonl"),
    ({"problems__num_eval": 10**9}, "lower the count"),
    ({"rollouts__max_prompt_len": 8}, "all 32 problems were filtered out"),
    (
      {"checker__backend": "repl", "checker__command": "/no/such/repl"},
      "/no/such/repl",
    ),
  ],
)
def test_one_line_for_what_does_not_fit(overrides, text):
  message = faults(**overrides)
  assert text in message
  assert "\n" not in message or "faults in this experiment" in message


def test_a_remote_run_directory_is_refused(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  experiment = Experiment.from_config(debug.get_config())
  with pytest.raises(UsageError, match="gs://b/x: remote paths"):
    validate(experiment, program="train", run_dir="gs://b/x")
  assert not list(tmp_path.iterdir())


def test_all_faults_are_reported_together():
  message = faults(
    train__sequence_len=128,
    train__num_minibatches=7,
    rollouts__num_slots=12,
    problems__eval="nowhere.jsonl",
    run_dir="",
  )
  first, *lines = message.splitlines()
  assert first == "5 faults in this experiment:"
  for text in ("128", "minibatches = 7", "num_slots", "nowhere", "--run_dir"):
    assert sum(text in line for line in lines) >= 1, text


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("optimizer.learning_rate", math.nan),
    ("optimizer.learning_rate", math.inf),
    ("optimizer.clip_norm", math.nan),
    ("sft.learning_rate", math.nan),
    ("train.canary_share", 5.0),
    ("train.num_problems", 0),
    ("loss.tau", -1.0),
    ("rollouts.top_p", 1.5),
    ("eval.ks", (1, 9)),
    ("eval.ks", ()),
    ("sft.sources", ()),
    ("sft.sources", ("arithmetic", 1.0)),
    ("sft.sources", (("arithmetic", 0.0),)),
    ("seed", -1),
    ("seed", 2**31),
  ],
)
def test_a_section_checks_its_own_numbers(key, value):
  with pytest.raises(UsageError, match=key) as caught:
    experiment(**{key.replace(".", "__"): value})
  assert "\n" not in str(caught.value)


def test_faults_of_all_sections_are_reported_together():
  with pytest.raises(UsageError) as caught:
    experiment(
      optimizer__learning_rate=math.nan,
      train__canary_share=5.0,
      eval__ks=(9,),
    )
  lines = str(caught.value).splitlines()
  assert lines[0] == "3 faults in this experiment:"
  assert len(lines) == 4


def test_a_changed_run_is_a_fault_among_others(tmp_path):
  config = debug.get_config().to_dict()
  saved = {"program": "train", **config, "seed": 3}
  (tmp_path / "config.json").write_text(json.dumps(saved))
  (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
  message = faults(run_dir=str(tmp_path), train__num_minibatches=7)
  assert "seed: 3 there, 0 now" in message
  assert "minibatches = 7" in message


def test_a_dry_run_says_what_would_run(tmp_path):
  run_dir = str(tmp_path / "run")
  setup = validate(experiment(), program="train", run_dir=run_dir)
  text = describe(setup, program="train", run_dir=run_dir)
  assert "debug, 7" in text or "parameters" in text
  assert "data=1 × fsdp=8 × context=1 × tensor=1 on 8 devices" in text
  assert "32 to train on, 4 held out" in text
  assert "16 problems × 8 = 128 rollouts" in text
  assert "at most 12,288 tokens" in text
  assert "4 updates" in text
  assert "minilean" in text
  assert f"{run_dir}, begins" in text
  assert not (tmp_path / "run").exists()


def test_a_dry_run_says_where_a_run_goes_on_and_what_differs(tmp_path):
  config = debug.get_config()
  config.problems.num_train, config.problems.num_eval = 32, 4
  saved = {"program": "train", **config.to_dict()}
  (tmp_path / "config.json").write_text(json.dumps(saved))
  (tmp_path / "checkpoints" / "3").mkdir(parents=True)
  setup = validate(experiment(rollouts__num_slots=32), program="train")
  text = describe(setup, program="train", run_dir=str(tmp_path))
  assert "resumes after 3 iterations" in text
  assert "rollouts.num_slots: 64 there, 32 now" in text


@pytest.mark.parametrize("name", ["train", "sft", "evaluate"])
def test_a_dry_run_makes_no_directory(name, tmp_path, capsys):
  config = debug.get_config()
  config.problems.num_train, config.problems.num_eval = 32, 4
  config.sft.num_examples = 40
  run_dir = str(tmp_path / "run")
  if name == "evaluate":
    with pytest.raises(UsageError, match="--checkpoint is missing"):
      evaluate.evaluate(config, "", run_dir, dry_run=True)
    return
  program = {"train": train.train, "sft": sft.run_sft}[name]
  program(config, run_dir, dry_run=True)
  output = capsys.readouterr().out
  assert f"{name}: the experiment is valid" in output
  assert ("40 per epoch" in output) == (name == "sft")
  assert not (tmp_path / "run").exists()
