"""Masks or classes of new images from a tuned model: in Python, for folders, as other formats."""

import contextlib
import io
import warnings

try:
    # Some versions print what they could not import.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # Compiled operations of MMCV, which nothing here needs.
        warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformable')
        import mmseg.datasets
        import mmseg.models  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error}. gps_seg.load needs mmengine, mmcv and mmsegmentation: pip install 'gps-seg[mm]'"
    ) from error

from gps_seg.prediction.classifier import ClassPrediction, ClassPredictor
from gps_seg.prediction.loading import load
from gps_seg.prediction.prediction import Prediction
from gps_seg.prediction.predictor import Predictor

__all__ = ['ClassPrediction', 'ClassPredictor', 'Prediction', 'Predictor', 'load']
