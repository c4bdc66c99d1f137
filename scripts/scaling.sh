#!/usr/bin/env bash
# The rows of docs/scaling.md. Compiles for hours; resumes where it stopped.
#   ./scripts/scaling.sh                 (all)
#   ./scripts/scaling.sh 7b              (one model)
#   JOBS=2 OUT=runs/other.jsonl ./scripts/scaling.sh
#   PYTHON_OF_ROWS=python ./scripts/scaling.sh   (not from .venv)
# Then: python -m kimina_jax.scale --report --out=docs/scaling.jsonl
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/venv.sh
[ -n "${PYTHON_OF_ROWS:-}" ] || make_venv scale
out="${OUT:-docs/scaling.jsonl}"
models="${*:-1p5b 7b 72b}"

# rows MODEL TOPOLOGY [flags …]
rows() {
  local model="$1" topology="$2"
  shift 2
  [[ " $models " == *" $model "* ]] || return 0
  "${PYTHON_OF_ROWS:-python}" -m kimina_jax.scale --config="rl_$model" \
    --topology="$topology" --out="$out" --jobs="${JOBS:-1}" "$@"
}

# learn MODEL TOPOLOGY LENGTH ROWS MESH [MESH …]: a batch of that many rows;
# log-probs on the first mesh
learn() {
  local model="$1" topology="$2" length="$3" count="$4"
  shift 4
  rows "$model" "$topology" --program=update \
    --sequence_len="$length" --rows="$count" "${@/#/--mesh=}"
  rows "$model" "$topology" --program=logprobs \
    --sequence_len="$length" --rows="$count" --mesh="$1"
}

# As many rows as chips at 4096 tokens, fewer at 32768.
learn 1p5b v5e:4x4 4096 16 fsdp=16 fsdp=8,tensor=2
learn 1p5b v5e:8x8 4096 64 fsdp=64 fsdp=32,tensor=2
learn 1p5b v5e:4x4 32768 16 fsdp=16 fsdp=8,tensor=2 fsdp=8,context=2
learn 1p5b v5e:8x8 32768 64 fsdp=64 fsdp=32,tensor=2

rows 7b v5e:4x4 --program=update --sequence_len=4096 --rows=16 --mesh=fsdp=16
learn 7b v5e:8x8 4096 64 fsdp=64 fsdp=32,tensor=2 fsdp=16,tensor=4
learn 7b v5e:16x16 4096 256 fsdp=256 fsdp=128,tensor=2 fsdp=64,tensor=4
learn 7b v6e:16x16 4096 256 fsdp=256 fsdp=128,tensor=2 fsdp=64,tensor=4
learn 7b v5e:8x8 32768 32 fsdp=32,tensor=2 fsdp=32,context=2
learn 7b v5e:8x8 32768 16 fsdp=16,tensor=4 fsdp=16,context=2,tensor=2
learn 7b v5e:16x16 32768 64 fsdp=64,tensor=4 fsdp=64,context=2,tensor=2 \
  fsdp=64,context=4
learn 7b v6e:16x16 32768 64 fsdp=64,tensor=4 fsdp=64,context=2,tensor=2

learn 72b v5e:16x16 4096 64 fsdp=64,tensor=4 fsdp=32,tensor=8
learn 72b v5p:4x4x8 4096 128 fsdp=128 fsdp=32,tensor=4
learn 72b v5p:8x8x8 4096 512 fsdp=512 fsdp=128,tensor=4
learn 72b v5e:16x16 32768 32 fsdp=32,tensor=8 fsdp=32,context=2,tensor=4
learn 72b v5p:4x4x8 32768 32 fsdp=32,tensor=4
learn 72b v5p:8x8x8 32768 128 fsdp=128,tensor=4 fsdp=64,context=2,tensor=4 \
  fsdp=64,tensor=8

# The sampler as the experiments have it.
rows 1p5b v5e:4x4 --program=prefill,decode
rows 7b v5e:8x8 --program=prefill,decode
rows 72b v5p:4x4x8 --program=prefill,decode

# 64 slots of up to 32,768 positions; where the pages do not hold them all, as
# many positions per replica as fit. Then the weights move from the trainer's
# mesh to all replicas.
sampler="--program=prefill,decode --sequence_len=32768 --rows=64"
rows 1p5b v5e:2x4 $sampler --config.rollouts.tensor=1
rows 7b v5e:2x4 $sampler --config.rollouts.tensor=4 \
  --config.rollouts.cache_tokens=786432
rows 7b v6e:2x4 $sampler --config.rollouts.tensor=4
rows 72b v5p:2x2x2 $sampler --config.rollouts.tensor=8 \
  --config.rollouts.cache_tokens=1966080
rows 72b v5p:2x2x4 $sampler --config.rollouts.tensor=8
rows 1p5b v5e:8x8 --program=reshard --config.rollouts.tensor=1 --mesh=fsdp=64
rows 7b v5e:8x8 --program=reshard --config.rollouts.tensor=4 \
  --mesh=fsdp=32,tensor=2 --mesh=fsdp=16,tensor=4
rows 72b v5p:4x4x8 --program=reshard --config.rollouts.tensor=4 \
  --mesh=fsdp=32,tensor=4
