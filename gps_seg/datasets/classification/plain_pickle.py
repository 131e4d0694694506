"""Pickles of numbers alone: reading one runs none of its code."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np


def _encode(text: str, encoding: str) -> bytes:
    """Bytes as Python 3 writes them into old pickles."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'text in {encoding}')
    return text.encode('latin1')


# What arrays, and bytes of old protocols, are made by; their modules before and since NumPy 2.
_ALLOWED: dict[tuple[str, str], Any] = {
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('_codecs', 'encode'): _encode,
}
for _core in ('core', '_core'):
    _ALLOWED[f'numpy.{_core}.multiarray', '_reconstruct'] = np.zeros(1).__reduce__()[0]
    _ALLOWED[f'numpy.{_core}.numeric', '_frombuffer'] = np.zeros(1).__reduce_ex__(5)[0]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f'it asks for {module}.{name}, which is no part of a table of numbers'
            ) from None


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle of dicts, lists, text, bytes, numbers and NumPy arrays.

    Raises ValueError, naming the file, where it holds anything else: a pickle can run any code.
    """
    try:
        with path.open('rb') as file:
            return _Unpickler(file, encoding='latin1').load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError) as error:
        raise ValueError(f'{path} is not read: {error}; fetch it again from its source') from error
    except (TypeError, ValueError, ImportError) as error:
        raise ValueError(f'{path} is damaged: {error}; fetch it again from its source') from error
