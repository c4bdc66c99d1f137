"""Tokenizers: one interface to those of Hugging Face and SentencePiece.

In: a tokenizer's files. Out: text to tokens and back. A tokenizer adds no
tokens of its own: a prompt has the tokens of its text, and a chat marker in the
text is one token.
"""

import pathlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import sentencepiece

from kimina_jax.types import UsageError

TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
END_OF_TEXT = "<|endoftext|>"
MARKERS = (END_OF_TEXT, TURN_START, TURN_END)

_EMBEDDED = pathlib.Path(__file__).with_name("embedded.model")
_HUGGING_FACE_FILE = "tokenizer.json"
_SENTENCEPIECE_FILE = "tokenizer.model"


class Tokenizer(Protocol):
  """The interface of all tokenizers.

  Attributes:
    vocab_size: number of tokens; every id is below it.
    pad_id: id of the token `<|endoftext|>`, which pads arrays.
    stop_id: id of the token `<|im_end|>`, which ends a response.
  """

  vocab_size: int
  pad_id: int
  stop_id: int

  def encode(self, text: str) -> np.ndarray:
    """Returns the token ids of a text, int32 [length]; nothing is added."""

  def decode(self, ids: np.ndarray) -> str:
    """Returns the text of token ids int [length], chat markers included.

    Bytes that are no UTF-8 become U+FFFD. A model may have more embeddings
    than there are tokens: ids from `vocab_size` on have no text.
    """

  def token_bytes(self) -> list[bytes]:
    """Returns the bytes of each of the `vocab_size` tokens.

    The bytes of a text's tokens, concatenated, are its UTF-8; one token may be
    a part of a character. The bytes of a marker are its text. A SentencePiece
    model that puts a space before each text has it in the first token;
    `decode` drops it.
    """

  def save(self, directory: str | pathlib.Path) -> None:
    """Writes the files that `load_tokenizer(directory)` reads."""


def load_tokenizer(path: str | pathlib.Path) -> Tokenizer:
  """Loads a tokenizer.

  Args:
    path: `embedded` (part of the package), a SentencePiece `.model` file, or a
      directory with `tokenizer.json` (Hugging Face) or `tokenizer.model`
      (SentencePiece).

  Raises:
    UsageError: there is no tokenizer at `path`, it cannot be read, or a chat
      marker is not one of its tokens.
  """
  place = _EMBEDDED if str(path) == "embedded" else pathlib.Path(path)
  if (place / _HUGGING_FACE_FILE).is_file():
    return _HuggingFace(place)
  if (place / _SENTENCEPIECE_FILE).is_file():
    return _SentencePiece(place / _SENTENCEPIECE_FILE)
  if place.is_file() and place.suffix == ".model":
    return _SentencePiece(place)
  raise UsageError(
    f'no tokenizer at {str(path)!r}: give "embedded", a SentencePiece .model '
    f"file, or a directory with {_HUGGING_FACE_FILE} or {_SENTENCEPIECE_FILE}"
  )


class _SentencePiece:
  """A SentencePiece model with byte fallback."""

  # SentencePiece's character for a space. If a text contains the character
  # itself, it is encoded byte by byte, for else it would decode to a space.
  _SPACE = "\u2581"

  def __init__(self, path: pathlib.Path):
    self._model = path.read_bytes()
    self._processor = sentencepiece.SentencePieceProcessor()
    try:
      self._processor.LoadFromSerializedProto(self._model)
    except RuntimeError as error:
      raise UsageError(f"{path} is no SentencePiece model: {error}") from error
    self.vocab_size = self._processor.vocab_size()
    ids = _marker_ids(self._one_token, path)
    self.pad_id, self.stop_id = ids[END_OF_TEXT], ids[TURN_END]
    self._space_ids = [
      self._processor.piece_to_id(f"<0x{byte:02X}>")
      for byte in self._SPACE.encode()
    ]

  def encode(self, text: str) -> np.ndarray:
    first, *rest = map(self._processor.encode, text.split(self._SPACE))
    ids = list(first)
    for part in rest:
      ids += [*self._space_ids, *part]
    return np.array(ids, np.int32)

  def decode(self, ids: np.ndarray) -> str:
    return self._processor.decode(_known(ids, self.vocab_size))

  def token_bytes(self) -> list[bytes]:
    return [self._bytes(token) for token in range(self.vocab_size)]

  def save(self, directory: str | pathlib.Path) -> None:
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _SENTENCEPIECE_FILE).write_bytes(self._model)

  def _one_token(self, marker: str) -> int | None:
    token = self._processor.piece_to_id(marker)
    return None if token == self._processor.unk_id() else token

  def _bytes(self, token: int) -> bytes:
    piece = self._processor.id_to_piece(token)
    if self._processor.is_byte(token):
      return bytes([int(piece[1:-1], 16)])  # written <0x41>
    if self._processor.is_control(token) or self._processor.is_unknown(token):
      return self._processor.decode([token]).encode()
    return piece.replace(self._SPACE, " ").encode()


