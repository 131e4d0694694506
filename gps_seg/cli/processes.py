"""Commands that run in several processes, one for each GPU, or on the CPU."""

import argparse
import atexit
import os
import sys
from typing import NoReturn

import torch
from mmengine.config import Config
from mmengine.dist import init_dist

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# What torch reads of a process's place, and where the launchers say it.
PLACES = {
    'slurm': {
        'RANK': 'SLURM_PROCID',
        'LOCAL_RANK': 'SLURM_LOCALID',
        'WORLD_SIZE': 'SLURM_NTASKS',
    },
    'mpi': {
        'RANK': 'OMPI_COMM_WORLD_RANK',
        'LOCAL_RANK': 'OMPI_COMM_WORLD_LOCAL_RANK',
        'WORLD_SIZE': 'OMPI_COMM_WORLD_SIZE',
    },
}


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """The flags of MMSegmentation's commands for several processes."""
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='what started the processes of a training on several GPUs (default: none)',
    )
    # Given by old launchers; torchrun sets the environment variable.
    parser.add_argument('--local_rank', '--local-rank', help=argparse.SUPPRESS)


def prepare_processes(
    config: Config, launcher: str = 'pytorch', *, local_rank: str | None = None
) -> None:
    """Let MMEngine connect the processes through NCCL; on a machine without GPUs, through gloo.

    Raises ValueError where this process was not started by the launcher, or has no GPU of its own.
    """
    refuse_sharding(config)
    if local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', local_rank)
    name_places(launcher)
    if torch.cuda.is_available():
        check_gpu(int(os.environ['LOCAL_RANK']), torch.cuda.device_count())
        return
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    config.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=config.get('find_unused_parameters', False),
    )


def connect_processes(config: Config, launcher: str, *, local_rank: str | None = None) -> None:
    """Connect the processes without a runner. Raises what `prepare_processes` does."""
    prepare_processes(config, launcher, local_rank=local_rank)
    if not torch.distributed.is_initialized():
        init_dist(launcher, **config.get('env_cfg', {}).get('dist_cfg', {}))


def disconnect_processes() -> None:
    """Wait for the other ranks, then end the connection; without one, nothing is done.

    A rank that leaves with threads of an open connection may abort while it exits, and torchrun
    then kills those that still write their results.
    """
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def leave(code: int) -> NoReturn:
    """End the program with an exit code.

    One of several ranks leaves without the teardown of its libraries: threads of torch's may abort
    it there, now and then, after all is written, and torchrun then calls the run failed.
    """
    if int(os.environ.get('WORLD_SIZE', '1')) > 1:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


def refuse_sharding(config: Config) -> None:
    """Raise ValueError where the config shards the model or asks for MMEngine's strategies."""
    wrapper = (config.get('model_wrapper_cfg') or {}).get('type', '')
    asked = wrapper if 'FullySharded' in str(wrapper) else config.get('strategy')
    if asked:
        raise ValueError(
            f'{asked} cannot train selected entries (docs/distributed.md says why); leave out '
            'model_wrapper_cfg and strategy: only what is trained is reduced over the ranks'
        )


def name_places(launcher: str) -> None:
    """Set the variables that torch reads from those of the launcher."""
    for name, source in PLACES.get(launcher, {}).items():
        if source in os.environ:
            os.environ[name] = os.environ[source]
    needed = ['RANK', 'LOCAL_RANK', 'WORLD_SIZE']
    if launcher != 'slurm' or not torch.cuda.is_available():
        # With GPUs, MMEngine finds Slurm's first node by itself.
        needed.append('MASTER_ADDR')
    missing = [name for name in needed if name not in os.environ]
    if missing:
        raise ValueError(
            f'--launcher {launcher}: {", ".join(missing)} is not set, so nothing has started the '
            'processes; use tools/dist_train.sh CONFIG GPUS, torchrun, srun or mpirun (with '
            'MASTER_ADDR set to the first machine)'
        )
    os.environ.setdefault('MASTER_PORT', '29500')


def check_gpu(local_rank: int, num_gpus: int) -> None:
    """Raise ValueError where this process has no GPU of its own."""
    if local_rank >= num_gpus:
        raise ValueError(
            f'process {local_rank + 1} of this machine finds {num_gpus} GPUs; start at most '
            f'{num_gpus} processes, or hide the GPUs to use the CPU: CUDA_VISIBLE_DEVICES=""'
        )
