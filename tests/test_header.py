"""Headers: imports, preamble, ceilings of options."""

import json

import pytest

from kimina_jax.verification.acceptance.header import blank_out, parse_header
from kimina_jax.verification.acceptance.lexer import tokenize
from kimina_jax.verification.acceptance.syntax_rules import SyntaxRules

RULES = SyntaxRules(max_heartbeats=400_000, native_decide=False)
NOTE = "set_option maxHeartbeats 0 in the header became 400000"


@pytest.mark.parametrize(
  ("text", "imports", "preamble"),
  [
    ("", "", ""),
    ("-- nothing\n", "", ""),
    ("import Mathlib\n\n", "import Mathlib", ""),
    (
      "import Mathlib\nimport Aesop\n\nopen Real Nat\n\n",
      "import Mathlib\nimport Aesop",
      "open Real Nat",
    ),
    ("open Real\n", "", "open Real"),
    # Comments and spacing do not make other imports.
    (
      "/- x -/import  A.B -- y\n  import\n«c d»\n/-! z -/ open A\n",
      "import A.B\nimport «c d»",
      "open A",
    ),
    # They stay where they may matter to a reader of the rest.
    ("import A\nopen B -- x\nopen C\n-- y", "import A", "open B -- x\nopen C"),
    # A docstring at the end is the statement's.
    ("import A\nopen B\n/-- x -/\n", "import A", "open B"),
    (
      "module\npublic import A\nmeta import B\nimport all C\n"
      "public meta import D\npublic section\n",
      "module\npublic import A\nmeta import B\nimport all C\n"
      "public meta import D",
      "public section",
    ),
    ("prelude\nimport Init\n", "prelude\nimport Init", ""),
    (
      'import A\nnamespace B\nvariable (x : ℕ)\nlocal notation "a" => 1\n',
      "import A",
      'namespace B\nvariable (x : ℕ)\nlocal notation "a" => 1',
    ),
  ],
)
def test_parts(text, imports, preamble):
  header = parse_header(text, RULES)
  assert (header.imports, header.preamble) == (imports, preamble)
  assert header.notes == ()
  assert header.text == text


@pytest.mark.parametrize(
  ("option", "became"),
  [
    *(("maxHeartbeats 0", "maxHeartbeats 400000"),),
    *(("maxHeartbeats 400001", "maxHeartbeats 400000"),),
    *(("maxHeartbeats 1_000_000", "maxHeartbeats 400000"),),
    *(("maxHeartbeats 0x0", "maxHeartbeats 400000"),),
    *(("synthInstance.maxHeartbeats 0", "synthInstance.maxHeartbeats 400000"),),
    *(("maxRecDepth 1000000", "maxRecDepth 100000"),),
    *(("maxHeartbeats 400000", ""), ("maxHeartbeats 1", "")),
    *(("maxHeartbeats 0x10", ""), ("maxRecDepth 2000", "")),
    *(("pp.all true", ""), ("pp.maxSteps 0", ""), ("autoImplicit false", "")),
  ],
)
def test_options_have_ceilings(option, became):
  text = f"import A\n\nset_option {option} -- x\nopen B in\n"
  header = parse_header(text, RULES)
  preamble = f"set_option {became or option} -- x\nopen B in"
  assert header.preamble == preamble
  words = f"set_option {option} in the header became {became.split()[-1:]}"
  expected = (words.replace("['", "").replace("']", ""),) if became else ()
  assert header.notes == expected
  # What a final block repeats is what the data set says.
  assert " ".join(header.tokens) == f"import A set_option {option} open B in"


def test_every_option_is_brought_down():
  header = parse_header(
    "set_option maxHeartbeats 0\n/- set_option maxHeartbeats 0 -/\n"
    "set_option\n  maxHeartbeats 0 in\n",
    RULES,
  )
  assert header.preamble == (
    "set_option maxHeartbeats 400000\n/- set_option maxHeartbeats 0 -/\n"
    "set_option\n  maxHeartbeats 400000 in"
  )
  assert header.notes == (NOTE, NOTE)


def test_no_option_is_added():
  assert "maxHeartbeats" not in parse_header("import A\nopen B", RULES).preamble


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("import A /- x", "comment that does not end"),
    ("import", "import without a name"),
    ("import all", "import without a name"),
    ("open A\u200b", "U\\+200B"),
    ("set_option maxHeartbeats 1.5", "invalid literal"),
  ],
)
def test_bad_header(text, words):
  with pytest.raises(ValueError, match=words):
    parse_header(text, RULES)


def test_blank_keeps_positions():
  text = "import A\n  ℝ b\n"
  assert blank_out(text) == "        \n     \n"
  assert parse_header(text, RULES).blanked_text == blank_out(text)


def test_headers_of_minif2f(data_dir):
  """Imports and preamble, joined, are the header but for the limit."""
  path = data_dir / "minif2f" / "minif2f.jsonl"
  for line in path.read_text().splitlines():
    text = json.loads(line)["header"]
    header = parse_header(text, RULES)
    joined = f"{header.imports}\n{header.preamble}"
    limited = text.replace("maxHeartbeats 0\n", "maxHeartbeats 400000\n")
    assert [t.text for t in tokenize(joined)] == [
      t.text for t in tokenize(limited)
    ]
    assert header.notes == (NOTE,)
    assert header.imports == "import Mathlib\nimport Aesop"
