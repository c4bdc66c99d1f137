"""The installer of Lean, with stand-ins that record their arguments."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "launch" / "install_lean.sh"

# One program under many names: it logs its call and makes what would be made.
FAKE = """#!/bin/sh
name="${0##*/}"
case "$name" in
  python) sysroot=" LEAN_SYSROOT=${LEAN_SYSROOT:-}" ;;
  *) sysroot="" ;;
esac
echo "$name $*$sysroot" >> "$FAKES/log"
case "$name $*" in
  "curl "*)
    while [ $# -gt 1 ]; do shift; done
    {
      echo 'echo "elan-init $*" >> "$FAKES/log"'
      echo 'mkdir -p "$ELAN_HOME/bin"'
      echo 'for name in elan lake lean; do'
      echo '  cp "$FAKES/curl" "$ELAN_HOME/bin/$name"'
      echo 'done'
    } > "$1"
    ;;
  "elan toolchain list") cat "$FAKES/toolchains" 2>/dev/null || true ;;
  "elan toolchain install "*) echo "$3 (default)" >> "$FAKES/toolchains" ;;
  "git clone "*)
    [ "$6" != v4.99.0 ] || exit 128
    mkdir -p "$8"
    echo "leanprover/lean4:$6" > "$8/lean-toolchain"
    mkdir "$8/REPL"
    [ "$6" = v4.9.0 ] || echo "out.flush" > "$8/REPL/Main.lean"
    touch "$8/REPL/Main.lean"
    ;;
  "git cherry-pick "*) echo "out.flush" >> REPL/Main.lean ;;
  "lake build")
    mkdir -p .lake/build/bin
    cp "$0" .lake/build/bin/repl
    ;;
  "lake env printenv LEAN_PATH")
    aesop=././.lake/packages/aesop/.lake/build/lib
    echo "$aesop:/else where/lib:.lake/build/lib"
    ;;
  "lake exe cache get") [ ! -e "$FAKES/no_cache" ] || exit 1 ;;
  "lean --print-prefix") echo "/toolchains/lean" ;;
  "df "*)
    echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
    echo "/dev/x 99999999 1 ${FREE_KB:-20971520} 1% /"
    ;;
