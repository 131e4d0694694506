"""Classifiers of images: any backbone of timm as a model of MMEngine."""

from gps_seg.models.classification.image_classifier import ImageClassifier
from gps_seg.models.classification.mixing import Mixing
from gps_seg.models.classification.preprocessor import ImageClassPreprocessor

__all__ = ['ImageClassPreprocessor', 'ImageClassifier', 'Mixing']
