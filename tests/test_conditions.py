"""What tests/conftest.py promises to every test."""

import os
import random
import socket
import warnings

import numpy as np
import pytest
import torch

from gps_seg.data_root import data_root


def test_a_connection_that_leaves_the_machine_is_refused() -> None:
    with socket.socket() as client, pytest.raises(RuntimeError, match='without a network'):
        client.connect(('192.0.2.1', 80))


def test_a_local_server_can_be_reached() -> None:
    with (
        socket.create_server(('127.0.0.1', 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getpeername() == server.getsockname()


def test_the_data_of_the_user_is_hidden() -> None:
    assert 'GPS_SEG_DATA' not in os.environ
    assert str(data_root()) == 'data'


@pytest.mark.parametrize('time', ['first', 'second'])
def test_every_test_starts_from_the_same_seeds(time: str) -> None:
    assert random.random() == random.Random(0).random()
    assert np.random.rand() == np.random.RandomState(0).rand()
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))


def test_a_warning_is_an_error() -> None:
    with pytest.raises(UserWarning, match='careless'):
        warnings.warn('careless', UserWarning, stacklevel=1)


def test_torch_runs_on_one_thread() -> None:
    assert torch.get_num_threads() == 1
