from pathlib import Path

import pytest
from mmengine.config import Config

from gps_seg.cli.quiet_runner import QuietRunner


def test_a_misspelt_type_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    config = Config(dict(model=dict(type='Foo'), work_dir=str(tmp_path), default_scope='mmseg'))
    with pytest.raises(ValueError, match=r'^Foo is not in the mmseg::model registry; is its type'):
        QuietRunner.from_cfg(config)
