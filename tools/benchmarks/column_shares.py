"""Which share of its input columns a layer's real GPS selection touches.

`python tools/benchmarks/column_shares.py` measures it on ViT-Tiny and 256 images of Oxford Flowers
(GPS_SEG_DATA) and writes column_shares.json beside this file. A model without pretrained weights at
hand gets selections with these shares, layer by layer: entries drawn at random would touch nearly
every column, which real ones do not.
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gps_seg.files import write_content
from gps_seg.methods import describe
from gps_seg.selection import (
    Budget,
    Entries,
    Scores,
    SelectableWeight,
    Selection,
    SupconGradient,
    neuron,
    score,
)
from tools.benchmarks.real_images import (
    Batch,
    contrastive_batches,
    pretrained_vit_tiny,
)

SHARES = Path(__file__).with_name('column_shares.json')
KS = (1, 4, 10)
NUM_IMAGES, BATCH = 256, 32
# How the layers of other models are called, by ViT's kinds.
KINDS = {
    'qkv': ('qkv', 'in_proj'),
    'proj': ('attn.proj', 'out_proj'),
    'fc1': ('fc1', 'lin1'),
    'fc2': ('fc2', 'lin2'),
    'patch_embed': ('patch_embed', 'stem'),
}


def vit_tiny_scores() -> Scores:
    """GPS's scores of the pretrained ViT-Tiny on real images."""
    model = pretrained_vit_tiny()

    def embed(batch: Batch) -> tuple[Tensor, Tensor]:
        features = model.forward_features(batch[0])  # type: ignore[operator]
        return model.forward_head(features, pre_logits=True), batch[1]  # type: ignore[operator]

    batches = contrastive_batches(NUM_IMAGES, size=BATCH)
    return score(model, SupconGradient(describe(model).backbone_weights(model), embed), batches)


def share(entries: Entries) -> float:
    """Touched columns over all columns."""
    return len(entries.columns.unique()) / entries.num_inputs


def kind(name: str) -> str:
    """ViT's name for the kind of a layer; '' for other kinds."""
    return next((k for k, parts in KINDS.items() if any(p in name for p in parts)), '')


def selection_with_shares(
    weights: list[SelectableWeight], shares: dict[str, float], *, k: int, seed: int = 0
) -> Selection:
    """A selection whose layers touch the columns that the ViT-Tiny layer at their depth touches.

    shares: touched share by the weight's name in ViT-Tiny. A layer of another kind gets the mean.
    """
    generator = torch.Generator().manual_seed(seed)
    by_kind: dict[str, list[float]] = {}
    for name, value in shares.items():
        by_kind.setdefault(kind(name), []).append(value)
    alike: dict[str, list[str]] = {}
    for weight in weights:
        alike.setdefault(kind(weight.name), []).append(weight.name)
    entries = {}
    for weight in weights:
        measured = by_kind.get(kind(weight.name)) or [sum(shares.values()) / len(shares)]
        place = alike[kind(weight.name)].index(weight.name)
        at = place * len(measured) // len(alike[kind(weight.name)])
        entries[weight.name] = _entries(weight, measured[at], k, generator)
    return Selection(entries, {'granularity': 'neuron', 'k': str(k)})


def _entries(
    weight: SelectableWeight, touched: float, k: int, generator: torch.Generator
) -> Entries:
    neurons, inputs = weight.matrix(weight.parameter).shape
    k = min(k, inputs)
    num = min(max(round(touched * inputs), k), inputs, neurons * k)
    columns = torch.randperm(inputs, generator=generator)[:num]
    noise = torch.rand(neurons, num, generator=generator)
    # Each column is touched at least once, as the share says.
    noise[torch.arange(num) % neurons, torch.arange(num)] += 1
    chosen = columns[noise.topk(k, dim=1).indices].sort(dim=1).values
    return Entries(
        chosen.flatten(),
        torch.full((neurons,), k),
        tuple(weight.parameter.shape),
        weight.transposed_groups,
    )


def load_shares(k: int) -> dict[str, float]:
    """The measured shares at k; between two measured ks, those of the next higher."""
    stored = json.loads(SHARES.read_text())['shares']
    above = [measured for measured in KS if measured >= k]
    if not above:
        raise ValueError(f'column shares were measured up to k={max(KS)}, not for k={k}')
    return stored[str(above[0])]


def main() -> int:
    """Measure the shares and write them."""
    scores = vit_tiny_scores()
    shares = {
        str(k): {
            name: round(share(entries), 4) for name, entries in neuron(scores, Budget(k=k)).items()
        }
        for k in KS
    }
    about = {
        'model': 'vit_tiny_patch16_224.augreg_in21k_ft_in1k',
        'images': f'{NUM_IMAGES} of Oxford Flowers, two views each',
    }
    write_content(SHARES, json.dumps({**about, 'shares': shares}, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
