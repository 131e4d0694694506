#!/usr/bin/env bash
# What dist_train.sh and dist_test.sh share: TOOL CONFIG GPUS [arguments] under torchrun.
set -euo pipefail
tool=$1
if (($# < 3)) || ! [[ $3 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: tools/dist_${tool%.py}.sh CONFIG GPUS [arguments of $tool]" >&2
    exit 2
fi
config=$2 gpus=$3
if ((${NNODES:-1} > 1)); then
    where=(--nnodes="$NNODES" --node_rank="${NODE_RANK:?names this machine, from 0 to NNODES - 1}"
        --master_addr="${MASTER_ADDR:?names the first machine}" --master_port="${PORT:-29500}")
elif [[ -n ${MASTER_ADDR:-}${PORT:-} ]]; then
    where=(--master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}")
else
    # A free port of torchrun's own choice, so that several trainings share a machine.
    where=(--standalone)
fi
# One thread for each process is what torchrun and MMEngine set too, but with warnings.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}
exec "${PYTHON:-python}" -m torch.distributed.run "${where[@]}" --nproc_per_node="$gpus" \
    "$(dirname "$0")/$tool" "$config" "${@:4}" --launcher pytorch
