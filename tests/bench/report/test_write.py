import shutil
from pathlib import Path

import pytest

from gps_seg.bench.report import write_report
from tests.bench.made_results import METHODS, MadeSuite, write_cost_suite

MARKED = '# Mine\n\n<!-- bench:kvasir-tiny:short -->\nold\n<!-- /bench:kvasir-tiny:short -->\nend\n'


def test_the_report_is_a_page_tables_and_a_database(whole_folder: Path, tmp_path: Path) -> None:
    costs = write_cost_suite(tmp_path / 'costs')
    readme = tmp_path / 'README.md'
    readme.write_text(MARKED + '<!-- bench:cost -->\n<!-- /bench:cost -->\n')
    written = write_report(
        [whole_folder, costs], tmp_path / 'new/out', title='Both', markdown=[readme]
    )
    assert written == tmp_path / 'new/out/index.html'
    assert sorted(path.name for path in written.parent.iterdir()) == [
        'cost.csv',
        'cost.md',
        'cost.tex',
        'index.html',
        'kvasir-tiny--sam-vit-tiny-256_on_kvasir_seg--against-entries.svg',
        'kvasir-tiny--sam-vit-tiny-256_on_kvasir_seg--against-memory.svg',
        'kvasir-tiny--sam-vit-tiny-256_on_kvasir_seg--against-time.svg',
        'kvasir-tiny.csv',
        'kvasir-tiny.md',
        'kvasir-tiny.tex',
        'results.sqlite',
    ]
    assert '<title>Both</title>' in written.read_text()
    text = readme.read_text()
    assert text.startswith('# Mine\n\n<!-- bench:kvasir-tiny:short -->\n\nFull scores highest')
    assert '\nold\n' not in text
    assert '\nend\n' in text
    assert '283.0' in text
    assert (written.parent / 'kvasir-tiny.md').read_text().startswith('# Kvasir-SEG, ViT-Tiny SAM')


def test_writing_again_gives_the_same_files(made: MadeSuite, tmp_path: Path) -> None:
    made.methods = {name: METHODS[name] for name in ('full', 'gps_k10')}
    made.write()
    out = tmp_path / 'out'

    def contents() -> dict[str, str]:
        write_report([made.folder], out)
        texts = [path for path in out.iterdir() if path.suffix != '.sqlite']
        return {path.name: path.read_text() for path in texts}

    assert contents() == contents()


def test_a_missing_marker_stops_before_any_table_is_written(
    whole_folder: Path, tmp_path: Path
) -> None:
    good, bad = tmp_path / 'good.md', tmp_path / 'bad.md'
    good.write_text(MARKED)
    bad.write_text('nothing\n')
    with pytest.raises(ValueError, match='bench:kvasir-tiny -->'):
        write_report([whole_folder], tmp_path / 'out', markdown=[good, bad])
    assert good.read_text() == MARKED
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['results.sqlite']


def test_wrong_use_is_named(whole_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='no suite to report'):
        write_report([], tmp_path)
    with pytest.raises(ValueError, match='two suites are called kvasir-tiny'):
        write_report([whole_folder, whole_folder], tmp_path)
    with pytest.raises(FileNotFoundError, match='gps-seg bench run'):
        write_report([tmp_path / 'nothing'], tmp_path)
    with pytest.raises(ValueError, match='did you mean table5_sam'):
        write_report([whole_folder], tmp_path, published=['table5_san'])
    with pytest.raises(ValueError, match='table3_vtab has no results of kvasir_seg'):
        write_report([whole_folder], tmp_path, published=['table3_vtab'])


def test_a_damaged_sheet_is_named(whole_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'suite'
    shutil.copytree(whole_folder, folder)
    sheet = next(folder.rglob('sheet.png'))
    sheet.write_bytes(b'cut')
    with pytest.raises(ValueError, match=r'sheet\.png is no picture'):
        write_report([folder], tmp_path / 'out')
