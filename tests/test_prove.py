"""One theorem from the command line: read, streamed, judged and shown."""

import io
import json
import os
import pathlib
import re
import runpy
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from absl import logging
from rich.console import Console

from kimina_jax.configs import common, debug
from kimina_jax.infra import cli
from kimina_jax.problems.arithmetic import HEADER
from kimina_jax.prompts.template import make_prompt
from kimina_jax.prompts.tokenizer import load_tokenizer
from kimina_jax.prove.run import configure
from kimina_jax.prove.statement import parse_theorem, read_source
from kimina_jax.prove.view import (
  ProofAttempt,
  ProveView,
  StreamingDetokenizer,
  to_record,
)
from kimina_jax.types import Rollout, Status, UsageError
from kimina_jax.verification.extract import extract
from kimina_jax.verification.pool import VerificationPool
from kimina_jax.verification.settings import CheckerSettings

ROOT = pathlib.Path(__file__).resolve().parent.parent
BARE = "theorem t (x : ℤ) (h : x + 2 = 5) : x = 3"
EASY = f"{BARE} := by"
HARD = "theorem hard : 2 + 2 = 4 ∧ 1 < 2 := by"


def response(statement, *tactics):
  theorem = "\n".join([statement, *(f"  {tactic}" for tactic in tactics)])
  return (
    f"<think>\nBoth ∀ and 日本.\n```tactics\n{theorem}\n```\n</think>\n"
    f"```lean4\n{HEADER}{theorem}\n```"
  )


PROOF = response(EASY, "omega")
NO_PROOF = response(HARD, "omega", "linarith")


@pytest.mark.parametrize(
  "ending",
  ["", " :=", " := by", " := sorry", " := by sorry", " := by\n  sorry\n"]
  + [" := by -- todo\n", "\n:=\nby", " -- easy"],
)
def test_a_statement_ends_in_one_way(ending):
  problem = parse_theorem(BARE + ending, header=None)
  assert (problem.name, problem.header) == ("t", HEADER)
  assert problem.statement == EASY


@pytest.mark.parametrize(
  ("before", "header", "expected"),
  [
    ("", "open Real", "open Real\n\n"),
    ("", "", ""),
    ("open Nat\n", None, "import Mathlib\n\nopen Nat\n\n"),
    ("import A\nopen Nat\n\n\n", None, "import A\nopen Nat\n\n"),
    ("-- import A\n", None, "import Mathlib\n\n-- import A\n\n"),
    ("open Nat\n\n", "import B\n", "import B\n\nopen Nat\n\n"),
    ("theorem s : True := trivial\n", "", "theorem s : True := trivial\n\n"),
  ],
)
def test_the_header_is_what_precedes_the_theorem(before, header, expected):
  problem = parse_theorem(before + EASY, header=header)
  assert problem.header == expected
  assert problem.statement == EASY


def test_the_docstring_is_the_problem_in_words():
  text = f"/-- not this -/\nopen Nat\n\n/-- Find\n  x. -/\n{EASY}"
  problem = parse_theorem(text, header=None)
  assert problem.informal == "Find\n  x."
  assert problem.header == "import Mathlib\n\n/-- not this -/\nopen Nat\n\n"
  assert parse_theorem(text, header=None, informal="x").informal == "x"


