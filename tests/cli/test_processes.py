"""What the commands for several processes read from their launcher, and refuse."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from gps_seg.cli.processes import (
    add_launcher,
    check_gpu,
    disconnect_processes,
    name_places,
    prepare_processes,
    refuse_sharding,
)

PLACE = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which no launcher has said anything; it is put back afterwards."""
    for name in PLACE:
        # Set first, so that also what the code under test sets is taken back.
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    return monkeypatch


def place() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in PLACE}


def test_slurm_and_mpi_name_the_place_of_a_process(environment: pytest.MonkeyPatch) -> None:
    environment.setenv('MASTER_ADDR', 'first')
    for name, value in (('PROCID', '5'), ('LOCALID', '1'), ('NTASKS', '8')):
        environment.setenv(f'SLURM_{name}', value)
    for name, value in (('RANK', '3'), ('LOCAL_RANK', '2'), ('SIZE', '4')):
        environment.setenv(f'OMPI_COMM_WORLD_{name}', value)
    name_places('slurm')
    assert list(place().values()) == ['5', '1', '8', 'first', '29500']
    name_places('mpi')
    assert list(place().values()) == ['3', '2', '4', 'first', '29500']


def test_what_no_launcher_has_set_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv('RANK', '0')
    with pytest.raises(ValueError, match=r'pytorch: LOCAL_RANK, WORLD_SIZE, MASTER_ADDR is not'):
        prepare_processes(Config(), 'pytorch')
    with pytest.raises(ValueError, match=r'tools/dist_train\.sh CONFIG GPUS'):
        prepare_processes(Config(), 'pytorch', local_rank='0')


def test_more_processes_than_gpus_are_refused() -> None:
    check_gpu(1, 2)
    with pytest.raises(ValueError, match='process 3 of this machine finds 2 GPUs; start at most 2'):
        check_gpu(2, 2)


@pytest.mark.parametrize(
    'config',
    [
        dict(model_wrapper_cfg=dict(type='MMFullyShardedDataParallel')),
        dict(runner_type='FlexibleRunner', strategy=dict(type='FSDPStrategy')),
    ],
)
def test_sharding_is_refused_where_a_config_asks_for_it(config: dict) -> None:
    with pytest.raises(ValueError, match=r'cannot train selected entries \(docs/distributed\.md'):
        refuse_sharding(Config(config))


def test_other_wrappers_are_not_refused() -> None:
    refuse_sharding(Config(dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel'))))
    refuse_sharding(Config())


def test_old_and_new_spellings_of_the_local_rank_are_taken() -> None:
    parser = argparse.ArgumentParser()
    add_launcher(parser)
    for flag in ('--local_rank', '--local-rank'):
        assert parser.parse_args([flag, '1']).local_rank == '1'


def test_disconnecting_ends_the_connection_and_needs_none(tmp_path: Path) -> None:
    disconnect_processes()
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1
    )
    disconnect_processes()
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize('ranks, torn_down', [('2', False), ('1', True)])
def test_a_rank_leaves_with_its_code_and_without_the_teardown_of_libraries(
    ranks: str, torn_down: bool
) -> None:
    # Modules are cleared in the teardown alone, after what was registered for the exit.
    command = (
        'import atexit, sys\n'
        'from gps_seg.cli.processes import leave\n'
        'class Last:\n'
        '    def __del__(self, write=sys.__stderr__.write):\n'
        "        write('torn down')\n"
        'last = Last()\n'
        "atexit.register(print, 'registered')\n"
        'leave(3)\n'
    )
    environment = {**os.environ, 'WORLD_SIZE': ranks}
    done = subprocess.run(
        [sys.executable, '-c', command], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1] == 'registered'
    assert ('torn down' in done.stderr) == torn_down
