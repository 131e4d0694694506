"""Which blocks the entries fall into, by granularity: net, layer and neuron at equal counts.

    GPS_SEG_DATA=... python tools/benchmarks/where_entries_lie.py --out docs/images/blocks.png

ViT-Tiny/16 with its real weights, GPS's scores on 256 images of Oxford Flowers. Also writes the
plans, with --plans FOLDER.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gps_seg.cli.errors import one_line_errors
from gps_seg.selection import Budget, choose
from gps_seg.selection.statistics import counts_by_block, top_blocks_share
from gps_seg.visualization import blocks_figure, save_figure
from tools.benchmarks.column_shares import NUM_IMAGES, vit_tiny_scores

COMPARED = ('net', 'layer', 'neuron')


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, required=True, help='the picture (PNG, SVG, PDF)')
    parser.add_argument('--plans', type=Path, help='also write the plans into this folder')
    parser.add_argument('--k', type=int, default=1, help='entries per neuron (default: 1)')
    options = parser.parse_args(argv)
    scores = vit_tiny_scores()
    plans = {name: choose(scores, name, Budget(k=options.k)) for name in COMPARED}
    for name, plan in plans.items():
        num = sum(entries.num for entries in plan.values())
        share = 100 * top_blocks_share(plan)
        print(f'{name}: {num:,} entries, {share:.1f} % of them in the top two blocks')
        if options.plans:
            plan.described(criterion='supcon_gradient', num_images=NUM_IMAGES).save(
                options.plans / f'{name}.safetensors'
            )
    counts = {
        name: {block: counts.selected for block, counts in counts_by_block(plan).items()}
        for name, plan in plans.items()
    }
    title = f'Where the entries lie in ViT-Tiny, K = {options.k}'
    save_figure(blocks_figure(counts, title=title), options.out)
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
