"""Which image goes with which mask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gps_seg.data_root import VARIABLE, data_path
from gps_seg.datasets.coco import load_coco
from gps_seg.datasets.findings import Finding, named, raise_first
from gps_seg.datasets.specs import MaskFolder
from gps_seg.datasets.splits import read_split

SUFFIXES: tuple[str, ...] = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
SUFFIXES += ('.jp2', '.avif', '.ppm', '.pgm', '.pnm', '.dcm', '.nii', '.nii.gz')
# Folders below the data root that a command makes.
DRAWN = {'demo-polyps': 'gps-seg demo', 'drawn-objects': 'gps-seg demo --draw objects'}


@dataclass(frozen=True)
class Pairing:
    """Pairs by stem, in order, and what is wrong with the folder."""

    pairs: Mapping[str, tuple[Path, str]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def split_name(path: Path) -> tuple[str, str]:
    """Stem and suffix of a file name, `.nii.gz` as one suffix."""
    name = path.name
    for suffix in ('.nii.gz', path.suffix):
        if suffix and name.lower().endswith(suffix.lower()):
            return name[: -len(suffix)], name[-len(suffix) :]
    return name, ''


def is_image(path: Path) -> bool:
    """Whether a file goes by an image's name; hidden ones do not."""
    return split_name(path)[1].lower() in SUFFIXES and not path.name.startswith('.')


def files_by_stem(root: Path, pattern: str, without: Path | None = None) -> dict[str, Path]:
    """The image files that match a pattern, by the text its star stands for, sorted.

    Suffixes are not part of that text; folders below wildcards are. A pattern that names a folder
    means all images in it and below it, but for those below `without`. Raises ValueError where two
    files have the same stem.
    """
    files, findings = collect(root, pattern, without)
    raise_first(findings)
    return files


def collect(
    root: Path, pattern: str, without: Path | None = None
) -> tuple[dict[str, Path], list[Finding]]:
    """`files_by_stem` that lists what is wrong instead of raising it."""
    folder = root / pattern
    if '*' not in pattern and folder.is_dir():
        base, rest, before, after = folder, '**/*', '', ''
    else:
        if split_name(Path(pattern))[0].count('*') != 1:
            is_folder = '*' not in pattern and not Path(pattern).suffix
            problem = (
                f'no folder {folder}' if is_folder else f'the pattern {pattern!r} names no files'
            )
            fix = 'name a folder, or a pattern such as images/*.png; its file name needs one *'
            return {}, [Finding('error', problem, fix, missing=is_folder)]
        base, rest = _base_of(folder)
        before, _, after = split_name(Path(rest))[0].partition('*')
    files: dict[str, Path] = {}
    findings = []
    for path in sorted(base.glob(rest)):
        if not is_image(path) or (not path.is_file() and not path.is_symlink()):
            continue
        if without is not None and path.is_relative_to(without):
            continue
        stem = split_name(path)[0].removeprefix(before).removesuffix(after)
        parent = path.parent.relative_to(base).as_posix()
        stem = (
            stem if parent == '.' or '*' not in Path(rest).parent.as_posix() else f'{parent}/{stem}'
        )
        if stem in files:
            findings.append(
                Finding(
                    'error',
                    f'{files[stem]} and {path} have the same stem {stem!r}, so their pairs are not '
                    'known',
                    f'keep one of them, or narrow the pattern {pattern!r}',
                    (str(files[stem]), str(path)),
                )
            )
            continue
        files[stem] = path
    return files, findings + _other_case(base, rest, files)


def _base_of(pattern: Path) -> tuple[Path, str]:
    """The folder before the first wildcard, and the rest of a pattern."""
    parts = pattern.parts
    first = next(index for index, part in enumerate(parts) if any(c in part for c in '*?['))
    return Path(*parts[:first]), str(Path(*parts[first:]))


