"""Attention with relative positions in pieces: nothing of (queries x keys) outlives its piece."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# The largest piece of the (queries x keys) matrix, in entries. On a CPU 4 MiB in fp32: small enough
# for its caches, and as fast as larger ones. On a GPU each piece costs a dozen kernels.
PIECE = 2**20
PIECE_ON_GPU = 2**24


def relative_attention(
    qkv: Tensor,
    along_height: Tensor,
    along_width: Tensor,
    *,
    grid: tuple[int, int],
    scale: float,
) -> Tensor:
    """Softmax attention that adds q . R_h[i] + q . R_w[j] for the key in row i, column j.

    qkv: (B, H * W, 3, heads, d), the queries, keys and values of each image or window.
    along_height: (H, H, d), R_h of the queries in each row. along_width: (W, W, d).
    grid: H and W. scale: of the inner product of queries and keys, not of the bias.
    Returns (B, H * W, heads, d).

    It is the attention of `segment_anything`, with the same operations in the same order. For
    backward it keeps `qkv` alone and computes the attention weights again, piece by piece, so that
    a step saves (B x heads x (H W)^2) numbers and more; the price is one product of queries and
    keys. In low precision the sums with the bias and over pieces, and the softmax, are computed in
    fp32.
    """
    return _RelativeAttention.apply(qkv, along_height, along_width, grid, scale)


@dataclass(frozen=True)
class _Piece:
    """What is computed at once: some images or windows, some heads, some rows of queries."""

    batch: slice
    heads: slice
    rows: slice


class _Pieces:
    """The pieces of one attention and the arithmetic of a piece.

    Inside, everything has a flat first dimension: images (or windows) x heads of the piece.
    """

    def __init__(
        self, qkv: Tensor, along: tuple[Tensor, Tensor], grid: tuple[int, int], scale: float
    ) -> None:
        self.qkv = qkv
        self.height, self.width = grid
        self.scale = scale
        self.along_height, self.along_width = (part.to(qkv.dtype) for part in along)
        self.precise = torch.promote_types(qkv.dtype, torch.float32)
        self.limit = PIECE if qkv.device.type == 'cpu' else PIECE_ON_GPU

    def groups(self) -> Iterator[tuple[slice, slice]]:
        """Images and heads that share their pieces of queries."""
        batch, num_tokens, _, heads, _ = self.qkv.shape
        per_head = num_tokens * num_tokens
        windows = max(1, self.limit // (heads * per_head))
        some = heads if windows > 1 else max(1, min(heads, self.limit // per_head))
        for first in range(0, batch, windows):
            for head in range(0, heads, some):
                yield slice(first, first + windows), slice(head, head + some)

    def rows(self) -> Iterator[slice]:
        """Rows of queries that are computed at once, all of them where the matrix is small."""
        step = max(1, min(self.height, self.limit // (self.width * self.height * self.width)))
        for first in range(0, self.height, step):
            yield slice(first, first + step)

    def part(self, which: int, batch: slice, heads: slice) -> Tensor:
        """Queries (0), keys (1) or values (2) of a group: (n, H * W, d)."""
        return self.qkv[batch, :, which, heads].transpose(1, 2).flatten(0, 1)

    def queries(self, tokens: Tensor, rows: slice) -> Tensor:
        """The rows of a group's tokens, (n, rows, W, d)."""
        return tokens.unflatten(1, (self.height, self.width))[:, rows]

    def weights(self, queries: Tensor, keys: Tensor, rows: slice) -> Tensor:
        """The attention weights of a piece, (n, rows * W, H * W)."""
        scores = (queries * self.scale).flatten(1, 2) @ keys.transpose(1, 2)
        of_rows = torch.einsum('bhwc,hkc->bhwk', queries, self.along_height[rows])
        of_columns = torch.einsum('bhwc,wkc->bhwk', queries, self.along_width)
        # Added in fp32: more precise, and a CPU takes twenty times as long to add rows of bf16.
        scores, of_rows, of_columns = (x.to(self.precise) for x in (scores, of_rows, of_columns))
        places = scores.view(*queries.shape[:3], self.height, self.width)
        places.add_(of_rows[..., None]).add_(of_columns[..., None, :])
        return scores.softmax(-1)


