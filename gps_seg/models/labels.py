"""Labels of pixels: classes from 0 on, and one label for pixels of no class."""

from torch import Tensor

# The label that MMSegmentation, Cityscapes and PASCAL VOC give to pixels of no class.
IGNORE_INDEX = 255


def class_labels(masks: Tensor, num_classes: int, ignore_index: int | None) -> Tensor:
    """The masks of a data set as int64, IGNORE_INDEX where they have `ignore_index`.

    masks: (B, 1, H, W) integers. ignore_index: the data set's label of pixels of no class; None
    where there is none. Raises ValueError where a label is no class.
    """
    masks = masks.long()
    ignored = None if ignore_index is None else masks == ignore_index
    classes = masks if ignored is None else masks.masked_fill(ignored, 0)
    lowest, highest = int(classes.min()), int(classes.max())
    if lowest >= 0 and highest < num_classes:
        return masks if ignored is None else masks.masked_fill(ignored, IGNORE_INDEX)
    if num_classes == 2:
        raise ValueError(
            f'masks must hold 0 and 1 alone, got {lowest} to {highest}; threshold them in the '
            "pipeline (LoadMask), or set model.num_classes to the data set's (pixels to ignore: "
            'model.ignore_index)'
        )
    raise ValueError(
        f'masks must hold 0 to {num_classes - 1}, and {ignore_index} for pixels to ignore, got '
        f"{lowest} to {highest}; set model.num_classes and model.ignore_index to the data set's"
    )


def split_ignored(
    logits: Tensor, labels: Tensor, ignore_index: int
) -> tuple[Tensor, Tensor | None]:
    """The labels with ignored pixels as class 0, and the pixels that count, bool; None for all.

    logits: (B, C, H, W). labels: (B, 1, H, W). Raises ValueError where the labels are of another
    size or hold a class that the logits have no channel for.
    """
    expected = (len(logits), 1, *logits.shape[2:])
    if labels.shape != expected:
        raise ValueError(
            f'logits {tuple(logits.shape)} need masks {expected}, got {tuple(labels.shape)}'
        )
    counted = labels != ignore_index
    all_count = bool(counted.all())
    classes = labels if all_count else labels.masked_fill(~counted, 0)
    num_classes = max(logits.shape[1], 2)
    lowest, highest = int(classes.min()), int(classes.max())
    if lowest < 0 or highest >= num_classes:
        raise ValueError(
            f'the masks hold classes from {lowest} to {highest}, the logits are of {num_classes} '
            f"classes; set the model's num_classes to the data set's (pixels of no class: "
            f'{ignore_index})'
        )
    return classes, None if all_count else counted
