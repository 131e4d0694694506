"""Which method goes with which family of models: what docs/methods.md says and contract tests hold.

Whatever is not refused here works: it trains, resumes, is stored and taken back in the contract
tests of `tests/contract`, which hold the reasons too. The bridge to PEFT has a list of its own
(`tests/methods/test_peft.py`).
"""

from collections.abc import Mapping

# The families by the names of the contract tests, and what they stand for.
MODELS: Mapping[str, str] = {
    'vit': 'ViT (timm)',
    'swin': 'Swin (timm)',
    'convnext': 'ConvNeXt (timm)',
    'segformer': 'SegFormer (MMSegmentation)',
    'sam': 'SAM',
}
# By method and family, why it is refused, in the words of its error.
REFUSED: Mapping[tuple[str, str], str] = {
    ('adapter', 'segformer'): 'the dimension of its channels is not known',
    **{
        ('sam_adapter', family): 'has no image encoder of segment_anything'
        for family in MODELS
        if family != 'sam'
    },
    **{
        (method, 'convnext'): 'it has no attention, and so no tokens that prompts could join'
        for method in ('vpt_deep', 'vpt_shallow')
    },
    **{
        (method, 'segformer'): 'its attention is made for a whole grid of positions, in which '
        'prompts have no place'
        for method in ('vpt_deep', 'vpt_shallow')
    },
    ('vpt_shallow', 'sam'): 'may read the outputs of blocks in the middle, where shallow prompts '
    'would lie among the tokens of the image',
}