class _RelativeAttention(torch.autograd.Function):
    """Keeps the projected tokens alone."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        along_height: Tensor,
        along_width: Tensor,
        grid: tuple[int, int],
        scale: float,
    ) -> Tensor:
        ctx.save_for_backward(qkv, along_height, along_width)
        ctx.grid, ctx.scale = grid, scale
        out = qkv.new_empty(*qkv.shape[:2], *qkv.shape[3:])
        with torch.autocast(qkv.device.type, enabled=False):
            pieces = _Pieces(qkv, (along_height, along_width), grid, scale)
            for batch, heads in pieces.groups():
                query, key, value = (pieces.part(n, batch, heads) for n in range(3))
                of_group = out[batch, :, heads].unflatten(1, grid)
                for rows in pieces.rows():
                    weights = pieces.weights(pieces.queries(query, rows), key, rows)
                    part = (weights.to(value.dtype) @ value).unflatten(1, (-1, grid[1]))
                    into = of_group[:, rows]  # images, rows, W, heads, d
                    into.copy_(part.unflatten(0, (len(into), -1)).permute(0, 2, 3, 1, 4))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        qkv, along_height, along_width = ctx.saved_tensors
        with torch.autocast(qkv.device.type, enabled=False):
            pieces = _Pieces(qkv, (along_height, along_width), ctx.grid, ctx.scale)
            grad_qkv = torch.empty_like(qkv)
            wanted = ctx.needs_input_grad[1:3]
            grad_along = [
                torch.zeros_like(along, dtype=pieces.precise) if needs else None
                for along, needs in zip((along_height, along_width), wanted, strict=True)
            ]
            for batch, heads in pieces.groups():
                grad_out = grad_outputs[0][batch, :, heads].transpose(1, 2).flatten(0, 1)
                grads = _group_gradients(pieces, (batch, heads), grad_out, grad_along)
                for which, grad in enumerate(grads):
                    into = grad_qkv[batch, :, which, heads]  # images, tokens, heads, d
                    into.copy_(grad.unflatten(0, (len(into), -1)).transpose(1, 2))
        of_height, of_width = (
            None if grad is None else grad.to(along.dtype)
            for grad, along in zip(grad_along, (along_height, along_width), strict=True)
        )
        return grad_qkv, of_height, of_width, None, None


def _group_gradients(
    pieces: _Pieces,
    group: tuple[slice, slice],
    grad_out: Tensor,
    grad_along: list[Tensor | None],
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of a group's queries, keys and values; those of R_h and R_w are added up.

    grad_out: (n, H * W, d).
    """
    query, key, value = (pieces.part(which, *group) for which in range(3))
    grad_query = torch.empty_like(query)
    # (n, d, H W): the products then read the large factor as it lies, where a CPU would copy it.
    grad_key, grad_value = (
        torch.zeros_like(x.transpose(1, 2), dtype=pieces.precise) for x in (key, value)
    )
    height, width = pieces.height, pieces.width
    for rows in pieces.rows():
        queries = pieces.queries(query, rows)
        grad = pieces.queries(grad_out, rows).flatten(1, 2)
        weights = pieces.weights(queries, key, rows)
        grad_value += grad.transpose(1, 2) @ weights.to(value.dtype)
        grad_weights = (grad @ value.transpose(1, 2)).to(weights.dtype)
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        del weights, grad_weights
        of_places = grad_scores.unflatten(2, (height, width)).unflatten(1, (-1, width))
        of_rows, of_columns = (of_places.sum(dim).to(query.dtype) for dim in (-1, -2))
        grad_scores = grad_scores.to(query.dtype)
        grad_key += (queries * pieces.scale).flatten(1, 2).transpose(1, 2) @ grad_scores
        into = pieces.queries(grad_query, rows)
        into.copy_((grad_scores @ key).mul_(pieces.scale).view_as(into))
        into += torch.einsum('bhwk,hkc->bhwc', of_rows, pieces.along_height[rows])
        into += torch.einsum('bhwk,wkc->bhwc', of_columns, pieces.along_width)
        if grad_along[0] is not None:
            grad_along[0][rows] += torch.einsum('bhwk,bhwc->hkc', of_rows, queries)
        if grad_along[1] is not None:
            grad_along[1] += torch.einsum('bhwk,bhwc->wkc', of_columns, queries)
    return grad_query, grad_key.transpose(1, 2), grad_value.transpose(1, 2)
