"""Any classifier of timm as a model of MMEngine."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from mmseg.registry import MODELS
from torch import Tensor, nn

from gps_seg.methods import ModelParts
from gps_seg.models.classification.backbones import classifier_paths, input_size, timm_model
from gps_seg.models.classification.losses import LOSSES
from gps_seg.models.classification.mixing import Mixing
from gps_seg.models.classification.preprocessor import labels_of
from gps_seg.models.classification.weights import timm_state
from gps_seg.models.weights import load_strictly

# What a module of torch registers: one set for both faces of the classifier.
REGISTERS = ('_parameters', '_buffers', '_modules', '_non_persistent_buffers_set')
MODES = ('tensor', 'loss', 'predict')


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """A classifier of timm, with a fresh head on a pretrained backbone.

    backbone: a name of timm with its tag, 'vit_base_patch16_224.augreg_in21k': mean, std and
        image size are those of its pretrained configuration.
    num_classes: of the head, >= 2.
    weights: a file of the backbone's weights, relative to the data root: `.safetensors`, `.pth` or
        Google's `.npz`. Every tensor but the head's has to come from it.
    keep_head: take the head from the file too, which then has as many classes.
    fresh: names of further parts that start fresh although the file is given.
    img_size: side of the input in pixels, where the model takes another; positions are resampled.
    drop_path, drop_rate: shares of dropped residual branches and of dropped features.
    loss: a key of LOSSES. smoothing: of the labels, in [0, 1).
    mixup: settings of `Mixing`, which mixes the training batches; None mixes nothing.
    fused_attention: whether attention is one fused kernel, which never holds the (tokens x tokens)
        weights; None for timm's choice, which is True. In bf16 on a CPU, False is faster (see
        docs/classification.md).
    data_preprocessor: in place of the backbone's own mean and std; images come blue first.

    The state dict has exactly the names and shapes of the timm model, which is at hand as `body`:
    both have the same parameters, buffers and children, so that neither knows more than the other
    whatever is replaced in one of them.
    """

    body: Any

    def __init__(
        self,
        *,
        backbone: str,
        num_classes: int,
        weights: str | None = None,
        keep_head: bool = False,
        fresh: Sequence[str] = (),
        img_size: int | None = None,
        drop_path: float = 0.0,
        drop_rate: float = 0.0,
        loss: str = 'cross_entropy',
        smoothing: float = 0.0,
        mixup: Mapping[str, Any] | None = None,
        fused_attention: bool | None = None,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        _check(
            num_classes=num_classes, loss=loss, smoothing=smoothing, shares=(drop_path, drop_rate)
        )
        body = timm_model(
            backbone,
            num_classes=num_classes,
            img_size=img_size,
            drop_path_rate=drop_path,
            drop_rate=drop_rate,
        )
        if fused_attention is not None:
            _set_fused_attention(body, fused_attention)
        # Built here: without a default scope the base class would search MMEngine's own registry.
        super().__init__(MODELS.build(data_preprocessor or _preprocessor_of(body)))
        for register in REGISTERS:
            shared = getattr(body, register)
            shared.update(getattr(self, register))
            self.__dict__[register] = shared
        # Not a child: its children are this module's own.
        self.__dict__['body'] = body
        self.backbone = backbone
        self.num_classes = num_classes
        self.img_size = img_size
        self.weights = weights
        self.keep_head = keep_head
        self.fresh = (fresh,) if isinstance(fresh, str) else tuple(fresh)
        self.loss_function = LOSSES[loss]
        self.smoothing = smoothing
        self.head_paths = classifier_paths(body)
        if mixup is not None:
            self.data_preprocessor.batch_augments = Mixing(mixup, num_classes)
        # The names of the tensors that no file has filled.
        self.fresh_names = frozenset(self.state_dict())

    def init_weights(self) -> None:
        """Load the weight file, strictly, and learn `fresh_names`; later calls do nothing.

        Raises FileNotFoundError and ValueError that name the next step.
        """
        if self.is_init:
            return
        if self.weights is not None:
            state = timm_state(self.body, self.weights)
            fresh = self.fresh if self.keep_head else (*self.fresh, *self._head_patterns())
            self._say_of_head(state, fresh)
            self.fresh_names = load_strictly(self, state, fresh=fresh, source=self.weights)
        num_tensors, num_fresh = len(self.state_dict()), len(self.fresh_names)
        loaded = f'{num_tensors - num_fresh} from {self.weights}' if self.weights else 'no file'
        name = type(self.body).__name__
        print_log(f'{name} of {num_tensors} tensors: {loaded}, {num_fresh} fresh', logger='current')
        self._is_init = True

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[BaseDataElement] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Classify a preprocessed batch, (B, 3, H, W).

        mode: 'tensor' gives the logits (B, num_classes), 'loss' the named losses, 'predict' the
        data samples with predictions.
        """
        if mode == 'tensor':
            return self.logits(inputs)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        raise ValueError(f'mode must be one of {", ".join(MODES)}, got {mode!r}')

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits, (B, num_classes)."""
        return self._body(inputs)(inputs)

    def loss(self, inputs: Tensor, data_samples: list[BaseDataElement] | None) -> dict[str, Tensor]:
        """The mean loss over the batch, in fp32; of mixed images against their shares."""
        samples = data_samples or []
        if samples and all('gt_score' in sample for sample in samples):
            targets = torch.stack([sample.gt_score for sample in samples]).to(inputs.device)
        else:
            labels = self._labels(inputs, samples)
            targets = nn.functional.one_hot(labels, self.num_classes).float()
        logits = self.logits(inputs).float()
        return {'loss_classes': self.loss_function(logits, targets, self.smoothing)}

    def predict(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None
    ) -> list[BaseDataElement]:
        """Add `pred_scores` (C,) float32, which add up to 1, and `pred_label` () int64."""
        scores = self.logits(inputs).float().softmax(dim=1)
        if data_samples is None:
            data_samples = [BaseDataElement() for _ in inputs]
        for sample, of_image in zip(data_samples, scores, strict=True):
            sample.pred_scores, sample.pred_label = of_image, of_image.argmax()
        return data_samples

    @property
    def timm_settings(self) -> str:
        """What `timm.create_model` takes besides the name, for a model that opens the weights."""
        size = f', img_size={self.img_size}' if self.img_size else ''
        return f'num_classes={self.num_classes}{size}'

    def tunable_parts(self) -> ModelParts:
        """All but the head is tuned sparsely; `fresh_names` came from no file."""
        return ModelParts(head=self.head_paths, fresh=self.fresh_names)

    def embed(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None
    ) -> tuple[Tensor, Tensor]:
        """The features that the head reads, (B, D), and the classes (B,) int64."""
        body = self._body(inputs)
        features = body.forward_head(body.forward_features(inputs), pre_logits=True)
        return features, self._labels(inputs, data_samples or [])

    def _body(self, inputs: Tensor) -> Any:
        """The timm model, in the mode of this module. Raises ValueError for a size it refuses."""
        size = input_size(self.body, self.img_size)
        if size is not None and tuple(inputs.shape[-2:]) != size:
            height, width = inputs.shape[-2:]
            raise ValueError(
                f'images must be {size[0]} x {size[1]} pixels, got {height} x {width}; let the '
                'pipeline end in that size, or set model.img_size'
            )
        self.body.training = self.training
        return self.body

    def _labels(self, inputs: Tensor, samples: list[Any]) -> Tensor:
        if len(samples) != len(inputs):
            raise ValueError(f'{len(inputs)} images need as many data samples, got {len(samples)}')
        labels = labels_of(samples).to(inputs.device)
        if int(labels.min()) < 0 or int(labels.max()) >= self.num_classes:
            raise ValueError(
                f'gt_label goes from {int(labels.min())} to {int(labels.max())}, but the model has '
                f'{self.num_classes} classes; set model.num_classes'
            )
        return labels

    def _head_patterns(self) -> tuple[str, ...]:
        names = list(self.state_dict())
        return tuple(p for p in self.head_paths if any(n.startswith(f'{p}.') for n in names))

    def _say_of_head(self, state: dict[str, Tensor], fresh: Sequence[str]) -> None:
        """Log the classifier of the file that is left out."""
        for path in self._head_patterns():
            weight = state.get(f'{path}.weight')
            if weight is not None and path in fresh:
                print_log(
                    f'{self.weights}: its head of {len(weight):,} classes is left out; the head of '
                    f'{self.num_classes:,} classes starts fresh',
                    logger='current',
                )


def _set_fused_attention(body: nn.Module, fused: bool) -> None:
    """Choose the kernel of every attention of a timm model. Raises ValueError where it has none."""
    layers = [module for module in body.modules() if hasattr(module, 'fused_attn')]
    if not layers:
        raise ValueError(
            f'fused_attention: {type(body).__name__} has no attention that could be fused; '
            'leave it out'
        )
    for layer in layers:
        layer.fused_attn = fused  # type: ignore[assignment]


def _check(*, num_classes: int, loss: str, smoothing: float, shares: tuple[float, float]) -> None:
    if num_classes < 2:
        raise ValueError(f'num_classes must be at least 2, got {num_classes}')
    if loss not in LOSSES:
        raise ValueError(f'loss must be one of {", ".join(LOSSES)}, got {loss!r}')
    if not 0 <= smoothing < 1:
        raise ValueError(f'smoothing must be in [0, 1), got {smoothing}')
    for name, share in zip(('drop_path', 'drop_rate'), shares, strict=True):
        if not 0 <= share < 1:
            raise ValueError(f'{name} must be in [0, 1), got {share}')


def _preprocessor_of(body: Any) -> dict[str, Any]:
    """The normalisation of a model's own pretraining, for pixels in [0, 255]."""
    config = body.pretrained_cfg
    return {
        'type': 'ImageClassPreprocessor',
        'mean': [255 * value for value in config['mean']],
        'std': [255 * value for value in config['std']],
    }
