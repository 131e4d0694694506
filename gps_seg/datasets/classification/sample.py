"""An image with one label, as models and metrics of classification see it."""

from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import BaseDataElement
from mmseg.registry import TRANSFORMS

# What a sample knows of its image, where the data set and the pipeline said it.
META_KEYS = (
    'img_path',
    'ori_shape',
    'img_shape',
    'sample_idx',
    'draw',
    'corruption',
    'severity',
)


class ImageSample(BaseDataElement):
    """The label of an image, what it is known by, and what was predicted.

    metainfo: img_path; ori_shape and img_shape = (H, W), as stored and as the model sees it;
        sample_idx; draw = (seed, epoch, index); of ImageNet-C also corruption and severity.
    gt_label: () int64, in [0, C). pred_label: the same.
    pred_scores: (C,) float32, the softmax of the logits.
    """

    gt_label: torch.Tensor
    pred_scores: torch.Tensor
    pred_label: torch.Tensor


@TRANSFORMS.register_module()
class PackImage(BaseTransform):
    """The last step of a pipeline: `dict(inputs=(3, H, W) uint8, data_samples=ImageSample)`.

    The channels stay as they are: blue first. An image without `gt_label` gets a sample without.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack one sample."""
        image = results['img']
        if image.dtype != np.uint8 or image.ndim != 3:
            raise ValueError(
                f'PackImage takes (H, W, C) uint8 images, got {image.shape} {image.dtype}; leave '
                'normalisation to the model'
            )
        sample = ImageSample(metainfo={key: results[key] for key in META_KEYS if key in results})
        if 'gt_label' in results:
            sample.gt_label = torch.tensor(int(results['gt_label']))
        inputs = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return {'inputs': inputs, 'data_samples': sample}
