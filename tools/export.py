"""Write a tuned model as ONNX: python tools/export.py work_dirs/polyps --to onnx -o polyps.onnx."""

import sys
from pathlib import Path

# Not tools/ itself, whose select.py would hide the module of that name in the standard library.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gps_seg.cli.export import main

raise SystemExit(main())