def test_other_forms_of_a_theorem():
  assert parse_theorem("lemma a.b : 1 < 2", header=None).name == "a.b"
  problem = parse_theorem("example (x : ℕ) : 0 ≤ x := by", header=None)
  assert problem.statement == f"theorem {problem.name} (x : ℕ) : 0 ≤ x := by"
  goal = "theorem t : let y := 2; y < 3 := by"
  assert parse_theorem(goal, header=None).statement == goal
  default = "theorem t (x : ℕ := 3) : x < 4"
  assert parse_theorem(default, header=None).statement == f"{default} := by"


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "there is no theorem"),
    ("2 + 2 = 4", "there is no theorem"),
    ("-- theorem t : 1 < 2", "there is no theorem"),
    ("theorem : 1 < 2 := by", "has no name"),
    ("theorem", "has no name"),
    ("theorem t := by", "no colon"),
    ("theorem t : := by", "states nothing"),
    ("theorem t : 1 < 2 by", "ends in 'by' without `:=`"),
    ("theorem t : 1 < 2 := by\n  norm_num", "has a proof, from 1:18"),
    ("theorem t : 1 < 2 := by\n  have : 1 < 2 := by sorry", "has a proof"),
    ("import Mathlib theorem t : 1 < 2", "'Mathlib' stands before 'theorem'"),
    ("@[simp] theorem t : 1 < 2", "']' stands before"),
    ("theorem t : 1 < 2\x00", "U\\+0000: .* at 1:17"),
    ("theorem t : 1 < 2 /- open", "comment that does not end"),
    ("theorem t : sorry ∧ True := by", "could be checked: .*sorry"),
    ("theorem t : (1 < 2 := by", "no proof of this theorem could be checked"),
    ("theorem t : #eval := by", "no proof of this theorem could be checked"),
  ],
)
def test_what_is_no_theorem_to_prove(text, message):
  with pytest.raises(UsageError, match=message) as caught:
    parse_theorem(text, header=None)
  assert "\n" not in str(caught.value)


def test_text_comes_from_a_file_or_is_given(tmp_path, monkeypatch):
  path = tmp_path / "my theorem.lean"
  path.write_text(EASY, "utf-8")
  assert read_source(str(path)) == read_source(EASY) == EASY
  stdin = io.TextIOWrapper(io.BytesIO(EASY.encode()), "ascii")
  monkeypatch.setattr(sys, "stdin", stdin)
  assert read_source("-") == EASY
  (tmp_path / "latin.lean").write_bytes(b"\xff")
  for name in ("latin.lean", "absent.lean", "True"):
    with pytest.raises(UsageError, match=f"cannot read .*{name}"):
      read_source(str(tmp_path / name))


