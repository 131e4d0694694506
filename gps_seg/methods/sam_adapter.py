"""SAM-Adapter: prompts from the image itself, added to what every block of the encoder reads."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg.delta.added import added_module
from gps_seg.methods.late import Budget, check_train_from, late_parts
from gps_seg.methods.method import Applied, TrainingData, check_lists, train
from gps_seg.methods.parts import ModelParts, part_names
from gps_seg.methods.plan import Plan
from gps_seg.methods.ssf import is_sam_encoder, sam_encoder
from gps_seg.selection import Selection


@torch.no_grad()
def high_frequencies(images: Tensor, mask_rate: float) -> Tensor:
    """The size of what is left of images without their low frequencies (arXiv:2304.09148).

    images: (B, C, H, W). mask_rate: share of all frequencies that is taken out, those in a central
    square of the shifted spectrum, in [0, 1]. Returns (B, C, H, W), >= 0, in fp32 or better.
    """
    height, width = images.shape[-2:]
    half = int((height * width * mask_rate) ** 0.5 // 2)

    def low(size: int) -> Tensor:
        frequencies = torch.arange(size, device=images.device)
        frequencies = (frequencies + size // 2) % size - size // 2  # 0, 1, ..., -2, -1
        return (frequencies >= -half) & (frequencies < half)

    precise = images.to(torch.promote_types(images.dtype, torch.float32))
    spectrum = torch.fft.fft2(precise)
    kept = ~(low(height)[:, None] & low(width))
    return torch.fft.ifft2(spectrum * kept).real.abs()


class PromptGenerator(nn.Module):
    """up(gelu(inner_i(tokens + details))) for each block i.

    size: channels of the encoder. width: of the generator. num: of blocks. patch: its side, in
    pixels. colours: of an image. seed: of the initial values; `up` starts at zero, so that training
    starts from the base, and every weight can learn.
    """

    def __init__(
        self, *, size: int, width: int, num: int, patch: int, colours: int, seed: int
    ) -> None:
        super().__init__()

        def empty(layer: type[nn.Module], *args: Any, **options: Any) -> Any:
            return layer(*args, **options, device='meta').to_empty(device='cpu')

        self.tokens = empty(nn.Linear, size, width)
        self.details = empty(nn.Conv2d, colours, width, patch, stride=patch)
        self.inner = nn.ModuleList(empty(nn.Linear, width, width) for _ in range(num))
        self.up = empty(nn.Linear, width, size)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (self.tokens, self.details, *self.inner):
                layer.weight.normal_(std=layer.weight[0].numel() ** -0.5, generator=generator)
                layer.bias.zero_()
            self.up.weight.zero_()
            self.up.bias.zero_()

    def features(self, images: Tensor, embedded: Tensor, mask_rate: float) -> Tensor:
        """images: (B, 3, H, W). embedded: (B, h, w, C), their patches. Returns (B, h, w, width)."""
        details = self.details(self._taken(high_frequencies(images, mask_rate)))
        return self.tokens(self._taken(embedded)) + details.permute(0, 2, 3, 1)

    def prompt(self, number: int, features: Tensor) -> Tensor:
        """What is added to the input of a block, (B, h, w, C). number: of the block."""
        return self.up(F.gelu(self.inner[number](features)))

    def _taken(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            return x
        return x.to(self.up.weight.dtype)


@added_module('sam_adapter')
@dataclass(frozen=True)
class AddedPromptGenerator:
    """The prompt generator of SAM-Adapter in an image encoder of segment_anything.

    width: of the generator.
    first: the number of the first block that gets prompts.
    mask_rate: share of the image's frequencies that the details leave out.
    seed: of the initial values.

    Adds `sam_adapter.tokens`, `.details`, `.inner` and `.up` to the encoder.
    """

    width: int
    first: int = 0
    mask_rate: float = 0.25
    seed: int = 0

    def attach(self, host: Any) -> None:
        """Give an encoder its generator. Raises ValueError where it is none of SAM's."""
        if not is_sam_encoder(host):
            raise ValueError(f'{type(host).__name__} is no image encoder of segment_anything')
        patches = host.patch_embed.proj
        host.sam_adapter = PromptGenerator(
            size=patches.out_channels,
            width=self.width,
            num=len(host.blocks) - self.first,
            patch=patches.kernel_size[0],
            colours=patches.in_channels,
            seed=self.seed,
        )
        host.__class__ = _prompted_class(type(host))

    def detach(self, host: nn.Module) -> None:
        """Give back the stock encoder."""
        host.__class__ = type(host).base_class  # type: ignore[attr-defined]
        del host.sam_adapter


