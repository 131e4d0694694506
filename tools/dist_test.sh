#!/usr/bin/env bash
# Score weights with one process for each GPU; on a machine without GPUs the processes share the CPU.
#   tools/dist_test.sh CONFIG WEIGHTS GPUS [arguments of test.py]
# On several machines, start it on each: NNODES=2 NODE_RANK=0 MASTER_ADDR=first-machine PORT=29500.
set -euo pipefail
if (($# < 3)); then
    echo "usage: $0 CONFIG WEIGHTS GPUS [arguments of test.py]" >&2
    exit 2
fi
config=$1 weights=$2 gpus=$3
exec "$(dirname "$0")/dist_run.sh" test.py "$config" "$gpus" "$weights" "${@:4}"
