"""Visual prompt tuning: trained tokens beside those of the image."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gps_seg.delta.added import added_module
from gps_seg.methods.late import Budget, check_train_from, late_parts
from gps_seg.methods.method import Applied, TrainingData, check_lists, train
from gps_seg.methods.parts import ModelParts, part_names
from gps_seg.methods.plan import Plan
from gps_seg.methods.prompted_attention import prompted_grid, prompted_windows
from gps_seg.selection import Selection

# What a host does with prompts; see `AddedPrompts`.
ROLES = ('deep', 'first', 'middle', 'last')
# How modules of other libraries, by their names, take prompts.
TOKENS = (
    'timm.models.vision_transformer.Block',
    'timm.models.vision_transformer.ResPostBlock',
    'mmseg.models.backbones.vit.TransformerEncoderLayer',
)
WINDOWS = ('timm.models.swin_transformer.SwinTransformerBlock',)
GRIDS = ('segment_anything.modeling.image_encoder.Block',)
MERGING = ('timm.models.swin_transformer.PatchMerging',)
# Lists of blocks that a model runs as a whole, so that only its last output is read.
WHOLE_RUNS = (nn.Sequential,)


@added_module('vpt')
@dataclass(frozen=True)
class AddedPrompts:
    """Prompts that take part in a block, or pass through it.

    num: how many.
    size: channels of each.
    role: 'deep' has prompts of its own, whose outputs are dropped; 'first' has some and hands their
        outputs on; 'middle' takes what the block before handed on, and hands it on; 'last' takes
        it and drops the outputs.
    seed: of the initial values.

    Adds `vpt_prompts` (num, size) to a block in the roles 'deep' and 'first'.
    """

    num: int
    size: int
    role: str = 'deep'
    seed: int = 0

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f'role must be one of {", ".join(ROLES)}, got {self.role!r}')

    @property
    def holds_tensors(self) -> bool:
        """Whether the host has prompts of its own."""
        return self.role in ('deep', 'first')

    def attach(self, host: nn.Module) -> None:
        """Let a block take prompts. Raises ValueError for what is no such block."""
        kind = kind_of(host)
        if kind is None:
            raise ValueError(f'{type(host).__name__} cannot take prompts')
        if self.holds_tensors:
            generator = torch.Generator().manual_seed(self.seed)
            # As in the paper's code: uniform, for patches of 16 x 16 pixels of three colours.
            limit = (6 / (3 * 16 * 16 + self.size)) ** 0.5
            start = torch.rand(self.num, self.size, generator=generator)
            host.vpt_prompts = nn.Parameter(limit * (2 * start - 1))
        host.__class__ = _prompted_class(type(host), kind)

    def detach(self, host: nn.Module) -> None:
        """Give back the stock block."""
        host.__class__ = type(host).base_class  # type: ignore[attr-defined]
        if self.holds_tensors:
            del host.vpt_prompts


def kind_of(module: nn.Module) -> str | None:
    """How a module takes prompts, as a key of FORWARDS; None where it cannot."""
    names = {f'{cls.__module__}.{cls.__name__}' for cls in type(module).__mro__}
    known = {'tokens': TOKENS, 'windows': WINDOWS, 'grid': GRIDS, 'merging': MERGING}
    return next((kind for kind in known if names & set(known[kind])), None)


def _own(block: Any, x: Tensor) -> Tensor:
    """The block's own prompts for every image of a batch, (B, num, C)."""
    return block.vpt_prompts.to(x.dtype).expand(len(x), -1, -1)


def _tokens(base: Any, block: Any, x: Tensor, *args: Any, **options: Any) -> Tensor:
    """A block over tokens (B, N, C): prompts come after them, and have no positions."""
    role, num = block.added_module.role, block.added_module.num
    if role in ('deep', 'first'):
        x = torch.cat([x, _own(block, x)], dim=1)
    x = base.forward(block, x, *args, **options)
    return x[:, :-num] if role in ('deep', 'last') else x