class _HuggingFace:
  """A tokenizer of the transformers library.

  Its own normalization applies: that of Qwen2.5 composes characters (NFC), so
  a text in another form decodes to the composed one.
  """

  def __init__(self, directory: pathlib.Path):
    # The import takes seconds, and the embedded tokenizer does not need it.
    import transformers

    self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
      directory, local_files_only=True
    )
    self.vocab_size = len(self._tokenizer)
    ids = _marker_ids(self._tokenizer.get_vocab().get, directory)
    self.pad_id, self.stop_id = ids[END_OF_TEXT], ids[TURN_END]

  def encode(self, text: str) -> np.ndarray:
    ids = self._tokenizer.encode(text, add_special_tokens=False)
    return np.array(ids, np.int32)

  def decode(self, ids: np.ndarray) -> str:
    return self._tokenizer.decode(
      _known(ids, self.vocab_size), clean_up_tokenization_spaces=False
    )

  def token_bytes(self) -> list[bytes]:
    pieces = self._tokenizer.convert_ids_to_tokens([*range(self.vocab_size)])
    alphabet = _byte_alphabet()
    texts = {
      token: added.content.encode()
      for token, added in self._tokenizer.added_tokens_decoder.items()
    }
    for token, piece in enumerate(pieces):
      if token not in texts:
        texts[token] = _piece_bytes(piece, alphabet)
    return [texts[token] for token in range(self.vocab_size)]

  def save(self, directory: str | pathlib.Path) -> None:
    self._tokenizer.save_pretrained(directory)


def _byte_alphabet() -> dict[str, int]:
  """Maps the character that byte-level BPE uses for a byte to the byte.

  A byte whose Latin-1 character is visible has that character, the others in
  order have the characters from U+0100 on.
  """
  visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
  others = [byte for byte in range(256) if byte not in visible]
  return {
    **{chr(byte): byte for byte in visible},
    **{chr(0x100 + i): byte for i, byte in enumerate(others)},
  }


def _piece_bytes(piece: str | None, alphabet: dict[str, int]) -> bytes:
  if piece is None:  # a hole between the tokens' ids
    return b""
  try:
    return bytes(alphabet[char] for char in piece)
  except KeyError as error:
    raise UsageError(
      f"token {piece!r} contains {error.args[0]!r}, which represents no byte: "
      "only tokenizers of byte-level BPE define the bytes of their tokens"
    ) from error


def _known(ids: np.ndarray, vocab_size: int) -> list[int]:
  ids = np.asarray(ids, np.int32)
  return ids[ids < vocab_size].tolist()


def _marker_ids(
  one_token: Callable[[str], int | None], path: pathlib.Path
) -> dict[str, int]:
  """Returns the ids of the chat markers; `one_token` gives an id or None."""
  ids = {
    marker: token
    for marker in MARKERS
    if (token := one_token(marker)) is not None
  }
  missing = [marker for marker in MARKERS if marker not in ids]
  if missing:
    raise UsageError(
      f"the tokenizer at {path} lacks the chat markers {', '.join(missing)}; "
      "add them as single tokens"
    )
  return ids
