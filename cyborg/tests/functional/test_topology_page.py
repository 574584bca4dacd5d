"""The page of ``cyborg-status topology`` in a browser."""

import html.parser
import pathlib
import shutil
import subprocess
from typing import Any

import pytest

from cyborg.conf import CONF
from cyborg.manage import topology
from cyborg.tests.fixtures import topology as fixture

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Rows that fit the window, and those drawn above and below.
MOST_ROWS = 900 // 28 + 2 * 12 + 2


@pytest.fixture(scope="module")
def browser() -> str:
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    pytest.skip(f"NOT TESTED: none of {', '.join(BROWSERS)} is installed")


class _Rows(html.parser.HTMLParser):
    """Collects the rows that are drawn, each as its text, and the title."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[str] = []
        self.shown = ""
        self.title = ""
        self._into: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        values = dict(attrs)
        if (values.get("class") or "").startswith("row "):
            self.rows.append("")
            self._into = "rows"
        elif values.get("id") == "shown":
            self._into = "shown"
        elif tag == "title":
            self._into = "title"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("div", "title") or self._into == "shown":
            self._into = None

    def handle_data(self, data: str) -> None:
        if self._into == "rows":
            self.rows[-1] += f"{data} "
        elif self._into is not None:
            setattr(self, self._into, data)


class Page:
    def __init__(self, browser: str, directory: pathlib.Path) -> None:
        self._browser = browser
        self._directory = directory
        self._path = directory / "topology.html"

    def write(self, rows: Any) -> None:
        CONF([], default_config_files=[])
        text = topology.page(topology.build(rows, fixture.NOW))
        self._path.write_text(text, encoding="utf-8")

    def open(self, words: str = "", script: str = "") -> _Rows:
        """Return what is drawn after a search, and after a script ran."""
        path = self._path
        if script:
            path = self._path.with_name("scripted.html")
            path.write_text(
                self._path.read_text(encoding="utf-8")
                + f"<script>{script}</script>",
                encoding="utf-8",
            )
        done = subprocess.run(
            [
                self._browser,
                "--headless",
                # Tests may run as root, in a container.
                *("--no-sandbox", "--disable-dev-shm-usage"),
                "--disable-gpu",
                f"--user-data-dir={self._directory / 'profile'}",
                "--window-size=1200,900",
                "--virtual-time-budget=5000",
                "--dump-dom",
                f"{path.as_uri()}#{words}",
            ],
            capture_output=True,
            text=True,
            timeout=180,
            check=True,
        )
        return _Rows(done.stdout)


@pytest.fixture
def page(browser: str, tmp_path: pathlib.Path) -> Page:
    return Page(browser, tmp_path)


def test_a_small_cloud_is_shown_whole(page: Page) -> None:
    page.write(fixture.troubled_cloud())
    found = page.open()
    assert found.shown == "27 lines"
    assert len(found.rows) == 27
    assert "compute-1" in found.rows[0]
    assert "no such file" in found.rows[0]
    assert any("its fan is broken" in row for row in found.rows)


def test_words_are_searched_on_the_way_to_a_line(page: Page) -> None:
    page.write(fixture.cloud(3))
    found = page.open("compute-2%20fpga%20FREE")
    assert found.shown == "4 lines"
    assert [row.strip("▾▸ ").split()[0] for row in found.rows] == [
        "compute-2",
        "FPGA",
        "compute-2_0000:3c:00.0",
        "PCI",
    ]
    # Inside what was found nothing is open, outside nothing is shown.
    assert page.open("compute-3").shown == "1 line"
    assert page.open("nonsense").shown == "0 lines"


def test_filters(page: Page) -> None:
    page.write(fixture.troubled_cloud())
    choose = (
        "byId('filter').value = '{0}'; "
        "byId('filter').dispatchEvent(new Event('change'));"
    )
    free = page.open(script=choose.format("free")).rows
    assert sum("free" in row for row in free) == 6
    assert not any("Bound" in row for row in free)
    used = page.open(script=choose.format("used")).rows
    assert not any(" free " in row for row in used)
    bad = page.open(script=choose.format("bad")).rows
    assert sum("⚠" in row for row in bad) == 9
    click = "document.querySelector('.tile.wrong').click();"
    assert page.open(script=click).rows == bad


def test_what_is_in_use_is_summed_up(page: Page) -> None:
    page.write(fixture.cloud(hosts=1, devices=2, handles=4))
    host, _device, deployable, *_handles = page.open().rows
    assert "4 of 8 in use" in host and "2 devices" in host
    assert "2 of 4 in use" in deployable


def test_ten_thousand_devices(page: Page) -> None:
    page.write(fixture.cloud(hosts=1250, devices=8, handles=4))
    found = page.open()
    assert found.shown == "1,250 lines"
    assert 0 < len(found.rows) <= MOST_ROWS
    # All of it, to the end: still only what can be seen is drawn.
    found = page.open(
        script="byId('open').click(); view.scrollTop = 1e9; draw();"
    )
    assert found.shown == f"{1250 * (1 + 8 * (1 + 1 + 4)):,} lines"
    assert 0 < len(found.rows) <= MOST_ROWS
    assert "0000:42:00.4" in found.rows[-1]
    found = page.open("compute-1250%20cccccccc-0000-4000-8000-000009999000")
    assert found.shown == "4 lines"
    assert "000009999000" in found.rows[-1]


def test_keys(page: Page) -> None:
    page.write(fixture.cloud(hosts=60))
    press = (
        "for (const key of {0}) view.dispatchEvent(new KeyboardEvent("
        "'keydown', {{key, bubbles: true, cancelable: true}}));"
        "document.title = lines[active].text;"
    )
    found = page.open(script=press.format("['End']"))
    assert found.title == "compute-60"
    found = page.open(
        script=press.format(
            "['ArrowDown', 'ArrowRight', 'ArrowRight', 'ArrowRight', "
            "'ArrowRight']"
        )
    )
    assert found.title == "compute-2_0000:3b:00.0"
    found = page.open(
        script=press.format(
            "['ArrowRight', 'ArrowRight', 'ArrowLeft', 'ArrowLeft', 'End']"
        )
    )
    assert (found.title, found.shown) == ("compute-60", "60 lines")