def _windows(base: Any, block: Any, x: Any) -> Any:
    """A block over a map (B, H, W, C) in windows; prompts are handed on as (map, prompts)."""
    role = block.added_module.role
    if role in ('middle', 'last'):
        x, prompts = _handed_on(block, x)
    else:
        prompts = _own(block, x)
    with prompted_windows(block.attn, block.norm1(prompts)) as outputs:
        x = base.forward(block, x)
    if role in ('deep', 'last'):
        return x
    prompts = prompts + block.drop_path1(outputs[-1])
    return x, prompts + block.drop_path2(block.mlp(block.norm2(prompts)))


def _merging(base: Any, merging: Any, x: Any) -> Any:
    """Patch merging: four copies of each prompt are merged, as the four patches are."""
    x, prompts = _handed_on(merging, x)
    four = torch.cat([prompts] * 4, dim=-1)
    return base.forward(merging, x), merging.reduction(merging.norm(four))


def _handed_on(module: nn.Module, x: Any) -> tuple[Tensor, Tensor]:
    if isinstance(x, tuple):
        return x[0], x[1]
    raise RuntimeError(
        f'{type(module).__name__} got no prompts from the module before it: with shallow prompts '
        'all blocks have to run in their order; use the method vpt_deep'
    )


def _grid(base: Any, block: Any, x: Tensor) -> Tensor:
    """A block of SAM over a map (B, H, W, C), windowed or global."""
    with prompted_grid(block.attn, block.norm1(_own(block, x))):
        return base.forward(block, x)


FORWARDS = {'tokens': _tokens, 'windows': _windows, 'grid': _grid, 'merging': _merging}
_PROMPTED: dict[type[nn.Module], Any] = {}


def _prompted_class(base: Any, kind: str) -> Any:
    if base not in _PROMPTED:
        prompted = FORWARDS[kind]

        def forward(module: Any, *args: Any, **options: Any) -> Any:
            return prompted(base, module, *args, **options)

        body = {'base_class': base, '__module__': __name__, 'forward': forward}
        _PROMPTED[base] = type(f'Prompted{base.__name__}', (base,), body)
    return _PROMPTED[base]


