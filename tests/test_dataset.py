"""Statement files: every spelling gives the same problem, or a clear error."""

import json

import pytest

from kimina_jax.problems import dataset
from kimina_jax.types import Problem, UsageError

_HEADER = "import Mathlib\nimport Aesop\n\nopen Real Nat\n\n"
_THEOREM = "theorem aime_1983_p1 (x : ℝ)\n    (h₀ : x = 1) : x + 1 = 2 := by"
_INFORMAL = "Show that $x+1=2$."
_SAME = Problem("aime_1983_p1", _HEADER, _THEOREM, _INFORMAL, "train", "aime")


def _write(path, records):
  text = "\n".join(json.dumps(record) for record in records) + "\n"
  path.write_text(text, encoding="utf-8")
  return path


@pytest.mark.parametrize(
  "record",
  [
    {  # DeepSeek-Prover
      "name": "aime_1983_p1",
      "split": "train",
      "header": _HEADER,
      "informal_prefix": f"/-- {_INFORMAL}-/\n",
      "formal_statement": _THEOREM + "\n",
    },
    {  # Kimina-Prover: imports in the statement
      "uuid": "aime_1983_p1",
      "natural_language": _INFORMAL,
      "statement": f"{_HEADER}{_THEOREM}  sorry\n",
    },
    {  # Kimina-Prover: docstring in the statement
      "name": "aime_1983_p1",
      "statement": f"{_HEADER}/-- {_INFORMAL} -/\n{_THEOREM}",
    },
    {  # Goedel-Prover: all in one
      "problem_id": "aime_1983_p1",
      "informal_statement": _INFORMAL,
      "lean4_code": f"{_HEADER}{_THEOREM}\n  sorry",
    },
    {  # Goedel-Prover: statement with `:= by sorry`, its header apart
      "problem_id": "aime_1983_p1",
      "header": _HEADER,
      "informal_prefix": f"/-- {_INFORMAL} -/",
      "formal_statement": _THEOREM + " sorry",
      "lean4_code": "not this",
    },
    {  # a term instead of a proof
      "name": "aime_1983_p1",
      "informal": _INFORMAL,
      "statement": _HEADER + _THEOREM.removesuffix(" by") + " sorry",
    },
  ],
)
def test_spellings_become_the_same_problem(tmp_path, record):
  path = _write(tmp_path / "problems.jsonl", [record])
  assert dataset.load_statements(path) == [_SAME]


def test_definitions_before_the_last_theorem_are_its_header(tmp_path):
  before = "import Mathlib\n\ndef a : ℕ := 2\nlemma b : a = 2 := rfl\n\n"
  record = {"name": "c", "statement": before + "theorem c : a < 3 := by"}
  (problem,) = dataset.load_statements(_write(tmp_path / "p.jsonl", [record]))
  assert problem.header == before
  assert problem.statement == "theorem c : a < 3 := by"


def test_splits(tmp_path):
  record = {"header": "import Mathlib", "formal_statement": "theorem t := by"}
  path = _write(
    tmp_path / "p.jsonl",
    [record | {"name": "a", "split": "valid"}, record | {"name": "b"}],
  )
  assert [p.name for p in dataset.load_statements(path)] == ["a", "b"]
  assert [p.name for p in dataset.load_statements(path, split="valid")] == [
    "a",
    "b",
  ]
  assert [p.name for p in dataset.load_statements(path, split="test")] == ["b"]
  only_valid = _write(
    tmp_path / "v.jsonl", [record | {"name": "a", "split": "valid"}]
  )
  with pytest.raises(UsageError, match="'test'; its splits: valid"):
    dataset.load_statements(only_valid, split="test")


_GOOD = {"name": "a", "header": "import M", "statement": "theorem a : 1 := by"}


@pytest.mark.parametrize(
  ("record", "complaint"),
  [
    ({k: v for k, v in _GOOD.items() if k != "name"}, "missing field name"),
    (
      {k: v for k, v in _GOOD.items() if k != "statement"},
      "missing field formal_statement or statement",
    ),
    (
      {k: v for k, v in _GOOD.items() if k != "header"} | {"name": "b"},
      "missing field header",
    ),
    (
      _GOOD | {"name": "b", "statement": "theorem b : 1"},
      "must end in `:= by`",
    ),
    (_GOOD | {"name": "b", "statement": "#eval 1"}, "no theorem"),
    (
      _GOOD | {"name": "b", "statement": "  theorem b : 1 = 1 := by"},
      "no theorem in the statement .* without spaces, attributes",
    ),
    (
      _GOOD | {"name": "b", "statement": "@[simp] theorem b : 1 = 1 := by"},
      "no theorem in the statement .* without spaces, attributes",
    ),
    (_GOOD, r"name 'a' was given to .*p\.jsonl:1 already"),
    ([1], "a JSON object is needed"),
  ],
)
def test_errors_name_file_and_line(tmp_path, record, complaint):
  path = _write(tmp_path / "p.jsonl", [_GOOD, record])
  with pytest.raises(UsageError, match=rf"p\.jsonl:2: .*{complaint}"):
    dataset.load_statements(path)


