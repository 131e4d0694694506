"""Kills tiny trainings with SIGKILL, resumes them, and compares the ends with undisturbed ones.

    python tests/end_to_end/kill_a_training.py --kills 200

Five methods are trained in two loops: by `gps-seg train` and in a PyTorch loop of one's own. They
die before and after every rename, around other calls on files, and at random times. Prints how many
kills of each kind there were; exits with 1 where an end differs or a file is left behind.

One process imports everything and forks, so that a training costs a second and no imports.
"""

import argparse
import gc
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ['OMP_NUM_THREADS'] = '1'
os.environ['CUDA_VISIBLE_DEVICES'] = ''
os.environ['MPLBACKEND'] = 'Agg'
os.environ['NO_ALBUMENTATIONS_UPDATE'] = '1'

import torch
from yapf.yapflib import yapf_api

from gps_seg.cli import train as train_command
from gps_seg.files import remove_leftovers
from gps_seg.runner.checkpoints import LAST
from tests.end_to_end.dying import CALLS, Kill, run_in_a_fork
from tests.end_to_end.ends import differences, end_state
from tests.integrations.small import train_in_own_loop
from tests.toy_runs import toy_config

METHODS: dict[str, dict[str, Any]] = {
    'gps': {'k': 2},
    'grft': {'k': 2, 'pull': 0.1},
    'lora': {'rank': 2},
    'adapter': {'width': 4},
    'full': {},
}


@dataclass(frozen=True)
class Training:
    """One method in one loop, which starts anew or goes on from what is in a folder."""

    loop: str
    method: str
    scratch: Path

    def run(self, folder: Path) -> None:
        """Train to the end."""
        if self.loop == 'runner':
            self._run_command(folder)
            return
        folder.mkdir(exist_ok=True)
        remove_leftovers(folder)
        settings = METHODS[self.method]
        tuning = train_in_own_loop(folder / LAST, method=self.method, **settings)
        tuning.delta().save(folder / 'delta.safetensors')

    def _run_command(self, folder: Path) -> None:
        resume = ['--resume'] if (folder / LAST).is_file() else []
        command = [str(self.config), '--work-dir', str(folder), *resume]
        if train_command.main(command) != 0:
            raise RuntimeError(f'gps-seg train {" ".join(command)} failed')

    @property
    def config(self) -> Path:
        return self.scratch / f'{self.method}.py'

    def write_config(self) -> None:
        config = toy_config(self.scratch)
        config.default_hooks.fine_tune.method = dict(type=self.method, **METHODS[self.method])
        config.default_hooks.report.num_pictures = 1
        config.dump(self.config)

    def start(self, folder: Path, kill: Kill | None = None) -> tuple[bool, Counter[str]]:
        """Train in a process of its own. Returns whether it finished, and its calls on files."""
        return run_in_a_fork(lambda: self.run(folder), kill, self.scratch)


@dataclass(frozen=True)
class Undisturbed:
    """A training that ran to its end: what it left, its seconds, its calls on files."""

    training: Training
    end: dict[str, Any]
    seconds: float
    calls: Counter[str]

    def at_renames(self) -> list[Kill]:
        """A kill before and one after every rename."""
        numbers = range(self.calls['rename'])
        return [Kill('rename', n, after=after) for n in numbers for after in (False, True)]

    def anywhere(self, draw: random.Random) -> Kill:
        """A kill at a random time, or as often around a random call."""
        kind = draw.choice(['time'] * len(CALLS) + list(CALLS))
        if kind == 'time':
            return Kill('time', draw.uniform(0, self.seconds))
        return Kill(kind, draw.randrange(self.calls[kind]), after=draw.random() < 0.5)


def run_undisturbed(training: Training) -> Undisturbed:
    """Train to the end and keep what is compared."""
    folder = training.scratch / f'{training.loop}_{training.method}_0000'
    start = time.monotonic()
    finished, calls = training.start(folder)
    assert finished
    return Undisturbed(training, end_state(folder), time.monotonic() - start, calls)


def planned(
    references: list[Undisturbed], draw: random.Random
) -> Iterator[tuple[Undisturbed, Kill]]:
    """Pairs of a training and where it dies first: all renames once, in turns; then anywhere."""
    queues = []
    for reference in references:
        kills = reference.at_renames()
        draw.shuffle(kills)
        queues.append([(reference, kill) for kill in kills])
    for turn in zip_longest(*queues):
        yield from (pair for pair in turn if pair is not None)
    while True:
        yield from ((reference, reference.anywhere(draw)) for reference in references)


def killed_and_resumed(reference: Undisturbed, kills: list[Kill], folder: Path) -> list[str]:
    """Train with kills, then to the end. Returns the kinds of those that met the process alive.

    Raises RuntimeError where the end differs or a start fails.
    """
    met = []
    finished = False
    for kill in kills:
        finished, _ = reference.training.start(folder, kill)
        if finished:
            break
        met.append(kill.kind)
    if not finished:
        reference.training.start(folder)
    found = differences(reference.end, end_state(folder))
    if found:
        raise RuntimeError(f'{folder.name} after {kills} ends differently: ' + '; '.join(found[:9]))
    shutil.rmtree(folder)
    return met


def kill_often(references: list[Undisturbed], num: int, draw: random.Random) -> dict[str, Any]:
    """Kill trainings until `num` kills have met one alive. Returns how many there were of what."""
    kinds: Counter[str] = Counter()
    where: Counter[str] = Counter()
    failures: list[str] = []
    for number, (reference, first) in enumerate(planned(references, draw), start=1):
        if kinds.total() >= num or len(failures) == 10:
            break
        # Every second one, about, dies again on the way from there.
        kills = [first, reference.anywhere(draw)][: draw.randint(1, 2)]
        training = reference.training
        folder = training.scratch / f'{training.loop}_{training.method}_{number:04}'
        try:
            met = killed_and_resumed(reference, kills, folder)
        except RuntimeError as error:
            failures.append(str(error))
            print(error, file=sys.stderr, flush=True)
            continue
        kinds.update(met)
        where[f'{training.loop} {training.method}'] += len(met)
    return {
        'kills': kinds.total(),
        'kinds': kinds,
        'where': where,
        'trainings': number - 1,
        'failures': failures,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--kills', type=int, default=20, help='how many, over all trainings')
    parser.add_argument('--seed', type=int, default=0, help='of the random kills')
    arguments = parser.parse_args()
    # Most of the time of so small a training is the layout of the configs that it writes.
    yapf_api.FormatCode = lambda text, **options: (text, True)
    torch.set_num_threads(1)
    start = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix='kills_'))
    tempfile.tempdir = str(scratch)
    trainings = [Training(loop, name, scratch) for name in METHODS for loop in ('runner', 'plain')]
    for training in trainings:
        training.write_config()
    gc.collect()
    gc.freeze()
    references = [run_undisturbed(training) for training in trainings]
    report = kill_often(references, arguments.kills, random.Random(arguments.seed))
    report['places_at_renames'] = sum(len(reference.at_renames()) for reference in references)
    report['seconds'] = round(time.monotonic() - start)
    print(json.dumps(report))
    if not report['failures']:
        shutil.rmtree(scratch)
    gc.unfreeze()
    return bool(report['failures'])


if __name__ == '__main__':
    sys.exit(main())