@dataclass(frozen=True, kw_only=True)
class VPT:
    """Visual prompt tuning (Jia et al., arXiv:2203.12119; GPS, arXiv:2312.10136, eq. 8).

    x' = [x; p]: prompts p (num x d) are trained beside the tokens x. Shallow: they join at the
    first block, and their outputs go on through all others. Deep: every block has prompts of its
    own, whose outputs are dropped. The tokens of the image keep their places, so that pooling and
    heads see as many as before.

    For the plain ViT of timm and of MMSegmentation (there deep only), timm's Swin and SAM's encoder
    (deep only). In windowed blocks every window sees the same prompts, at no relative position and
    behind no mask; going on, in Swin, the outputs are averaged over the windows, and patch merging
    merges four copies of a prompt. Anything else is refused: a ConvNeXt has no tokens, and the
    attention of Swin-V2 and of SegFormer is made for a whole grid of positions.

    Prompts cannot be merged: at inference all attention is over num more tokens.

    num: how many prompts (published: 200 shallow, 50 deep).
    deep: whether every block has its own.
    whole: what is trained whole besides, as `part_names` takes it.
    seed: of the initial values.
    train_from: the number of the first block that is trained (where shallow prompts join), the
        share of the blocks that stay frozen, in [0, 1), or 'auto' with a budget; see `late_parts`.
    budget: with train_from='auto', what a training step may cost: settings of `CostBudget`.
    """

    num: int
    deep: bool
    whole: Sequence[str] = ('heads',)
    seed: int = 0
    train_from: int | float | str = 0
    budget: Budget | None = None
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if isinstance(self.num, bool) or not isinstance(self.num, int) or self.num < 1:
            raise ValueError(f'num must be a number of prompts, at least 1, got {self.num!r}')
        budget = check_train_from(self.train_from, self.budget)
        object.__setattr__(self, 'budget', budget)
        check_lists(self, 'whole')

    def plan(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        _check_blocks(model, parts, deep=self.deep)
        parts = late_parts(model, parts, self.train_from)
        start = parts.blocks.index(parts.first_block) if parts.first_block else 0
        roles = self._roles(model, parts.blocks[start:])
        added = {path: self._spec(model, path, role) for path, role in roles.items()}
        return Plan(Selection({}, {'criterion': 'none'}), added)

    def apply(self, model: nn.Module, parts: ModelParts, plan: Plan) -> Applied:
        parts = late_parts(model, parts, self.train_from)
        return train(model, plan, part_names(model, parts, self.whole), parts=parts)

    def _roles(self, model: nn.Module, blocks: Sequence[str]) -> dict[str, str]:
        if self.deep or len(blocks) == 1:
            return dict.fromkeys(blocks, 'deep')
        roles = {blocks[0]: 'first', blocks[-1]: 'last'}
        if kind_of(model.get_submodule(blocks[0])) == 'tokens':
            return roles  # prompts pass through stock blocks as tokens do
        for path in _between(model, blocks):
            roles.setdefault(path, 'middle')
        return roles

    def _spec(self, model: nn.Module, path: str, role: str) -> Mapping[str, Any]:
        norm: Any = getattr(model.get_submodule(path), 'norm1', None)
        size = 0 if norm is None else len(norm.weight)
        # A seed of the block's own: equal prompts in all blocks would be no random start.
        seed = zlib.crc32(f'{self.seed}/{path}'.encode())
        return {'type': 'vpt', **asdict(AddedPrompts(self.num, size, role, seed))}


def vpt_shallow(num: int = 200, **rest: Any) -> VPT:
    """Prompts that join at the first block (VPT-Shallow, arXiv:2203.12119): see `VPT`.

    num: how many prompts.
    rest: `whole`, `seed`, `train_from` and `budget`, as in `VPT`.
    """
    return VPT(num=num, deep=False, **rest)


def vpt_deep(num: int = 50, **rest: Any) -> VPT:
    """Prompts of its own for every block (VPT-Deep, arXiv:2203.12119): see `VPT`.

    num: how many prompts a block has.
    rest: `whole`, `seed`, `train_from` and `budget`, as in `VPT`.
    """
    return VPT(num=num, deep=True, **rest)


def _between(model: nn.Module, blocks: Sequence[str]) -> list[str]:
    """The blocks, and the patch mergings that lie between them, in their order."""
    paths = [path for path, _ in model.named_modules()]
    inside = paths[paths.index(blocks[0]) : paths.index(blocks[-1])]
    return [
        path for path in inside if path in blocks or kind_of(model.get_submodule(path)) == 'merging'
    ]


def _check_blocks(model: nn.Module, parts: ModelParts, *, deep: bool) -> None:
    """Raise ValueError where the blocks of a model cannot take prompts."""
    advice = 'choose another method, such as lora, ssf or gps'
    if not parts.blocks:
        raise ValueError(f'prompts join at blocks, and the model has no list of such; {advice}')
    for path in parts.blocks:
        block = model.get_submodule(path)
        if kind_of(block) in ('tokens', 'windows', 'grid'):
            continue
        why = (
            'its attention is made for a whole grid of positions, in which prompts have no place'
            if any('attn' in name or 'attention' in name for name, _ in block.named_modules())
            else 'it has no attention, and so no tokens that prompts could join'
        )
        raise ValueError(
            f'{path} ({type(block).__name__}) cannot take prompts: {why}. They are for the plain '
            f'ViT of timm and MMSegmentation, the Swin of timm and SAM; {advice}'
        )
    holder = model.get_submodule(parts.blocks[0].rpartition('.')[0])
    if not deep and not isinstance(holder, WHOLE_RUNS):
        raise ValueError(
            f'{type(model).__name__} may read the outputs of blocks in the middle, where shallow '
            'prompts would lie among the tokens of the image; use vpt_deep'
        )