def test_broken_json_and_missing_files(tmp_path):
  (tmp_path / "p.jsonl").write_text('{"name": "a"\n')
  with pytest.raises(UsageError, match=r"p\.jsonl:1: not JSON"):
    dataset.load_statements(tmp_path / "p.jsonl")
  with pytest.raises(UsageError, match="nowhere"):
    dataset.load_statements(tmp_path / "nowhere.jsonl")


def test_names_may_be_integers(tmp_path):
  record = {k: v for k, v in _GOOD.items() if k != "name"}
  path = _write(tmp_path / "p.jsonl", [record | {"problem_id": 12}])
  assert [p.name for p in dataset.load_statements(path)] == ["12"]
  path = _write(tmp_path / "p.jsonl", [record | {"problem_id": True}])
  with pytest.raises(UsageError, match=r"p\.jsonl:1: missing field name"):
    dataset.load_statements(path)


def test_a_byte_order_mark_and_returns_are_no_text(tmp_path):
  path = tmp_path / "p.jsonl"
  text = f"{json.dumps(_GOOD)}\r\n\r\n{json.dumps(_GOOD | {'name': 'b'})}\r\n"
  path.write_bytes(text.encode("utf-8-sig"))
  assert [p.name for p in dataset.load_statements(path)] == ["a", "b"]


def test_other_encodings_are_refused_in_one_line(tmp_path):
  path = tmp_path / "p.jsonl"
  path.write_text(json.dumps(_GOOD) + "\n", encoding="utf-16")
  with pytest.raises(UsageError, match=r"p\.jsonl:1: not UTF-8 text .* save"):
    dataset.load_statements(path)
  path.write_bytes(f"{json.dumps(_GOOD)}\n".encode() + b'{"name": "\xe9"}\n')
  with pytest.raises(
    UsageError, match=r"p\.jsonl:2: not UTF-8 text .* byte 10"
  ):
    dataset.load_statements(path)


def test_minif2f_loads_as_it_is(data_dir):
  path = data_dir / "minif2f" / "minif2f.jsonl"
  problems = dataset.load_statements(path)
  records = [json.loads(line) for line in path.read_text().splitlines()]
  assert len(problems) == 488
  assert len(dataset.load_statements(path, split="valid")) == 244
  assert len(dataset.load_statements(path, split="test")) == 244
  for problem, record in zip(problems, records, strict=True):
    assert problem.name == record["name"]
    assert problem.header == record["header"]
    assert problem.statement == record["formal_statement"].rstrip()
    assert problem.informal in record["informal_prefix"]
    assert not problem.informal.startswith(("/--", " "))
    assert not problem.informal.endswith("-/")
  sources = {p.source for p in problems}
  assert sources == {
    "mathd_algebra",
    "mathd_numbertheory",
    "amc",
    "aime",
    "imo",
    "induction",
    "algebra",
    "numbertheory",
  }


def _problem(statement, informal=""):
  return Problem("n", "", f"theorem n {statement} := by", informal)


def test_decontamination_compares_word_ngrams():
  held_out = [_problem("(x : ℝ) (h : 2 * x + 3 = 7) : x = 2", "Alpha beta.")]
  kept = [
    _problem("(x : ℝ) (h : 2 * x + 3 = 9) : x = 3", "Beta alpha."),
    _problem("(x : ℝ) : x = 2"),
  ]
  leaked = [
    # The same with another name, more text around it, other spacing.
    _problem("(y : ℕ) (x : ℝ) (h : 2*x + 3 = 7) (i : y = 0) : x = 2"),
    _problem(": True", "Known: ALPHA, beta!"),
  ]
  train = [leaked[0], kept[0], leaked[1], kept[1]]
  # Words of the held-out statement: x ℝ h 2 x 3 7.
  assert dataset.remove_contaminated(train, held_out, ngram=7) == [
    kept[0],
    leaked[1],
    kept[1],
  ]
  assert dataset.remove_contaminated(train, held_out, ngram=2) == []
  assert dataset.remove_contaminated(train, held_out, ngram=0) == train


def test_short_texts_are_compared_as_a_whole():
  held_out = [_problem(": 3 + 4 = 7", "Sum them.")]
  same = _problem(": 3 + 4 = 7")
  longer = _problem(": 3 + 4 = 7 ∧ 1 < 2")
  informal = _problem(": True", "sum them")
  train = [same, longer, informal]
  assert dataset.remove_contaminated(train, held_out, ngram=13) == [longer]
