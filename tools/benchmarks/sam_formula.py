"""What a training step of a SAM holds, by the sizes of its encoder.

Per block of width d, with n tokens and m tokens after windows are padded (m = n in global blocks),
4 bytes a number for what norms read, e = 4 or 2 (bf16) for the rest:

    norms    2 n d * 4                      the inputs of both
    qkv      3 m d * e                      what attention in pieces keeps
    act      4 n d * e                      the hidden layer before GELU
    layers   (2 m d + n d + 4 n d) * e      the inputs of qkv, proj, lin1 and lin2: of all that is
                                            trained; of a selection the touched columns alone
    copies   12 d^2 * 2                     bf16 alone: autocast's copies of weights (not GPS)
    small    the positions of the block's grid, the statistics of its norms

What follows the blocks is the same in every SAM; it was counted on SAM-B. The peak is the largest
of the states of a step: the end of the forward pass with what the loss holds in passing, and each
block in the backward pass, with what GELU's gradient holds in passing and the gradients so far.
"""

from dataclasses import dataclass

from gps_seg.models.architectures import ARCHITECTURES, PATCH_SIZE, Architecture
from tools.benchmarks.column_shares import load_shares
from tools.benchmarks.meters import MIB

# At 1024 pixels, counted on SAM-B, MiB in fp32 and bf16: what neck, decoder and loss save, and what
# the loss holds beside it in passing. They grow with the area of the image.
AFTER_BLOCKS = {'gps': (131.5, 84.3), 'full': (139.7, 90.4), 'linear': (111.5, 76.4)}
LOSS_IN_PASSING = 16.0
FULL_AREA = 1024**2
HEAD = 4_058_596  # parameters of the mask decoder and no_mask_embed
NECK = {'full': 256 * 256 * 9 + 4 * 256, 'gps': 4 * 256}  # without the d * 256 of its first layer
ADAM = 8  # bytes of both moments


@dataclass(frozen=True)
class Encoder:
    """An encoder at an image size. first: the first trained block."""

    sizes: Architecture
    size: int
    first: int

    @property
    def tokens(self) -> int:
        return (self.size // PATCH_SIZE) ** 2

    def padded(self, block: int) -> int:
        """Tokens of a block with those that windows are padded with."""
        if block in self.sizes.global_blocks:
            return self.tokens
        window, side = self.sizes.window_size, self.size // PATCH_SIZE
        return (-(-side // window) * window) ** 2

    def saved(self, block: int, method: str, *, amp: bool) -> int:
        """Bytes that a block saves for backward."""
        width, tokens, padded = self.sizes.embed_dim, self.tokens, self.padded(block)
        number = 2 if amp else 4
        shares = _shares(block, self.sizes.depth) if method == 'gps' else (1.0,) * 4
        # A frozen norm whose input needs no gradient keeps nothing.
        norms = 1 if method == 'gps' and block == self.first > 0 else 2
        layers = (padded, padded, tokens, 4 * tokens)
        kept = 3 * padded + 4 * tokens + sum(n * s for n, s in zip(layers, shares, strict=True))
        copies = 12 * width**2 * 2 if amp and method != 'gps' else 0
        # The positions of the block's grid, where they are trained with their places; and the means
        # and deviations of its norms.
        side = self.size // PATCH_SIZE
        side = side if block in self.sizes.global_blocks else self.sizes.window_size
        small = 2 * side**2 * (4 * width // self.sizes.num_heads + (8 if method != 'gps' else 0))
        small += norms * 2 * tokens * 4
        return round(norms * tokens * width * 4 + kept * width * number + copies + small)

    def trained(self, method: str) -> int:
        """Parameters of one block that are trained."""
        width = self.sizes.embed_dim
        biases = 9 * width
        return 2 * biases if method == 'gps' else 12 * width**2 + biases + 4 * width


def peak_by_formula(arch: str, method: str, *, size: int = 1024, amp: bool = False) -> int:
    """Bytes beside the weights, for full, linear and gps, with _lastNN and _recomputed behind.

    Raises ValueError for another method.
    """
    sizes = ARCHITECTURES[arch]
    name, again = method.removesuffix('_recomputed'), method.endswith('_recomputed')
    name, _, share = name.partition('_last')
    if name not in AFTER_BLOCKS:
        raise ValueError(f'there is no formula for {method!r}; measure it')
    first = int((1 - int(share) / 100) * sizes.depth) if share else 0
    encoder = Encoder(sizes, size, sizes.depth if name == 'linear' else first)
    return round(_peak(encoder, name, again=again, amp=amp))


def _peak(encoder: Encoder, method: str, *, again: bool, amp: bool) -> float:
    width, tokens, number = encoder.sizes.embed_dim, encoder.tokens, 2 if amp else 4
    blocks = range(encoder.first, encoder.sizes.depth)
    saved = [encoder.saved(block, method, amp=amp) for block in blocks]
    kept = [4 * tokens * width] * len(saved) if again else saved
    area = encoder.size**2 / FULL_AREA
    after = (AFTER_BLOCKS[method][amp] + LOSS_IN_PASSING) * MIB * area
    neck = NECK.get(method, 0) + (0 if method == 'linear' else 256 * width)
    per_block = 0 if method == 'linear' else encoder.trained(method)
    head = HEAD + neck
    trained = head + per_block * len(saved)
    states = [sum(kept) + after]
    hidden = 4 * tokens * width * number
    stream = 4 * tokens * width
    for place, of_block in enumerate(saved):
        gradients = 4 * (head + per_block * (len(saved) - 1 - place))
        # Two gradients of the hidden layer; that of lin2's input follows what it needed.
        passing = stream + (2 if method == 'gps' else 1) * hidden
        states.append(sum(kept[:place]) + of_block + passing + gradients)
    # All that is trained has a gradient in the end; any forward pass holds the hidden layer twice.
    states += [4 * trained, 4 * stream + 2 * hidden]
    return ADAM * trained + max(states)


def _shares(block: int, depth: int) -> tuple[float, ...]:
    """The touched columns of qkv, proj, lin1 and lin2, of ViT-Tiny's layers at that depth."""
    shares = load_shares(1)
    layers = sorted({int(name.split('.')[1]) for name in shares if name.startswith('blocks.')})
    at = layers[round(block / max(depth - 1, 1) * (len(layers) - 1))]
    kinds = ('attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2')
    return tuple(shares[f'blocks.{at}.{kind}.weight'] for kind in kinds)
