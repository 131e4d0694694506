"""How images and labels lie on disk: the layouts, and what a folder of each holds."""

from collections.abc import Callable
from pathlib import Path

from gps_seg.datasets.classification.cifar import read_cifar
from gps_seg.datasets.classification.corruptions import read_corruptions
from gps_seg.datasets.classification.hugging_face import read_hugging_face
from gps_seg.datasets.classification.image_folders import read_class_folders
from gps_seg.datasets.classification.image_list import ImageList
from gps_seg.datasets.classification.json_lists import read_json_lists
from gps_seg.datasets.classification.specs import ImageClasses
from gps_seg.datasets.classification.text_lists import read_text_lists

Layout = Callable[[ImageClasses, Path, str], ImageList]

LAYOUTS: dict[str, Layout] = {
    'json_lists': read_json_lists,
    'text_lists': read_text_lists,
    'class_folders': read_class_folders,
    'corruptions': read_corruptions,
    'cifar': read_cifar,
    'hugging_face': read_hugging_face,
}
# For the message that a folder is missing.
EXPECTED = {
    'json_lists': 'train.json, val.json and test.json, each {path: class id}, and the images',
    'text_lists': 'train800.txt, val200.txt, train800val200.txt and test.txt, each of lines '
    '`path label`, and the images',
    'class_folders': 'one folder of images for each class, by itself or in train/, val/ and test/',
    'corruptions': '<corruption>/<severity>/<WordNet id>/ with the images',
    'cifar': 'the python pickles of CIFAR, or train/ and test/ with one folder for each class',
    'hugging_face': 'what save_to_disk of the library datasets writes',
}
