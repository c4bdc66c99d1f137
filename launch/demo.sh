#!/usr/bin/env bash
# The main job on the embedded default: supervised start, reinforcement
# learning against the checker, evaluation. Goes on from where it stopped.
#   ./launch/demo.sh [--config.seed=1 …]      (further flags go to each stage)
#   RUN=runs/other ./launch/demo.sh           (another directory)
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/venv.sh
make_venv
run="${RUN:-runs/demo}"
config=debug
# The model is tiny: a CPU is enough, and the TPU's compiler, which the tests
# install, stays silent.
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"

echo "Supervised start: the pattern of a proof, in $run/sft"
python -m kimina_jax.sft --config=$config --run_dir="$run/sft" "$@"

echo "Reinforcement learning against the checker, in $run/rl"
python -m kimina_jax.train --config=$config --run_dir="$run/rl" \
  --config.init_from="$run/sft" "$@"

step="$(ls "$run/rl/checkpoints" | sort -n | tail -1)"
echo "pass@k on held-out problems after $step iterations, in $run/eval_$step"
python -m kimina_jax.evaluate --config=$config --run_dir="$run/eval_$step" \
  --checkpoint="$run/rl" --config.eval.num_samples=8 \
  --config.eval.ks='(1, 8)' "$@"

echo "Read $run/rl/report.html, $run/rl/rollouts.jsonl, $run/rl/checkpoints"
