"""By what a run has chosen the epoch, or iteration, that it is tested at."""

from typing import Any

from mmengine.runner import Runner

LAST, HELD_OUT, TEST = 'last', 'best on held-out images', 'best ON THE TEST IMAGES'


def choice_of_epoch(runner: Runner, *, was_validated: bool) -> str:
    """LAST without a validation, else HELD_OUT; TEST where validation and test share an image.

    The last is what much published code does. Its scores are too high, since the test images chose.
    was_validated: whether a validation has chosen.
    """
    if not was_validated:
        return LAST
    if runner.val_loop is None or runner.test_loop is None:
        return HELD_OUT
    validation, test = (
        _images(loop.dataloader.dataset) for loop in (runner.val_loop, runner.test_loop)
    )
    return TEST if validation & test else HELD_OUT


def _images(dataset: Any) -> set[str]:
    """The files of a data set's images; none of one that does not name them."""
    while not hasattr(dataset, 'get_data_info') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    if not hasattr(dataset, 'get_data_info'):
        return set()
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    return {str(info['img_path']) for info in infos if info.get('img_path')}
