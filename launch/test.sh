#!/usr/bin/env bash
# Installs into .venv and runs the tests; further arguments go to pytest.
#   ./launch/test.sh [tests/test_losses.py -k kimi …]
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/venv.sh
make_venv test
ruff check .
ruff format --check .
exec python -m pytest -n "${TEST_PROCESSES:-2}" "$@"
