#!/usr/bin/env bash
# Installs into .venv, checks style and types, and runs the tests.
#   ./launch/test.sh [tests/test_losses.py -k kimi …]  (arguments go to pytest)
#   TEST_PROCESSES=8 ./launch/test.sh                  (3 by default, of which some wait)
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/venv.sh
case " $* " in *" --help "* | *" -h "*) usage && exit ;; esac
make_venv test
ruff check .
ruff format --check .
mypy
exec python -m pytest -n "${TEST_PROCESSES:-3}" --dist worksteal "$@"
