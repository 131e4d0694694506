"""Fine-tune a model: python tools/train.py configs/gps_sam_kvasir.py."""

import sys
from pathlib import Path

# Not tools/ itself, whose select.py would hide the module of that name in the standard library.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gps_seg.cli.processes import leave
from gps_seg.cli.train import main

leave(main())
