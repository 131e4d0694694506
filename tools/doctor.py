"""Check the installation, the data and the weights: python tools/doctor.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gps_seg.cli.doctor import main

raise SystemExit(main())
