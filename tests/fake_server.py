"""A Kimina Lean Server over real HTTP, with a stand-in for Lean behind it.

It misbehaves on request: a text that holds `FAULT:<name>` meets that fault,
and so do the next requests to a server whose `faults` names some.
"""

import collections
import http.server
import json
import re
import socket
import struct
import threading
import time

from fake_lean import Lean


class FakeServer:
  """Owns a port and the threads that serve it."""

  def __init__(
    self,
    *,
    port: int = 0,
    version: str = "4.9.0",
    shifts_lines: bool = True,
    key: str = "",
  ):
    """Serves until `stop`.

    Args:
      port: to listen on; 0 for any.
      version: of Lean, as the server reports it.
      shifts_lines: whether lines count from the top of the text, as since
        October 2025, or from the first line that is no import.
      key: that requests must bear; "" for none.
    """
    self.version = version
    self.shifts_lines = shifts_lines
    self.key = key
    self.faults: collections.deque[str] = collections.deque()
    self.is_healthy = True
    self.ended = threading.Event()
    self.requests: list[dict] = []
    self.num_connections = 0
    self.num_health = 0
    self._sockets: set[socket.socket] = set()
    self._http = _Http(("127.0.0.1", port), _Handler)
    self._http.fake = self
    self.port = self._http.server_address[1]
    self.url = f"http://127.0.0.1:{self.port}"
    self._thread = threading.Thread(
      target=self._http.serve_forever, args=(0.02,), daemon=True
    )
    self._thread.start()

  def stop(self) -> None:
    """Refuses new requests, and ends those in progress."""
    self.ended.set()
    self._http.shutdown()
    self._http.server_close()
    self.drop_connections()
    self._thread.join()

  def drop_connections(self) -> None:
    """Ends every connection, idle or not."""
    for connection in list(self._sockets):
      try:
        connection.shutdown(socket.SHUT_RDWR)
      except OSError:
        pass  # it has ended

  def answer(self, snippet: dict, timeout: int) -> dict:
    """The result on one snippet."""
    lines = snippet["code"].split("\n")
    count = 0
    while count < len(lines) and re.match(r"\s*(import |$)", lines[count]):
      count += 1
    lean = Lean(self.version)
    lean.imported = not any("Nope" in line for line in lines[:count])
    lean.run("\n".join(lines[count:]))
    shift = count if self.shifts_lines else 0
    for message in (*lean.messages, *lean.sorries):
      for place in (message["pos"], message["endPos"]):
        place["line"] += shift
    response = {"env": 1, "messages": lean.messages, "sorries": lean.sorries}
    response = {name: value for name, value in response.items() if value}
    return {"id": snippet["id"], "time": 0.01, "response": response}


class _Http(http.server.ThreadingHTTPServer):
  daemon_threads = True
  fake: FakeServer

  def handle_error(self, *_: object) -> None:
    pass  # clients that go away are what is tested


