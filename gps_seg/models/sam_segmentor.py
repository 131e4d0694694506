"""SAM as a model of MMEngine: one foreground mask for each image, or one for each class."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from gps_seg.methods import ModelParts
from gps_seg.methods.mask_pooling import mask_pooled
from gps_seg.models.architectures import build_sam_parts
from gps_seg.models.class_masks import (
    CLASS_MASKS,
    ClassMasks,
    with_background,
    with_fresh_classes,
)
from gps_seg.models.decoding import decode
from gps_seg.models.labels import IGNORE_INDEX, class_labels
from gps_seg.models.mixed_prompts import check_mixed, mixed_losses
from gps_seg.models.padding import SAMDataPreProcessor, preprocessor_of
from gps_seg.models.prompts import boxes_of, encode_prompts
from gps_seg.models.target_masks import stacked_masks
from gps_seg.models.weights import (
    load_strictly,
    named_by,
    read_weight_file,
    sam_state,
)

PROMPTS = ('none', 'box', 'mixed')
TWO_CLASSES_LOSS = dict(type='BCESoftIoULoss')
# Areas summed over the batch: a class that an image lacks has a Dice of 0 or 1 there, and hardly a
# gradient. Of five drawn classes, one seed, the mDice was 55.2 with this and 51.2 without.
SEVERAL_CLASSES_LOSS = dict(type='MonaiDiceCELoss', batch=True)


@MODELS.register_module()
class SAMSegmentor(BaseModel):
    """SAM (Kirillov et al., arXiv:2304.02643) with one prompt for each image.

    arch: a key of ARCHITECTURES. image_size: side of the square input in pixels, a multiple of 16.
    num_classes: with the background, class 0. Two: SAM's single mask (token 0) is the foreground.
    More: each foreground class gets a mask token and a hypernetwork of its own (`ClassMasks`),
    copies of the single mask's at first. prompt: 'none' (no sparse token, as published for
    Kvasir-SEG), 'box' (`box_prompt` of each data sample, (x0, y0, x1, y1) in input pixels), or
    'mixed': trained without a prompt and by `prompt_rounds` rounds of boxes, points and masks about
    each object (`mixed_losses`), so that it stays promptable, and predicting without a prompt.
    checkpoint: a whole SAM. encoder_weights: the image encoder alone, of a plain timm ViT or of a
    SAM. fresh: names of the parts that start fresh although a file is given. loss: config of a loss
    of (logits, targets); default: BCE and soft IoU for two classes, Dice of the batch and
    cross-entropy for more. ignore_index: the masks' label of pixels of no class, which losses get
    as 255; default: 255 for more than two classes, for mixed prompts and where images are padded
    (it is the padding's), else none for two classes, since masks of 0 and 255 would train to
    nothing. attention: how the encoder computes it, 'auto', 'stock', 'fused' or 'pieces', which
    differ in memory and time alone; see `EncoderAttention`.

    The state dict has exactly the names, and the architecture's shapes, of `segment_anything`; with
    more than two classes those below `mask_decoder.class_masks` stand beside them, fresh unless the
    checkpoint has them.
    """

    def __init__(
        self,
        *,
        arch: str,
        image_size: int,
        data_preprocessor: dict[str, Any],
        num_classes: int = 2,
        prompt: str = 'none',
        prompt_rounds: int = 3,
        checkpoint: str | None = None,
        encoder_weights: str | None = None,
        fresh: Sequence[str] = (),
        loss: dict[str, Any] | None = None,
        ignore_index: int | None = None,
        attention: str = 'auto',
    ) -> None:
        if not 2 <= num_classes <= IGNORE_INDEX:
            raise ValueError(
                f'num_classes counts the background too, 2 to {IGNORE_INDEX}, got {num_classes}'
            )
        if prompt not in PROMPTS:
            raise ValueError(f'prompt must be one of {", ".join(PROMPTS)}, got {prompt!r}')
        if checkpoint is not None and encoder_weights is not None:
            raise ValueError(
                'checkpoint and encoder_weights both name weights of the encoder; set one to None'
            )
        # Built here: without a default scope the base class would search MMEngine's own registry.
        super().__init__(preprocessor_of(data_preprocessor, image_size))
        self.arch = arch
        self.image_size = image_size
        self.num_classes = num_classes
        pads = isinstance(self.data_preprocessor, SAMDataPreProcessor)
        by_default = IGNORE_INDEX if num_classes > 2 or prompt == 'mixed' or pads else None
        self.ignore_index = by_default if ignore_index is None else ignore_index
        self.prompt = prompt
        self.prompt_rounds = prompt_rounds
        self.checkpoint = checkpoint
        self.encoder_weights = encoder_weights
        self.fresh = (fresh,) if isinstance(fresh, str) else tuple(fresh)
        for name, part in build_sam_parts(arch, image_size, attention=attention).items():
            self.add_module(name, part)
        if num_classes > 2:
            # Last, so that all else starts as in a model of two classes.
            self.mask_decoder.class_masks = ClassMasks(num_classes - 1, self.mask_decoder)
            self.mask_decoder.class_masks.copy_single_mask(self.mask_decoder)
        default = SEVERAL_CLASSES_LOSS if num_classes > 2 else TWO_CLASSES_LOSS
        self.loss_function = MODELS.build(loss or default)
        if prompt == 'mixed':
            check_mixed(num_classes=num_classes, rounds=prompt_rounds, loss=self.loss_function)
        # The names of the tensors that no file has filled.
        self.fresh_names = frozenset(self.state_dict())

    def init_weights(self) -> None:
        """Load the weight file, strictly, and learn `fresh_names`; later calls do nothing.

        Raises FileNotFoundError and ValueError that name the next step.
        """
        if self.is_init:
            return
        source = self.checkpoint or self.encoder_weights
        if source is not None:
            state = sam_state(
                read_weight_file(source), whole=self.checkpoint is not None, source=source
            )
            fresh = with_fresh_classes(
                self.fresh, state, num_classes=self.num_classes, source=source
            )
            self.fresh_names = load_strictly(self, state, fresh=fresh, source=source)
            if self.class_masks is not None and named_by(CLASS_MASKS, fresh):
                self.class_masks.copy_single_mask(self.mask_decoder)
        num_tensors, num_fresh = len(self.state_dict()), len(self.fresh_names)
        loaded = f'{num_tensors - num_fresh} from {source}' if source else 'no weight file'
        print_log(f'SAM of {num_tensors} tensors: {loaded}, {num_fresh} fresh', logger='current')
        self._is_init = True

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Segment a preprocessed batch, (B, 3, image_size, image_size).

        mode: 'tensor' gives what `low_res_logits` does, 'loss' the named losses, 'predict' the data
        samples with predictions.
        """
        if mode == 'tensor':
            return self.low_res_logits(inputs, data_samples)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f'mode must be tensor, loss or predict, got {mode!r}')

    def low_res_logits(self, inputs: Tensor, data_samples: list[SegDataSample] | None) -> Tensor:
        """Logits at a quarter of the input's size, (B, C, image_size / 4, image_size / 4).

        Two classes: C = 1, the foreground. More: C = num_classes, of which the background's are 0.
        """
        self._check_size(inputs)
        positions, sparse_prompts, dense_prompts = self._encode_prompts(
            inputs.shape[0], data_samples
        )
        logits, _ = decode(
            self.mask_decoder,
            self.image_encoder(inputs),
            positions,
            sparse_prompts,
            dense_prompts,
            classes=self.class_masks,
        )
        return logits if self.class_masks is None else with_background(logits)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample] | None) -> dict[str, Tensor]:
        """The named losses, at input resolution, of logits upsampled bilinearly in fp32."""
        targets = self._targets(inputs, data_samples)
        if self.prompt == 'mixed':
            self._check_size(inputs)
            return mixed_losses(self, self.image_encoder(inputs), targets, data_samples)
        logits = self.low_res_logits(inputs, data_samples).float()
        return self.loss_function(_resized(logits, targets.shape[2:]), targets)

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None
    ) -> list[SegDataSample]:
        """Add `seg_logits` (C, H, W) and `pred_sem_seg` (1, H, W) int64 at `ori_shape`.

        As in `segment_anything`, logits are upsampled bilinearly to the input size, cut to the part
        that is no padding, then resized bilinearly to the original size. Two classes: C = 1,
        foreground is where the logit is above 0 (probability 0.5). More: C = num_classes, and the
        largest logit decides.
        """
        logits = _resized(self.low_res_logits(inputs, data_samples).float(), inputs.shape[2:])
        if data_samples is None:
            data_samples = [SegDataSample() for _ in inputs]
        for sample, image_logits in zip(data_samples, logits, strict=True):
            height, width = sample.metainfo.get('unpadded_shape', inputs.shape[2:])
            size = sample.metainfo.get('ori_shape', (height, width))[:2]
            resized = _resized(image_logits[None, :, :height, :width], size)[0]
            sample.seg_logits = PixelData(data=resized)
            labels = (resized > 0).long() if len(resized) == 1 else resized.argmax(0, keepdim=True)
            sample.pred_sem_seg = PixelData(data=labels)
        return data_samples

    def tunable_parts(self) -> ModelParts:
        """The encoder is tuned sparsely, the decoder whole; `fresh_names` came from no file."""
        return ModelParts(
            backbone=('image_encoder',),
            head=('mask_decoder', 'prompt_encoder.no_mask_embed'),
            fresh=self.fresh_names,
        )

    def embed(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None
    ) -> tuple[Tensor, Tensor]:
        """One embedding for each class present in each image: its mask-pooled encoder features.

        Ignored pixels belong to none. Returns embeddings (N, D) and their classes (N,) int64,
        N <= num_classes * B.
        """
        targets = self._targets(inputs, data_samples)
        self._check_size(inputs)
        # A class of their own, whose embeddings are dropped.
        targets = targets.masked_fill(targets == IGNORE_INDEX, self.num_classes)
        features = self.image_encoder(inputs)
        embeddings, classes = mask_pooled(features, targets, num_classes=self.num_classes + 1)
        known = classes < self.num_classes
        return embeddings[known], classes[known]

    @property
    def class_masks(self) -> ClassMasks | None:
        """The tokens and hypernetworks of the classes; None with two classes."""
        return getattr(self.mask_decoder, 'class_masks', None)

    def _encode_prompts(
        self, batch: int, data_samples: list[SegDataSample] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        boxes = boxes_of(batch, data_samples) if self.prompt == 'box' else None
        return encode_prompts(self.prompt_encoder, batch, boxes)

    def _targets(self, inputs: Tensor, data_samples: list[SegDataSample] | None) -> Tensor:
        """The masks as (B, 1, H, W) int64: classes, and IGNORE_INDEX where there is none."""
        masks = stacked_masks(inputs, data_samples)
        return class_labels(masks, self.num_classes, self.ignore_index)

    def _check_size(self, inputs: Tensor) -> None:
        height, width = inputs.shape[2:]
        if height != self.image_size or width != self.image_size:
            raise ValueError(
                f'images must be {self.image_size} x {self.image_size} pixels (image_size of the '
                f'config), got {height} x {width}; resize them in the pipeline'
            )


def _resized(logits: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(logits, tuple(size), mode='bilinear', align_corners=False)