def _other_case(base: Path, rest: str, files: Mapping[str, Path]) -> list[Finding]:
    """Files that a pattern leaves out for upper or lower case alone."""
    if '.' not in Path(rest).name or '**' in rest or not base.is_dir():
        return []
    suffix = split_name(Path(rest))[1]
    known = set(files.values())
    others = [
        str(path)
        for path in sorted(base.glob(f'{rest[: -len(suffix)]}.*' if suffix else rest))
        if path not in known and path.suffix.lower() == suffix.lower() != path.suffix
    ]
    if not others:
        return []
    text = f'{len(others)} files match the pattern {rest} only in another case: {named(others)}'
    return [Finding('error', text, f'rename them, or use {rest[: -len(suffix)]}.*', tuple(others))]


def pair_files(folder: MaskFolder) -> Pairing:
    """All pairs of a folder and everything that is wrong with it."""
    root = data_path(folder.root)
    if not root.is_dir():
        return Pairing(findings=(_no_root(folder, root),))
    masks_are_coco = folder.masks.endswith('.json')
    inner, outer = root / folder.masks, root / folder.images
    images, findings = collect(
        root, folder.images, inner if inner != outer and inner.is_relative_to(outer) else None
    )
    masks: Mapping[str, Path | str]
    if masks_are_coco:
        masks, problems = _coco_masks(inner, images, outer if outer.is_dir() else root)
    else:
        without = outer if inner != outer and outer.is_relative_to(inner) else None
        masks, problems = collect(root, folder.masks, without)
    findings += problems
    if not images.keys() & masks.keys():
        findings.append(_no_pairs(folder, root, images, masks))
        return Pairing(findings=tuple(findings))
    for kind, have, lack in (('image', images, masks), ('mask', masks, images)):
        findings += _alone(kind, {stem: have[stem] for stem in have if stem not in lack})
    pairs = {stem: (images[stem], str(masks[stem])) for stem in sorted(images) if stem in masks}
    return Pairing(pairs, tuple(findings))


def _alone(kind: str, files: Mapping[str, Path | str]) -> list[Finding]:
    if not files:
        return []
    other = 'mask' if kind == 'image' else 'image'
    names = tuple(str(path) for path in files.values())
    text = f'{kind} without {other}: {named(names)}'
    fix = f'add the {other} of the same stem, or remove the {kind}'
    return [Finding('error', text, fix, names, missing=True)]


def _no_root(folder: MaskFolder, root: Path) -> Finding:
    fetch = f'run gps-seg download {folder.download}, or ' if folder.download else ''
    if folder.root in DRAWN:
        fetch = f'run {DRAWN[folder.root]}, which draws it, or '
    if Path(folder.root).is_absolute():
        where, fix = '', f'{fetch}name the folder that holds the images and the masks'
    else:
        where = f' ({folder.root!r} below the data root)'
        fix = (
            f'{fetch}set {VARIABLE} to the folder that holds the data sets, or give the whole path'
        )
    return Finding('error', f'no folder {root}{where}', fix, missing=True)


def _no_pairs(
    folder: MaskFolder,
    root: Path,
    images: Mapping[str, Path],
    masks: Mapping[str, Path] | Mapping[str, str],
) -> Finding:
    fixes = [f'run gps-seg download {folder.download}'] if folder.download else []
    kind, place = ('image', folder.images) if not images else ('mask', folder.masks)
    if not Path(folder.root).is_absolute() and not (images and masks):
        fixes.append(f'set {VARIABLE} to the folder that holds the data sets')
    if images and masks:
        fixes.append("let * stand for what is the same in both names: masks='masks/*_mask.png'")
    else:
        fixes.append(f'put {kind}s into {root / place} ({" ".join(SUFFIXES)})')
    examples = [
        f'{kind} {next(iter(f))!r}' for kind, f in (('image', images), ('mask', masks)) if f
    ]
    compared = f' of other stems, such as {" and ".join(examples)}' if images and masks else ''
    return Finding(
        'error',
        f'no pairs of image and mask in {root} ({folder.images}: {len(images)} images, '
        f'{folder.masks}: {len(masks)} masks{compared})',
        ', or '.join(fixes),
        missing=True,
    )