def pieces(tokens, rng):
  """Tokens cut as dispatches might cut them."""
  cuts = np.sort(rng.integers(0, len(tokens) + 1, len(tokens) // 3))
  return np.split(tokens, cuts)


@pytest.mark.parametrize("seed", range(20))
def test_text_grows_to_the_whole(seed):
  """Any tokens, even such as are no UTF-8."""
  rng = np.random.default_rng(seed)
  tokenizer = load_tokenizer("embedded")
  tokens = rng.integers(0, tokenizer.vocab_size, 200).astype(np.int32)
  detokenizer = StreamingDetokenizer(tokenizer.decode)
  told = [detokenizer.add(piece) for piece in pieces(tokens, rng)]
  assert "".join(told) + detokenizer.finish() == tokenizer.decode(tokens)


@pytest.fixture(params=["embedded", "qwen2.5-tokenizer"])
def tokenizer(request):
  if request.param == "embedded":
    return load_tokenizer("embedded")
  return load_tokenizer(request.getfixturevalue("data_dir") / request.param)


def test_no_character_is_shown_before_it_is_whole(tokenizer):
  text = "∀ x : ℤ, 𝔸 ∧ 日本語\n  🙂 h₀ ⟨x, ⟩ é" + PROOF
  tokens = tokenizer.encode(text)
  detokenizer, told = StreamingDetokenizer(tokenizer.decode), ""
  for i in range(len(tokens)):
    told += detokenizer.add(tokens[i : i + 1])
    assert text.startswith(told)
    # What is held back is one character at most.
    whole = tokenizer.decode(tokens[: i + 1]).rstrip("\ufffd")
    assert told == whole
  assert told + detokenizer.finish() == text


@pytest.fixture(scope="module")
def pool():
  options = {**debug.get_config().checker, "num_workers": 1}
  with VerificationPool(CheckerSettings(**options)) as pool:
    yield pool


def attempted(pool, text, statement=EASY, stop="stop"):
  """A hand-written response, judged by the checker itself."""
  problem = parse_theorem(statement, header=None)
  tokenizer = load_tokenizer("embedded")
  tokens = tokenizer.encode(text)
  nothing = np.zeros(len(tokens), np.float32)
  prompt = make_prompt(problem, tokenizer)
  rollout = Rollout(prompt, 0, tokens, nothing, nothing, text, stop)
  extraction = extract(text)
  verdict = pool.submit(problem, extraction).result(timeout=60)
  return ProofAttempt(3, rollout, extraction.final, verdict)


def shown(attempt, *, terminal):
  file = io.StringIO()
  console = Console(
    file=file, force_terminal=terminal, width=72, highlight=False
  )
  with ProveView(console, checker="minilean") as view:
    view.begin_attempt(3, 8)
    for part in attempt.rollout.text.partition("</think>"):
      view.print_response(part)
    view.show_status("checking")
    view.end_attempt(attempt)
  return file.getvalue()


def test_a_proof_is_shown_as_proved(pool):
  attempt = attempted(pool, PROOF)
  assert attempt.verdict.status is Status.PROVED
  plain = shown(attempt, terminal=False)
  assert plain.startswith(f"attempt 3 of 8\n{PROOF}\n\nproved: attempt 3, ")
  assert "by minilean, not Lean, in " in plain
  assert "\naxioms: propext" in plain
  assert "\x1b" not in plain
  coloured = shown(attempt, terminal=True)
  assert "\x1b[1;32mproved\x1b[0m" in coloured
  assert "─" in coloured


def test_an_error_is_shown_at_its_place(pool):
  attempt = attempted(pool, NO_PROOF, HARD)
  assert attempt.verdict.status is Status.LEAN_ERROR
  plain = shown(attempt, terminal=False)
  (message,) = attempt.verdict.messages
  words = f"5:2: error: {message.text}\n    linarith\n    ^^^^^^^^\n"
  assert plain.endswith(words + "\n")
  assert "\x1b[1;31mlean_error\x1b[0m" in shown(attempt, terminal=True)


def test_what_was_refused_says_why(pool):
  cut = attempted(pool, "<think>\x1b[2Jlet us", stop="length")
  plain = shown(cut, terminal=False)
  assert "\nno </think>\n" in plain
  assert f"cut at max_response_len = {len(cut.rollout.tokens)} " in plain
  assert "\x1b" not in plain
  other = attempted(pool, response(HARD, "norm_num"))
  assert "no theorem t" in shown(other, terminal=False)


def test_the_last_line_outlives_the_spinner(pool):
  """The spinner clears its line, which must not be one of the response."""
  coloured = shown(attempted(pool, PROOF), terminal=True)
  assert re.search(r"```\x1b\[0m\n[^\n]*checking", coloured)


def test_json_holds_the_outcome(pool):
  attempt = attempted(pool, NO_PROOF, HARD)
  problem = parse_theorem(HARD, header=None)
  row = json.loads(
    json.dumps(to_record(problem, attempt, checker="minilean", seconds=1.23456))
  )
  assert row.pop("messages") == [
    {
      "severity": "error",
      "line": 5,
      "column": 2,
      "end_line": 5,
      "end_column": 10,
      "text": attempt.verdict.messages[0].text,
    }
  ]
  assert row == {
    "name": "hard",
    "header": HEADER,
    "statement": HARD,
    "proved": False,
    "attempts": 3,
    "seconds": 1.235,
    "checker": "minilean",
    "status": "lean_error",
    "detail": "",
    "axioms": [],
    "notes": [],
    "confirmed": False,
    "proof": f"{HEADER}{HARD}\n  omega\n  linarith",
  }


def fake_run(path, **changes):
  """A run directory as far as `configure` looks."""
  (path / "checkpoints" / "7" / "params").mkdir(parents=True)
  told = debug.get_config().to_dict()
  told["rollouts"] |= {"temperature": 0.5, "max_prompt_len": 99}
  told["mesh"]["data"] = 64
  told["checker"]["num_workers"] = 80
  (path / "config.json").write_text(json.dumps(told | changes))
  return path


def test_the_run_says_what_the_experiment_is(tmp_path):
  run = fake_run(tmp_path, seed=5)
  for checkpoint in (run, run / "checkpoints" / "7"):
    config = common.get_config()
    configure(config, str(checkpoint), is_named=False, overrides={"seed": 9})
    assert config.init_from == str(run / "checkpoints" / "7")
    assert config.tokenizer == str(run / "model")
    assert config.model.compute_dtype == "float32"
    assert (config.rollouts.temperature, config.seed) == (0.5, 9)
    assert config.rollouts.max_prompt_len == 99
    assert (config.mesh.data, config.checker.num_workers) == (1, 1)


def test_a_named_experiment_counts_more_than_the_run(tmp_path):
  config = debug.get_config()
  overrides = {"rollouts.top_p": 0.9}
  run = fake_run(tmp_path)
  configure(config, str(run), is_named=True, overrides=overrides)
  assert (config.rollouts.temperature, config.rollouts.top_p) == (1.0, 0.9)


def test_a_model_alone_does_not_say_what_it_is(tmp_path):
  (tmp_path / "params").mkdir()
  config = common.get_config()
  with pytest.raises(UsageError, match="--config.model.name"):
    configure(config, str(tmp_path), is_named=False, overrides={})
  overrides = {"model.name": "qwen2.5-7b"}
  configure(config, str(tmp_path), is_named=False, overrides=overrides)
  assert config.model.name == "qwen2.5-7b"
  assert config.tokenizer == str(tmp_path / "model")


@pytest.mark.parametrize("text", ["{", "[]", '{"model": {}}'])
def test_a_run_of_another_kind(tmp_path, text):
  (fake_run(tmp_path) / "config.json").write_text(text)
  with pytest.raises(UsageError, match="name it with --config"):
    configure(common.get_config(), str(tmp_path), is_named=False, overrides={})


def start(cache, program, *flags, **pipes):
  env = os.environ | {
    "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    "JAX_COMPILATION_CACHE_DIR": str(cache),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  return subprocess.Popen(
    [sys.executable, "-m", f"kimina_jax.{program}", *flags],
    cwd=ROOT,
    env=env,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    encoding="utf-8",
    **pipes,
  )


def finish(process, code, stdin=None):
  output, errors = process.communicate(stdin, timeout=300)
  assert process.returncode == code, output + errors
  return output, errors


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  """Directory of compiled programs: that of the environment, or a new one."""
  return os.environ.get("JAX_COMPILATION_CACHE_DIR") or (
    tmp_path_factory.mktemp("compiled")
  )


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory, cache):
  """A policy trained on two responses until it repeats them."""
  directory = tmp_path_factory.mktemp("trained_run")
  path = directory / "demonstrations.jsonl"
  rows = [
    {"header": HEADER, "statement": statement, "response": text}
    for statement, text in ((EASY, PROOF), (HARD, NO_PROOF))
  ]
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  flags = {
    "config.sft.sources": f"(({str(path)!r}, 1.0),)",
    "config.sft.num_examples": 128,
    "config.sft.rows_per_batch": 4,
    "config.sft.sequence_len": 192,
    "config.sft.save_every": 1000,
    "run_dir": directory / "sft",
  }
  words = [f"--{key}={value}" for key, value in flags.items()]
  finish(start(cache, "sft", "--config=configs/debug.py", *words), 0)
  return directory / "sft"


def test_a_theorem_is_proved(trained_run, cache, tmp_path):
  output = tmp_path / "proof.lean"
  flags = (
    f"--checkpoint={trained_run}",
    "--temperature=0",
    f"--output={output}",
  )
  out, _ = finish(start(cache, "prove", *flags, EASY), 0)
  final = extract(PROOF).final
  assert out.startswith(f"attempt 1 of 1\n{PROOF}\n\nproved: attempt 1, ")
  assert out.endswith(f"\n\n{final}\n")
  assert output.read_text() == final + "\n"
  # The header of a file, and the same as JSON.
  path = tmp_path / "theorem.lean"
  path.write_text(f"{HEADER}{BARE}")
  out, errors = finish(
    start(cache, "prove", str(path), "--json", *flags[:2]), 0
  )
  row = json.loads(out)
  assert (row["proved"], row["status"], row["attempts"]) == (True, "proved", 1)
  assert row["proof"] == final
  assert errors == ""


def test_a_theorem_is_not_proved(trained_run, cache, tmp_path):
  output = tmp_path / "proof.lean"
  flags = (f"--checkpoint={trained_run}", f"--output={output}", "--quiet", "-")
  process = start(
    cache, "prove", *flags, "--temperature=0", stdin=subprocess.PIPE
  )
  out, _ = finish(process, 2, stdin=HARD)
  assert out.startswith("lean_error: attempt 1, ")
  assert out.endswith("    linarith\n    ^^^^^^^^\n\n")
  assert not output.exists()


def responses(out):
  """The text of each attempt that was printed to its end."""
  out = re.sub(r": attempt .*", "", out)
  parts = [part.split("\n\n") for part in out.split("attempt ")[1:]]
  return [part[0].split("\n", 1)[1] for part in parts if len(part) > 1]


def test_attempts_of_an_example_and_ctrl_c(trained_run, cache):
  """An attempt does not depend on how many are allowed.

  False, so that all are made; hot, so that they differ.
  """
  flags = (f"--checkpoint={trained_run}", "example : 1 = 2", "--temperature=3")
  note = "an example has no name: it is called unnamed_example here\n"
  two, _ = finish(start(cache, "prove", *flags, "--attempts=2"), 2)
  assert two.startswith(note)
  process = start(cache, "prove", *flags, "--attempts=9999")
  lines = [process.stdout.readline()]
  while "attempt 4 of" not in lines[-1]:
    assert process.poll() is None, process.communicate()
    lines.append(process.stdout.readline())
  process.send_signal(signal.SIGINT)
  _, errors = finish(process, 143)
  assert lines[0] == note
  assert errors.startswith("stopped: SIGINT; ")
  assert errors.endswith("--seed=1 makes others\n")
  assert errors.count("\n") == 1
  three = responses("".join(lines))
  assert len(set(three)) == 3
  assert responses(two) == three[:2]


@pytest.fixture(scope="module")
def command():
  """The command's flags, and its function."""
  with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # it is imported again
    found = []
    patch.setattr(cli, "run", found.append)
    names = runpy.run_module("kimina_jax.prove", run_name="__main__")
  verbosity = logging.get_verbosity()  # `main` lowers it
  yield found[0], names["main"]
  logging.set_verbosity(verbosity)


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ([], "0 theorems given"),
    (["theorem", "t"], "2 theorems given"),
    (["2 + 2 = 4"], "there is no theorem"),
    ([EASY], "--checkpoint is missing"),
    ([EASY, "--checkpoint=no/such"], "no/such"),
    ([EASY, "--attempts=0"], "attempts"),
    ([EASY, "--output=no/such/file"], "--output=no/such/file"),
    ([EASY, "--config.sed=1"], "did you mean seed?"),
  ],
)
def test_mistakes_are_one_line(flags, message, command):
  flags_of_command, main = command
  with pytest.raises(UsageError) as caught:
    main(cli.parse(flags_of_command, flags))
  assert message in str(caught.value)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["theorem t : one < 2", "--checkpoint={run}"], "does not elaborate"),
    ([f"theorem t : {'0 + ' * 40}1 = 1", "--checkpoint={run}"], "116 tokens"),
  ],
)
def test_one_line_and_exit_code_1(flags, message, trained_run, cache):
  words = [word.replace("{run}", str(trained_run)) for word in flags]
  out, errors = finish(start(cache, "prove", *words), 1)
  assert message in errors
  assert errors.startswith("error: ")
  assert errors.count("\n") == 1
  assert out == ""
