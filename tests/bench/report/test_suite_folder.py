import json
import re
from pathlib import Path

import pytest

from gps_seg.bench.report.suite_folder import read_suite_folder, short_paths
from tests.bench.made_results import MadeSuite, write_json


def test_a_cell_tells_whether_it_finished_and_how_it_failed(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'gps_k10', 0)
    content = made.cell('kvasir_seg', 'full', 'final', 0, 1e-3)
    made.start(content, failures=['first', 'second'])
    cells = {cell.content['method']: cell for cell in read_suite_folder(made.write_suite()).cells}
    assert cells['gps_k10'].is_finished
    assert not cells['full'].is_finished
    assert cells['full'].failures == ('first', 'second')


def test_the_tenth_failure_comes_after_the_second(made: MadeSuite) -> None:
    errors = [f'error {number}' for number in range(1, 11)]
    made.start(made.cell('kvasir_seg', 'full', 'final', 0, 1e-3), failures=errors)
    (cell,) = read_suite_folder(made.write_suite()).cells
    assert cell.failures == tuple(errors)


def test_scores_of_images_are_read_by_the_part_of_the_path_that_differs(made: MadeSuite) -> None:
    folder = made.final('kvasir_seg', 'gps_k10', 0)
    (folder / 'images.csv').write_text('image,Dice,IoU\n/a/b/x/1.jpg,50,40\n/a/b/y/1.jpg,60,50\n')
    (cell,) = read_suite_folder(made.write_suite()).cells
    assert cell.images['Dice'] == {'x/1.jpg': 50.0, 'y/1.jpg': 60.0}


def test_a_class_that_an_image_lacks_has_no_score_there(made: MadeSuite) -> None:
    folder = made.final('kvasir_seg', 'gps_k10', 0)
    (folder / 'images.csv').write_text('image,Dice,Dice_car\n/a/1.jpg,50,\n/a/2.jpg,60,70\n')
    (cell,) = read_suite_folder(made.write_suite()).cells
    assert cell.images == {'Dice': {'1.jpg': 50.0, '2.jpg': 60.0}, 'Dice_car': {'2.jpg': 70.0}}


def test_one_image_keeps_its_name() -> None:
    assert short_paths(['/data/images/a.jpg']) == ['a.jpg']
    assert short_paths([]) == []
    assert short_paths(['a.jpg', 'b.jpg']) == ['a.jpg', 'b.jpg']


def test_a_folder_that_a_worker_has_only_claimed_is_left_out(made: MadeSuite) -> None:
    made.final('kvasir_seg', 'gps_k10', 0)
    (made.folder / 'cells/claimed').mkdir()
    (made.folder / 'cells/claimed/claim').touch()
    (made.folder / 'cells/notes.txt').touch()
    assert len(read_suite_folder(made.write_suite()).cells) == 1


def test_a_folder_without_a_suite_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'no suite\.json in .*gps-seg bench run'):
        read_suite_folder(tmp_path)


@pytest.mark.parametrize(
    'file, text, told',
    [
        ('suite.json', '{"name": "a"', 'suite.json is damaged'),
        ('suite.json', '[]', 'suite.json lacks name, columns, current'),
        ('suite.json', '{"name": "a/b", "columns": [], "current": []}', "name 'a/b' cannot name"),
        ('suite.json', '{"name": 3, "columns": [], "current": []}', 'name 3 cannot name'),
        ('result.json', '{"data": 1}', 'result.json lacks model, method, role, seed'),
        ('result.json', 'null', 'result.json lacks data'),
        ('images.csv', 'image,Dice\na.jpg,good\n', 'images.csv is damaged'),
        ('images.csv', 'image,Dice\na.jpg\n', 'images.csv is damaged'),
        ('images.csv', 'name,Dice\na.jpg,3\n', 'images.csv is damaged'),
        ('images.csv', 'image,Dice\na.jpg,3\na.jpg,4\n', 'listed twice'),
    ],
)
def test_a_damaged_file_is_named(made: MadeSuite, file: str, text: str, told: str) -> None:
    cell = made.final('kvasir_seg', 'gps_k10', 0)
    made.write_suite()
    (made.folder if file == 'suite.json' else cell).joinpath(file).write_text(text)
    with pytest.raises(ValueError, match=told) as error:
        read_suite_folder(made.folder)
    assert str(made.folder) in str(error.value)


def test_a_result_without_any_measurement_is_refused(made: MadeSuite) -> None:
    content = made.cell('kvasir_seg', 'gps_k10', 'final', 0, 1e-3)
    made.finish(content)
    made.write_suite()
    with pytest.raises(ValueError, match='neither scores nor rows'):
        read_suite_folder(made.folder)


def test_a_copied_cell_is_refused(made: MadeSuite) -> None:
    cell = made.final('kvasir_seg', 'gps_k10', 0)
    cell.rename(cell.with_name('copy'))
    made.write_suite()
    with pytest.raises(ValueError, match=re.escape(json.dumps(cell.name).strip('"'))):
        read_suite_folder(made.folder)


def test_a_cell_without_an_id_goes_by_its_folder(made: MadeSuite) -> None:
    content = made.cell('kvasir_seg', 'full', 'final', 0, 1e-3)
    folder = made.start(content)
    write_json(folder / 'cell.json', {k: v for k, v in content.items() if k != 'id'})
    (cell,) = read_suite_folder(made.write_suite()).cells
    assert cell.content['id'] == folder.name