def _coco_masks(
    file: Path, images: Mapping[str, Path], folder: Path
) -> tuple[dict[str, str], list[Finding]]:
    """Names of the masks in a COCO file, by the stems of their images."""
    try:
        coco = load_coco(file)
    except (ValueError, FileNotFoundError) as error:
        missing = isinstance(error, FileNotFoundError)
        return {}, [Finding('error', str(error), missing=missing)]
    by_name = {path.name: stem for stem, path in images.items()}
    by_path = {
        path.relative_to(folder).as_posix(): stem
        for stem, path in images.items()
        if path.is_relative_to(folder)
    }
    masks, absent = {}, []
    for name, image in coco.images.items():
        stem = by_path.get(name) or by_name.get(Path(name).name)
        if stem is None:
            absent.append(name)
        else:
            masks[stem] = f'{file}#{image["id"]}'
    if not absent:
        return masks, []
    text = f'{file} names images that are not there: {named(absent)}'
    return masks, [Finding('error', text, f'add them to {folder}', tuple(absent), missing=True)]


def listed(pairing: Pairing, split: Path) -> tuple[list[str], list[Finding]]:
    """The stems of a list that are pairs, in its order, and what is wrong with the list.

    A name may come with a suffix, or with the folder of the images.
    """
    stems: list[str] = []
    absent = []
    for name in read_split(split):
        stem = resolve(name, pairing.pairs)
        if stem is None:
            absent.append(name)
        elif stem in stems:
            raise ValueError(f'the split list {split} repeats {stem}; it names each file stem once')
        else:
            stems.append(stem)
    return stems, [_absent(pairing, split, absent)] if absent else []


def resolve(name: str, stems: Mapping[str, object]) -> str | None:
    """The stem that a line of a list means, or None."""
    path = Path(name)
    without = split_name(path)[0] if is_image(path) else path.name
    candidates = (name, (path.parent / without).as_posix(), without)
    return next((candidate for candidate in candidates if candidate in stems), None)


def _absent(pairing: Pairing, split: Path, absent: Sequence[str]) -> Finding:
    lower = {stem.lower(): stem for stem in pairing.pairs}
    near = [lower[name.lower()] for name in absent if name.lower() in lower]
    if near:
        hint = f'write them as the files are: {named(near)}'
    else:
        hint = 'complete the data, or correct the list (stems without suffix)'
    text = f'the split list {split} names files that are not there: {named(absent)}'
    return Finding('error', text, hint, tuple(absent), missing=True)


def find_pairs(folder: MaskFolder, split: Path | None = None) -> list[tuple[Path, str]]:
    """The (image, mask) files of a folder, in the order of the split list or of their stems.

    With a list only the files it names have to be complete. Raises FileNotFoundError or ValueError
    that names the files and the next step: no pairs, a file without its partner, a listed file
    that is missing, two files of one stem.
    """
    pairing = pair_files(folder)
    if split is None or not pairing.pairs:
        raise_first(pairing.findings)
        return list(pairing.pairs.values())
    # What concerns single files matters only for those of the list.
    single = [f for f in pairing.findings if ' without ' in f.text or 'another case' in f.text]
    raise_first([f for f in pairing.findings if f not in single])
    stems, findings = listed(pairing, split)
    if findings:
        raise_first([*_of_list(single, findings[0].files), *findings])
    return [pairing.pairs[stem] for stem in stems]


def _of_list(single: Sequence[Finding], names: Sequence[str]) -> list[Finding]:
    """The findings of single files, for the files that a list names."""
    found = []
    for finding in single:
        if ' without ' not in finding.text:
            found.append(finding)
            continue
        files = {split_name(Path(file))[0]: Path(file) for file in finding.files}
        hit = {name: files[Path(name).name] for name in names if Path(name).name in files}
        found += _alone(finding.text.partition(' ')[0], hit)
    return found
