"""Score a checkpoint or a delta: python tools/test.py CONFIG WEIGHTS."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gps_seg.cli.test import main

raise SystemExit(main())
