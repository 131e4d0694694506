"""What the loop over the images promises, for every criterion."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg.selection import CRITERIA, Scores, score, selectable_weights
from tests.toys import ToyNet, toy_batch

Batch = tuple[Tensor, Tensor]
WITH_IMAGES = [name for name, criterion in CRITERIA.items() if criterion.needs != 'nothing']
each_criterion = pytest.mark.parametrize('criterion', CRITERIA)
each_with_images = pytest.mark.parametrize('criterion', WITH_IMAGES)


def toy_model() -> Any:
    torch.manual_seed(0)
    return ToyNet().double()


def batches(num: int = 3) -> list[list[Batch]]:
    """Contrastive batches of two micro-batches each."""
    made = [toy_batch(6, seed=seed) for seed in range(num)]
    return [
        [(images[part].double(), labels[part]) for part in (slice(4), slice(4, 6))]
        for images, labels in made
    ]


def look_of(model: Any, criterion: str) -> Callable[[Batch], Any] | None:
    return {
        'nothing': None,
        'embed': lambda batch: (model.features(batch[0]), batch[1]),
        'loss': lambda batch: F.cross_entropy(model(batch[0]), batch[1]),
    }[CRITERIA[criterion].needs]


def scored(criterion: str, images: Any, *, model: Any = None, **options: Any) -> Scores:
    model = model or toy_model()
    weights = selectable_weights(model)
    return score(model, CRITERIA[criterion](weights, look_of(model, criterion)), images, **options)


@each_with_images
@pytest.mark.parametrize('first_share', [2, 3], ids=['two and one batch', 'three and none'])
def test_what_two_ranks_sum_up_is_what_one_process_sees(criterion: str, first_share: int) -> None:
    of_the_other: dict[str, Tensor] = {}

    def send(totals: Mapping[str, Tensor]) -> None:
        assert not of_the_other
        of_the_other.update({name: total.clone() for name, total in totals.items()})

    def add(totals: Mapping[str, Tensor]) -> None:
        assert [(name, total.shape, total.dtype) for name, total in totals.items()] == [
            (name, total.shape, total.dtype) for name, total in of_the_other.items()
        ]
        for name, total in totals.items():
            total += of_the_other[name]

    # What this rank alone would score is of no interest, and an error if it saw nothing.
    try:
        scored(criterion, batches()[first_share:], reduce=send)
    except ValueError:
        assert first_share == 3
    together = scored(criterion, batches()[:first_share], reduce=add)
    whole = scored(criterion, batches())
    for name, matrix in whole.items():
        assert torch.allclose(together[name], matrix, rtol=1e-9, atol=1e-15), name


@each_with_images
def test_the_loop_ends_if_stop_is_true_and_shows_the_scores_so_far(criterion: str) -> None:
    loaded, so_far, told = [], [], []

    def images() -> Iterator[list[Batch]]:
        for number, batch in enumerate(batches()):
            loaded.append(number)
            yield batch

    def stop(scores: Callable[[], Scores]) -> bool:
        so_far.append(scores())
        return len(so_far) == 2

    result = scored(criterion, images(), stop=stop, progress=lambda *done: told.append(done))
    assert loaded == [0, 1]
    assert [num for num, _ in told] == [1, 2]
    assert all((loss is None) == (criterion == 'weight_activation') for _, loss in told)
    for num, scores in ((1, so_far[0]), (2, so_far[1]), (2, result)):
        expected = scored(criterion, batches()[:num])
        assert all(torch.equal(scores[name], expected[name]) for name in expected)


@each_with_images
def test_without_images_the_loop_says_so(criterion: str) -> None:
    with pytest.raises(ValueError, match='scored every entry zero: it saw no images'):
        scored(criterion, [])


@pytest.mark.parametrize('criterion', ['magnitude', 'random'])
def test_a_criterion_that_needs_nothing_loads_no_image(criterion: str) -> None:
    images = iter(batches())
    assert scored(criterion, images).keys() == scored(criterion, ()).keys()
    assert len(list(images)) == len(batches())


@each_criterion
@pytest.mark.parametrize('fails', [False, True])
def test_the_model_is_left_as_before_also_after_an_error(criterion: str, fails: bool) -> None:
    model = toy_model().train()
    model.linear.eval()
    model.stem.weight.requires_grad_(False)
    kept = model.head.weight.grad = torch.ones_like(model.head.weight)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    random_state = torch.get_rng_state()
    images = batches()
    if fails:
        images[1] = [(torch.ones(2, 5), torch.zeros(2).long())]  # no images
    try:
        scored(criterion, images, model=model)
    except RuntimeError:
        assert fails
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert [module.training for module in model.modules()] == modes
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == hooks
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ['stem.weight']
    assert model.head.weight.grad is kept
    assert torch.equal(kept, torch.ones_like(kept))
    assert [n for n, p in model.named_parameters() if p.grad is not None] == ['head.weight']
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@each_with_images
def test_only_the_weights_get_gradients_and_only_if_the_criterion_takes_them(
    criterion: str,
) -> None:
    model = toy_model()
    weights = selectable_weights(model, within=['linear'])
    flags: list[list[str]] = []
    look = look_of(model, criterion)
    assert look is not None

    def watched(batch: Batch) -> Any:
        flags.append([name for name, p in model.named_parameters() if p.requires_grad])
        return look(batch)

    rule = CRITERIA[criterion](weights, watched)
    with torch.no_grad():  # as in a caller's evaluation
        score(model, rule, batches())
    expected = ['linear.weight'] if CRITERIA[criterion].gradients else []
    assert all(names == expected for names in flags)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@each_criterion
def test_no_hook_and_no_gradient_is_left_on_low_precision_weights(
    criterion: str, dtype: torch.dtype
) -> None:
    model = ToyNet().to(dtype)
    images = [[(pixels.to(dtype), labels) for pixels, labels in batch] for batch in batches()]
    scored(criterion, images, model=model)
    for parameter in model.parameters():
        assert parameter.grad is None
        assert not getattr(parameter, '_post_accumulate_grad_hooks', None)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('criterion', ['task_gradient', 'supcon_gradient'])
def test_between_batches_one_sum_of_the_size_of_the_weights_is_kept(
    criterion: str, dtype: torch.dtype
) -> None:
    model = nn.Linear(64, 64, bias=False, dtype=dtype)
    before = model.weight.grad = torch.ones_like(model.weight)
    look: Any = {
        'embed': lambda batch: (model(batch[0]), batch[1]),
        'loss': lambda batch: model(batch[0]).square().mean(),
    }[CRITERIA[criterion].needs]
    rule = CRITERIA[criterion](selectable_weights(model), look)
    images = torch.randn(4, 64).to(dtype)
    for _ in range(3):
        rule.update([(images, torch.arange(4) % 2)])
        (total,) = rule.totals().values()
        assert total.dtype == torch.float32
        assert model.weight.grad is before
    assert torch.equal(before, torch.ones_like(before))
    assert {name: total.shape for name, total in rule.totals().items()} == {'weight': (64, 64)}


def test_scores_that_are_not_finite_are_refused() -> None:
    images = batches(1)
    images[0][0][0][0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match='not finite'):
        scored('task_gradient', images)


def test_under_an_autocast_of_the_caller_the_contrastive_gradient_arrives() -> None:
    model = ToyNet()
    images = [[(pixels.float(), labels) for pixels, labels in batch] for batch in batches()]
    plain = scored('supcon_gradient', images, model=model)
    with torch.autocast('cpu', torch.bfloat16):
        low = scored('supcon_gradient', images, model=model)
    for name, matrix in plain.items():
        assert bool(low[name].any()) == bool(matrix.any()), name


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
@pytest.mark.parametrize('device', ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
@each_criterion
def test_a_device_and_a_precision_change_scores_by_rounding_only(
    criterion: str, device: str, dtype: torch.dtype
) -> None:
    exact = toy_model()
    exact.load_state_dict(exact.bfloat16().state_dict())
    exact.double()
    model = toy_model().to(device, dtype)
    model.load_state_dict(exact.state_dict())
    rounded = [[(pixels.bfloat16(), labels) for pixels, labels in batch] for batch in batches()]
    scores = scored(
        criterion,
        [[(pixels.to(device, dtype), labels.to(device)) for pixels, labels in b] for b in rounded],
        model=model,
    )
    expected = scored(
        criterion,
        [[(pixels.double(), labels) for pixels, labels in b] for b in rounded],
        model=exact,
    )
    for name, matrix in expected.items():
        # The low temperature of the contrastive loss magnifies rounding of the embeddings.
        coarse = 0.4 if criterion == 'supcon_gradient' else 0.02
        tolerance = 1e-6 if dtype == torch.float64 else coarse
        error = (scores[name].cpu().double() - matrix).norm() / matrix.norm().clamp_min(1e-12)
        assert error < tolerance, name
