"""Trains the embedded tokenizer on generated problems.

  python scripts/train_tokenizer.py OUT

writes OUT, a SentencePiece BPE model with byte fallback; running it twice
writes the same bytes. The package ships the result as
kimina_jax/prompts/embedded.model.

A tiny model has to copy statements, so whatever differs between problems
(digits, operators, names) stays a token of its own, and whatever is fixed (the
sentences of the template, the tactics) is short.
"""

import io
import pathlib
import string
import sys

import sentencepiece

from kimina_jax.problems import arithmetic
from kimina_jax.prompts import template, tokenizer

VOCAB_SIZE = 672
_NUM_PROBLEMS = 2000

# A sentence of the template is one token: no piece of it is worth learning.
_SENTENCES = [
  template.SYSTEM,
  template.TASK,
  template.INFORMAL,
  template.FORMAL,
  "import Mathlib",
]
_FENCES = ["<think>", "</think>", "```tactics", "```lean4", "```", "\n"]
# Symbols stand alone, so that no merge joins one to what surrounds it.
_OPERATORS = [f" {op} " for op in "+ - * / % ^ = < > ≤ ≥ ≠ ∧ ∨ → ↔ : |".split()]
_SYMBOLS = [*tokenizer.MARKERS, *_SENTENCES, *_FENCES, *_OPERATORS]
_ALPHABET = (
  string.ascii_letters + string.digits + string.punctuation + "ℕℤℚℝ₀₁₂"
)


def main(out: pathlib.Path) -> None:
  """Trains on prompts and responses, right and wrong ones, and writes."""
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(_lines()),
    model_writer=model,
    model_type="bpe",
    vocab_size=VOCAB_SIZE,
    # SentencePiece looks for symbols after it has rewritten the spaces.
    user_defined_symbols=[s.replace(" ", "\u2581") for s in _SYMBOLS],
    required_chars=_ALPHABET,
    character_coverage=1.0,
    byte_fallback=True,
    normalization_rule_name="identity",
    add_dummy_prefix=False,
    remove_extra_whitespaces=False,
    allow_whitespace_only_pieces=True,
    split_by_whitespace=False,
    split_by_unicode_script=False,
    split_digits=True,
    max_sentencepiece_length=64,
    bos_id=-1,
    eos_id=-1,
    num_threads=1,
    minloglevel=1,
  )
  out.write_bytes(model.getvalue())


def _lines() -> list[str]:
  problems = arithmetic.generate("train", _NUM_PROBLEMS, seed=0)
  lines = []
  for problem in problems:
    demonstration = arithmetic.demonstrate(problem, skill=0.3, seed=0)
    text = template.render_prompt(problem) + demonstration.response
    lines += text.splitlines()
  return [line for line in lines if line]


if __name__ == "__main__":
  if len(sys.argv) != 2:
    sys.exit("usage: python scripts/train_tokenizer.py OUT")
  main(pathlib.Path(sys.argv[1]))
