"""Fine-tune a small SAM on drawn polyps: python tools/demo.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gps_seg.cli.demo import main

raise SystemExit(main())
