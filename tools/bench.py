"""Make a comparison: python tools/bench.py run kvasir-tiny."""

import sys
from pathlib import Path

# Not tools/ itself, whose select.py would hide the module of that name in the standard library.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gps_seg.bench.command import main

raise SystemExit(main())
