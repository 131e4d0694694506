"""What a model of MMSegmentation needs to be tuned: an embedding, its parts, its weights."""

from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from gps_seg.methods import ModelParts
from gps_seg.methods.mask_pooling import mask_pooled
from gps_seg.models.target_masks import stacked_masks
from gps_seg.models.weights import load_strictly, read_weight_file


@MODELS.register_module()
class TunableEncoderDecoder(EncoderDecoder):
    """MMSegmentation's EncoderDecoder (SegFormer and others) as the fine-tuning methods expect it.

    parts: `backbone`, `decode_head`, `neck`, `auxiliary_head`, `train_cfg`, `test_cfg` as in
    MMSegmentation. checkpoint: a whole segmentor. encoder_weights: the backbone alone, or a
    segmentor of which the backbone is taken. fresh: names of the parts that start fresh although a
    file is given, such as 'decode_head.conv_seg' for another number of classes.

    The state dict has exactly the names that MMSegmentation gives it.
    """

    def __init__(
        self,
        *,
        data_preprocessor: dict[str, Any],
        checkpoint: str | None = None,
        encoder_weights: str | None = None,
        fresh: Sequence[str] = (),
        **parts: Any,
    ) -> None:
        if checkpoint is not None and encoder_weights is not None:
            raise ValueError(
                'checkpoint and encoder_weights both name weights of the backbone; set one to None'
            )
        # Built here: without a default scope the base class would search MMEngine's own registry.
        super().__init__(data_preprocessor=MODELS.build(data_preprocessor), **parts)
        self.checkpoint = checkpoint
        self.encoder_weights = encoder_weights
        self.fresh = (fresh,) if isinstance(fresh, str) else tuple(fresh)
        # The names of the tensors that no file has filled.
        self.fresh_names = frozenset(self.state_dict())

    def init_weights(self) -> None:
        """Initialise, then load the weight file strictly; later calls do nothing.

        Raises FileNotFoundError and ValueError that name the next step.
        """
        if self.is_init:
            return
        super().init_weights()
        source = self.checkpoint or self.encoder_weights
        if source is not None:
            state = self._own_state(source)
            self.fresh_names = load_strictly(self, state, fresh=self.fresh, source=source)
        num_tensors, num_fresh = len(self.state_dict()), len(self.fresh_names)
        loaded = f'{num_tensors - num_fresh} from {source}' if source else 'no weight file'
        print_log(
            f'{type(self.backbone).__name__} with {type(self.decode_head).__name__} of '
            f'{num_tensors} tensors: {loaded}, {num_fresh} fresh',
            logger='current',
        )

    def tunable_parts(self) -> ModelParts:
        """Backbone and neck are tuned sparsely, the heads whole."""
        return ModelParts(
            backbone=('backbone', 'neck'),
            head=('decode_head', 'auxiliary_head'),
            fresh=self.fresh_names,
        )

    def embed(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None
    ) -> tuple[Tensor, Tensor]:
        """One embedding for each class present in each image: its mask-pooled last features.

        inputs: (B, 3, H, W), preprocessed. Pixels of the head's `ignore_index` count for no class.
        Returns embeddings (N, D) and their classes (N,) int64, image by image.
        """
        masks = self._masks(inputs, data_samples)
        features = self.extract_feat(inputs)[-1]
        ignored = self.num_classes  # a class of its own, which is dropped again
        masks = masks.masked_fill(masks == self.decode_head.ignore_index, ignored)
        embeddings, classes = mask_pooled(features, masks, num_classes=self.num_classes + 1)
        kept = classes != ignored
        return embeddings[kept], classes[kept]

    def _own_state(self, source: str) -> dict[str, Tensor]:
        state = read_weight_file(source)
        if self.checkpoint is not None:
            return state
        if any(name.startswith('backbone.') for name in state):
            return {name: t for name, t in state.items() if name.startswith('backbone.')}
        return {f'backbone.{name}': tensor for name, tensor in state.items()}

    def _masks(self, inputs: Tensor, data_samples: list[SegDataSample] | None) -> Tensor:
        """The masks as (B, 1, H, W) int64. Raises ValueError where a label is no class."""
        targets = stacked_masks(inputs, data_samples)
        labels = targets[targets != self.decode_head.ignore_index]
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ValueError(
                f'masks must hold 0 to {self.num_classes - 1} (or ignore_index '
                f'{self.decode_head.ignore_index}), got {int(labels.min())} to '
                f'{int(labels.max())}; map them in the pipeline, or set num_classes'
            )
        return targets.long()
