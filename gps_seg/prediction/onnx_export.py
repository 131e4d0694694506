"""A tuned model as ONNX: SAM as encoder and decoder, other models whole."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gps_seg.files.errors import explained_write
from gps_seg.models import ImageClassifier, SAMSegmentor

OPSET = 18
EXTRA = "pip install 'gps-seg[onnx]'"


@dataclass(frozen=True, eq=False)
class Graph:
    """One file to write: a module of one tensor.

    module: takes (B, ...) and gives (B, ...). example: an input, B = 2. names: of input and output.
    """

    module: nn.Module
    example: Tensor
    names: tuple[str, str]


class Normalised(nn.Module):
    """Images as a model's first layers take them, from values of 0 to 255."""

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.normalises = bool(preprocessor._enable_normalize)
        if self.normalises:
            self.register_buffer('mean', preprocessor.mean.detach().clone())
            self.register_buffer('std', preprocessor.std.detach().clone())

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std if self.normalises else images


class Encoder(nn.Module):
    """SAM's image encoder: (B, 3, S, S) images to (B, D, S / 16, S / 16) embeddings."""

    def __init__(self, model: SAMSegmentor) -> None:
        super().__init__()
        self.normalised = Normalised(model.data_preprocessor)
        self.image_encoder = model.image_encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.image_encoder(self.normalised(images))


class _Given(nn.Module):
    """Stands for the image encoder where its output is there already."""

    embeddings: Tensor

    def forward(self, images: Tensor) -> Tensor:
        return self.embeddings


class Decoder(nn.Module):
    """SAM's prompt encoder and mask decoder: embeddings to (B, M, S, S) logits, M masks."""

    def __init__(self, model: SAMSegmentor) -> None:
        super().__init__()
        self.model = model
        self.given = _Given()

    def forward(self, embeddings: Tensor) -> Tensor:
        side = self.model.image_size
        images = embeddings.new_zeros((embeddings.shape[0], 3, side, side))
        self.given.embeddings = embeddings
        encoder = self.model.image_encoder
        self.model.image_encoder = self.given
        try:
            logits = self.model.low_res_logits(images, None)
        finally:
            self.model.image_encoder = encoder
        return F.interpolate(logits, (side, side), mode='bilinear', align_corners=False)


class Whole(nn.Module):
    """A segmentor of MMSegmentation: (B, 3, H, W) images to (B, C, H, W) logits."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.normalised = Normalised(model.data_preprocessor)
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits = self.model.decode_head(self.model.extract_feat(self.normalised(images)))
        return F.interpolate(
            logits, images.shape[2:], mode='bilinear', align_corners=self.model.align_corners
        )


class Classifier(nn.Module):
    """A classifier of timm: (B, 3, H, W) images to (B, C) logits."""

    def __init__(self, model: ImageClassifier) -> None:
        super().__init__()
        self.normalised = Normalised(model.data_preprocessor)
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.logits(self.normalised(images))


def graphs_of(model: Any, height: int, width: int) -> dict[str, Graph]:
    """The files of a model by what their names add: '' for one, 'encoder' and 'decoder' for SAM.

    height, width: of the model's input. Raises ValueError for a model that is neither a SAM nor an
    encoder and decoder of MMSegmentation, or is not run on the whole image.
    """
    device = next(model.parameters()).device
    images = torch.zeros(2, 3, height, width, device=device)
    if isinstance(model, SAMSegmentor):
        if (height, width) != (model.image_size, model.image_size):
            raise ValueError(
                f'the model pads images of {width} x {height} pixels to a square, which the ONNX '
                'files do not; check them on square images: --images FOLDER'
            )
        with torch.no_grad():
            embeddings = Encoder(model)(images)
        return {
            'encoder': Graph(Encoder(model), images, ('images', 'embeddings')),
            'decoder': Graph(Decoder(model), embeddings, ('embeddings', 'logits')),
        }
    if isinstance(model, ImageClassifier):
        return {'': Graph(Classifier(model), images, ('images', 'logits'))}
    if not hasattr(model, 'extract_feat') or hasattr(model.decode_head, '__getitem__'):
        raise ValueError(
            f'{type(model).__name__} cannot be written as ONNX here: only SAM, and encoders with '
            'one decoder of MMSegmentation, can'
        )
    if model.test_cfg.get('mode', 'whole') != 'whole':
        raise ValueError(
            f'the model is run in windows (test_cfg.mode={model.test_cfg.mode!r}); an ONNX file is '
            "of one forward pass, so set model.test_cfg.mode='whole'"
        )
    return {'': Graph(Whole(model), images, ('images', 'logits'))}


def check_packages() -> None:
    """Raise ValueError where what writes and runs ONNX is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(f'ONNX needs {error.name}: {EXTRA}') from error


def write_graph(path: Path, graph: Graph, metadata: Mapping[str, str]) -> None:
    """Write one ONNX file with its weights inside; the batch is of any size.

    metadata: strings that go along, as `metadata_props`. Raises ValueError for a model that
    torch.onnx cannot trace, or whose file would be larger than ONNX allows (2 GiB).
    """
    import onnx

    batch = torch.export.Dim('batch', min=1)
    taken, given = graph.names
    with _quietly():
        try:
            program = torch.onnx.export(
                graph.module.eval(),
                (graph.example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[taken],
                output_names=[given],
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
        except Exception as error:  # of a tracer, of any kind
            reason = ' '.join(str(error).split())[:300]
            raise ValueError(f'this model cannot be traced for ONNX ({reason})') from error
    assert program is not None
    proto = program.model_proto
    # Named here: the tracer may give the dimension a name of its own.
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = 'batch'
    for key, text in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, text
    with explained_write(path):
        try:
            onnx.save(proto, path)
        except ValueError as error:  # protobuf's limit
            raise ValueError(f'the model is too large for one ONNX file ({error})') from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Leave out what torch.onnx reports of its steps; its errors stay."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript', 'onnx_ir')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
