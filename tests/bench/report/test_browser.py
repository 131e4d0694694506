"""The page in a real browser: Chromium, without a window.

On Debian and Ubuntu: apt-get install chromium. A browser elsewhere is named by CHROMIUM.
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from gps_seg.bench.report import write_report
from tests.bench.made_results import MadeSuite, small_sheet

pytestmark = pytest.mark.browser

NAMES = ('chromium', 'chromium-browser', 'google-chrome')
DESKTOP, PHONE = 1280, 390

# Loads the page in a frame of a width, as a phone would, and tells what the page is like there.
FRAME = """<!DOCTYPE html><body style="margin:0">
<iframe id="page" src="index.html" width="{width}" height="{height}" style="border:0"></iframe>
<pre id="told">nothing</pre>
<script>
document.getElementById('page').addEventListener('load', (event) => {{
  const inside = event.target.contentDocument;
  const table = inside.querySelector('table.sortable');
  const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim());
  const before = names();
  table.tHead.rows[0].cells[1].querySelector('button').click();
  const down = names();
  table.tHead.rows[0].cells[1].querySelector('button').click();
  const clipped = [...inside.querySelectorAll('svg text')].filter((text) => {{
    const [a, b] = [text.getBoundingClientRect(), text.closest('svg').getBoundingClientRect()];
    return a.left < b.left - 1 || a.right > b.right + 1
      || a.top < b.top - 1 || a.bottom > b.bottom + 1;
  }}).map((text) => text.textContent);
  document.getElementById('told').textContent = JSON.stringify({{
    width: inside.documentElement.clientWidth,
    content: inside.documentElement.scrollWidth,
    clipped, before, down, up: names(),
    pictures: [...inside.images].every((image) => image.complete && image.naturalWidth > 0),
    smallest: Math.min(...[...inside.querySelectorAll('svg text')].map(
      (text) => text.getBoundingClientRect().height).filter((height) => height > 0)),
  }});
}});
</script></body>
"""


@dataclass(frozen=True)
class Visit:
    """What a browser did with a page. addresses: of every request that left the page."""

    dom: str
    console: list[str]
    addresses: list[str]
    screenshot: np.ndarray


@pytest.fixture(scope='module')
def chromium() -> str:
    wanted = os.environ.get('CHROMIUM')
    paths = [shutil.which(name) for name in ([wanted] if wanted else NAMES)]
    path = next((path for path in paths if path), None)
    if path is None:
        pytest.skip(f'no {wanted or "Chromium"}; apt-get install chromium, or set CHROMIUM to it')
    return path


@pytest.fixture(scope='module')
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of five methods and two seeds, with something stale, failed and published."""
    folder = tmp_path_factory.mktemp('browser')
    made = MadeSuite(folder / 'suite', settings={'published': ['table5_sam']})
    made.write(sheet=small_sheet())
    stale = made.cell('kvasir_seg', 'gps_k10', 'final', 0, 3e-4)
    made.finish(stale, scores={'test': {'mDice': 79.9}})
    made.current.remove(stale['id'])
    write_report([made.write_suite()], folder / 'out')
    for width in (DESKTOP, PHONE):
        frame = FRAME.format(width=width, height=1600)
        (folder / f'out/frame-{width}.html').write_text(frame)
    return folder / 'out'


def visit(chromium: str, page: Path, *, width: int = DESKTOP, height: int = 1600) -> Visit:
    """Open a page, take a screenshot, and write down what it asked for."""
    folder = page.parent
    log, shot = folder / 'net.json', folder / 'shot.png'
    command = [
        chromium,
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--hide-scrollbars',
        '--allow-file-access-from-files',
        '--disable-background-networking',
        '--disable-component-update',
        '--no-first-run',
        '--enable-logging=stderr',
        f'--user-data-dir={folder / "profile"}',
        f'--log-net-log={log}',
        f'--window-size={max(width, 500)},{height}',
    ]
    done = subprocess.run(
        [*command, f'--screenshot={shot}', '--dump-dom', page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    console = [line for line in done.stderr.splitlines() if ':CONSOLE' in line]
    picture = cv2.imread(str(shot))
    assert picture is not None
    return Visit(done.stdout, console, _addresses(log), picture)


def _addresses(log: Path) -> list[str]:
    """Addresses of the requests in a log of Chromium's network, without its own services."""
    found = re.findall(r'"url":"((?:https?|wss?):[^"]+)"', log.read_text(errors='replace'))
    own = re.compile(r'https?://([\w-]+\.)*(google|googleapis|gstatic|gvt1)\.com/')
    return [address for address in found if not own.match(address)]


def told(visited: Visit) -> dict[str, object]:
    found = re.search(r'<pre id="told">(.*?)</pre>', visited.dom, re.DOTALL)
    assert found is not None
    content = found[1].replace('&lt;', '<').replace('&gt;', '>').replace('&amp;', '&')
    answer: dict[str, object] = json.loads(content)
    return answer


@pytest.fixture(scope='module')
def pages(chromium: str, out: Path) -> dict[int, dict[str, object]]:
    """What the page is like at the width of a desktop and of a phone."""
    widths = (DESKTOP, PHONE)
    visits = {width: visit(chromium, out / f'frame-{width}.html', width=width) for width in widths}
    return {width: told(visited) for width, visited in visits.items()}


def test_the_page_loads_without_errors_and_without_a_request(chromium: str, out: Path) -> None:
    visited = visit(chromium, out / 'index.html')
    assert visited.console == []
    assert visited.addresses == []
    assert 'Full scores highest' in visited.dom
    assert '<button type="button">' in visited.dom  # the script ran
    # Not blank: the box of the headline has its colour, the pictures have theirs.
    assert len(np.unique(visited.screenshot.reshape(-1, 3), axis=0)) > 100


def test_the_browser_would_notice_an_error_and_a_request(chromium: str, out: Path) -> None:
    page = out / 'broken.html'
    page.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("oh")</script>')
    visited = visit(chromium, page)
    assert any('oh' in line for line in visited.console)
    assert visited.addresses == ['http://127.0.0.1:9/x.png'] * len(visited.addresses)
    assert visited.addresses


@pytest.mark.parametrize('width', [DESKTOP, PHONE])
def test_nothing_is_cut_off_at_either_width(
    pages: dict[int, dict[str, object]], width: int
) -> None:
    page = pages[width]
    assert page['width'] == width
    assert page['content'] == width  # nothing to scroll sideways
    assert page['clipped'] == []
    assert page['pictures'] is True
    assert isinstance(page['smallest'], float | int)
    assert page['smallest'] >= 9  # pixels


def test_a_click_on_a_heading_sorts(pages: dict[int, dict[str, object]]) -> None:
    page = pages[DESKTOP]
    by_mean = ['full', 'GPS, K = 40', 'GPS, K = 10', 'random, K = 10', 'decoder and neck (linear)']
    assert page['before'] == page['down'] == by_mean
    assert page['up'] == by_mean[::-1]
