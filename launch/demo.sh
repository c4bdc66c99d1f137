#!/usr/bin/env bash
# The main job on the embedded default: supervised start, reinforcement
# learning against the checker, report. Runs again from where it stopped.
#   ./launch/demo.sh [--config.seed=1 …]      (further flags go to both stages)
#   RUN=runs/other ./launch/demo.sh           (another directory)
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/venv.sh
run="${RUN:-runs/demo}"
python -m kimina_jax.sft --config=configs/debug.py --run_dir="$run/sft" "$@"
python -m kimina_jax.train --config=configs/debug.py --run_dir="$run/rl" \
  --config.init_from="$run/sft" "$@"
