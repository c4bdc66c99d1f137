# Sourced by the scripts beside it.

# make_venv [EXTRA …]: makes .venv once, installs this checkout with the given
# extras (minilean, test, tpu, cuda, scale, wandb), and activates it.
make_venv() {
  local extras stamp
  extras="$(IFS=, && echo "$*")"
  stamp=".venv/.installed-${extras:-base}"
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
      --editable ".${extras:+[$extras]}"
    touch "$stamp"
  fi
}

# usage: prints the comment at the top of the script, as its --help.
usage() {
  awk 'NR > 1 && !/^#/ {exit} NR > 1 {sub(/^# ?/, ""); print}' "$0"
}
