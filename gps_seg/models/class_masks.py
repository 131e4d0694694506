"""Masks of several classes: tokens and hypernetworks beside the four that SAM has."""

from collections.abc import Mapping

import torch
from segment_anything.modeling import MaskDecoder
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from gps_seg.models.weights import named_by

# Where they lie in a SAM; all names below it are unknown to `segment_anything`.
CLASS_MASKS = 'mask_decoder.class_masks'


class ClassMasks(nn.Module):
    """A mask token and a hypernetwork for each foreground class.

    They stand beside SAM's own (one for a single mask, three for the masks of an ambiguous point),
    which stay as they are. Class 0, the background, needs none: its logit is 0, and a softmax over
    [0, logits of the classes] can give all that one over a logit for every class could. With one
    class it is the sigmoid of the binary SAM.

    num: foreground classes, >= 1. decoder: whose sizes they have; it is not kept.
    """

    def __init__(self, num: int, decoder: MaskDecoder) -> None:
        super().__init__()
        self.num = num
        dim = decoder.transformer_dim
        self.tokens = nn.Embedding(num, dim)
        self.hypernetworks = nn.ModuleList([MLP(dim, dim, dim // 8, 3) for _ in range(num)])

    @torch.no_grad()
    def copy_single_mask(self, decoder: MaskDecoder) -> None:
        """Make every class a copy of the decoder's single mask (token 0).

        The gradients of the classes differ from the first step on, since their targets do.
        """
        self.tokens.weight.copy_(decoder.mask_tokens.weight[:1].expand_as(self.tokens.weight))
        single = decoder.output_hypernetworks_mlps[0]
        for hypernetwork in self.hypernetworks:
            # No `load_state_dict`, which would count as filled by a file.
            for mine, copied in zip(hypernetwork.parameters(), single.parameters(), strict=True):
                mine.data.copy_(copied.data)

    def mask_weights(self, tokens: Tensor) -> Tensor:
        """What each class multiplies the upscaled features with.

        tokens: (B, num, C), the decoded tokens. Returns (B, num, C / 8).
        """
        each = zip(self.hypernetworks, tokens.unbind(1), strict=True)
        return torch.stack([hypernetwork(token) for hypernetwork, token in each], dim=1)


def with_background(logits: Tensor) -> Tensor:
    """Put the background's logit, 0, before those of N classes: (B, N, ...) to (B, 1 + N, ...)."""
    return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)


def with_fresh_classes(
    fresh: tuple[str, ...], state: Mapping[str, Tensor], *, num_classes: int, source: str
) -> tuple[str, ...]:
    """`fresh`, and the masks of the classes where the weights are of a SAM without them.

    fresh: parts that start fresh in any case. state: weights under SAM's names. num_classes: of the
    model, with the background. source: what the error calls the file.

    Raises ValueError where the weights are of a SAM with another number of classes.
    """
    if named_by(CLASS_MASKS, fresh):
        return fresh
    tokens = state.get(f'{CLASS_MASKS}.tokens.weight')
    found = 2 if tokens is None else 1 + len(tokens)
    if found == num_classes:
        return fresh
    if tokens is None:
        return (*fresh, CLASS_MASKS)
    anew = f", or name '{CLASS_MASKS}' in model.fresh to start the classes anew"
    raise ValueError(
        f'{source} is of a SAM with {found} classes, the model has {num_classes}; set '
        f'model.num_classes={found}{anew if num_classes > 2 else ""}'
    )
