"""docs/configs.md is what its tool writes, and knows every shipped config."""

from pathlib import Path

import pytest

from tools.make_configs_doc import CONFIGS, PAGE, first_sentence, page


def test_the_committed_page_is_what_the_tool_writes_and_has_every_config() -> None:
    text = page()
    assert PAGE.read_text(encoding='utf-8') == text, 'run python -m tools.make_configs_doc'
    apart = ('_base_', 'suites')  # parts of configs, and comparisons
    for path in CONFIGS.rglob('*.py'):
        name = path.relative_to(CONFIGS).as_posix()
        assert (f'](../configs/{name}) |' in text) != name.startswith(apart)


@pytest.mark.parametrize(
    'text, sentence',
    [
        ('# For a GPU of 8 GB: K = 1. Slow.\n_base_ = []', 'For a GPU of 8 GB: K = 1.'),
        ('# Over two\n# lines:\n#   gps-seg demo\n# and on.', 'Over two lines.'),
    ],
)
def test_a_config_is_told_by_its_first_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / 'config.py'
    file.write_text(text)
    assert first_sentence(file) == sentence
    file.write_text('model = dict()')
    with pytest.raises(ValueError, match='must begin with a comment'):
        first_sentence(file)
