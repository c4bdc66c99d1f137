# Sourced: makes .venv once, installs this checkout and the given extra.
#   source launch/venv.sh [test|tpu|cuda]
extra="${1:-}"
stamp=".venv/.installed-${extra:-base}"
[ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
source .venv/bin/activate
python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "error: Python 3.11 or newer is needed, $(python --version) found;" \
    "set PYTHON=/path/to/python3.11 and remove .venv" >&2
  exit 1
}
if [ setup.py -nt "$stamp" ]; then
  echo "Installing into .venv …"
  python -m pip install --quiet --disable-pip-version-check \
    --editable ".${extra:+[$extra]}"
  touch "$stamp"
fi
