"""A model with a tuner of PEFT in it, and the files that PEFT writes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gps_seg.delta import tensor_digests
from gps_seg.files import load_tensors
from gps_seg.files.errors import one_line
from gps_seg.methods.peft_settings import import_peft
from gps_seg.selection import random_state, set_random_state

# PEFT's own names.
WEIGHTS, CONFIG, CARD, ADAPTER = (
    'adapter_model.safetensors',
    'adapter_config.json',
    'README.md',
    'default',
)
# What PEFT's tuners raise of layers and settings that they do not know.
ERRORS = (ValueError, TypeError, NotImplementedError, AttributeError, RuntimeError, KeyError)


@dataclass(frozen=True, eq=False)
class StockModel:
    """How a model was before other modules were put around its layers, to put it back exactly.

    children, parameters: of every module. required_grad: of every parameter. attributes: of the
    model itself.
    """

    model: nn.Module
    children: list[tuple[nn.Module, dict[str, nn.Module | None]]]
    parameters: list[tuple[nn.Module, dict[str, nn.Parameter | None]]]
    required_grad: list[tuple[nn.Parameter, bool]]
    attributes: frozenset[str]

    @classmethod
    def of(cls, model: nn.Module) -> 'StockModel':
        return cls(
            model,
            [(module, dict(module._modules)) for module in model.modules()],
            [(module, dict(module._parameters)) for module in model.modules()],
            [(parameter, parameter.requires_grad) for parameter in model.parameters()],
            frozenset(model.__dict__),
        )

    def put_back(self) -> None:
        """Undo whatever was put in; the values of its tensors stay."""
        for module, children in self.children:
            module._modules.clear()
            module._modules.update(children)
        for module, parameters in self.parameters:
            module._parameters.clear()
            module._parameters.update(parameters)
        for parameter, required in self.required_grad:
            parameter.requires_grad_(required)
        for name in self.model.__dict__.keys() - self.attributes:
            delattr(self.model, name)

    def pass_mode_on(self) -> None:
        """Give what was put in the mode of the model; libraries make it in training mode."""
        known = {id(module) for module, _ in self.children}
        for module in self.model.modules():
            if id(module) not in known:
                module.training = self.model.training


@dataclass(frozen=True, eq=False)
class PEFTFiles:
    """What `OwnFiles` asks for, of PEFT.

    wrapped: PEFT's model around ours, whose layers are changed in place. names: the present name of
    each tensor of the stock model. trained: names of the parameters that PEFT trains. added: names
    of the tensors that the stock model does not have.
    """

    wrapped: Any
    names: Mapping[str, str]
    trained: tuple[str, ...]
    added: tuple[str, ...]
    _stock: StockModel = field(repr=False)

    library: ClassVar[str] = 'PEFT'
    folder: ClassVar[str] = 'adapter'

    @classmethod
    def inject(cls, model: nn.Module, config: Any, *, seed: int = 0) -> 'PEFTFiles':
        """Put a tuner into a model, in place.

        seed: of its initial values; the random state outside stays as it is.

        Raises ValueError, with the model as it was, where PEFT cannot do it, or would change a
        tensor of the base at its start.
        """
        peft, kind = import_peft(), config.peft_type.value
        stock, before = StockModel.of(model), _tensors(model)
        digests = tensor_digests(model.state_dict(), before)
        state = random_state()
        torch.manual_seed(seed)
        try:
            wrapped = peft.PeftModel(model, config, adapter_name=ADAPTER)
        except ERRORS as error:
            stock.put_back()
            raise ValueError(
                f'PEFT {kind} cannot be put into {type(model).__name__}: {one_line(error, 300)}; '
                'name other layers by target_modules=[...], or take another tuner'
            ) from error
        finally:
            set_random_state(state)
        stock.pass_mode_on()
        present = {id(tensor): name for name, tensor in _tensors(model).items()}
        names = {name: present.get(id(tensor), '') for name, tensor in before.items()}
        now = model.state_dict()
        moved = [
            name
            for name, present_name in names.items()
            if present_name not in now
            or tensor_digests(now, [present_name]) != {present_name: digests[name]}
        ]
        if moved:
            stock.put_back()
            raise ValueError(
                f'PEFT {kind} with these settings rewrites the base at its start ({moved[0]} and '
                f'{len(moved) - 1} other tensors), so that nothing could be told from it any more; '
                'choose another initialisation or tuner, and load the base again'
            )
        trained = tuple(name for name, p in model.named_parameters() if p.requires_grad)
        added = tuple(sorted(now.keys() - set(names.values())))
        return cls(wrapped, names, trained, added, stock)

    def replaced(self) -> list[tuple[nn.Parameter, list[nn.Parameter]]]:
        """For an optimizer that was built before: PEFT's parameters join one of their layer."""
        model = self._stock.model
        parameters = dict(model.named_parameters())
        stock = [name for name in self.names.values() if name in parameters]
        joining: dict[str, list[nn.Parameter]] = {}
        for name in self.trained:
            if name not in stock:
                joining.setdefault(_host(name, stock), []).append(parameters[name])
        return [
            (dense, [dense, *own] if dense.requires_grad else own)
            for dense, own in ((parameters[host], own) for host, own in joining.items())
        ]

    def state(self) -> dict[str, Tensor]:
        """The tensors of PEFT's file, copied to the CPU."""
        state = import_peft().get_peft_model_state_dict(self.wrapped, save_embedding_layers=False)
        return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` gave, exactly. Raises ValueError where it is of another tuner."""
        expected = {name: tensor.shape for name, tensor in self.state().items()}
        given = {name: tensor.shape for name, tensor in state.items()}
        if expected != given:
            differing = sorted(dict(expected.items() ^ given.items()))
            raise ValueError(
                f'the state of PEFT does not fit the model: {differing[0]} is in only one of the '
                f'two, or of another shape ({len(differing)} tensors in all)'
            )
        import_peft().set_peft_model_state_dict(self.wrapped, dict(state))

    def save(self, folder: Path) -> None:
        """Let PEFT write its files; the page of blanks that it adds for its hub is left out."""
        self.wrapped.save_pretrained(str(folder), save_embedding_layers=False)
        (folder / CARD).unlink(missing_ok=True)

    def load(self, folder: Path) -> None:
        """Take the values of PEFT's file in a folder."""
        self.load_state(load_tensors(folder / WEIGHTS)[0])

    def merge(self) -> None:
        """Write the tuner into the weights of its layers, by PEFT's own way.

        Raises ValueError, with nothing changed, where it cannot be.
        """
        state = self._stock.model.state_dict()
        before = {name: state[name].clone() for name in self.names.values() if name in state}
        try:
            self.wrapped.base_model.merge_adapter(safe_merge=True)
        except (*ERRORS, AssertionError) as error:
            # Anew: PEFT puts merged weights into tensors of their own.
            state = self._stock.model.state_dict()
            with torch.no_grad():
                for name, tensor in before.items():
                    state[name].copy_(tensor)
            for module in self.wrapped.modules():
                if isinstance(getattr(module, 'merged_adapters', None), list):
                    module.merged_adapters.clear()
            raise ValueError(
                f'PEFT cannot merge {type(self.wrapped.base_model).__name__}: '
                f'{one_line(error)}; keep its files (save), or drop it (remove(drop_added=True))'
            ) from error

    def remove(self) -> None:
        """Give the stock layers back, with the values that their tensors have."""
        self._stock.put_back()


def load_peft(model: nn.Module, folder: Path) -> Any:
    """Put a saved tuner into a stock model, in place, by PEFT's own way. Returns PEFT's model.

    Raises FileNotFoundError or ValueError where the folder is not PEFT's, or does not fit.
    """
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise FileNotFoundError(f'{folder} lacks {name}, so it is no folder of PEFT')
    peft = import_peft()
    weights = load_tensors(folder / WEIGHTS)[0]
    stock = StockModel.of(model)
    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        wrapped = peft.PeftModel(model, config, adapter_name=ADAPTER)
        own = peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False)
        if own.keys() != weights.keys():
            raise ValueError(f'it lacks or adds {min(own.keys() ^ weights.keys())}')
        peft.set_peft_model_state_dict(wrapped, weights)
    except ERRORS as error:
        stock.put_back()
        raise ValueError(
            f'{folder} does not fit {type(model).__name__}: {one_line(error)}; was it trained with '
            'this model?'
        ) from error
    stock.pass_mode_on()
    return wrapped


def has_peft(model: nn.Module) -> bool:
    """Whether a tuner of PEFT is in a model."""
    return any(hasattr(module, 'merged_adapters') for module in model.modules())


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of the state dict themselves, by name."""
    kept = model.state_dict().keys()
    every = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    return {name: tensor for name, tensor in every.items() if name in kept}


def _host(name: str, stock: list[str]) -> str:
    """The parameter of the stock model that lies nearest to one of PEFT's: in its own layer."""
    steps = name.split('.')
    while steps:
        steps.pop()
        prefix = '.'.join(steps)
        nearest = next((n for n in stock if not prefix or n.startswith(f'{prefix}.')), None)
        if nearest is not None:
            return nearest
    return stock[0]
