"""Images with one label each, as a data set of the runner."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS, TRANSFORMS

from gps_seg.data_root import VARIABLE, data_path
from gps_seg.datasets.classification.image_list import SPLITS, ImageList, part_of
from gps_seg.datasets.classification.layouts import EXPECTED, LAYOUTS
from gps_seg.datasets.classification.published import warn_of_differences
from gps_seg.datasets.classification.shots import few_shots
from gps_seg.datasets.classification.specs import IMAGE_CLASSES, ImageClasses
from gps_seg.datasets.draws import OUTER_DRAW, Draw

FIELDS = tuple(field.name for field in fields(ImageClasses))


def make_image_classes(spec: str | None, given: Mapping[str, Any]) -> ImageClasses:
    """The data set that a spec's name, the given fields, or both describe.

    A given root takes the place of the spec's own root and aliases. Raises ValueError for an
    unknown spec, field or layout, and where there is neither spec nor root.
    """
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            hint = f'did you mean {near[0]!r}?' if near else f'there are {", ".join(FIELDS)}'
            raise ValueError(f'data has no key {name!r}; {hint}')
    if 'root' in given:
        given.setdefault('aliases', ())
    for name in ('classes', 'aliases'):
        if name in given:
            given[name] = tuple(given[name])
    if spec is None:
        if 'root' not in given:
            raise ValueError('give ImageClassDataset a spec, or the root of a folder of images')
        described = ImageClasses(**given)
    elif spec not in IMAGE_CLASSES:
        near = difflib.get_close_matches(spec, IMAGE_CLASSES, n=1)
        hint = f'did you mean {near[0]!r}?' if near else f'there are {", ".join(IMAGE_CLASSES)}'
        raise ValueError(f'no spec {spec!r}; {hint}')
    else:
        described = replace(IMAGE_CLASSES[spec], **given)
    if described.layout not in LAYOUTS:
        raise ValueError(f'no layout {described.layout!r}; there are {", ".join(LAYOUTS)}')
    return described


def find_root(described: ImageClasses, name: str) -> Path:
    """The folder of a data set: its root, or the first of its aliases that is there.

    name: what the data set is called. Raises FileNotFoundError where there is none, ValueError
    where there are several that differ.
    """
    places = list(dict.fromkeys(data_path(p) for p in (described.root, *described.aliases)))
    there = {place.resolve(): place for place in reversed(places) if place.is_dir()}
    if not there:
        others = f' (nor {len(places) - 1} other names in use)' if len(places) > 1 else ''
        fetch = f'gps-seg download {described.download} says where to get it; '
        raise FileNotFoundError(
            f'no folder {places[0]}{others} for {name}; {fetch if described.download else ""}'
            f'it holds {EXPECTED[described.layout]}; set {VARIABLE} to the folder that holds the '
            'data sets, or give the whole path as root'
        )
    if len(there) > 1:
        listed = ' and '.join(str(place) for place in reversed(there.values()))
        raise ValueError(f'{name} lies in {listed}; name the right one as root')
    return next(iter(there.values()))


@DATASETS.register_module()
class ImageClassDataset(BaseDataset):
    """Images with one label each.

    Either `spec` names a data set of `IMAGE_CLASSES`, or `data`, the fields of an `ImageClasses`,
    describes an own folder (both: the fields override the spec's); `root` can be given by itself.
    An index is an int, or the draw (seed, epoch, index) of an EpochSampler, as of a
    MaskFolderDataset.

    split: 'train', 'val', 'trainval' or 'test'.
    shots: take so many training images of each class, chosen by `shots_seed`; fewer shots of the
        same seed are among them.
    image_size: handed to the transforms of the pipeline that have no size of their own.

    metainfo: classes; dataset_type = 'image_classes'; evaluated_classes, the labels to which scores
    are restricted, where the images are of some of the classes (ImageNet-A, -R).

    Raises ValueError or FileNotFoundError that names the file and the next step.
    """

    takes_draws = True  # see SeededDataset

    def __init__(
        self,
        *,
        spec: str | None = None,
        data: Mapping[str, Any] | None = None,
        split: str = 'train',
        root: str | None = None,
        shots: int | None = None,
        shots_seed: int = 0,
        image_size: int | None = None,
        pipeline: Sequence[dict[str, Any] | Callable[..., Any]] = (),
        test_mode: bool = False,
        indices: int | Sequence[int] | None = None,
        lazy_init: bool = False,
    ) -> None:
        if root is not None and data is not None and 'root' in data:
            raise ValueError('root is given twice, by itself and in data; say data.root alone')
        self.described = make_image_classes(spec, {'root': root, **(data or {})})
        self.name = spec or self.described.root
        self.split = part_of(split, SPLITS)
        self.shots, self.shots_seed, self.image_size = shots, shots_seed, image_size
        super().__init__(
            metainfo={},
            pipeline=[
                TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline
            ],
            test_mode=test_mode,
            indices=indices,
            lazy_init=lazy_init,
        )

    @property
    def metainfo(self) -> dict[str, Any]:
        """What is known of all images: the names of the classes in the order of the labels."""
        if not self._fully_initialized:
            self.full_init()
        known: dict[str, Any] = {'classes': self.classes, 'dataset_type': 'image_classes'}
        return known | ({'evaluated_classes': self.evaluated} if self.evaluated else {})

    def load_data_list(self) -> list[dict[str, Any]]:
        """Each entry is what the pipeline starts from, less its draw."""
        root, listed = self.read_list()
        warn_of_differences(self.name, root, self.described, listed)
        # The paths are not kept here too: MMEngine shares one copy of the entries with all workers.
        self.classes, self.pixels, self.evaluated = listed.classes, listed.pixels, listed.evaluated
        common = dict(image_size=self.image_size) if self.image_size else {}
        entries: list[dict[str, Any]] = [
            dict(img_path=image, gt_label=label, **common)
            for image, label in zip(listed.images, listed.labels, strict=True)
        ]
        for place, entry in enumerate(entries):
            if listed.extra:
                entry.update(listed.extra[place])
            if listed.pixels is not None:
                entry['place'] = place
        return entries

    def read_list(self) -> tuple[Path, ImageList]:
        """The folder of the data set, and its images and labels before `indices` choose of them."""
        root = find_root(self.described, self.name)
        listed = LAYOUTS[self.described.layout](self.described, root, self.split)
        if self.shots is not None:
            listed = few_shots(listed, self.shots, seed=self.shots_seed, root=root)
        return root, listed

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of a sample, as ClassBalancedDataset asks for it."""
        return [int(self.get_data_info(idx)['gt_label'])]

    def prepare_data(self, idx: int | Draw) -> Any:
        """Run the pipeline on one sample, given by its index or its draw."""
        draw: tuple[int, ...]
        if isinstance(idx, tuple):
            draw = idx
        else:
            outer = OUTER_DRAW.get()
            draw = (*(outer or (0, 0)), int(idx))
        results = {**self.get_data_info(draw[-1]), 'draw': draw}
        if self.pixels is not None:
            results['stored_image'] = self.pixels(results.pop('place'))
        return self.pipeline(results)
