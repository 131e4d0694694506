"""Which files are predicted, where their results go, and what is refused before anything runs."""

from pathlib import Path, PurePath

import pytest

from gps_seg.files import NotWritten
from gps_seg.prediction.inputs import Item, find_items
from gps_seg.prediction.outputs import Outputs, check_folder, check_outputs


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_of(items: list[Item]) -> list[str]:
    return [item.name.as_posix() for item in items]


def test_a_folder_gives_its_images_with_their_sub_folders(tmp_path: Path) -> None:
    touch(tmp_path, 'in/b.png', 'in/a.01.JPG', 'in/deep/er/c.tif', 'in/v.nii.gz', 'in/notes.txt')
    touch(tmp_path, 'in/.hidden.png', 'in/.cache/d.png', 'in/._b.png')
    items = find_items([tmp_path / 'in'], tmp_path / 'out')
    assert names_of(items) == ['a.01', 'b', 'v', 'deep/er/c']
    assert [item.is_volume for item in items] == [False, False, True, False]


def test_patterns_files_and_repeated_inputs(tmp_path: Path) -> None:
    touch(tmp_path, 'x/1/a.png', 'x/2/a.png', 'x/2/b.jpg', 'x/2/c.txt', 'odd.bin')
    assert names_of(find_items([tmp_path / 'x/*/a.png'], tmp_path / 'o')) == ['1/a', '2/a']
    assert names_of(find_items([tmp_path / 'x/**/*'], tmp_path / 'o')) == ['1/a', '2/a', '2/b']
    assert names_of(find_items([tmp_path / 'x/2/[b]*'], tmp_path / 'o')) == ['b']
    # A file that is named itself is taken by its word; twice is once.
    given = [tmp_path / 'odd.bin', tmp_path / 'odd.bin']
    assert names_of(find_items(given, tmp_path / 'o')) == ['odd']


def test_results_are_no_inputs(tmp_path: Path) -> None:
    touch(tmp_path, 'in/a.png', 'in/out/a.png')
    assert names_of(find_items([tmp_path / 'in'], tmp_path / 'in/out')) == ['a']
    with pytest.raises(ValueError, match='both an input and where results go'):
        find_items([tmp_path / 'in'], tmp_path / 'in')


@pytest.mark.parametrize('given', ['missing', 'empty', 'empty/*.png'])
def test_an_input_that_names_nothing_is_an_error(given: str, tmp_path: Path) -> None:
    touch(tmp_path, 'empty/readme.md')
    with pytest.raises(FileNotFoundError, match=r'no (images in|file, folder or pattern) '):
        find_items([tmp_path / given], tmp_path / 'out')


def item(path: str, name: str = '', suffix: str = '.jpg') -> Item:
    return Item(Path(path), PurePath(name or Path(path).stem), suffix)


def test_results_keep_the_names_below_their_folder() -> None:
    outputs = Outputs(Path('out'), 2, overlay=True, probabilities=True)
    assert [path.as_posix() for path in outputs.of(item('x/a.1.jpg', 'deep/a.1'))] == [
        'out/deep/a.1.png',
        'out/overlays/deep/a.1.png',
        'out/probabilities/deep/a.1.png',
    ]
    several = Outputs(Path('out'), 5, overlay=True, probabilities=True)
    assert several.probability(item('a.jpg')).name == 'a.npz'
    volume = item('v.nii.gz', 'v', '.nii.gz')
    assert [path.as_posix() for path in several.of(volume)] == [
        'out/v.nii.gz',
        'out/probabilities/v.nii.gz',
    ]


def test_two_inputs_of_one_result_are_refused() -> None:
    items = [item('a/x.jpg'), item('a/x.png')]
    with pytest.raises(ValueError, match=r'a/x\.jpg and a/x\.png would both be written to'):
        check_outputs(items, [Outputs(Path('out'), 2)], overwrite=True)
    items = [item('x.jpg'), item('y.jpg', 'overlays/x')]
    with pytest.raises(ValueError, match='would both be written'):
        check_outputs(items, [Outputs(Path('out'), 2, overlay=True)], overwrite=True)


def test_existing_results_are_replaced_only_when_asked_and_inputs_never(tmp_path: Path) -> None:
    touch(tmp_path, 'out/a.png', 'out/b.png')
    items = [item('in/a.jpg'), item('in/b.jpg')]
    outputs = [Outputs(tmp_path / 'out', 2)]
    with pytest.raises(FileExistsError, match=r'a\.png and 1 more results exist; .*--overwrite'):
        check_outputs(items, outputs, overwrite=False)
    check_outputs(items, outputs, overwrite=True)
    with pytest.raises(ValueError, match='is an input, which is never replaced'):
        check_outputs([item(str(tmp_path / 'out/a.png'))], outputs, overwrite=True)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, 'file')
    with pytest.raises(NotWritten, match='cannot write'):
        check_folder(tmp_path / 'file')
    with pytest.raises(NotWritten, match='cannot write'):
        check_folder(tmp_path / 'file/below')
