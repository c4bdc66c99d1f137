"""The fuzz corpus gives no findings, and the oracles of fuzzing work."""

import corpus
import pytest
from acceptance import HEADER, INNOCENT, PROBLEM, RULES, STATEMENT, finding
from fuzz_acceptance import Mutator
from plain_reader import Unclear, read
from plain_syntax_rules import complaints

from kimina_jax.verification.acceptance.audit import Audit, prepare_audit

CORPUS = {r["name"]: r["text"] for r in corpus.load(corpus.FUZZ_CORPUS)}
PROOFS = [name for name in CORPUS if name.startswith("proof_")]


def test_corpus_is_small():
  records = corpus.load(corpus.FUZZ_CORPUS)
  assert corpus.pack(records) == corpus.FUZZ_CORPUS.read_text(encoding="utf-8")
  assert len(CORPUS) == len(records) <= 320
  assert sum(len(corpus.to_bytes(t)) for t in CORPUS.values()) <= 500_000


@pytest.mark.parametrize("name", CORPUS)
def test_corpus(name):
  assert finding(CORPUS[name]) == ""


@pytest.mark.parametrize("name", PROOFS)
def test_proofs_of_the_corpus_are_accepted(name):
  audit = prepare_audit(PROBLEM, CORPUS[name], RULES)
  assert isinstance(audit, Audit), audit
  assert complaints(audit.proof, STATEMENT) == []


def test_changed_proofs():
  """A few thousand steps of the fuzzer, which otherwise runs for hours."""
  texts = [CORPUS[name] for name in PROOFS]
  mutator = Mutator(texts, ["sorry", "axiom"], f"{HEADER}\n{STATEMENT}")
  accepted = 0
  for seed in range(2000):
    text = mutator.change(texts[seed % len(texts)], seed)
    assert finding(text) == "", (seed, text)
    accepted += isinstance(prepare_audit(PROBLEM, text, RULES), Audit)
  assert accepted > 100


WRONG = [
  ("axiom a : False\n", "word axiom"),
  ("  axiom a : False\n", "word axiom"),
  ("def a := 1.axiom b : False\n", "word axiom"),
  ("def a := λaxiom\n", "word axiom"),
  ('def a := "\\" -- "\n  sorry\n', "word sorry"),
  ("def a := 1 --/-\n  sorry --/\n", "word sorry"),
  ("def a := '\"'\n  sorry --\"\n", "word sorry"),
  ("#eval 1\n", "# outside"),
  ("def a := b.«IO».c\n", "part IO"),
  ("def a := «__ok_»\n", "prefix __ok_"),
  ('def a := s!"{b}"\n', "string that may hold code"),
  ("@[csimp] def a := 1\n", "attribute csimp"),
  ("set_option a.b true\n", "option a.b"),
  ("set_option maxHeartbeats 0\n", "option maxHeartbeats 0"),
  ("set_option maxRecDepth 0x1\n", "option maxRecDepth 0"),
  ("wish\n", "start wish"),
  ("def a := (b).end\n", "command end after ."),
  ("inductive A | end\n", "command end after |"),
  ("def a := b (config := c)\n", "setting config"),
  ("def a := b («config» := { d := e (1) })\n", "setting config"),
  ("def a := b (oracle := c)\n", "setting oracle"),
  ("namespace A\n", "without end"),
  ("def a := (\n", "without end"),
  ("end\n", "end of nothing"),
  ("namespace A.B\nend B\n", "end of another"),
  ("section A\nend\n", "end of another"),
  ("def target := 1\n", "2 declarations of target"),
  (f"{STATEMENT} simp\n", "stands 2 times"),
  ("/- ", "unclear: comment without end"),
  ("/-/- -/ -/\n", "unclear: comment that starts"),
  ("/-- -- -/\n", "unclear: comment in front"),
  ('def a := (b).r"\\" "\n', "unclear: raw string glued"),
  ("def a := b '\n'\"' \"\n  sorry --\"\n", "word sorry"),
  ("def a := \u202e1\n", "character U+202E"),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_the_plain_reader_complains(text, words):
  """The control: the plain syntax rules refuse these."""
  found = complaints(f"{text}{STATEMENT}\n  simp\n", STATEMENT)
  assert any(words in complaint for complaint in found), found


@pytest.mark.parametrize(
  "text",
  [
    "/- axiom /- sorry -/ -/ -- #eval\n",
    'def a := "sorry \\" axiom" ++ r"\\" ++ r#"" axiom"#\n',
    "def a' := h.prefix.axiom ++ x'.macro ++ «a b».sorry\n",
    "def a := f '' s ∪ ∑' i, '\\'' :: 'a' :: '\"' :: '\\x41' :: []\n",
    "namespace A\nlemma b : 1.5e3 = 0x1F := rfl\nend A\n",
    "namespace A.B\nend A.B\nsection\nend\n",
    "@[simp] noncomputable def a := 1\n",
    "def a := b (config := { c := true, d := .e, f := 1 }) config\n",
    "set_option maxHeartbeats 400000 in\n",
  ],
)
def test_the_plain_reader_has_no_complaint(text):
  assert complaints(f"{text}{STATEMENT}\n  simp\n", STATEMENT) == []


def test_the_plain_reader_reads():
  items = read("a.b 1'c /- x -/ \"d\n\" 'e'∑f")
  assert [(i.kind, i.text, i.line, i.column) for i in items] == [
    ("word", "a.b", 1, 0),
    ("number", "1", 1, 4),
    ("sign", "'", 1, 5),
    ("word", "c", 1, 6),
    ("string", '"d\n"', 1, 16),
    ("char", "'e'", 2, 2),
    ("sign", "∑", 2, 5),
    ("word", "f", 2, 6),
  ]
  with pytest.raises(Unclear):
    read("«a")


@pytest.mark.parametrize(
  ("text", "words"),
  [
    (INNOCENT, ""),
    (INNOCENT.replace("nlinarith", "sorry"), ""),
    ("", ""),
  ],
)
def test_finding(text, words):
  assert finding(text) == words


def test_finding_sees_a_broken_acceptance(monkeypatch):
  """A text that is accepted against the plain syntax rules is a finding."""
  import acceptance

  def gullible(problem, final, rules):
    proof = "\n" * HEADER.count("\n") + final.removeprefix(HEADER)
    return Audit("", "", "target", "", proof, frozenset())

  monkeypatch.setattr(acceptance, "prepare_audit", gullible)
  assert "word sorry" in finding(INNOCENT.replace("nlinarith", "sorry"))

  def broken(problem, final, rules):
    raise IndexError("pop from empty list")

  monkeypatch.setattr(acceptance, "prepare_audit", broken)
  assert finding(INNOCENT) == "raised IndexError: pop from empty list"