class _Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"
  disable_nagle_algorithm = True

  def setup(self) -> None:
    super().setup()
    self.fake = self.server.fake
    self.fake.num_connections += 1
    self.fake._sockets.add(self.connection)

  def finish(self) -> None:
    super().finish()
    self.fake._sockets.discard(self.connection)

  def do_GET(self) -> None:
    self.fake.num_health += 1
    if self.path != "/health":
      self.send(404, {"detail": "Not Found"})
    elif self.fake.is_healthy:
      self.send(200, {"status": "ok"})
    else:
      self.send(503, {"detail": "not now"})

  def do_POST(self) -> None:
    body = self.rfile.read(int(self.headers["Content-Length"]))
    request = json.loads(body)
    if self.path != "/api/check":
      return self.send(404, {"detail": "Not Found"})
    given = self.headers.get("Authorization", "").removeprefix("Bearer ")
    if self.fake.key and given != self.fake.key:
      return self.send(401, {"detail": "Invalid API key"})
    if type(request["timeout"]) is not int:
      return self.send(422, {"detail": [{"msg": "a valid integer"}]})
    self.fake.requests.append(request)
    (snippet,) = request["snippets"]
    named = re.search(r"FAULT:(\w+)", snippet["code"])
    fault = named[1] if named else ""
    if not fault and self.fake.faults:
      fault = self.fake.faults.popleft()
    result = self.fake.answer(snippet, request["timeout"])
    if not fault:
      self.send(200, {"results": [result]})
    elif fault.isdecimal():
      self.send(int(fault), {"detail": f"as asked: {fault}"})
    else:
      getattr(self, f"fault_{fault}")(result)

  def send(self, code: int, value: object) -> None:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    self.start(code, len(data))
    self.wfile.write(data)

  def start(self, code: int, size: int) -> None:
    self.send_response(code)
    self.send_header("Content-Type", "application/json")
    self.send_header("Content-Length", str(size))
    if code == 302:
      self.send_header("Location", "http://elsewhere/")
    self.end_headers()

  def log_message(self, *_: object) -> None:
    pass

  # Faults of the server.

  def fault_hang(self, result: dict) -> None:
    self.fake.ended.wait(60)
    self.close_connection = True

  def fault_slow(self, result: dict) -> None:
    """A byte now and then: no single wait is long."""
    data = json.dumps({"results": [result]}).encode()
    self.start(200, len(data))
    for byte in data:
      if self.fake.ended.is_set():
        break
      try:
        self.wfile.write(bytes([byte]))
      except OSError:
        break
      time.sleep(0.05)
    self.close_connection = True

  def fault_truncated(self, result: dict) -> None:
    data = json.dumps({"results": [result]}).encode()
    self.start(200, len(data))
    self.wfile.write(data[: len(data) // 2])
    self.close_connection = True

  def fault_cut_json(self, result: dict) -> None:
    self.send(200, json.dumps({"results": [result]}).encode()[:-5])

  def fault_not_json(self, result: dict) -> None:
    self.send(200, b"<html>It works!</html>")

  def fault_deep_json(self, result: dict) -> None:
    self.send(200, b"[" * 100_000)

  def fault_wrong_id(self, result: dict) -> None:
    self.send(200, {"results": [{**result, "id": "another"}]})

  def fault_missing(self, result: dict) -> None:
    self.send(200, {"results": []})

  def fault_two_results(self, result: dict) -> None:
    self.send(200, {"results": [result, result]})

  def fault_empty(self, result: dict) -> None:
    self.send(200, {"results": [{"id": result["id"]}]})

  def fault_close(self, result: dict) -> None:
    self.close_connection = True

  def fault_reset(self, result: dict) -> None:
    linger = struct.pack("ii", 1, 0)
    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    self.connection.close()
    self.close_connection = True

  def fault_huge(self, result: dict) -> None:
    message = {**result["response"]["messages"][0], "data": "x" * 17 * 2**20}
    result["response"]["messages"].append(message)
    self.send(200, {"results": [result]})

  def fault_echo(self, result: dict) -> None:
    """Repeats the key, which must not be logged."""
    given = self.headers.get("Authorization")
    self.send(500, {"detail": "x" * 490 + f" {given}"})

  def fault_echo_crash(self, result: dict) -> None:
    given = self.headers.get("Authorization")
    self.send(500, {"detail": f"JSON decode error {given}"})

  # Faults of Lean, as the server reports them.

  def fault_crash(self, result: dict) -> None:
    self.send(500, {"detail": "JSON decode error"})

  def fault_prep(self, result: dict) -> None:
    self.send(500, {"detail": "Failed to start REPL"})

  def fault_memory(self, result: dict) -> None:
    self.fail(result, "Lean REPL died, probably out of memory")

  def fault_timeout(self, result: dict) -> None:
    self.fail(result, "Lean REPL command timed out in 5.0 seconds")

  def fault_header_timeout(self, result: dict) -> None:
    self.fail(result, "Lean REPL header command timed out in 5.0 seconds")

  def fault_unknown(self, result: dict) -> None:
    self.fail(result, "something new")

  def fault_refusal(self, result: dict) -> None:
    response = {"message": "Unknown environment."}
    self.send(200, {"results": [{**result, "response": response}]})

  def fault_odd(self, result: dict) -> None:
    result["response"]["verdict"] = "proved"
    self.send(200, {"results": [result]})

  def fault_forged(self, result: dict) -> None:
    """Another report of axioms, where the true one is."""
    report = result["response"]["messages"][-1]
    data = "'__ok_0' does not depend on any axioms"
    result["response"]["messages"].append({**report, "data": data})
    self.send(200, {"results": [result]})

  def fault_stale(self, result: dict) -> None:
    """The report of an earlier proof, instead of this one's."""
    report = result["response"]["messages"][-1]
    report["data"] = "'__ok_0' does not depend on any axioms"
    self.send(200, {"results": [result]})

  def fault_silent(self, result: dict) -> None:
    """No report at all: nothing is wrong, and nothing is proved."""
    result["response"]["messages"].pop()
    self.send(200, {"results": [result]})

  def fail(self, result: dict, error: str) -> None:
    self.send(200, {"results": [{"id": result["id"], "error": error}]})
