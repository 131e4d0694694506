"""Any tuner of PEFT as a method, on the same model and data as all others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import nn

from gps_seg.methods.method import Applied, TrainingData, check_lists
from gps_seg.methods.parts import ModelParts, part_names
from gps_seg.methods.peft_files import PEFTFiles
from gps_seg.methods.peft_settings import built_config, plain_settings, with_reachable_targets
from gps_seg.methods.plan import Plan
from gps_seg.selection import Selection
from gps_seg.sparse import make_sparse


@dataclass(frozen=True, kw_only=True)
class PEFT:
    """A tuner of Hugging Face's PEFT (extra `peft`) on layers of the backbone, and the head.

    LoRA, DoRA, VeRA, SHiRA, Super-Tuning and whatever else the installed PEFT injects into layers.
    Its layers wrap the stock ones, so that the state dict has PEFT's names while it trains, and its
    results are PEFT's files (`adapter_model.safetensors`, `adapter_config.json`) with
    `whole.safetensors` beside them, the head and all else that is trained whole, by stock names.
    There is no delta, and a selection has nothing to do; what does not take part stays as it is,
    bit for bit, as with every method.

        tuning = gps_seg.tune(model, method='peft', config=peft.LoraConfig(target_modules=['qkv']))
        tuning.save('adapter')  # a work dir of gps-seg train holds such a folder, too

    `gps_seg.load` reads a work dir. Plain PEFT reads the folder: load `whole.safetensors` into the
    stock model (`load_state_dict(..., strict=False)`), then `peft.PeftModel.from_pretrained(model,
    'adapter')`. Refused are tuners of prompts and tokens, which need a language model, and those
    that need a call in every step (AdaLoRA), with their reason; so are initialisations that rewrite
    the base (PiSSA) and torch's own attention, whose projection nobody calls.

    config: `dict(peft_type='LORA', r=8, target_modules=['qkv'])`, or a config object of PEFT. Where
        its targets also fit layers of the head, or of what starts fresh, they are narrowed to the
        rest of the backbone.
    whole: what is trained whole besides, as `part_names` takes it.
    seed: of the tuner's initial values.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    whole: Sequence[str] = ('heads',)
    seed: int = 0
    needs_data: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_lists(self, 'whole')
        settings = plain_settings(self.config)
        built_config(settings)  # says what is wrong with them
        object.__setattr__(self, 'config', settings)

    def plan(self, model: nn.Module, parts: ModelParts, data: TrainingData | None) -> Plan:
        with_reachable_targets(model, parts, built_config(self.config))
        return Plan(Selection({}, {'criterion': 'none'}))

    def apply(self, model: nn.Module, parts: ModelParts, plan: Plan) -> Applied:
        whole = part_names(model, parts, self.whole)
        config = with_reachable_targets(model, parts, built_config(self.config))
        files = PEFTFiles.inject(model, config, seed=self.seed)
        try:
            names = {*(files.names[name] for name in whole), *files.trained}
            sparse = make_sparse(model, Selection({}), whole=names, still=parts.prefix)
        except BaseException:
            files.remove()
            raise
        return Applied(sparse, added_names=files.added, parts=parts, files=files)
