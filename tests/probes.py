"""Probes of a sandbox: tries operations that it should prevent.

In: on stdin, a JSON object with the numbers and names to try. Out: on stdout,
one with the outcome of each probe: a result, "done", or the name of the error.
"""

import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")

libc = ctypes.CDLL(None, use_errno=True)
given = json.load(sys.stdin)


def main() -> None:
  outcomes = {}
  for function in PROBES:
    try:
      outcome = function()
    except OSError as error:
      outcome = type(error).__name__
    outcomes[function.__name__] = "done" if outcome is None else outcome
  print(json.dumps(outcomes))


# Network.


def tcp() -> None:
  address = ("127.0.0.1", given["tcp_port"])
  socket.create_connection(address, timeout=5).close()


def udp() -> None:
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(1.0)
    client.sendto(b"?", ("127.0.0.1", given["udp_port"]))
    client.recv(100)


def abstract_socket() -> None:
  with socket.socket(socket.AF_UNIX) as client:
    client.connect(f"\0{given['socket_name']}")


def socket_file() -> None:
  with socket.socket(socket.AF_UNIX) as client:
    client.connect(given["socket_path"])


# Other processes.


def see_process() -> bool:
  """Finds it by its command line, for its process id differs inside."""
  numbers = filter(str.isdigit, os.listdir("/proc"))
  return any(given["victim_name"] in read(n, "cmdline") for n in numbers)


def see_environment() -> bool:
  """Looks for the secret in the environments of all processes."""
  numbers = filter(str.isdigit, os.listdir("/proc"))
  return any(given["secret"] in read(n, "environ") for n in numbers)


def read(number: str, name: str) -> str:
  try:
    with open(f"/proc/{number}/{name}", errors="replace") as file:
      return file.read()
  except OSError:
    return ""


def signal_process() -> None:
  os.kill(given["victim"], 0)


def trace_process() -> None:
  check(libc.ptrace(PTRACE_ATTACH, given["victim"], 0, 0))
  os.waitpid(given["victim"], 0)
  check(libc.ptrace(PTRACE_DETACH, given["victim"], 0, 0))


def open_memory_of_process() -> None:
  open(f"/proc/{given['victim']}/mem", "rb").close()


# Files.


def read_files() -> list[str]:
  return [path for path in given["hidden"] if can_read(path)]


def can_read(path: str) -> bool:
  try:
    with open(path, "rb") as file:
      return bool(file.read(1))
  except OSError:
    return False


def write_files() -> list[str]:
  return [path for path in given["folders"] if can_write(path)]


def can_write(folder: str) -> bool:
  path = f"{folder}/kimina-probe"
  try:
    with open(path, "w") as file:
      file.write("x")
    os.unlink(path)
  except OSError:
    return False
  return True


def find_programs() -> list[str]:
  """Returns those of the given names that can be executed, in any folder."""
  found = set()
  for folder, name in files():
    if name in given["programs"] and os.access(f"{folder}/{name}", os.X_OK):
      found.add(name)
  return sorted(found)


def find_strangers() -> int:
  """Counts the files outside of the given paths."""
  known = tuple(given["known"])
  return sum(
    not f"{folder}/{name}".startswith(known) for folder, name in files()
  )


def files():
  for root in given["roots"]:
    for folder, folders, names in os.walk(root):
      if folder == "/":
        folders[:] = sorted({*folders} - {"proc"})
      for name in names:
        yield folder.rstrip("/"), name


def fill_the_disk() -> None:
  """Writes 80 MiB, in files of allowed size."""
  for number in range(10):
    with open(f"{given['scratch']}/{number}", "wb") as file:
      file.write(bytes(8 << 20))


# Rights.


def new_namespaces() -> None:
  in_child(lambda: check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS)))


def mount() -> None:
  """Mounts directly, or with the rights of a new user namespace."""
  place = given["scratch"].encode()

  def attempt() -> None:
    if libc.unshare(CLONE_NEWNS) < 0:
      check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS))
    check(libc.mount(b"none", place, b"tmpfs", 0, None))

  in_child(attempt)


def in_child(function: Callable[[], None]) -> None:
  pid = os.fork()
  if pid == 0:
    try:
      function()
    except OSError:
      os._exit(1)
    os._exit(0)
  if os.waitpid(pid, 0)[1] != 0:
    raise PermissionError


def capabilities() -> dict[str, int]:
  lines = read("self", "status").splitlines()
  return {
    name: int(value, 16)
    for name, _, value in (line.partition(":\t") for line in lines)
    if name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")
  }


def namespaces() -> list[str]:
  return [os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES]


def names() -> list[str]:
  return [os.uname().nodename, str(os.getuid()), *sorted(os.environ)]


def check(result: int) -> None:
  if result < 0:
    raise OSError(ctypes.get_errno(), "refused")


PROBES = (
  tcp,
  udp,
  abstract_socket,
  socket_file,
  see_process,
  see_environment,
  signal_process,
  trace_process,
  open_memory_of_process,
  read_files,
  write_files,
  find_programs,
  find_strangers,
  fill_the_disk,
  new_namespaces,
  mount,
  capabilities,
  namespaces,
  names,
)

if __name__ == "__main__":
  main()
