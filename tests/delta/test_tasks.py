"""Deltas that take turns in one model; what is expected is computed on models of their own."""

import asyncio
import copy
import gc
import pickle
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gps_seg
from gps_seg.delta import Delta, Tasks, fingerprint
from gps_seg.selection import Budget, Random, neuron, selectable_weights
from gps_seg.sparse import make_sparse
from tests.toys import ToyNet, toy_batch

NAMES = ('a', 'b', 'c', 'd', 'e')


def toy(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return ToyNet().to(dtype).eval()


def delta_of(model: nn.Module, seed: int, **options: Any) -> Delta:
    """A delta with sparse and whole values of random bits."""
    selection = neuron(Random(selectable_weights(model), seed=seed).scores(), Budget(k=2))
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tuned = {name: tensor.clone() for name, tensor in base.items()}
    generator = torch.Generator().manual_seed(seed)
    for name, entries in selection.items():
        values = torch.randn(entries.num, generator=generator)
        tuned[name].put_(entries.storage_index(), values.to(tuned[name].dtype))
    for name in base:
        if name.endswith('.bias'):
            tuned[name] += torch.randn(tuned[name].shape, generator=generator)
    return Delta.between(base, tuned, selection, **options)


def bits_of(model: nn.Module) -> dict[str, bytes]:
    state = model.state_dict().items()
    return {n: t.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() for n, t in state}


def alone(delta: Delta | None, images: Tensor) -> Tensor:
    model = toy()
    if delta is not None:
        delta.swap(model)
    with torch.no_grad():
        return model(images)


def fail(expected: bool) -> None:
    assert expected
    raise ZeroDivisionError


class Setting:
    def __init__(self) -> None:
        self.model: Any = toy()
        self.base = bits_of(self.model)
        self.deltas = {name: delta_of(self.model, seed) for seed, name in enumerate(NAMES)}
        self.images = toy_batch()[0]
        self.expected = {n: alone(delta, self.images) for n, delta in self.deltas.items()}
        self.expected_base = alone(None, self.images)
        self.tasks = Tasks(self.model, self.deltas)

    def outputs(self) -> Tensor:
        with torch.no_grad():
            return self.model(self.images)


@pytest.fixture
def made() -> Iterator[Setting]:
    setting = Setting()
    yield setting
    setting.tasks.close()


def test_every_task_computes_as_a_model_of_its_own_and_leaves_the_base(made: Setting) -> None:
    assert len({tuple(out.flatten().tolist()) for out in made.expected.values()}) == len(NAMES)
    for name in (*NAMES, 'a'):
        with made.tasks.use(name) as model:
            assert model is made.model and made.tasks.current == name
            assert torch.equal(made.outputs(), made.expected[name])
        assert [made.tasks.current] == [None]
        assert bits_of(made.model) == made.base
        assert torch.equal(made.outputs(), made.expected_base)


def test_ten_thousand_swaps_from_four_threads_are_exact(made: Setting) -> None:
    problems: list[str] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(2500):
            name = draw.choice([None, *NAMES])
            with made.tasks.use(name):
                # All writes are compared, and every tenth time a forward pass.
                expected = made.expected_base if name is None else made.expected[name]
                if draw.random() < 0.1 and not torch.equal(made.outputs(), expected):
                    problems.append(f'{name} in thread {seed}')
                elif name is not None and not holds(made.model, made.deltas[name]):
                    problems.append(f'values of {name} in thread {seed}')

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert bits_of(made.model) == made.base


def holds(model: nn.Module, delta: Delta) -> bool:
    """Whether the biases, and the first selected weight, are the delta's."""
    parameters = dict(model.named_parameters())
    first = next(iter(delta.values))
    taken = parameters[first].take(delta.selection[first].storage_index())
    return torch.equal(taken, delta.values[first]) and all(
        torch.equal(parameters[name], tensor) for name, tensor in delta.whole.items()
    )


def in_thread(work: Callable[[], Any]) -> Any:
    """The result of a function in another thread, or the exception that it raised."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, name='the other one')
    thread.start()
    thread.join()
    return results[0]


def test_another_thread_neither_computes_nor_comes_in_while_one_is_inside(made: Setting) -> None:
    came_in = threading.Event()

    def wait_for_turn() -> None:
        with made.tasks.use('b'):
            came_in.set()

    waiting = threading.Thread(target=wait_for_turn)
    with made.tasks.use('a'):
        for part in (made.model, made.model.stem, made.model.head):
            error = in_thread(lambda part=part: part(made.images))  # type: ignore[misc]
            assert isinstance(error, RuntimeError) and 'compute inside' in str(error)
        waiting.start()
        assert not came_in.wait(0.1)
        assert torch.equal(made.outputs(), made.expected['a'])
    waiting.join()
    assert came_in.is_set()
    assert torch.equal(in_thread(made.outputs), made.expected_base)


def test_a_forward_outside_that_overlaps_a_swap_raises(made: Setting) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def pause(module: nn.Module, args: Any, output: Any) -> None:
        begun.set()
        go_on.wait(10)

    # In the last layer: no later layer could notice.
    handle = made.model.head.register_forward_hook(pause, prepend=True)
    errors: list[Any] = []

    def outside() -> None:
        try:
            made.model(made.images)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=outside)
    thread.start()
    assert begun.wait(10)
    with made.tasks.use('a'):
        pass
    go_on.set()
    thread.join()
    handle.remove()
    assert 'while this forward pass ran' in str(errors[0])


def test_use_nests_and_an_exception_leaves_what_was_held_before(made: Setting) -> None:
    with made.tasks.use('a'):
        with pytest.raises(ZeroDivisionError), made.tasks.use('b'), made.tasks.use('b'):
            fail(torch.equal(made.outputs(), made.expected['b']))
        assert made.tasks.current == 'a'
        assert torch.equal(made.outputs(), made.expected['a'])
        with made.tasks.use(None):
            assert bits_of(made.model) == made.base
        assert torch.equal(made.outputs(), made.expected['a'])
    assert bits_of(made.model) == made.base


def test_leaving_in_another_order_keeps_what_the_inner_level_holds(made: Setting) -> None:
    outer, inner = made.tasks.use('a'), made.tasks.use('b')
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert torch.equal(made.outputs(), made.expected['b'])
    inner.__exit__(None, None, None)
    assert bits_of(made.model) == made.base


def test_an_interrupt_in_the_middle_of_a_swap_leaves_what_was_held(
    made: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    calls: list[Any] = [interrupt, torch._foreach_copy_]
    with monkeypatch.context() as patch:
        patch.setattr(torch, '_foreach_copy_', lambda *a: calls.pop(0)(*a))
        with pytest.raises(KeyboardInterrupt), made.tasks.use('a'):
            raise AssertionError('never inside')
    assert calls == [] and bits_of(made.model) == made.base
    with made.tasks.use('a'):
        with monkeypatch.context() as patch:
            calls = [interrupt, torch._foreach_copy_]
            level = made.tasks.use('b')
            level.__enter__()
            patch.setattr(
                torch,
                '_foreach_copy_',
                lambda *a: (calls.pop(0) if len(calls) > 1 else calls[0])(*a),
            )
            with pytest.raises(KeyboardInterrupt):
                level.__exit__(None, None, None)
        assert torch.equal(made.outputs(), made.expected['a'])
    assert bits_of(made.model) == made.base


def test_a_level_is_left_by_the_thread_that_entered_it(made: Setting) -> None:
    level = made.tasks.use('a')
    level.__enter__()
    error = in_thread(lambda: level.__exit__(None, None, None))
    assert isinstance(error, RuntimeError) and 'must leave by itself' in str(error)
    assert torch.equal(made.outputs(), made.expected['a'])
    made.tasks._inside.clear()
    made.tasks._hold.caller = None


def test_a_thread_that_ended_inside_is_named_and_its_level_can_be_closed(made: Setting) -> None:
    level = made.tasks.use('a')
    in_thread(level.__enter__)
    with pytest.raises(RuntimeError, match='the other one ended without leaving'):
        made.tasks.use('b').__enter__()
    level.__exit__(None, None, None)
    with made.tasks.use('b'):
        assert torch.equal(made.outputs(), made.expected['b'])


def test_tasks_of_one_event_loop_do_not_mix(made: Setting) -> None:
    async def inside() -> None:
        with made.tasks.use('a'):
            await asyncio.sleep(0.05)
            assert torch.equal(made.outputs(), made.expected['a'])

    async def beside(work: Callable[[], Any]) -> str:
        await asyncio.sleep(0.01)
        try:
            work()
        except RuntimeError as error:
            return str(error)
        return ''

    async def both() -> list[Any]:
        work = (made.outputs, made.tasks.use('b').__enter__)
        return list(await asyncio.gather(inside(), *map(beside, work)))

    _, computing, entering = asyncio.run(both())
    assert 'compute inside' in computing and 'leave before the next await' in entering
    assert bits_of(made.model) == made.base


def test_a_task_that_stays_is_held_outside_use_too(made: Setting) -> None:
    made.tasks.stay('a')
    assert made.tasks.current == 'a'
    assert torch.equal(made.outputs(), made.expected['a'])
    with made.tasks.use('b'):
        assert torch.equal(made.outputs(), made.expected['b'])
        with pytest.raises(RuntimeError, match='leave that first'):
            made.tasks.stay('c')
    assert torch.equal(in_thread(made.outputs), made.expected['a'])
    made.tasks.add('more', delta_of(toy(), 9))
    assert torch.equal(made.outputs(), made.expected['a'])
    with pytest.raises(ValueError, match="holds the task 'a'"):
        made.tasks.remove('a')
    made.tasks.close()
    assert bits_of(made.model) == made.base


def test_wrong_names_and_deltas_are_refused_and_the_model_is_left(
    made: Setting, tmp_path: Path
) -> None:
    tasks, delta = made.tasks, made.deltas['a']
    other = toy()
    torch.nn.init.zeros_(other.head.bias)  # type: ignore[union-attr,arg-type]
    undo = delta.swap(toy())
    for name, given, message in (
        ('a', delta, 'already'),
        ('', delta, 'is a text'),
        ('undo', undo, 'it is an undo'),
        ('other', delta_of(other, 1), 'delta other: this delta belongs to the base'),
        ('gone', tmp_path / 'gone.safetensors', 'no file'),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            tasks.add(name, given)
    with pytest.raises(ValueError, match="no delta 'x'; there is a, b"):
        tasks.use('x').__enter__()
    with pytest.raises(ValueError, match="no delta 'x'"):
        tasks.remove('x')
    with tasks.use('a'), pytest.raises(RuntimeError, match='outside `use`'):
        tasks.add('inside', delta)
    assert tuple(tasks.deltas) == NAMES
    assert bits_of(made.model) == made.base
    tasks.remove('a')
    delta.save(tmp_path / 'a.safetensors')
    tasks.add('a', tmp_path / 'a.safetensors')
    with tasks.use('a'):
        assert torch.equal(made.outputs(), made.expected['a'])


def test_one_owner_a_model(made: Setting) -> None:
    for model in (made.model, nn.Sequential(made.model), made.model.head):
        with pytest.raises(ValueError, match='belongs to other Tasks'):
            Tasks(model)
    made.tasks.close()
    again = Tasks(made.model, made.deltas)
    with pytest.raises(ValueError, match='were closed'):
        made.tasks.use('a').__enter__()
    again.close()
    wrong = delta_of(made.model, 1)
    object.__setattr__(wrong, 'base', 'f' * 64)
    with pytest.raises(ValueError, match='belongs to the base'):
        Tasks(made.model, {'wrong': wrong})
    Tasks(made.model)  # dropped at once
    gc.collect()
    Tasks(made.model).close()


def test_a_model_under_fine_tuning_is_refused() -> None:
    model = toy()
    selection = neuron(Random(selectable_weights(model)).scores(), Budget(k=1))
    training = make_sparse(model, selection)
    with pytest.raises(ValueError, match='under fine-tuning'):
        Tasks(model)
    training.restore()


@pytest.mark.parametrize('name', ['stem.weight', 'norm.running_mean'])
@pytest.mark.parametrize('inside', [True, False])
def test_what_something_else_wrote_is_named(made: Setting, name: str, inside: bool) -> None:
    def write() -> None:
        with torch.no_grad():
            made.model.state_dict()[name].add_(1)

    if inside:
        with pytest.raises(ValueError, match=f'{name} was written'), made.tasks.use('a'):
            write()
    else:
        write()
    with pytest.raises(ValueError, match=f'{name} was written'):
        made.tasks.use('a').__enter__()
    made.tasks.close()
    Tasks(made.model).close()


@pytest.mark.parametrize('rest', [None, 'a'])
def test_a_write_of_the_same_values_is_no_change(made: Setting, rest: str | None) -> None:
    made.tasks.stay(rest)
    with torch.no_grad():
        for tensor in made.model.state_dict().values():
            tensor.copy_(tensor.clone())
    with made.tasks.use('b'):
        assert torch.equal(made.outputs(), made.expected['b'])
    made.tasks.stay(None)
    assert bits_of(made.model) == made.base


def test_closing_says_what_was_written_and_ends_the_tasks(made: Setting) -> None:
    with made.tasks.use('a'), pytest.raises(RuntimeError, match='outside `use`'):
        made.tasks.close()
    made.tasks.stay('a')
    with torch.no_grad():
        made.model.head.bias.add_(1)
    with pytest.raises(ValueError, match=r'head\.bias was written'):
        made.tasks.close()
    Tasks(made.model).close()


def test_an_error_inside_is_not_hidden_by_what_was_written(made: Setting) -> None:
    with pytest.raises(ZeroDivisionError), made.tasks.use('a'):
        fail(bool(made.model.head.bias.detach().add_(1).any()))
    with pytest.raises(ValueError, match=r'head\.bias was written'):
        made.tasks.use('b').__enter__()


@pytest.mark.parametrize('inside', [True, False])
def test_a_model_whose_memory_moved_goes_on_exactly(made: Setting, inside: bool) -> None:
    def move() -> None:
        for tensor in (*made.model.parameters(), *made.model.buffers()):
            tensor.data = tensor.data.clone()

    made.tasks.stay('b')
    if inside:
        with made.tasks.use('a'):
            move()
            assert torch.equal(made.outputs(), made.expected['a'])
    else:
        move()
    with made.tasks.use('c'):
        assert torch.equal(made.outputs(), made.expected['c'])
    assert torch.equal(made.outputs(), made.expected['b'])
    made.tasks.stay(None)
    assert bits_of(made.model) == made.base


def test_a_converted_model_is_refused(made: Setting) -> None:
    made.model.half()
    for _ in range(2):
        with pytest.raises(ValueError, match='moved or converted'):
            made.tasks.use('a').__enter__()


def test_copies_of_the_model_are_free_of_the_tasks(made: Setting) -> None:
    with made.tasks.use('a'):
        copies = [copy.deepcopy(made.model), pickle.loads(pickle.dumps(made.model))]
    with made.tasks.use('b'):
        for model in copies:
            out = in_thread(lambda model=model: model(made.images))  # type: ignore[misc]
            assert torch.allclose(out, made.expected['a'], atol=1e-5)


def test_added_modules_come_and_go(made: Setting) -> None:
    model = toy()
    batch = toy_batch()
    tuning = gps_seg.tune(model, method='lora', rank=2)
    with torch.no_grad():
        for parameter in tuning.parameters():
            parameter.add_(0.1)
    delta = tuning.delta()
    tuning.undo()
    expected_model = toy()
    delta.swap(expected_model)
    names = list(model.state_dict())
    tasks = Tasks(model, {'lora': delta})
    with torch.no_grad():
        for _ in range(2):
            with tasks.use('lora'):
                assert torch.equal(model(batch[0]), expected_model(batch[0]))
            assert list(model.state_dict()) == names and bits_of(model) == made.base
            assert torch.equal(model(batch[0]), made.expected_base)
    tasks.close()


def test_encodings_are_shared_where_nothing_changes_the_encoder_or_both_alike() -> None:
    model = nn.ModuleDict({'image_encoder': nn.Linear(4, 4), 'mask_decoder': nn.Linear(4, 4)})
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def with_changes(*names: str) -> Delta:
        return Delta.between(base, {n: t + 1 if n in names else t for n, t in base.items()})

    deltas = {
        'decoder': with_changes('mask_decoder.weight'),
        'other decoder': with_changes('mask_decoder.bias'),
        'encoder': with_changes('image_encoder.bias'),
        'both': with_changes('image_encoder.bias', 'mask_decoder.bias'),
        'weight': with_changes('image_encoder.weight'),
    }
    tasks = Tasks(model, deltas)
    assert tasks.shares_encoding('decoder') and tasks.shares_encoding('decoder', 'other decoder')
    assert tasks.shares_encoding('encoder', 'both') and tasks.shares_encoding(None)
    assert not tasks.shares_encoding('encoder') and not tasks.shares_encoding('both', 'weight')
    assert tasks.shares_encoding('encoder', encoder='mask_decoder')
    with pytest.raises(ValueError, match="no part 'backbone'"):
        tasks.shares_encoding('decoder', encoder='backbone')
    with pytest.raises(ValueError, match="no delta 'x'"):
        tasks.shares_encoding('x')
    tasks.close()


@pytest.mark.full
def test_compiled_code_computes_the_task_of_its_level(made: Setting) -> None:
    compiled = torch.compile(made.model, backend='eager')
    close = torch.testing.assert_close
    with torch.no_grad():
        for name in ('a', 'b'):
            with made.tasks.use(name):
                close(compiled(made.images), made.expected[name])
        close(compiled(made.images), made.expected_base)


def test_many_levels_on_one_stack_end_at_the_base(made: Setting) -> None:
    with ExitStack() as stack:
        for name in NAMES * 3:
            stack.enter_context(made.tasks.use(name))
        assert torch.equal(made.outputs(), made.expected['e'])
    assert bits_of(made.model) == made.base
    assert fingerprint(made.model.state_dict(), made.model.state_dict()) == made.deltas['a'].base


@pytest.mark.gpu
def test_streams_of_several_threads_see_one_task_each_on_a_gpu() -> None:
    setting = Setting()
    setting.tasks.close()
    model = setting.model.cuda()
    tasks = Tasks(model, setting.deltas)
    images = setting.images.cuda()
    expected = {}
    with torch.no_grad():
        for name in NAMES:
            with tasks.use(name):
                expected[name] = model(images).cpu()

    def work() -> bool:
        good = True
        with torch.cuda.stream(torch.cuda.Stream()), torch.no_grad():
            for _ in range(50):
                for name in NAMES:
                    with tasks.use(name):
                        out = model(images)
                    good &= torch.equal(out.cpu(), expected[name])
        return good

    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(work())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 3
    tasks.close()
    assert bits_of(model) == setting.base
