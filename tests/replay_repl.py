"""Replays a recorded session: python replay_repl.py IN OUT.

Takes each request only if it is the recorded one, and answers in pieces that
cut frames and characters anywhere.
"""

import pathlib
import sys


def main() -> None:
  requests = frames(sys.argv[1])
  replies = frames(sys.argv[2])
  for request, reply in zip(requests, replies, strict=True):
    if read_request() != request:
      sys.exit("another request than the recorded one")
    data = reply + b"\n\n"
    for start in range(0, len(data), 7):
      sys.stdout.buffer.write(data[start : start + 7])
      sys.stdout.buffer.flush()
  sys.stdin.buffer.read()


def frames(path: str) -> list[bytes]:
  parts = pathlib.Path(path).read_bytes().split(b"\n\n")
  return [part.strip(b"\n") for part in parts if part.strip()]


def read_request() -> bytes:
  data = b""
  while not data.endswith(b"\n\n"):
    data += sys.stdin.buffer.readline()
  return data[:-2]


if __name__ == "__main__":
  main()
