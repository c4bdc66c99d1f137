#!/bin/sh
# Compiles the statement and the proof with Lean, and runs a verifier of compiled
# files on them: SafeVerify on both, leanchecker (or lean4checker) on the proof
# alone.
#
#   sh launch/second_verifier.sh /path/to/safe_verify {target} {proof}
#   sh launch/second_verifier.sh /path/to/leanchecker {target} {proof}
#
# This is the value of checker.second_command, with the braces as they stand.
# Exit status: 0 the verifier agrees; 1 it refuses the proof, or Lean does not
# compile it; 2 the verifier failed. Needs `lean` on PATH and the imported
# libraries on LEAN_PATH; writes below $TMPDIR only, and calls no other program,
# because there is none in the sandbox.
set -u

if [ $# -ne 3 ]; then
  echo "usage: second_verifier.sh VERIFIER TARGET PROOF" >&2
  exit 2
fi
verifier=$1
scratch=${TMPDIR:-/tmp}

if ! lean -o "$scratch/Target.olean" "$2"; then
  echo "second_verifier.sh: the statement does not compile"
  exit 2
fi

lean -o "$scratch/Proof.olean" "$3"
case $? in
  0) ;;
  1)
    echo "second_verifier.sh: the proof does not compile"
    exit 1
    ;;
  *)
    echo "second_verifier.sh: lean crashed or was killed while it compiled the proof"
    exit 2
    ;;
esac

case $verifier in
  *leanchecker | *lean4checker)
    LEAN_PATH=$scratch${LEAN_PATH:+:$LEAN_PATH} "$verifier" Proof
    ;;
  *)
    "$verifier" "$scratch/Target.olean" "$scratch/Proof.olean"
    ;;
esac
case $? in
  0) exit 0 ;;
  1) exit 1 ;;
  *)
    echo "second_verifier.sh: the verifier ended without an answer"
    exit 2
    ;;
esac
