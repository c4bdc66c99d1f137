#!/usr/bin/env bash
# Runs a command as N processes on this machine, connected as on a pod:
#   ./launch/local_pod.sh N train --config=debug --run_dir=runs/pod
#   DEVICES=4 ./launch/local_pod.sh 2 sft --config=…    (4 CPU devices each)
# Lines are prefixed with the number of their process. Ctrl-C and SIGTERM are
# passed on to every process; when one fails, the others are ended. The exit
# code is the first that is not 0.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 2 ] || ! [ "$1" -ge 1 ] 2>/dev/null; then
  echo "usage: launch/local_pod.sh NUM_PROCESSES COMMAND [--flag=value …]" >&2
  exit 1
fi
num_processes=$1 entry=$2
shift 2
if [ -n "${DEVICES:-}" ]; then
  export JAX_PLATFORMS=cpu
  export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$DEVICES"
fi
python="${PYTHON:-python}"
port="$("$python" -c 'import socket
with socket.socket() as s: s.bind(("", 0)); print(s.getsockname()[1])')"

mark() { sed -u "/is connected to [0-9]* peer ranks/d; s/^/[$1] /"; }

# Each process has a session of its own, so that Ctrl-C reaches it once, from this
# script; a second signal would kill it. (`set -m` would do, but prints messages.)
pids=()
for ((i = 0; i < num_processes; i++)); do
  setsid "$python" -u -m "kimina_jax.$entry" --coordinator="localhost:$port" \
    --num_processes="$num_processes" --process_id="$i" "$@" \
    > >(mark "$i") 2> >(mark "$i" >&2) &
  pids+=($!)
done
forward() { kill "-$1" "${pids[@]}" 2>/dev/null || true; }
trap 'forward TERM' TERM
trap 'forward INT' INT

# The other processes notice a failure themselves, within a minute; those that
# have not ended by then are killed here.
code=0 running=$num_processes
while [ "$running" -gt 0 ]; do
  ended=0
  wait -n -p pid "${pids[@]}" ${timer:+"$timer"} || ended=$?
  [ -n "${pid:-}" ] || continue # a signal came, and was passed on
  if [ "$pid" = "${timer:-}" ]; then
    forward KILL
    timer=""
    continue
  fi
  running=$((running - 1))
  for i in "${!pids[@]}"; do
    [ "${pids[$i]}" != "$pid" ] || { process=$i && unset "pids[$i]"; }
  done
  if [ "$ended" -ne 0 ] && [ "$code" -eq 0 ]; then
    code=$ended
    echo "process $process ended with code $ended" >&2
    sleep 60 &
    timer=$!
  fi
done
[ -z "${timer:-}" ] || kill "$timer" 2>/dev/null || true
exit "$code"
