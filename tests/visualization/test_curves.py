import numpy as np

from gps_seg.visualization.curves import learning_curves


def test_the_curves_show_the_values_and_mark_the_best() -> None:
    loss = [(1, 0.9), (2, 0.5), (3, 0.4)]
    validation = [(1, 60.0), (2, 75.5), (3, 70.0)]
    left, right = learning_curves(loss, validation, metric='mDice').axes
    drawn = [np.asarray(line.get_xydata()).tolist() for line in (*left.lines, *right.lines)]
    assert drawn == [[list(p) for p in loss], [list(p) for p in validation], [[2, 75.5]]]
    assert right.get_title() == 'best 75.50 at epoch 2'
    assert (left.get_ylabel(), right.get_ylabel()) == ('training loss', 'mDice')


def test_without_a_validation_the_loss_is_alone() -> None:
    assert len(learning_curves([(1, 0.9)], [], metric='mDice', unit='iteration').axes) == 1
