"""The verdict cache: whole verdicts, keys, and no uncertain verdict."""

import dataclasses
import sqlite3
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimina_jax.types import Message, Status, UsageError, Verdict
from kimina_jax.verification.verdict_cache import (
  DETERMINISTIC,
  VerdictCache,
  digest,
)

VERDICT = Verdict(
  Status.LEAN_ERROR,
  messages=(Message("error", 3, 2, 3, 10, "unsolved goals\n⊢ ε"),),
  axioms=("propext",),
  detail="d",
  notes=("n",),
  confirmed=True,
)


def test_a_verdict_comes_back_without_its_times(tmp_path):
  path = str(tmp_path / "deep" / "verdicts.sqlite")
  store = VerdictCache(path)
  store.put("k", dataclasses.replace(VERDICT, queue_s=1, load_s=2, exec_s=3))
  assert store.get("k") == VERDICT
  assert store.get("other") is None
  store.close()
  again = VerdictCache(path)
  assert again.get("k") == VERDICT
  again.close()


def test_two_owners_of_one_file(tmp_path):
  stores = [VerdictCache(str(tmp_path / "v")) for _ in range(2)]

  def write(index: int) -> None:
    for key in range(100):
      stores[index].put(f"{index}-{key}", VERDICT)

  threads = [threading.Thread(target=write, args=(i,)) for i in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  for index in range(2):
    assert all(stores[1 - index].get(f"{index}-{k}") for k in range(100))
  for store in stores:
    store.close()


@pytest.mark.parametrize("status", sorted(set(Status) - DETERMINISTIC))
def test_what_may_change_is_not_kept(tmp_path, status):
  store = VerdictCache(str(tmp_path / "v"))
  with pytest.raises(ValueError, match="may differ the next time"):
    store.put("k", Verdict(status))
  store.close()


def test_bad_files(tmp_path):
  (tmp_path / "text").write_text("no database, " * 100)
  with pytest.raises(UsageError, match="checker.verdict_cache"):
    VerdictCache(str(tmp_path / "text"))
  with pytest.raises(UsageError, match="checker.verdict_cache"):
    VerdictCache(str(tmp_path))
  with sqlite3.connect(tmp_path / "newer") as file:
    file.execute("pragma user_version = 99")
  file.close()
  with pytest.raises(UsageError, match="format 99"):
    VerdictCache(str(tmp_path / "newer"))


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_equal_digests_are_of_equal_parts(one, two):
  assert (digest(*one) == digest(*two)) == (one == two)
