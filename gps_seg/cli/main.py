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
    'predict': 'gps_seg.cli.predict',
    'export': 'gps_seg.cli.export',
    'select': 'gps_seg.cli.select',
    'selection': 'gps_seg.cli.selection',
    'delta': 'gps_seg.cli.delta',
    'download': 'gps_seg.cli.download',
    'check': 'gps_seg.cli.check',
    'doctor': 'gps_seg.cli.doctor',
    'demo': 'gps_seg.cli.demo',
    'bench': 'gps_seg.bench.command',
}

HELP = """\
usage: gps-seg COMMAND ...

  train     fine-tune a model: by a config, on images and masks, or on a folder for each class
  test      score a checkpoint or a delta
  predict   masks or classes of new images, from files, folders or patterns
  export    write a tuned model as a stock checkpoint, as ONNX, or as a model card
  select    make a plan: the selection of a training, without training
  selection show, compare and draw plans
  delta     show, apply, undo, merge, compare and scale deltas
  download  fetch data sets and weights
  check     read all images, and masks or classes, and list what is wrong with them
  doctor    check the installation, the data and the weights
  demo      fine-tune a small SAM on generated polyps, without downloads
  bench     make comparisons from a suite file, and their report

gps-seg COMMAND --help shows the options of a command, gps-seg --version the version. GPS_SEG_DATA
names the folder of data sets and weights (default: data). Every command takes --debug, which shows
where an error arose; so does GPS_SEG_TRACEBACK=1."""
DEBUG = '--debug'


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named command. Returns its exit code; 2 where there is no such command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == [DEBUG] and len(arguments) > 1:
        arguments = [*arguments[1:], DEBUG]
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
    try:
        command = importlib.import_module(COMMANDS[name])
    except KeyboardInterrupt:  # the imports take seconds
        print('interrupted', file=sys.stderr)
        return 130
    return command.main(rest)


if __name__ == '__main__':
    raise SystemExit(main())
