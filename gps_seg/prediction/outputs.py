"""Where results go, known before anything runs."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gps_seg.files.errors import explained_write
from gps_seg.prediction.inputs import Item

TABLE = 'predictions.csv'


@dataclass(frozen=True)
class Outputs:
    """The files of one delta's results, below `folder`.

    overlay: also pictures. probabilities: also the probabilities. table: also a CSV file. as_ids:
    masks of class ids even for two classes, which are 0 and 255 otherwise. num_classes: of the
    model, which decides how probabilities are stored.
    """

    folder: Path
    num_classes: int
    overlay: bool = False
    probabilities: bool = False
    table: bool = False
    as_ids: bool = False

    def mask(self, item: Item) -> Path:
        """The mask: `NAME.png`, or a volume with the suffix of its input."""
        return self._named(self.folder, item, item.suffix.lower() if item.is_volume else '.png')

    def picture(self, item: Item) -> Path:
        """The picture of image and mask."""
        return self._named(self.folder / 'overlays', item, '.png')

    def probability(self, item: Item) -> Path:
        """A 16-bit PNG of one foreground, an .npz of several classes, or a volume."""
        suffix = '.png' if self.num_classes == 2 else '.npz'
        suffix = item.suffix.lower() if item.is_volume else suffix
        return self._named(self.folder / 'probabilities', item, suffix)

    def of(self, item: Item) -> Iterator[Path]:
        """All files of an item."""
        yield self.mask(item)
        if self.overlay and not item.is_volume:
            yield self.picture(item)
        if self.probabilities:
            yield self.probability(item)

    @staticmethod
    def _named(folder: Path, item: Item, suffix: str) -> Path:
        place = folder / item.name
        return place.with_name(place.name + suffix)


def check_outputs(items: Sequence[Item], outputs: Iterable[Outputs], *, overwrite: bool) -> None:
    """Raise, before anything is written, where a result would take the place of something else.

    Raises ValueError where two inputs have one result, or a result would replace an input;
    FileExistsError where a result exists, unless `overwrite`.
    """
    made: dict[Path, Path] = {}
    existing = []
    inputs = {item.path.resolve() for item in items}
    for output in outputs:
        tables = [(output.folder / TABLE, Path('the table'))] if output.table else []
        pairs = [(path, item.path) for item in items for path in output.of(item)]
        for path, source in (*tables, *pairs):
            if path in made:
                raise ValueError(
                    f'{made[path]} and {source} would both be written to {path}; predict them one '
                    'after the other, into folders of their own'
                )
            made[path] = source
            if path.resolve() in inputs:
                raise ValueError(f'{path} is an input, which is never replaced; choose another out')
            if path.exists():
                existing.append(path)
    if existing and not overwrite:
        more = f' and {len(existing) - 1} more results' if len(existing) > 1 else ''
        raise FileExistsError(
            f'{existing[0]}{more} exist; choose another --out, or replace them with --overwrite'
        )


def check_folder(folder: Path) -> None:
    """Make a folder and see that it can be written. Raises NotWritten that names the next step."""
    with explained_write(folder / TABLE):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix='.')
        os.close(descriptor)
        os.unlink(name)
