"""Split the published 880 training images of Kvasir-SEG again, 800 to train on and 80 held out.

The best checkpoint is chosen on the 80, so that neither training nor that choice sees the 120
published test images. An image is held out if the SHA-256 of seed and stem is among the 80
smallest: the same on every machine and version. Run it to write the committed lists anew.
"""

from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parents[1] / 'data' / 'splits' / 'kvasir_seg'
SEED = 0
NUM_VAL = 80


def split_again(stems: list[str], num_val: int, seed: int) -> tuple[list[str], list[str]]:
    """The stems that stay and the `num_val` that are held out, each in the given order."""
    ranked = sorted(stems, key=lambda stem: sha256(f'{seed}:{stem}'.encode()).hexdigest())
    held_out = set(ranked[:num_val])
    train = [stem for stem in stems if stem not in held_out]
    return train, [stem for stem in stems if stem in held_out]


def main() -> None:
    """Write train.txt and val.txt beside published_train.txt."""
    stems = (FOLDER / 'published_train.txt').read_text().split()
    for name, part in zip(('train', 'val'), split_again(stems, NUM_VAL, SEED), strict=True):
        (FOLDER / f'{name}.txt').write_text(''.join(f'{stem}\n' for stem in part))
        print(f'{FOLDER / name}.txt: {len(part)} stems')


if __name__ == '__main__':
    main()
