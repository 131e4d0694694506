"""The image-classification data sets the project knows, as plain data.

Sizes and numbers of classes are those of the data-set table of GPS (arXiv:2312.10136, appendix D;
`gps_seg/bench/published/datasets.csv`), which a test compares with this file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gps_seg.datasets.classification.flower_names import FLOWERS


@dataclass(frozen=True)
class ImageClasses:
    """Where images with one label each lie, and what is published about them.

    root: resolved against the data root.
    aliases: other folders in use for it, looked for in this order.
    layout: how it lies there; a key of `LAYOUTS`.
    images: the folder below the root that the paths of a list start from.
    classes: names in the order of labels; of files where it is not given.
    num_classes, sizes: as published, sizes by split. Differences are warned about.
    lossless: whether the published images are stored without loss. side: their height and width.
    lists: folder of `train.txt`, `val.txt` and `test.txt` of an own folder; without it those in
        `root`, and without these a division by `seed`, in which images stay together for which
        `group` gives one text.
    held_out: share of the training images that make `val`, where none is published.
    folders: of class folders, the folder of each split where it is not train, val or test.
    class_list: 'imagenet' where class folders have the WordNet ids of the 1000 classes.
    corruption, severity: of ImageNet-C, one of each; all where they are not set.
    image_column, label_column: of a Hugging Face data set, where there are several of a kind.
    download: what `gps-seg download` calls it.
    """

    root: str = ''
    aliases: tuple[str, ...] = ()
    layout: str = 'class_folders'
    images: str = ''
    classes: tuple[str, ...] | None = None
    num_classes: int | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    lossless: bool = False
    side: int | None = None
    lists: str | None = None
    group: str | None = None
    seed: int = 0
    held_out: float = 0.1
    folders: Mapping[str, str] | None = None
    class_list: str | None = None
    corruption: str | None = None
    severity: int | None = None
    image_column: str | None = None
    label_column: str | None = None
    download: str | None = None


def fgvc(
    root: str,
    *aliases: str,
    num_classes: int,
    train: int,
    val: int,
    test: int,
    images: str = '',
    classes: tuple[str, ...] | None = None,
) -> ImageClasses:
    """A data set of the fine-grained benchmark, in the layout of Visual Prompt Tuning."""
    return ImageClasses(
        root=f'fgvc/{root}',
        aliases=tuple(
            f'{folder}/{name}' for folder in ('fgvc', 'FGVC') for name in (root, *aliases)
        ),
        layout='json_lists',
        images=images,
        classes=classes,
        num_classes=num_classes,
        sizes=dict(train=train, val=val, test=test),
        download='fgvc',
    )


def vtab(
    root: str,
    *aliases: str,
    num_classes: int,
    test: int,
    lossless: bool = False,
    side: int | None = None,
    classes: tuple[str, ...] | None = None,
) -> ImageClasses:
    """A task of VTAB-1k, in the layout of NOAH."""
    return ImageClasses(
        root=f'vtab-1k/{root}',
        aliases=tuple(
            f'{folder}/{name}'
            for folder in ('vtab-1k', 'VTAB-1k', 'VTAB/vtab-1k', 'vtab')
            for name in (root, *aliases)
        ),
        layout='text_lists',
        classes=classes,
        num_classes=num_classes,
        sizes=dict(train=800, val=200, trainval=1000, test=test),
        lossless=lossless,
        side=side,
        download='vtab-1k',
    )


IMAGE_CLASSES: dict[str, ImageClasses] = {
    'fgvc/cub': fgvc(
        'CUB_200_2011',
        'CUB-200-2011',
        'cub',
        'cub200',
        'cub2011',
        'cub_200_2011',
        images='images',
        num_classes=200,
        train=5394,
        val=600,
        test=5794,
    ),
    'fgvc/nabirds': fgvc(
        'nabirds',
        'NABirds',
        'NABirds555',
        images='images',
        num_classes=555,
        train=21536,
        val=2393,
        test=24633,
    ),
    'fgvc/flowers': fgvc(
        'OxfordFlower',
        'oxfordflower',
        'OxfordFlowers',
        'OxfordFlower90',
        'OxfordFlowers102',
        'oxford_flowers',
        'oxford_flowers102',
        '102flowers',
        'flowers102',
        'Flowers102',
        classes=FLOWERS,
        num_classes=102,
        train=1020,
        val=1020,
        test=6149,
    ),
    'fgvc/dogs': fgvc(
        'StanfordDogs',
        'stanforddogs',
        'stanford_dogs',
        'Stanford-dogs',
        'stanford-dogs',
        'dogs',
        images='Images',
        num_classes=120,
        train=10800,
        val=1200,
        test=8580,
    ),
    'fgvc/cars': fgvc(
        'StanfordCars',
        'stanfordcars',
        'stanford_cars',
        'Stanford-cars',
        'stanford-cars',
        'cars',
        num_classes=196,
        train=7329,
        val=815,
        test=8041,
    ),
    'vtab-1k/cifar': vtab(
        'cifar',
        'cifar100',
        'cifar_100',
        'cifar-100',
        num_classes=100,
        test=10000,
        lossless=True,
        side=32,
    ),
    'vtab-1k/caltech101': vtab('caltech101', num_classes=102, test=6084),
    'vtab-1k/dtd': vtab('dtd', num_classes=47, test=1880),
    'vtab-1k/oxford_flowers102': vtab(
        'oxford_flowers102',
        'flowers102',
        'oxford_flowers',
        classes=FLOWERS,
        num_classes=102,
        test=6149,
    ),
    'vtab-1k/oxford_iiit_pet': vtab(
        'oxford_iiit_pet', 'oxford_pet', 'pets', 'oxford_pets', num_classes=37, test=3669
    ),
    'vtab-1k/svhn': vtab(
        'svhn', 'svhn_cropped', num_classes=10, test=26032, lossless=True, side=32
    ),
    'vtab-1k/sun397': vtab('sun397', num_classes=397, test=21750),
    'vtab-1k/patch_camelyon': vtab(
        'patch_camelyon', 'camelyon', num_classes=2, test=32768, lossless=True, side=96
    ),
    'vtab-1k/eurosat': vtab('eurosat', num_classes=10, test=5400),
    'vtab-1k/resisc45': vtab('resisc45', num_classes=45, test=6300),
    'vtab-1k/diabetic_retinopathy': vtab(
        'diabetic_retinopathy', 'retinopathy', num_classes=5, test=42670
    ),
    'vtab-1k/clevr_count': vtab(
        'clevr_count', 'clever_count', num_classes=8, test=15000, lossless=True
    ),
    'vtab-1k/clevr_dist': vtab(
        'clevr_dist', 'clever_dist', 'clevr_distance', num_classes=6, test=15000, lossless=True
    ),
    'vtab-1k/dmlab': vtab('dmlab', num_classes=6, test=22735),
    'vtab-1k/kitti': vtab('kitti', 'kitti_distance', num_classes=4, test=711, lossless=True),
    'vtab-1k/dsprites_loc': vtab(
        'dsprites_loc', 'dsprites_location', num_classes=16, test=73728, lossless=True, side=64
    ),
    'vtab-1k/dsprites_ori': vtab(
        'dsprites_ori', 'dsprites_orientation', num_classes=16, test=73728, lossless=True, side=64
    ),
    'vtab-1k/smallnorb_azi': vtab(
        'smallnorb_azi', 'smallnorb_azimuth', num_classes=18, test=12150, lossless=True, side=96
    ),
    'vtab-1k/smallnorb_ele': vtab(
        'smallnorb_ele', 'smallnorb_elevation', num_classes=9, test=12150, lossless=True, side=96
    ),
    # No test labels of ImageNet are public: published scores are on its validation images, which
    # therefore are `test` here, and `val` is held out of the training images, as that of CIFAR.
    'cifar10': ImageClasses(
        root='cifar-10-batches-py',
        aliases=('cifar10', 'CIFAR10', 'cifar-10', 'CIFAR-10'),
        layout='cifar',
        num_classes=10,
        sizes=dict(trainval=50000, test=10000),
        lossless=True,
        side=32,
        download='cifar10',
    ),
    'cifar100': ImageClasses(
        root='cifar-100-python',
        aliases=('cifar100', 'CIFAR100', 'cifar-100', 'CIFAR-100'),
        layout='cifar',
        num_classes=100,
        sizes=dict(trainval=50000, test=10000),
        lossless=True,
        side=32,
        download='cifar100',
    ),
    'imagenet': ImageClasses(
        root='imagenet',
        aliases=('ImageNet', 'imagenet-1k', 'ILSVRC2012'),
        folders=dict(trainval='train', test='val'),
        class_list='imagenet',
        num_classes=1000,
        sizes=dict(trainval=1281167, test=50000),
        held_out=0.01,
        download='imagenet',
    ),
    'imagenet-a': ImageClasses(
        root='imagenet-a',
        aliases=('ImageNet-A', 'imagenet_a', 'imagenet-adversarial/imagenet-a'),
        folders=dict(test='.'),
        class_list='imagenet',
        num_classes=200,
        sizes=dict(test=7500),
        download='imagenet-a',
    ),
    'imagenet-r': ImageClasses(
        root='imagenet-r',
        aliases=('ImageNet-R', 'imagenet_r', 'imagenet-rendition/imagenet-r'),
        folders=dict(test='.'),
        class_list='imagenet',
        num_classes=200,
        sizes=dict(test=30000),
        download='imagenet-r',
    ),
    'imagenet-c': ImageClasses(
        root='imagenet-c',
        aliases=('ImageNet-C', 'imagenet_c'),
        layout='corruptions',
        class_list='imagenet',
        num_classes=1000,
        sizes=dict(test=75 * 50000),
        download='imagenet-c',
    ),
}
