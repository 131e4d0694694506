"""Where to get data sets that have no stable address, and how to lay them out."""

from dataclasses import dataclass
from pathlib import Path

from gps_seg.datasets.classification.specs import IMAGE_CLASSES


@dataclass(frozen=True)
class Guide:
    """What is fetched by hand.

    specs: the data sets of `IMAGE_CLASSES` that it is for.
    """

    about: str
    specs: tuple[str, ...]
    where: str
    tree: str

    def missing(self, root: Path) -> list[str]:
        """The data sets of it whose folders are not below a data root."""
        return [
            name
            for name in self.specs
            if not any(
                (root / place).is_dir()
                for place in (IMAGE_CLASSES[name].root, *IMAGE_CLASSES[name].aliases)
            )
        ]

    def is_there(self, root: Path) -> bool:
        """Whether all data sets of it have folders below a data root."""
        return not self.missing(root)

    def text(self, root: Path) -> str:
        """What to do, in words, or that nothing is left to do."""
        missing = self.missing(root)
        if not missing:
            return f'{self.about}: already there'
        return (
            f'{self.about} has no stable public address, so it is fetched by hand. '
            f'Not there yet: {", ".join(missing)}.\n\n{self.where}\n\n'
            f'Lay it out so below {root}/ (other names of folders in use are found too, see '
            f'data/README.md):\n\n{self.tree}\n\nThen run gps-seg check CONFIG, which compares it '
            'with the published sizes.'
        )


VTAB = tuple(name for name in IMAGE_CLASSES if name.startswith('vtab-1k/'))
GUIDES = {
    'fgvc': Guide(
        about='FGVC (5 data sets)',
        specs=tuple(name for name in IMAGE_CLASSES if name.startswith('fgvc/')),
        where="""\
Images from their authors:
  CUB-200-2011    https://data.caltech.edu/records/65de6-vp158
  NABirds         https://info.allaboutbirds.org/nabirds/
  Oxford Flowers  https://www.robots.ox.ac.uk/~vgg/data/flowers/102/  (102flowers.tgz)
  Stanford Dogs   http://vision.stanford.edu/aditya86/ImageNetDogs/
  Stanford Cars   https://ai.stanford.edu/~jkrause/cars/car_dataset.html
train.json, val.json and test.json of each from the splits of Visual Prompt Tuning, linked in
https://github.com/KMnP/vpt (README, "Datasets preparation").""",
        tree="""\
  fgvc/CUB_200_2011/  train.json val.json test.json  images/<class>/*.jpg
  fgvc/nabirds/       train.json val.json test.json  images/<class>/*.jpg
  fgvc/OxfordFlower/  train.json val.json test.json  jpg/*.jpg
  fgvc/StanfordDogs/  train.json val.json test.json  Images/<class>/*.jpg
  fgvc/StanfordCars/  train.json val.json test.json  cars_train/*.jpg cars_test/*.jpg""",
    ),
    'vtab-1k': Guide(
        about='VTAB-1k (19 tasks)',
        specs=VTAB,
        where="""\
data/vtab-source/get_vtab1k.py of https://github.com/ZhangYuanhan-AI/NOAH exports all 19 tasks from
TensorFlow Datasets; https://github.com/dongzelian/SSF and others link archives made by it. Two
tasks (diabetic_retinopathy, resisc45) need a download by hand for TensorFlow Datasets, see
https://github.com/KMnP/vpt/blob/main/VTAB_SETUP.md.
Those archives hold lossy JPEG: CIFAR-100 loses about ten points by it. Where you export yourself,
let the script write .png instead of .jpg.""",
        tree="""\
  vtab-1k/<task>/  train800.txt val200.txt train800val200.txt test.txt   lines of `path label`
                   images/train800/000000.png ...
  tasks: """
        + ' '.join(name.partition('/')[2] for name in VTAB),
    ),
    'imagenet': Guide(
        about='ImageNet-1k',
        specs=('imagenet',),
        where="""\
https://www.image-net.org/ gives it to registered users: ILSVRC2012_img_train.tar and
ILSVRC2012_img_val.tar. The validation images are moved into folders of their classes, as
https://github.com/pytorch/examples/tree/main/imagenet describes.""",
        tree="""\
  imagenet/train/n01440764/*.JPEG   1000 folders
  imagenet/val/n01440764/*.JPEG     1000 folders""",
    ),
    'imagenet-c': Guide(
        about='ImageNet-C',
        specs=('imagenet-c',),
        where="""\
https://zenodo.org/records/2235448 has five archives, of which extra.tar is no part of the mean
corruption error; MD5 as published there:
  noise.tar    22.6 GB  e80562d7f6c3f8834afb1ecf27252745
  blur.tar      7.1 GB  2d8e81fdd8e07fef67b9334fa635e45c
  weather.tar  12.8 GB  33ffea4db4d93fe4a428c40a6ce0c25d
  digital.tar   7.8 GB  89157860d7b10d5797849337ca2e5c03""",
        tree="""\
  imagenet-c/<corruption>/<severity>/n01440764/*.JPEG   15 corruptions, severities 1 to 5
  (or as the archives have it: imagenet-c/noise/gaussian_noise/1/...)""",
    ),
}
