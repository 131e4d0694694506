"""Check images and masks: python tools/check.py --images data/images --masks data/masks."""

import sys
from pathlib import Path

# Not tools/ itself, whose select.py would hide the module of that name in the standard library.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gps_seg.cli.check import main

if __name__ == '__main__':
    raise SystemExit(main())
