"""The command `kimina`: runs one of the package's commands by name.

  kimina train --config=debug --run_dir=runs/rl

is `python -m kimina_jax.train --config=debug --run_dir=runs/rl`.
"""

import difflib
import os
import runpy
import sys

COMMANDS = {
  "train": "reinforcement learning on Lean's verdicts",
  "sft": "supervised training: cold start or distillation",
  "evaluate": "pass@k of a checkpoint on held-out statements",
  "prove": "one theorem, with the reasoning as it is written",
  "check": "Lean files, or the checker itself (--doctor)",
  "convert": "checkpoints from and to Hugging Face's format",
  "scale": "memory, traffic and bounds of a run on a topology",
  "report": "a run as a web page",
}


def main() -> None:
  """Runs the command that sys.argv names, or prints the list of commands."""
  name = sys.argv[1] if len(sys.argv) > 1 else "--help"
  if name in ("--help", "-h", "help"):
    try:
      print(_usage(), flush=True)
    except BrokenPipeError:  # stdout was closed, as by `head`
      os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
      sys.exit(141)
    return
  if name not in COMMANDS:
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    suggestion = f"did you mean {near[0]}? " if near else ""
    print(
      f"error: no command {name!r}; {suggestion}kimina --help lists them",
      file=sys.stderr,
    )
    sys.exit(1)
  del sys.argv[1]
  runpy.run_module(f"kimina_jax.{name}", run_name="__main__", alter_sys=True)


def _usage() -> str:
  lines = [f"  {name:<10}{summary}" for name, summary in COMMANDS.items()]
  return "\n".join(
    [
      "usage: kimina COMMAND [flags]",
      "",
      "Trains Lean 4 theorem provers by reinforcement learning.",
      "",
      "commands:",
      *lines,
      "",
      "kimina COMMAND --help shows a command's flags, with an example.",
    ]
  )


if __name__ == "__main__":
  main()
