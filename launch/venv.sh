# Sourced by the scripts beside it.

# make_venv [test|tpu|cuda]: makes .venv once, installs this checkout with the
# given extra, and activates it.
make_venv() {
  local extra="${1:-}"
  local stamp=".venv/.installed-${extra:-base}"
  [ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
  source .venv/bin/activate
  python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: Python 3.11 or newer is needed, $(python --version) found;" \
      "remove .venv and set PYTHON=/path/to/python3.11" >&2
    return 1
  }
  if [ setup.py -nt "$stamp" ]; then
    echo "Installing into .venv …"
    python -m pip install --quiet --disable-pip-version-check \
      --editable ".${extra:+[$extra]}"
    touch "$stamp"
  fi
}
