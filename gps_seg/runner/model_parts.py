"""The parts of a model of MMEngine, with its embedding and loss on batches as they are loaded."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from gps_seg.methods import ModelParts, describe
from gps_seg.models.target_masks import stacked_masks


def model_parts(model: Any) -> ModelParts:
    """What the methods must know of a model whose base weights are loaded.

    The embedding and the loss take micro-batches as a data loader collates them; images become
    floats on the device only then, so that the memory stays that of one micro-batch.

    Raises ValueError where no file filled any tensor of the model, or the model does not say which.
    """
    names = model.state_dict().keys()
    fresh = getattr(model, 'fresh_names', None)
    if fresh is None:
        raise ValueError(
            f'{type(model).__name__} does not say which of its tensors a weight file filled; give '
            'it an attribute fresh_names, the state-dict names that no file filled, or use '
            'SAMSegmentor or TunableEncoderDecoder'
        )
    if names <= set(fresh):
        raise ValueError(
            'no file filled any weight of the model, so there is nothing pretrained to fine-tune; '
            'name its weights in the config: model.checkpoint, or model.encoder_weights'
        )
    described = describe(model)
    parts = replace(described, fresh=frozenset(fresh) & names)

    def embed(micro_batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        data = model.data_preprocessor(micro_batch, False)
        inputs, samples = data['inputs'], data['data_samples']
        if hasattr(model, 'embed'):
            return model.embed(inputs, samples)
        if described.embed is None:
            raise ValueError(
                f'{type(model).__name__} has no method embed(inputs, data_samples), which the '
                'contrastive selection needs; give it one, or use a method without images'
            )
        return described.embed((inputs, stacked_masks(inputs, samples)))

    def loss(micro_batch: dict[str, Any]) -> Tensor:
        # Preprocessed as in training, where images and masks may be padded together.
        data = model.data_preprocessor(micro_batch, True)
        return model.parse_losses(model(**data, mode='loss'))[0]

    return replace(parts, embed=embed, loss=loss)
