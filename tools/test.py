"""Score a checkpoint or a delta: python tools/test.py CONFIG WEIGHTS."""

import sys
from pathlib import Path

# Not tools/ itself, whose select.py would hide the module of that name in the standard library.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gps_seg.cli.processes import leave
from gps_seg.cli.test import main

leave(main())