@contextmanager
def _prompting(encoder: Any, images: Tensor) -> Iterator[None]:
    """Let the blocks of an encoder read their prompts while it runs on images.

    The prompts are added outside of the blocks' forward, which may be recomputed in the backward
    pass (activation checkpointing of MMEngine).
    """
    spec, generator = encoder.added_module, encoder.sam_adapter
    found: list[Tensor] = []

    def look(patch_embed: nn.Module, args: Any, embedded: Tensor) -> None:
        found.append(generator.features(images, embedded, spec.mask_rate))

    def adding(number: int) -> Any:
        def add(block: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            prompt = generator.prompt(number, found[-1])
            return (args[0] + prompt.to(args[0].dtype), *args[1:])

        return add

    hooks = [encoder.patch_embed.register_forward_hook(look)]
    for number, block in enumerate(encoder.blocks[spec.first :]):
        hooks.append(block.register_forward_pre_hook(adding(number)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


_PROMPTED: dict[type[nn.Module], Any] = {}


def _prompted_class(base: Any) -> Any:
    if base not in _PROMPTED:

        def forward(encoder: Any, images: Tensor) -> Tensor:
            with _prompting(encoder, images):
                return base.forward(encoder, images)

        body = {'base_class': base, '__module__': __name__, 'forward': forward}
        _PROMPTED[base] = type(f'Prompted{base.__name__}', (base,), body)
    return _PROMPTED[base]


@dataclass(frozen=True, kw_only=True)
class SAMAdapter:
    """The prompt generator of SAM-Adapter (Chen et al., arXiv:2304.09148), for SAM's encoder.

    prompt_i = up(gelu(inner_i(tokens(E) + details(H)))) is added to the input of block i. E are the
    patch embeddings, H the high frequencies of the image; `inner_i` is the block's own layer, all
    others are shared. At scale factor 32 it has 63,312 parameters in SAM ViT-B, as published, where
    it is the row "Adapter" of Table 5 of GPS. The encoder is frozen otherwise.

    It cannot be merged: its prompts depend on the image. At inference it costs one Fourier
    transform of the image and two narrow layers a block. Models without an image encoder of
    segment_anything are refused.

    scale_factor: the encoder's channels divided by this are the generator's width.
    mask_rate: share of the frequencies that H leaves out, in [0, 1].
    whole: what is trained whole besides, as `part_names` takes it.
    seed: of the initial values.
    train_from: the number of the first block that gets prompts, the share of the blocks that stay
        as they are, in [0, 1), or 'auto' with a budget; see `late_parts`.
    budget: with train_from='auto', what a training step may cost: settings of `CostBudget`.
    """

    scale_factor: int = 32
    mask_rate: float = 0.25
    whole: Sequence[str] = ('heads',)
    seed: int = 0
    train_from: int | float | str = 0
    budget: Budget | None = None
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.scale_factor < 1:
            raise ValueError(f'scale_factor must be at least 1, got {self.scale_factor}')
        if not 0 <= self.mask_rate <= 1:
            raise ValueError(f'mask_rate must be in [0, 1], got {self.mask_rate}')
        budget = check_train_from(self.train_from, self.budget)
        object.__setattr__(self, 'budget', budget)
        check_lists(self, 'whole')

    def plan(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        path = sam_encoder(model, parts)
        if path is None:
            raise ValueError(
                f'{type(model).__name__} has no image encoder of segment_anything, whose patches '
                'and blocks the prompts of SAM-Adapter are made for; choose another method, such '
                'as adapter, lora or ssf'
            )
        encoder: Any = model.get_submodule(path)
        parts = late_parts(model, parts, self.train_from)
        first = parts.blocks.index(parts.first_block) if parts.first_block else 0
        spec = self._spec(path, encoder.patch_embed.proj.out_channels, first)
        return Plan(Selection({}, {'criterion': 'none'}), {path: spec})

    def apply(self, model: nn.Module, parts: ModelParts, plan: Plan) -> Applied:
        parts = late_parts(model, parts, self.train_from)
        return train(model, plan, part_names(model, parts, self.whole), parts=parts)

    def _spec(self, path: str, size: int, first: int) -> Mapping[str, Any]:
        width = size // self.scale_factor
        if not width:
            raise ValueError(
                f'scale_factor must be at most {size}, the channels of the encoder, got '
                f'{self.scale_factor}'
            )
        seed = zlib.crc32(f'{self.seed}/{path}'.encode())
        added = AddedPromptGenerator(width, first, self.mask_rate, seed)
        return {'type': 'sam_adapter', **asdict(added)}
