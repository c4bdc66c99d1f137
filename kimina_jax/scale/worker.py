"""The worker process that makes one row.

  python -m kimina_jax.scale.worker PARENT_PID

In: a StudyCase as JSON on standard input. Out: a row as one line of JSON on
standard output. It is a process of its own so that a crash of the compiler
costs one row, and so that each row gets the devices of its topology: they
follow from `topologies.process_environment`, which is set before the process
starts. It ends when the process PARENT_PID is no longer its parent.
"""

import json
import os
import sys
import threading
import time
import traceback

from kimina_jax.scale.cases import StudyCase
from kimina_jax.scale.measure import measure_row
from kimina_jax.scale.predict import FAILED, predict_row, row_header


def main() -> None:
  """Reads a case from stdin, writes its row to stdout."""
  threading.Thread(
    target=_exit_with_parent, args=(int(sys.argv[1]),), daemon=True
  ).start()
  request = json.load(sys.stdin)
  case = StudyCase(**request["case"])
  # Only the row goes to standard output; what libraries print goes to stderr.
  out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
  make = measure_row if request["measure"] else predict_row
  try:
    row = make(case)
  except Exception as error:  # noqa: BLE001 - becomes a row
    traceback.print_exc()
    text = f"{type(error).__name__}: {error}"
    row = row_header(case) | {
      "kind": "measured" if request["measure"] else "predicted",
      "status": FAILED,
      "error": text[:2000],
    }
  out.write(json.dumps(row) + "\n")
  out.close()


def _exit_with_parent(parent: int) -> None:
  """Ends this process once its parent has ended, by whatever cause."""
  while os.getppid() == parent:
    time.sleep(1.0)
  os._exit(1)


if __name__ == "__main__":
  main()
