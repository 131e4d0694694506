"""Predict masks: python tools/predict.py work_dirs/polyps images --out masks."""

import sys
from pathlib import Path

# Not tools/ itself, whose select.py would hide the module of that name in the standard library.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gps_seg.cli.predict import main

raise SystemExit(main())
