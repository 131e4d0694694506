"""The handle of a converted model: what is trained, what stands for what, and the way back."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gps_seg.selection.selection import Entries, Selection
from gps_seg.sparse.agreement import agree_parts, write_back
from gps_seg.sparse.convert_layer import assign_engine, restore_layer
from gps_seg.sparse.engine import check_engine
from gps_seg.sparse.layers import SparseLayer, naming
from gps_seg.sparse.norms import thaw_norm
from gps_seg.sparse.trainable import TrainableSummary, trainable_summary


@dataclass(frozen=True)
class SparseWeight:
    """A weight of which selected entries are trained.

    layer, name: where the weight lives. entries: what is selected.
    """

    layer: SparseLayer
    name: str
    entries: Entries

    @property
    def weight(self) -> nn.Parameter:
        """The dense weight, frozen."""
        return _present(self.layer._parameters[self.name])

    @property
    def values(self) -> nn.Parameter:
        """(entries,) the compact parameter, at least fp32."""
        return _present(self.layer._parameters[f'{self.name}_values'])


@dataclass(frozen=True, eq=False)
class SparseTraining:
    """A model of which a selection, and what is named, is trained; `make_sparse` returns it.

    model: converted in place. selection: which entries. whole: names of the parameters trained
    whole. weights: each weight with selected entries, by its name in the state dict.

    A deep copy of the handle holds a deep copy of the model.
    """

    model: nn.Module
    selection: Selection
    whole: tuple[str, ...]
    weights: Mapping[str, SparseWeight]
    _required_grad: Mapping[str, bool] = field(repr=False)
    _norm_modes: Mapping[str, bool | None] = field(repr=False)  # None: that of the model
    _hooks: list[RemovableHandle] = field(default_factory=list, repr=False)

    def parameters(self) -> list[nn.Parameter]:
        """What is trained, for an optimizer: compact values and whole parameters."""
        return list(self.named_parameters().values())

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """What is trained; compact values go by their weight's name in the state dict."""
        compact = {id(weight.values): name for name, weight in self.weights.items()}
        return {
            compact.get(id(parameter), name): parameter
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }

    @property
    def replaced(self) -> list[tuple[nn.Parameter, list[nn.Parameter]]]:
        """Each dense weight with the compact values that stand for it; see `refill_optimizer`."""
        return [(weight.weight, [weight.values]) for weight in self.weights.values()]

    def precise_values(self) -> dict[str, Tensor]:
        """Copies of the compact values on the CPU, in their own precision."""
        self.check()
        return {name: weight.values.detach().cpu().clone() for name, weight in self.weights.items()}

    def load_precise_values(self, values: Mapping[str, Tensor]) -> None:
        """Take compact values exactly, into the weights as well.

        Raises ValueError, before anything is written, if names, shapes or types do not fit.
        """
        self._check_converted()
        differing = sorted(values.keys() ^ self.weights.keys())
        if differing:
            raise ValueError(
                f'the values do not fit the selection: {differing[0]} ({len(differing)} names in '
                'all) is in only one of the two; load what was saved with the same selection'
            )
        for name, weight in self.weights.items():
            given, present = values[name], weight.values
            if given.shape != present.shape or given.dtype != present.dtype:
                raise ValueError(
                    f'the values of {name} are {given.dtype} {tuple(given.shape)}, where '
                    f'{present.dtype} {tuple(present.shape)} belong'
                )
        for name, weight in self.weights.items():
            with torch.no_grad():
                weight.values.copy_(values[name])
            write_back(*weight.layer.part(weight.name))

    def keep(self, hook: RemovableHandle) -> None:
        """Remove a hook together with the conversion."""
        self._hooks.append(hook)

    def use_engine(self, engine: str) -> None:
        """Compute the gradients otherwise from now on, as one of ENGINES; values stay."""
        check_engine(engine)
        self._check_converted()
        # Tensors made within torch.inference_mode could never be trained.
        with torch.inference_mode(False):
            for layer, selected in self.layers().items():
                assert isinstance(layer, SparseLayer)
                assign_engine(layer, selected, engine)

    def summary(self) -> TrainableSummary:
        """How much is trained; `print` it."""
        return trainable_summary(self.model)

    def check(self) -> None:
        """Bring weights and values to one truth now; a GPU is waited for.

        Raises ValueError that names the weight if a value and its weight were both changed.
        """
        self._check_converted()
        for name, weight in self.weights.items():
            with naming(name):
                agree_parts([weight.layer.part(weight.name)], may_wait=True)

    def restore(self) -> nn.Module:
        """Give the model its stock layers again, with the tuned values, and return it.

        What requires a gradient is as before the conversion. A norm follows the model's mode again,
        or keeps the one that it had against the model's.
        Raises ValueError, and changes nothing, where `check` does.
        """
        self.check()
        self._undo()
        return self.model

    def _undo(self) -> None:
        """Take back as much of the conversion as there is, for `restore` and `make_sparse`."""
        for hook in self._hooks:
            hook.remove()
        for layer in self.layers():
            if isinstance(layer, SparseLayer):
                restore_layer(layer)
        for path, training in self._norm_modes.items():
            mode = self.model.training if training is None else training
            thaw_norm(self.model.get_submodule(path), mode)
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            parameter.requires_grad_(self._required_grad.get(name, parameter.requires_grad))

    def _check_converted(self) -> None:
        if not all(isinstance(weight.layer, SparseLayer) for weight in self.weights.values()):
            raise ValueError('the model is no longer converted; call make_sparse on it again')

    def layers(self) -> dict[nn.Module, dict[str, Entries]]:
        """The converted layers with the entries of their weights."""
        layers: dict[nn.Module, dict[str, Entries]] = {}
        for weight in self.weights.values():
            assert isinstance(weight.layer, nn.Module)
            layers.setdefault(weight.layer, {})[weight.name] = weight.entries
        return layers


def _present(parameter: nn.Parameter | None) -> nn.Parameter:
    if parameter is None:
        raise ValueError('the model is no longer converted; call make_sparse on it again')
    return parameter
