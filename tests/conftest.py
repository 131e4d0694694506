"""What every test starts from: no network, one thread, the CPU, fixed seeds."""

import os

# Before torch, mmengine, albumentations and matplotlib are imported; child processes inherit it.
os.environ['OMP_NUM_THREADS'] = '1'
os.environ['NO_ALBUMENTATIONS_UPDATE'] = '1'
os.environ['HF_HUB_OFFLINE'] = '1'
os.environ['MPLBACKEND'] = 'Agg'
# The tests must mean the same everywhere; a GPU is used only where the caller offers one.
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')

import gc
import ipaddress
import random
import socket
import sys
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


@pytest.fixture(scope='session', autouse=True)
def modules_kept_from_the_collector() -> None:
    """Leave what the imports made out of every collection of garbage: MMEngine's data sets ask for
    one each, which takes a third of a second with all modules loaded.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session', autouse=True)
def configs_formatted_once() -> Iterator[None]:
    """Format the text of a config once, not at each of the five places where MMEngine asks for it.

    It is most of the time of a small training.
    """
    from yapf.yapflib import yapf_api

    formatted: dict[str, Any] = {}
    format_code = yapf_api.FormatCode

    def format_once(text: str, **options: Any) -> Any:
        if text not in formatted:
            formatted[text] = format_code(text, **options)
        return formatted[text]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, 'FormatCode', format_once)
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


@pytest.fixture(autouse=True)
def own_default_scope() -> Iterator[None]:
    """Forget the registry scope that a runner of this test made the default."""
    yield
    if 'mmengine' in sys.modules:
        sys.modules['mmengine'].DefaultScope._instance_dict.clear()


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
