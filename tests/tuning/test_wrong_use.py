"""Wrong models, loaders, plans and orders of calls are answered, and harm nothing."""

import copy
import gc
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import optimizer as optimizers

import gps_seg
from gps_seg.methods import LoRA, describe
from gps_seg.tuning import Tuning


def vit(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(
        'vit_tiny_patch16_224', num_classes=3, img_size=16, patch_size=8, depth=1, embed_dim=12
    )


def pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 3, 16, 16, generator=generator), torch.arange(4) % 2


def tuned(**settings: Any) -> Tuning:
    return gps_seg.tune(vit(), [pictures()], **settings)


def stepped() -> Tuning:
    tuning = tuned()
    with torch.no_grad():
        for parameter in tuning.parameters():
            parameter.add_(1)
    return tuning


@pytest.mark.parametrize(
    'loader, cause',
    [
        (5, 'must yield pairs .* got int'),
        ([], 'the loader gave no batch'),
        ([{'pixels': 1, 'labels': 2}], 'got dict with the keys pixels, labels'),
        ([(*pictures(), 0)], 'got tuple of 3'),
        ([(pictures()[0], list('abab'))], 'labels of the loader must be numbers'),
    ],
)
def test_a_loader_that_cannot_be_used_is_described(loader: Any, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        gps_seg.tune(vit(), loader)


@pytest.mark.parametrize(
    'settings, cause',
    [
        ({'method': None}, 'method must be one of adapter, bias'),
        ({'method': LoRA}, 'or an object that build_method or a class such as'),
        ({'whole': ['biasses']}, 'parts by name are all, all_biases, biases'),
        ({'size': 3}, r"help\(gps_seg.METHODS\['gps'\]\)"),
        ({'plan': 5}, r'plan must be a gps_seg.Plan or the path of one, got int'),
        ({'resume': 'state.pt'}, r"format 'str'.*from a file by torch.load"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_right(settings: dict, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        tuned(**settings)


def test_a_wrapped_or_compiled_model_is_refused_since_its_parts_would_not_be_found() -> None:
    with pytest.raises(ValueError, match=r'DataParallel wraps the model.*model\.module'):
        gps_seg.tune(nn.DataParallel(vit()), [pictures()])
    compiled: Any = torch.compile(vit(), backend='eager')
    with pytest.raises(ValueError, match=r'wraps the model.*model\._orig_mod'):
        gps_seg.tune(compiled, [pictures()], method='linear')


def test_what_is_no_model_is_refused() -> None:
    for model in ('vit_tiny', nn.ReLU()):
        with pytest.raises(ValueError, match='must be a module with parameters'):
            gps_seg.tune(model, [pictures()])  # type: ignore[arg-type]


def test_the_head_that_an_unknown_model_is_asked_for_is_the_whole_of_its_end() -> None:
    class Segmentor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.ModuleDict(
                {
                    'body': nn.Conv2d(3, 4, 3),
                    'classifier': nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 1)),
                }
            )

    with pytest.raises(
        ValueError, match=r"(?s)ends in 'net\.classifier'.*head=\['net\.classifier'\]"
    ):
        gps_seg.tune(Segmentor())


@pytest.mark.parametrize('method', ['linear', 'bias', 'full'])
def test_a_method_that_would_train_nothing_is_refused(method: str) -> None:
    model = vit().requires_grad_(False)
    types = [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match=rf'^{method.capitalize()} trains nothing.*requires_grad'):
        gps_seg.tune(model, method=method)
    assert [type(module) for module in model.modules()] == types
    gps_seg.tune(model.requires_grad_(True), method=method)


@pytest.mark.parametrize('method', ['gps', 'lora', 'adapter'])
def test_a_frozen_backbone_is_told_as_the_cause(method: str) -> None:
    with pytest.raises(ValueError, match='frozen'):
        gps_seg.tune(vit().requires_grad_(False), [pictures()], method=method)


@pytest.mark.parametrize(
    'planned, trained',
    [('gps', 'lora'), ('gps', 'linear'), ('lora', 'gps'), ('lora', 'adapter'), ('lora', 'linear')],
)
def test_a_plan_of_another_kind_of_method_is_refused(planned: str, trained: str) -> None:
    model = vit()
    plan = gps_seg.select(model, [pictures()], method=planned)
    with pytest.raises(ValueError, match='not made for the method'):
        gps_seg.tune(model, method=trained, plan=plan)
    gps_seg.tune(model, method=planned, plan=plan)


def test_methods_that_select_may_share_a_plan() -> None:
    model = vit()
    plan = gps_seg.select(model, [pictures()], method='gps')
    assert gps_seg.tune(model, method='grft', k=1, plan=plan).plan is plan


def test_a_second_tuning_of_a_model_is_refused_before_it_selects() -> None:
    tuning = stepped()
    for again in (gps_seg.tune, gps_seg.select):
        with pytest.raises(ValueError, match='under fine-tuning already'):
            again(tuning.model, [pictures()])
    tuning.undo()
    gps_seg.tune(tuning.model, [pictures()])


def test_a_state_that_does_not_fit_leaves_the_model_as_it_was() -> None:
    state = tuned().state_dict()
    del state['whole']['head.bias']
    model = vit()
    types = [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match=r'head\.bias stands only in the model'):
        gps_seg.tune(model, resume=state)
    assert [type(module) for module in model.modules()] == types
    assert all(parameter.requires_grad for parameter in model.parameters())
    gps_seg.tune(model, [pictures()])


@pytest.mark.parametrize('way_out', [Tuning.remove, Tuning.undo])
@pytest.mark.parametrize(
    'late', [Tuning.parameters, Tuning.delta, Tuning.state_dict, Tuning.summary, Tuning.remove]
)
def test_an_ended_tuning_says_how_it_ended(
    way_out: Callable[[Tuning], nn.Module], late: Callable[[Tuning], Any]
) -> None:
    tuning = stepped()
    way_out(tuning)
    with pytest.raises(ValueError, match=rf'has ended: {way_out.__name__}\(\)'):
        late(tuning)
    assert f'ended, {way_out.__name__}()' in str(tuning)


def test_an_old_handle_leaves_a_new_fine_tuning_alone() -> None:
    old = stepped()
    new = gps_seg.tune(old.remove(), [pictures()])
    before = copy.deepcopy(old.model.state_dict())
    with pytest.raises(ValueError, match='under fine-tuning already'):
        old.undo()
    assert all(torch.equal(t, before[name]) for name, t in old.model.state_dict().items())
    new.undo()
    old.undo()
    stock = vit().state_dict()
    assert all(torch.equal(tensor, stock[name]) for name, tensor in old.model.state_dict().items())


@pytest.mark.parametrize('way_out', [Tuning.remove, None])
def test_a_tuning_that_ended_or_is_gone_leaves_no_hook_on_all_optimizers(way_out: Any) -> None:
    tuned().remove()  # the hook of all sparse layers is made once, and stays
    gc.collect()
    hooks = optimizers._global_optimizer_pre_hooks
    before = dict(hooks)
    tuning = tuned(method='grft', k=1)
    assert len(hooks) == len(before) + 1
    if way_out is not None:
        way_out(tuning)
    del tuning
    gc.collect()
    assert hooks == before


@pytest.mark.parametrize('method', ['gps', 'lora', 'adapter'])
def test_an_optimizer_that_was_built_before_is_refused_until_it_is_refilled(method: str) -> None:
    model = vit()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tuning = gps_seg.tune(model, [pictures()], method=method)
    images, labels = pictures()
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r'built for the stock model.*tuning\.refill'):
        optimizer.step()
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    tuning.refill(optimizer)
    optimizer.step()
    assert any(not torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_an_optimizer_of_a_part_or_of_all_parameters_is_taken() -> None:
    model: Any = vit()
    gps_seg.tune(model, [pictures()])
    images, labels = pictures()
    for parameters in (model.head.parameters(), model.parameters()):
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        torch.optim.SGD(parameters, lr=0.1).step()


@pytest.mark.parametrize('passed', ['by position', 'by name'])
def test_a_penalty_within_the_closure_of_a_step_is_seen(passed: str) -> None:
    def train(*, with_penalty: bool) -> None:
        tuning = tuned(method='grft', k=1)
        optimizer = torch.optim.SGD(tuning.parameters(), lr=0.1)
        images, labels = pictures()

        def closure() -> float:
            loss = torch.nn.functional.cross_entropy(tuning.model(images), labels)
            loss = loss + tuning.penalty() if with_penalty else loss
            loss.backward()
            return loss.item()

        for _ in range(2):
            optimizer.step(closure) if passed == 'by position' else optimizer.step(closure=closure)

    train(with_penalty=True)
    with pytest.raises(ValueError, match=r'^GRFT adds a penalty .* which this step left out'):
        train(with_penalty=False)


def test_printing_shows_what_was_chosen_and_no_defaults() -> None:
    lines = str(tuned(k=2)).splitlines()
    assert lines[0].startswith('GPS(k=2): ')
    assert 'criterion supcon_gradient' in lines[1]
    assert 'where' not in str(tuned())
    assert str(tuned(method='lora', rank=4)).startswith('LoRA(rank=4): ')


def test_added_modules_do_not_count_as_parameters_of_the_base() -> None:
    num = sum(parameter.numel() for parameter in vit().parameters())
    assert tuned(method='lora').summary().total == num


def test_plans_and_deltas_are_shown_without_their_tensors() -> None:
    tuning = stepped()
    num = tuning.plan.selection.num_entries
    for shown in (repr(tuning.plan), repr(tuning.delta())):
        assert f'{num:,} entries of {len(tuning.plan.selection)} weights' in shown
        assert 'tensor(' not in shown


def test_pixels_that_mmsegmentation_ignores_are_no_class_of_the_embedding() -> None:
    class Segmentor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Conv2d(3, 4, 1)
            head: Any = nn.Conv2d(4, 2, 1)
            head.ignore_index = 255
            self.decode_head = head

        def extract_feat(self, images: Tensor) -> list[Tensor]:
            return [self.backbone(images)]

    model = Segmentor()
    images, masks = torch.randn(1, 3, 2, 2), torch.tensor([[[0, 1], [255, 255]]])
    embed = describe(model).embed
    assert embed is not None
    embeddings, classes = embed((images, masks))
    assert classes.tolist() == [0, 1]
    torch.testing.assert_close(embeddings, F.normalize(model.backbone(images)[0, :, 0].T, dim=1))


def test_an_adapter_that_fits_nowhere_says_where_one_could_go_if_anywhere() -> None:
    with pytest.raises(ValueError, match=r"no module .* fits \['x'\].*such as 'blocks\.0'"):
        tuned(method='adapter', targets=['x'])
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), nn.Linear(4, 2))
    with pytest.raises(ValueError, match='none of its modules ends in a linear layer'):
        gps_seg.tune(model, method='adapter', head=['1'])
