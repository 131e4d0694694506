"""The parts of a model of MMEngine, with its embedding and loss on batches as they are loaded."""

import contextlib
import copy
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import Tensor

from gps_seg.methods import ModelParts, describe
from gps_seg.models.target_masks import stacked_masks
from gps_seg.runner.loading_record import LoadingRecord
from gps_seg.runner.model_modes import training_outputs

# (model, inputs (B, 3, H, W), data samples) -> embeddings (N, D) and their classes (N,).
Embedding = Callable[[Any, Tensor, Any], tuple[Tensor, Tensor]]


def model_parts(
    model: Any, loaded: LoadingRecord | None = None, *, embed: Embedding | None = None
) -> ModelParts:
    """What the methods must know of a model whose base weights are loaded.

    loaded: what weight files filled; None where only the model itself knows (`fresh_names`).
    embed: what makes embeddings of a preprocessed batch, in place of the model's method
        `embed(inputs, data_samples)` or of what is known of its class.

    The embedding and the loss take micro-batches as a data loader collates them; images become
    floats on the device only then, padded as in training, so that the memory stays that of one
    micro-batch.

    Raises ValueError where no file filled any tensor of the model, or nobody knows which.
    """
    fresh = _fresh_names(model, loaded)
    described = describe(model)
    look = embed or (_by_the_model if hasattr(model, 'embed') else None)

    def embed_batch(micro_batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        data = _preprocessed(model, micro_batch)
        inputs, samples = data['inputs'], data['data_samples']
        if look is not None:
            return look(model, inputs, samples)
        if described.embed is None:
            raise ValueError(
                f'{type(model).__name__} has no method embed(inputs, data_samples), which the '
                'contrastive selection needs; name a function FineTuneHook(embed=...), give it '
                'the method, or use a method without images'
            )
        return described.embed((inputs, stacked_masks(inputs, samples)))

    return replace(described, fresh=fresh, embed=embed_batch, loss=_Loss(model))


class _Loss:
    """The training loss of a model on batches as they are loaded, a scalar.

    In evaluation mode, whose outputs repeat, unless the model then gives other losses than in
    training, or none (DDRNet, PIDNet): those are computed in the mode that they are trained in.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.in_training: bool | None = None

    def __call__(self, micro_batch: dict[str, Any]) -> Tensor:
        data = _preprocessed(self.model, micro_batch)
        if self.in_training is None:
            self.in_training = self._differs(data)
        with training_outputs(self.model) if self.in_training else contextlib.nullcontext():
            return self.model.parse_losses(self.model(**data, mode='loss'))[0]

    def _differs(self, data: dict[str, Any]) -> bool:
        """Whether the losses in evaluation mode are others than those in training."""
        with torch.no_grad():
            with training_outputs(self.model):
                trained = self.model(**data, mode='loss').keys()
            try:
                evaluated = self.model(**data, mode='loss').keys()
            except torch.OutOfMemoryError:
                raise
            # Whatever a head makes of outputs that it does not expect.
            except Exception:
                evaluated = ()
        if trained == evaluated:
            return False
        MMLogger.get_current_instance().info(
            f'{type(self.model).__name__} has other losses in training than in evaluation mode; '
            'it is scored as it is trained, with dropout off and norms as they are'
        )
        return True


def function_at(path: str) -> Embedding:
    """The function that a dotted path names: 'package.module.function'.

    Raises ValueError where there is none.
    """
    try:
        function: Any = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f'embed={path!r} names no function ({error}); write package.module.function, of a '
            'module that python finds from the working directory or in custom_imports'
        ) from error
    if not callable(function):
        raise ValueError(f'embed={path!r} is a {type(function).__name__}, not a function')
    return function


def _by_the_model(model: Any, inputs: Tensor, samples: Any) -> tuple[Tensor, Tensor]:
    return model.embed(inputs, samples)


def _fresh_names(model: Any, loaded: LoadingRecord | None) -> frozenset[str]:
    names = frozenset(model.state_dict())
    told = getattr(model, 'fresh_names', None)
    if loaded is None and told is None:
        raise ValueError(
            f'{type(model).__name__} does not say which of its tensors a weight file filled; give '
            'it an attribute fresh_names, the state-dict names that no file filled'
        )
    fresh = names if told is None else frozenset(told) & names
    if loaded is not None:
        fresh &= loaded.fresh(model)
    if names <= fresh:
        raise ValueError(
            'no file filled any weight of the model, so there is nothing pretrained to fine-tune; '
            'name its weights in the config: load_from, model.pretrained, init_cfg, or '
            'model.checkpoint'
        )
    return fresh


def _preprocessed(model: Any, micro_batch: dict[str, Any]) -> dict[str, Any]:
    """A batch as the model takes it in training: images and masks padded together."""
    with _without_batch_augments(model.data_preprocessor):
        # Padding writes into the data samples, and a micro-batch is looked at twice.
        return model.data_preprocessor(copy.deepcopy(micro_batch), True)


@contextlib.contextmanager
def _without_batch_augments(preprocessor: Any) -> Iterator[None]:
    """Mixing images is for training: it would mix classes, and draw anew for the same batch."""
    augments = getattr(preprocessor, 'batch_augments', None)
    if augments is None:
        yield
        return
    preprocessor.batch_augments = None
    try:
        yield
    finally:
        preprocessor.batch_augments = augments
