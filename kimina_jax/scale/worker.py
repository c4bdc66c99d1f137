"""The process that compiles one row.

  python -m kimina_jax.scale.worker PARENT

In: a Case as JSON on standard input. Out: a row as one line of JSON on standard
output. A process of its own, so that a compiler that crashes takes nothing
else along, and so that each row has the devices it asks for: they follow from
`topologies.environment`, which is set before the process starts. It ends when
the process with the number PARENT is no longer its parent.
"""

import json
import os
import sys
import threading
import time
import traceback

from kimina_jax.scale import compiling, measuring
from kimina_jax.scale.cases import from_json


def main() -> None:
  """Reads a case, writes its row."""
  threading.Thread(
    target=_end_with, args=(int(sys.argv[1]),), daemon=True
  ).start()
  request = json.load(sys.stdin)
  case = from_json(request["case"])
  # The row alone goes to standard output, whatever libraries print there.
  out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
  make = measuring.measure_row if request["measure"] else compiling.compile_row
  try:
    row = make(case)
  except Exception as error:  # noqa: BLE001 - a failure is a row
    traceback.print_exc()
    text = f"{type(error).__name__}: {error}"
    row = compiling.head(case) | {
      "kind": "measured" if request["measure"] else "predicted",
      "status": compiling.FAILED,
      "error": text[:2000],
    }
  out.write(json.dumps(row) + "\n")
  out.close()


def _end_with(parent: int) -> None:
  """Ends this process when its parent is gone, however that came about."""
  while os.getppid() == parent:
    time.sleep(1.0)
  os._exit(1)


if __name__ == "__main__":
  main()
