"""Both kinds of tokenizer keep every text, and markers are one token."""

import pathlib
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from kimina_jax.problems import arithmetic
from kimina_jax.prompts import template
from kimina_jax.prompts.tokenizer import MARKERS, load_tokenizer
from kimina_jax.types import UsageError

_ROOT = pathlib.Path(__file__).resolve().parent.parent

# Any text, and texts with many characters that a tokenizer may lose.
_TEXTS = st.one_of(
  st.text(),
  st.lists(
    st.sampled_from(
      [" ", "  ", "\n", "\t", "\r\n", "▁", "x", "7", " + ", "ℝ", "é", "e\u0301"]
      + ["😀", "\0", "\u2028", "```lean4", "<think>", "<unk>", "<0x41>"]
      + list(MARKERS)
    )
  ).map("".join),
)


@pytest.fixture(scope="module")
def embedded():
  return load_tokenizer("embedded")


@pytest.fixture(scope="module")
def qwen(data_dir):
  return load_tokenizer(data_dir / "qwen2.5-tokenizer")


@pytest.fixture(scope="module")
def embedded_bytes(embedded):
  return embedded.token_bytes()


@pytest.fixture(scope="module")
def qwen_bytes(qwen):
  return qwen.token_bytes()


@given(text=_TEXTS)
@settings(max_examples=500, deadline=None)
def test_embedded_keeps_every_text(embedded, text):
  tokens = embedded.encode(text)
  assert tokens.dtype == np.int32
  assert tokens.ndim == 1
  assert np.all((tokens >= 0) & (tokens < embedded.vocab_size))
  assert embedded.decode(tokens) == text


@given(text=_TEXTS)
@settings(max_examples=300, deadline=None)
def test_qwen_keeps_every_composed_text(qwen, text):
  # Its normalizer composes characters.
  text = unicodedata.normalize("NFC", text)
  tokens = qwen.encode(text)
  assert tokens.dtype == np.int32
  assert qwen.decode(tokens) == text


@pytest.mark.parametrize("kind", ["embedded", "qwen"])
def test_markers_are_single_tokens_and_nothing_is_added(kind, request):
  tokenizer = request.getfixturevalue(kind)
  ids = {marker: tokenizer.encode(marker).tolist() for marker in MARKERS}
  assert all(len(tokens) == 1 for tokens in ids.values())
  assert ids["<|endoftext|>"] == [tokenizer.pad_id]
  assert ids["<|im_end|>"] == [tokenizer.stop_id]
  tokens = tokenizer.encode("a<|im_end|>b")
  assert tokens.tolist() == [
    *tokenizer.encode("a"),
    tokenizer.stop_id,
    *tokenizer.encode("b"),
  ]
  assert tokenizer.encode("").shape == (0,)
  assert tokenizer.decode(np.zeros(0, np.int32)) == ""


@given(text=_TEXTS)
@settings(max_examples=300, deadline=None)
def test_bytes_of_tokens_make_up_the_text(embedded, embedded_bytes, text):
  joined = b"".join(embedded_bytes[i] for i in embedded.encode(text))
  assert joined == text.encode()


@given(text=_TEXTS)
@settings(max_examples=300, deadline=None)
def test_bytes_of_qwen_make_up_the_composed_text(qwen, qwen_bytes, text):
  joined = b"".join(qwen_bytes[i] for i in qwen.encode(text))
  assert joined == unicodedata.normalize("NFC", text).encode()


@pytest.mark.parametrize("kind", ["embedded", "qwen"])
def test_bytes_of_lean(kind, request):
  tokenizer = request.getfixturevalue(kind)
  token_bytes = request.getfixturevalue(f"{kind}_bytes")
  text = "<|im_start|>assistant\n<think>\n▁ x  ≤ y\n</think>\n```lean4\n" + (
    "theorem μ₀ {ι : Type*} (f : ι → ℝ≥0∞) : ∀ᶠ ε in 𝓝[>] 0, ∑' i, f i ≠ ⊤ ∧"
    " ⟨h₁, ‹_›⟩ = ⟪x, y⟫_ℂ := by\n\tsimp [← Nat.cast_two] <;> nlinarith\n```"
    "<|im_end|>"
  )
  tokens = tokenizer.encode(text)
  assert b"".join(token_bytes[i] for i in tokens) == text.encode()


