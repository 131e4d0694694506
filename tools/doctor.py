"""Check the installation, the data and the weights: python tools/doctor.py."""

import sys
from pathlib import Path

# Not tools/ itself, whose select.py would hide the module of that name in the standard library.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gps_seg.cli.doctor import main

raise SystemExit(main())