esac
"""


@pytest.fixture
def fakes(tmp_path):
  folder = tmp_path / "fakes"
  folder.mkdir()
  for name in ("curl", "git", "df", "python"):
    (folder / name).write_text(FAKE)
    (folder / name).chmod(0o755)
  return folder


def install(fakes, *arguments, **env):
  (fakes / "log").write_text("")
  done = subprocess.run(
    ["/bin/sh", SCRIPT, *map(str, arguments)],
    capture_output=True,
    text=True,
    timeout=60,
    env={
      "PATH": f"{fakes}:{os.environ['PATH']}",
      "HOME": str(fakes.parent),
      "FAKES": str(fakes),
      "PYTHON": str(fakes / "python"),
      **env,
    },
  )
  calls = (fakes / "log").read_text().splitlines()
  return done, [call for call in calls if not call.startswith("df ")]


def test_the_whole_way(fakes, tmp_path):
  prefix = tmp_path / "lean"
  done, calls = install(fakes, prefix, "4.15.0")
  assert done.returncode == 0, done.stderr
  mathlib, repl = prefix / "mathlib4-v4.15.0", prefix / "repl-v4.15.0"
  lean_path = (
    f"{mathlib}/./.lake/packages/aesop/.lake/build/lib:/else where/lib:"
    f"{mathlib}/.lake/build/lib"
  )
  binary = f"{repl}/.lake/build/bin/repl"
  clone = "git clone --quiet --depth 1 --branch v4.15.0 https://github.com"
  assert calls == [
    "curl --proto =https --tlsv1.2 -sSfL "
    f"https://elan.lean-lang.org/elan-init.sh -o {prefix}/elan-init.sh",
    "elan-init -y --no-modify-path --default-toolchain none",
    "elan toolchain list",
    "elan toolchain install leanprover/lean4:v4.15.0",
    f"{clone}/leanprover-community/mathlib4 {mathlib}.partial",
    "lake exe cache get",
    "lake build Mathlib",
    f"{clone}/leanprover-community/repl {repl}.partial",
    "lake build",
    "lake env printenv LEAN_PATH",
    "lean --print-prefix",
    "python -m kimina_jax.check --doctor --config.checker.backend=repl "
    f"--config.checker.command={binary} "
    f"--config.checker.lean_path={lean_path} LEAN_SYSROOT=/toolchains/lean",
  ]
  assert f'\n  config.checker.command = "{binary}"\n' in done.stdout
  assert f'\n  config.checker.lean_path = "{lean_path}"\n' in done.stdout
  assert '\n  config.checker.backend = "repl"\n' in done.stdout
  assert "export LEAN_SYSROOT='/toolchains/lean'\n" in done.stdout
  assert not list(prefix.glob("*.partial")) + list(prefix.glob("*.sh"))


def test_again_it_installs_nothing(fakes, tmp_path):
  first, _ = install(fakes, tmp_path / "lean")
  # No room is needed any more.
  again, calls = install(fakes, tmp_path / "lean", FREE_KB="1")
  assert again.returncode == 0
  assert again.stdout == first.stdout
  assert [call.split()[0] for call in calls] == [
    *("elan", "lake", "lake", "lean", "python")
  ]


def test_after_a_failure_it_goes_on(fakes, tmp_path):
  (fakes / "no_cache").touch()
  done, calls = install(fakes, tmp_path / "lean")
  assert done.returncode == 1 and calls[-1] == "lake exe cache get"
  (fakes / "no_cache").unlink()
  done, calls = install(fakes, tmp_path / "lean")
  assert done.returncode == 0
  names = [call.split(" https")[0].split(" -o")[0] for call in calls]
  assert names[:4] == [
    "elan toolchain list",
    "lake exe cache get",
    "lake build Mathlib",
    "git clone --quiet --depth 1 --branch v4.15.0",
  ]


def test_versions_stand_beside_each_other(fakes, tmp_path):
  install(fakes, tmp_path / "lean")
  done, calls = install(fakes, tmp_path / "lean", "v4.16.0")
  assert done.returncode == 0
  assert "elan toolchain install leanprover/lean4:v4.16.0" in calls
  assert (tmp_path / "lean" / "repl-v4.15.0").is_dir()
  assert f"{tmp_path}/lean/repl-v4.16.0/.lake/build/bin/repl" in calls[-1]


def test_an_old_repl_is_mended_once(fakes, tmp_path):
  _, calls = install(fakes, tmp_path / "lean", "v4.9.0")
  mended = [c for c in calls if "4fc1e6d1dda170e8f0a6b698dd5f7e17a9cf52b4" in c]
  assert [call.split()[1] for call in mended] == ["fetch", "cherry-pick"]
  assert calls.index(mended[1]) < calls.index("lake build")
  _, calls = install(fakes, tmp_path / "lean", "v4.9.0")
  assert not any("cherry-pick" in call for call in calls)


@pytest.mark.parametrize(
  ("arguments", "env", "words"),
  [
    (["{prefix} x"], {}, "p x has a character that command lines"),
    (["{prefix}", "5.0.0"], {}, "version 'v5.0.0' is not like v4.15.0"),
    (["{prefix}", "latest"], {}, "version 'vlatest' is not like"),
    (["{prefix}", "v4.99.0"], {}, "mathlib4 has no version v4.99.0"),
    (["{prefix}"], {"FREE_KB": "5242880"}, "5 GB free, and about 10 GB"),
    (["{prefix}", "4.15.0", "x"], {}, "too many arguments"),
    (["--help"], {}, "usage: launch/install_lean.sh [PREFIX] [VERSION]"),
  ],
)
def test_one_line_and_exit_code_1(fakes, tmp_path, arguments, env, words):
  arguments = [a.replace("{prefix}", str(tmp_path / "p")) for a in arguments]
  done, calls = install(fakes, *arguments, **env)
  assert done.returncode == 1
  assert words in done.stderr and done.stderr.count("\n") == 1
  assert not any("kimina_jax" in call for call in calls)


@pytest.mark.parametrize("program", ["curl", "git"])
def test_a_program_that_is_missing_is_named(fakes, tmp_path, program):
  (fakes / program).unlink()
  done, calls = install(fakes, tmp_path / "lean", PATH=str(fakes))
  assert done.returncode == 1 and calls == []
  assert done.stderr == f"error: {program} is not on PATH; install it first\n"
