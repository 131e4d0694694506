"""Fetch data sets and weights: python tools/download.py kvasir-seg sam_vit_b."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gps_seg.cli.download import main

raise SystemExit(main())
