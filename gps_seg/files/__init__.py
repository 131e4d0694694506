"""Reading and writing tensor files: never half a file, never a pickle that runs code.

Every file of this toolkit knows when it is damaged.
"""

from gps_seg.files.atomic import remove_leftovers, write_atomically, write_content
from gps_seg.files.digests import add_tensor, tensor_digest
from gps_seg.files.errors import NotWritten
from gps_seg.files.folder_lock import (
    LOCK,
    FolderInUse,
    folders_released,
    lock_folder,
    release_folders,
)
from gps_seg.files.folders import copy_over, move_over, num_bytes, remove, write_folder
from gps_seg.files.formats import load_as, save_as
from gps_seg.files.processes import is_here, is_running, this_process
from gps_seg.files.seals import is_sealed, seal
from gps_seg.files.tensors import load_tensors, save_tensors
from gps_seg.files.weights import SEALED, WRAPPER_KEYS, load_pickle, read_weights

__all__ = [
    'LOCK',
    'SEALED',
    'WRAPPER_KEYS',
    'FolderInUse',
    'NotWritten',
    'add_tensor',
    'copy_over',
    'folders_released',
    'is_here',
    'is_running',
    'is_sealed',
    'load_as',
    'load_pickle',
    'load_tensors',
    'lock_folder',
    'move_over',
    'num_bytes',
    'read_weights',
    'release_folders',
    'remove',
    'remove_leftovers',
    'save_as',
    'save_tensors',
    'seal',
    'tensor_digest',
    'this_process',
    'write_atomically',
    'write_content',
    'write_folder',
]
