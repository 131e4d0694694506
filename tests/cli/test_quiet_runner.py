from pathlib import Path

import pytest
from mmengine.config import Config

from gps_seg.cli.quiet_runner import QuietRunner
from gps_seg.cli.select import main as select
from gps_seg.cli.train import main
from gps_seg.methods import Plan
from tests.toy_runs import toy_config


def test_a_misspelt_type_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    config = Config(dict(model=dict(type='Foo'), work_dir=str(tmp_path), default_scope='mmseg'))
    with pytest.raises(ValueError, match=r'^Foo is not in the mmseg::model registry; is its type'):
        QuietRunner.from_cfg(config)


def test_the_config_in_the_work_dir_is_that_of_the_run_and_not_of_its_resume(
    tmp_path: Path,
) -> None:
    config = toy_config(tmp_path)
    config.model.checkpoint = None
    config.load_from = str(tmp_path / 'base.pth')
    config.train_cfg.max_epochs = 1
    work_dir = Path(config.pop('work_dir'))
    config.dump(tmp_path / 'config.py')
    arguments = [str(tmp_path / 'config.py'), '--work-dir', str(work_dir)]
    written = work_dir / 'config.py'
    assert main(arguments) == 0
    first = written.read_text()

    # A resume that is refused leaves no word of its settings.
    other_seed = ['--cfg-options', 'randomness.seed=99', 'experiment_name=refused']
    assert main([*arguments, '--resume', *other_seed]) == 2
    assert written.read_text() == first

    longer = ['--cfg-options', 'train_cfg.max_epochs=2', 'experiment_name=longer']
    assert main([*arguments, '--resume', '--override', *longer]) == 0
    now, before = Config.fromfile(written), Config.fromstring(first, '.py')
    assert now.train_cfg.max_epochs == 2
    assert now.load_from == before.load_from == str(tmp_path / 'base.pth')
    assert not now.resume
    # Whoever selects by it selects from the base.
    assert select([str(written), '--out', str(tmp_path / 'again.safetensors')]) == 0
    names = [work_dir / 'plan.safetensors', tmp_path / 'again.safetensors']
    bases = [Plan.load(name).provenance['base'] for name in names]
    assert bases[0] == bases[1]
