"""What the README shows works as shown."""

import re
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[1]
TEXT = (CLONE / 'README.md').read_text()


def test_the_python_example_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)
    example = next(block for block in blocks if block.startswith('import'))
    exec(compile(example, 'README.md', 'exec'), {})
    assert 'parameters are trained' in capsys.readouterr().out


def test_every_linked_file_exists() -> None:
    links = re.findall(r'\]\(([^)#]+)\)', TEXT)
    local = [link for link in links if not link.startswith('http')]
    assert local
    assert [link for link in local if not (CLONE / link).exists()] == []


def test_every_named_config_and_tool_exists() -> None:
    named = set(re.findall(r'\b(?:configs|tools)/[\w/-]+\.py', TEXT))
    assert named
    assert [name for name in named if not (CLONE / name).is_file()] == []
