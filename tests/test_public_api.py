"""What `import gps_seg` offers, and what it needs."""

import subprocess
import sys

import gps_seg

WITHOUT_THE_MM_FAMILY = """
import sys
sys.modules.update(dict.fromkeys(['mmengine', 'mmcv', 'mmseg']))
import gps_seg, gps_seg.selection, gps_seg.sparse, gps_seg.delta, gps_seg.methods
print(gps_seg.__version__)
"""


def test_every_public_name_exists_and_is_documented() -> None:
    for name in gps_seg.__all__:
        value = getattr(gps_seg, name)
        if callable(value):
            assert value.__doc__, f'gps_seg.{name} has no docstring'


def test_public_names_are_listed_once() -> None:
    assert len(set(gps_seg.__all__)) == len(gps_seg.__all__)


def test_the_core_imports_where_the_mm_family_is_not_installed() -> None:
    run = subprocess.run(
        [sys.executable, '-W', 'error', '-c', WITHOUT_THE_MM_FAMILY],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == gps_seg.__version__
