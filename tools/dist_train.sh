#!/usr/bin/env bash
# Train with one process for each GPU; on a machine without GPUs the processes share the CPU.
#   tools/dist_train.sh CONFIG GPUS [arguments of train.py]
# On several machines, start it on each: NNODES=2 NODE_RANK=0 MASTER_ADDR=first-machine PORT=29500.
set -euo pipefail
exec "$(dirname "$0")/dist_run.sh" train.py "$@"
