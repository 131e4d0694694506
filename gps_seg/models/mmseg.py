"""MMSegmentation's EncoderDecoder with the settings of this toolkit's own models."""

from collections.abc import Sequence
from typing import Any

from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor

from gps_seg.models.weights import load_strictly, read_weight_file


@MODELS.register_module()
class TunableEncoderDecoder(EncoderDecoder):
    """The stock EncoderDecoder, whose weights may also be named in the way of SAMSegmentor.

    Nothing but that is added: stock models are tuned as they are, with the weights that
    `load_from`, `pretrained` or `init_cfg` name.

    parts: `backbone`, `decode_head`, `neck`, `auxiliary_head`, `train_cfg`, `test_cfg` as in
    MMSegmentation. checkpoint: a whole segmentor. encoder_weights: the backbone alone, or a
    segmentor of which the backbone is taken. fresh: names of the parts that start fresh although a
    file is given, such as 'decode_head.conv_seg' for another number of classes.
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

    def init_weights(self) -> None:
        """Initialise, then load the weight file strictly; later calls do nothing.

        Raises FileNotFoundError and ValueError that name the next step.
        """
        if self.is_init:
            return
        super().init_weights()
        source = self.checkpoint or self.encoder_weights
        if source is not None:
            load_strictly(self, self._own_state(source), fresh=self.fresh, source=source)

    def _own_state(self, source: str) -> dict[str, Tensor]:
        state = read_weight_file(source)
        if self.checkpoint is not None:
            return state
        if any(name.startswith('backbone.') for name in state):
            return {name: t for name, t in state.items() if name.startswith('backbone.')}
        return {f'backbone.{name}': tensor for name, tensor in state.items()}