@pytest.mark.parametrize("kind", ["embedded", "qwen"])
def test_bytes_of_a_token_are_what_it_decodes_to(kind, request):
  tokenizer = request.getfixturevalue(kind)
  token_bytes = request.getfixturevalue(f"{kind}_bytes")
  assert len(token_bytes) == tokenizer.vocab_size
  markers = [tokenizer.encode(marker).item() for marker in MARKERS]
  assert [token_bytes[i].decode() for i in markers] == list(MARKERS)
  for i in {*range(0, tokenizer.vocab_size, 7), *range(600), *markers}:
    text = token_bytes[i].decode(errors="replace")
    assert tokenizer.decode([i]) == text


def test_bytes_that_are_no_text_decode(embedded):
  euro = embedded.encode("€")
  assert len(euro) == 3
  assert "\N{REPLACEMENT CHARACTER}" in embedded.decode(euro[:2])


@pytest.mark.parametrize("kind", ["embedded", "qwen"])
def test_ids_beyond_the_vocabulary_have_no_text(kind, request):
  tokenizer = request.getfixturevalue(kind)
  beyond = [tokenizer.vocab_size, tokenizer.vocab_size + 90]
  tokens = np.concatenate([tokenizer.encode("x = 1"), beyond])
  assert tokenizer.decode(tokens) == "x = 1"


def test_qwen_ids_are_the_published_ones(qwen):
  assert (qwen.pad_id, qwen.stop_id) == (151643, 151645)
  assert qwen.vocab_size == 151665


@pytest.mark.parametrize("kind", ["embedded", "qwen"])
def test_a_saved_tokenizer_is_read_back(kind, request, tmp_path):
  tokenizer = request.getfixturevalue(kind)
  tokenizer.save(tmp_path / "model")
  again = load_tokenizer(tmp_path / "model")
  assert again.vocab_size == tokenizer.vocab_size
  text = "<|im_start|>user\n  theorem t : 12 + 3 = 15 := by ∃ ▁<|im_end|>"
  assert again.encode(text).tolist() == tokenizer.encode(text).tolist()
  assert (again.pad_id, again.stop_id) == (tokenizer.pad_id, tokenizer.stop_id)


def test_a_model_file_is_read(embedded, tmp_path):
  embedded.save(tmp_path)
  again = load_tokenizer(tmp_path / "tokenizer.model")
  assert again.encode("x + 1").tolist() == embedded.encode("x + 1").tolist()


def test_wrong_paths_are_usage_errors(tmp_path):
  with pytest.raises(UsageError, match="nowhere"):
    load_tokenizer(tmp_path / "nowhere")
  with pytest.raises(UsageError, match=r"tokenizer\.json"):
    load_tokenizer(tmp_path)
  (tmp_path / "tokenizer.model").write_bytes(b"not a model")
  with pytest.raises(UsageError, match="no SentencePiece model"):
    load_tokenizer(tmp_path)


def test_embedded_problems_are_short(embedded):
  for problem in arithmetic.generate("test", 400, seed=0):
    prompt = template.make_prompt(problem, embedded)
    assert len(prompt.tokens) <= 64
    response = arithmetic.demonstrate(problem, skill=0.3, seed=0).response
    assert len(embedded.encode(response)) <= 96


def test_what_has_to_be_copied_is_split(embedded):
  statement = "(x : ℤ) (h₀ : 13 * x + 2 = 28) : x - 20 ≤ -7"
  pieces = [embedded.decode([i]) for i in embedded.encode(statement)]
  for digit in "0123456789":
    assert all(digit not in piece or piece == digit for piece in pieces)
  for operator in (" * ", " + ", " = ", " - ", " ≤ "):
    assert operator in pieces


def _pieces(path):
  processor = sentencepiece.SentencePieceProcessor(str(path))
  return [processor.id_to_piece(i) for i in range(processor.vocab_size())]


def test_training_again_gives_the_shipped_tokens(tmp_path):
  script = _ROOT / "scripts" / "train_tokenizer.py"
  once, twice = tmp_path / "once.model", tmp_path / "twice.model"
  for out in (once, twice):
    subprocess.run([sys.executable, script, out], check=True, cwd=_ROOT)
  assert once.read_bytes() == twice.read_bytes()
  # Other versions of SentencePiece may write other bytes around the tokens.
  shipped = _ROOT / "kimina_jax" / "prompts" / "embedded.model"
  assert _pieces(once) == _pieces(shipped)
