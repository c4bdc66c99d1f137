#!/usr/bin/env bash
# The whole pipeline on the embedded default: supervised start, reinforcement
# learning against the checker, evaluation. Resumes where it was stopped.
#   ./launch/demo.sh [--config.seed=1 …]      (flags go to each of the stages)
#   RUN=runs/other ./launch/demo.sh           (another directory)
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/venv.sh
case " $* " in *" --help "* | *" -h "*) usage && exit ;; esac
make_venv minilean
run="${RUN:-runs/demo}"
# The model is tiny, so a CPU is enough. Without this, an installed libtpu (the
# tests need it) would print warnings.
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"

echo "Supervised cold start on generated proofs, in $run/sft"
kimina sft --config=debug --run_dir="$run/sft" "$@"

echo "Reinforcement learning against the checker, in $run/rl"
kimina train --config=debug --run_dir="$run/rl" \
  --config.init_from="$run/sft" "$@"

step="$(ls "$run/rl/checkpoints" | sort -n | tail -1)"
echo "pass@k on held-out problems after $step iterations, in $run/eval_$step"
kimina evaluate --config=debug --run_dir="$run/eval_$step" \
  --checkpoint="$run/rl" --config.eval.num_samples=8 \
  --config.eval.ks='(1, 8)' "$@"

echo "Read $run/rl/report.html, $run/rl/rollouts.jsonl, $run/rl/checkpoints"
