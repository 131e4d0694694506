"""What every test starts from: no network, one thread, the CPU, fixed seeds."""

import os

# Before torch, mmengine, albumentations and matplotlib are imported; child processes inherit it.
os.environ['OMP_NUM_THREADS'] = '1'
os.environ['NO_ALBUMENTATIONS_UPDATE'] = '1'
os.environ['HF_HUB_OFFLINE'] = '1'
os.environ['MPLBACKEND'] = 'Agg'
# The tests must mean the same everywhere; a GPU is used only where the caller offers one.
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')

import ipaddress
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


def is_local(address: Any) -> bool:
    """Whether a socket address is this machine: a path, a loopback address or localhost."""
    if not isinstance(address, tuple):
        return True
    host = address[0]
    if host in ('', 'localhost', socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope='session', autouse=True)
def no_network() -> Iterator[None]:
    """Refuse connections that leave this machine, so that no test comes to need one."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        if not is_local(address):
            raise RuntimeError(f'a test tried to reach {address}; tests run without a network')
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, 'connect', connect_locally)
        yield


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Seed the global generators, so that a test's draws do not depend on the tests before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def own_data_root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the user's data from every test that does not ask for it."""
    if request.node.get_closest_marker('real_data') is None:
        monkeypatch.delenv('GPS_SEG_DATA', raising=False)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose data or device is not there."""
    if marker := item.get_closest_marker('real_data'):
        root = Path(os.environ.get('GPS_SEG_DATA') or 'data')
        for path in marker.args or ('Kvasir-SEG',):
            if not (root / path).exists():
                pytest.skip(f'no {root / path}; set GPS_SEG_DATA to the folder that has {path}')
    if item.get_closest_marker('gpu') and not torch.cuda.is_available():
        pytest.skip('no CUDA device offered; set CUDA_VISIBLE_DEVICES')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files with slow tests first, so that no worker is left with them at the end."""
    slow = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in slow)
