#!/usr/bin/env bash
# Runs a command on every host of a TPU slice, from a machine with gcloud:
#   TPU=my-v5e-256 ZONE=us-west4-a ./launch/tpu_pod.sh train \
#     --config=rl_7b --run_dir=/mnt/shared/runs/rl_7b
# Before: the checkout at CODE (default ~/kimina_jax) on every host,
# there `python3 -m venv .venv && .venv/bin/pip install -e '.[tpu]'`, and
# --run_dir, weights and data on a file system that all hosts mount.
# After a failure start it again: the run resumes from its newest checkpoint.
set -euo pipefail
: "${TPU:?name of the TPU VM}" "${ZONE:?its zone}" "${1:?command, e.g. train}"

# On each host: its number and the address of host 0, from the TPU's metadata
# server. Endpoints are `…:…:IP`, separated by commas.
on_each_host='
cd "${CODE:-$HOME/kimina_jax}"
ask() {
  curl -sf -H "Metadata-Flavor: Google" \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}
IFS=, read -ra hosts <<< "$(ask worker-network-endpoints)"
entry=$1 && shift
exec .venv/bin/python -u -m "kimina_jax.$entry" "$@" \
  --coordinator="$(cut -d: -f3 <<< "${hosts[0]}"):8476" \
  --num_processes="${#hosts[@]}" --process_id="$(ask agent-worker-number)"
'
gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all \
  --command="CODE=$(printf %q "${CODE:-}") bash -c $(printf %q "$on_each_host") tpu_pod $(printf '%q ' "$@")"
