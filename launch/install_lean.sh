#!/bin/sh
# Installs Lean, Mathlib and the REPL for the checker; needs a network.
#   ./launch/install_lean.sh [PREFIX] [VERSION]
#   ./launch/install_lean.sh /data/lean v4.15.0     (~/.kimina_jax/lean, v4.15.0)
# Installs everything into PREFIX, except Mathlib's downloads, which Lake keeps
# in ~/.cache/mathlib. Parts that are installed already are not changed: run it
# again after a failure, or with another VERSION beside the first. Prints the
# lines of the configuration that use it, then runs the checker's doctor.
set -eu

needs_gb=10
elan_url=https://elan.lean-lang.org/elan-init.sh
mathlib_url=https://github.com/leanprover-community/mathlib4
repl_url=https://github.com/leanprover-community/repl
# Before v4.10.0 the REPL does not flush the end of its replies, so that a reader
# of a pipe waits for ever. This commit of its repository flushes.
flush_commit=4fc1e6d1dda170e8f0a6b698dd5f7e17a9cf52b4

fail() {
  echo "error: $*" >&2
  exit 1
}

case "${1:-}" in
  -*)
    echo "usage: launch/install_lean.sh [PREFIX] [VERSION]" >&2
    exit 1
    ;;
esac
[ $# -le 2 ] || fail "too many arguments; name a directory and a version of Lean"
prefix="${1:-$HOME/.kimina_jax/lean}"
version="${2:-v4.15.0}"
version="v${version#v}"
case "$version" in
  v4.[0-9]*.[0-9]*) ;;
  *) fail "version '$version' is not like v4.15.0" ;;
esac
for program in curl git; do
  command -v "$program" >/dev/null 2>&1 ||
    fail "$program is not on PATH; install it first"
done

mkdir -p "$prefix" || fail "cannot make $prefix; name another directory"
prefix="$(cd "$prefix" && pwd)"
case "$prefix" in
  *[[:space:]:\"\']*)
    fail "$prefix has a character that command lines and LEAN_PATH split at"
    ;;
esac
mathlib="$prefix/mathlib4-$version"
repl="$prefix/repl-$version"
done_mark="$prefix/.installed-$version"
if ! [ -e "$done_mark" ]; then
  free_gb="$(df -Pk "$prefix" | awk 'NR == 2 {print int($4 / 1048576)}')"
  [ "$free_gb" -ge "$needs_gb" ] ||
    fail "$prefix has $free_gb GB free, and about $needs_gb GB are needed"
fi

echo "Installing into $prefix, if it is not there yet:"
echo "  elan, the manager of Lean's versions   $elan_url"
echo "  Lean $version                          about 2 GB"
echo "  Mathlib $version, compiled             $mathlib_url, about 6 GB"
echo "  the REPL, built from $version          $repl_url"

export ELAN_HOME="$prefix/elan"
export PATH="$ELAN_HOME/bin:$PATH"
unset LEAN_PATH LEAN_SYSROOT
if ! [ -x "$ELAN_HOME/bin/elan" ]; then
  curl --proto '=https' --tlsv1.2 -sSfL "$elan_url" -o "$prefix/elan-init.sh"
  sh "$prefix/elan-init.sh" -y --no-modify-path --default-toolchain none
  rm "$prefix/elan-init.sh"
fi
toolchain="leanprover/lean4:$version"
elan toolchain list | grep -q "^$toolchain\( \|\$\)" ||
  elan toolchain install "$toolchain"

# clone URL DIRECTORY: clones a repository; leaves nothing if it fails.
clone() {
  [ -d "$2" ] && return
  rm -rf "$2.partial"
  git clone --quiet --depth 1 --branch "$version" "$1" "$2.partial" ||
    fail "$1 has no version $version; choose another one"
  grep -q "lean4:$version\$" "$2.partial/lean-toolchain" ||
    fail "$1 is built with $(cat "$2.partial/lean-toolchain") at $version"
  mv "$2.partial" "$2"
}

clone "$mathlib_url" "$mathlib"
if ! [ -e "$done_mark" ]; then
  (cd "$mathlib" && lake exe cache get && lake build Mathlib)
fi

clone "$repl_url" "$repl"
if ! grep -q flush "$repl/REPL/Main.lean"; then
  (
    cd "$repl" &&
      git fetch --quiet --depth 2 origin "$flush_commit" &&
      git cherry-pick --no-commit "$flush_commit"
  ) || fail "cannot patch the REPL of $version; choose v4.10.0 or later"
fi
(cd "$repl" && lake build)
binary="$repl/.lake/build/bin/repl"
[ -x "$binary" ] || fail "lake build made no $binary"

# Lake may print paths relative to Mathlib's directory; workers run elsewhere.
lean_path="$(cd "$mathlib" && lake env printenv LEAN_PATH | tr ':' '\n' |
  while read -r place; do
    case "$place" in
      "") ;;
      /*) printf ':%s' "$place" ;;
      *) printf ':%s/%s' "$mathlib" "${place#./}" ;;
    esac
  done)"
lean_path="${lean_path#:}"
sysroot="$(cd "$mathlib" && lean --print-prefix)"
touch "$done_mark"

cat <<END

Lean $version is installed. In the environment of every run:
  export LEAN_SYSROOT='$sysroot'
and in its configuration:
  config.checker.backend = "repl"
  config.checker.command = "$binary"
  config.checker.lean_path = "$lean_path"
or, for each of them, --config.checker.backend=repl and so on.

Testing the checker:
END
cd "$(dirname "$0")/.."
python="${PYTHON:-.venv/bin/python}"
[ -n "${PYTHON:-}" ] || [ -x "$python" ] || python=python3
export LEAN_SYSROOT="$sysroot"
exec "$python" -m kimina_jax.check --doctor \
  --config.checker.backend=repl "--config.checker.command=$binary" \
  "--config.checker.lean_path=$lean_path"
