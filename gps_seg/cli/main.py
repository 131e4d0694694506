"""The command `gps-seg`: `gps-seg train CONFIG`, in a clone also `python tools/train.py CONFIG`."""

import difflib
import importlib
import sys
from collections.abc import Sequence

import gps_seg

# Imported only when called, so that the help and the light commands start at once.
COMMANDS = {
    'train': 'gps_seg.cli.train',
    'test': 'gps_seg.cli.test',
    'select': 'gps_seg.cli.select',
    'selection': 'gps_seg.cli.selection',
    'delta': 'gps_seg.cli.delta',
    'download': 'gps_seg.cli.download',
    'doctor': 'gps_seg.cli.doctor',
    'demo': 'gps_seg.cli.demo',
}

HELP = """\
usage: gps-seg COMMAND ...

  train     fine-tune a model as a config says
  test      score a checkpoint or a delta
  select    make a plan: the selection of a training, without training
  selection show, compare and draw plans
  delta     show, apply and undo deltas
  download  fetch data sets and weights
  doctor    check the installation, the data and the weights
  demo      fine-tune a small SAM on generated polyps, without downloads

gps-seg COMMAND --help shows the options of a command, gps-seg --version the version. GPS_SEG_DATA
names the folder of data sets and weights (default: data). GPS_SEG_TRACEBACK=1 shows where an error
arose."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named command. Returns its exit code; 2 where there is no such command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ('-h', '--help', 'help'):
        print(HELP)
        return 0 if arguments else 2
    if arguments[0] in ('-V', '--version'):
        print(f'gps-seg {gps_seg.__version__}')
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        similar = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f'; did you mean {similar[0]}?' if similar else ''
        print(f'error: no command {name!r}{hint} ({", ".join(COMMANDS)})', file=sys.stderr)
        return 2
    # argparse takes the program's name from here: usage: gps-seg train ...
    sys.argv[0] = f'gps-seg {name}'
    return importlib.import_module(COMMANDS[name]).main(rest)


if __name__ == '__main__':
    raise SystemExit(main())
