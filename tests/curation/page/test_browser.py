"""The page in a real browser: 20,000 findings, clicked and typed through, and the tab closed."""

import csv
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from carsclf.curation.findings import as_table
from tests.curation.page.conftest import EVIL, NAMES, doubt, photos

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("nicegui", reason="nicegui is not installed: pip install 'carsclf[page]'")
CHROMIUM = next((p for n in ("chromium", "google-chrome") if (p := shutil.which(n))), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt-get install chromium)"),
]
COUNT = 20_000
SERVER = """
import sys
from pathlib import Path
import pandas as pd
from carsclf.curation.page.board import Board, findings_of
from carsclf.curation.page.serve import serve_page
root, names = Path(sys.argv[1]), sys.argv[2:]
paths = {p.relative_to(root / "photos").as_posix(): p for p in (root / "photos").glob("*/*")}
table = pd.read_parquet(root / "findings.parquet")
serve_page(Board(findings_of(table), paths, names, root / "decisions.csv"), "ann <i>", 0)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int, int]]:
    """The folder of decisions.csv, the port and the process."""
    root = tmp_path_factory.mktemp("page")
    ids = list(photos(root / "photos", 60))
    rows = [
        doubt(ids[n % 60], nearest_own=ids[(n + 1) % 60], nearest_suggested=ids[(n + 2) % 60])
        for n in range(COUNT - 60)
    ]
    rows += [
        doubt(ids[n], "near_duplicate", other=ids[n + 1], other_class=NAMES[0], other_split="val")
        for n in range(0, 60, 2)
    ]
    rows += [doubt(ids[n], "too_dark", suggested=None, predicted=None) for n in range(30, 60)]
    as_table(rows).to_parquet(root / "findings.parquet")
    command = [sys.executable, "-c", SERVER, str(root), *NAMES]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith(f"{COUNT} findings on http://127.0.0.1:")
    yield root, int(said.split("127.0.0.1:")[1].split()[0]), process.pid
    process.terminate()
    assert process.wait(20) == 0


@pytest.fixture
def opened(served: tuple[Path, int, int]) -> Iterator[Callable[[], Any]]:
    """Opens a tab; nothing is asked of any other machine."""
    root, port, _ = served
    asked: list[str] = []
    wrong: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)

        def make() -> Any:
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector(".row.at")
            return page

        yield make
        browser.close()
    here = (f"http://127.0.0.1:{port}/", "data:", "blob:")
    assert [url for url in asked if not url.startswith(here)] == []
    assert wrong == []
    (root / "decisions.csv").unlink(missing_ok=True)


def logged(root: Path, count: int) -> list[tuple[str, str, str]]:
    """id, decision, value of each line, once there are so many."""
    rows: list[tuple[str, str, str]] = []
    for _ in range(200):
        if (root / "decisions.csv").exists():
            with (root / "decisions.csv").open(newline="", encoding="utf-8") as file:
                rows = [(r["id"], r["decision"], r["value"]) for r in csv.DictReader(file)]
        if len(rows) >= count:
            break
        time.sleep(0.05)
    return rows


def test_what_is_typed_is_what_the_file_holds(
    served: tuple[Path, int, int], opened: Callable[[], Any]
) -> None:
    root, *_ = served
    table: Any = pd.read_parquet(root / "findings.parquet")
    pairs = table[table["kind"] == "near_duplicate"]["id"].tolist()
    dark = table[table["kind"] == "too_dark"]["id"].tolist()
    page = opened()
    page.locator(".kind", has_text="too dark").click()
    page.wait_for_function("document.querySelector('.top').innerText.includes('of 30')")
    page.keyboard.type("kxk")
    page.keyboard.type("rGRUN")  # the letters are a class's, not decisions
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.type("x")
    page.keyboard.type("u")
    wanted = [(dark[0], "keep", ""), (dark[1], "exclude", ""), (dark[2], "keep", "")]
    wanted += [(dark[3], "relabel", NAMES[0])]
    wanted += [(id, "exclude", "") for id in dark[4:7]]
    wanted += [(id, "undo", "") for id in reversed(dark[4:7])]
    assert logged(root, len(wanted)) == wanted
    page.locator(".kind", has_text="near duplicate").click()
    page.wait_for_selector(".row.pair.at")
    row = page.locator(f'[data-place="{page.locator(".row.at").get_attribute("data-place")}"]')
    row.locator(".act.merge").click()  # and the same by mouse
    row.locator(".act.turn").click()
    other = table[table["id"] == pairs[0]]["other"].dropna().iloc[0]
    wanted += [(other, "merge", pairs[0]), (pairs[0], "turn", "90")]
    assert logged(root, len(wanted)) == wanted
    page.wait_for_selector(".row.at.merge")
    typed = "k" * 40
    page.keyboard.press("ArrowDown")
    page.keyboard.type(typed)
    page.close()  # at once
    assert len(logged(root, len(wanted) + 40)) == len(wanted) + 40
    page = opened()  # all is there again
    text = page.locator(".kind", has_text="near duplicate").inner_text()
    assert "30 of 30" in text.replace("\n", " ")


def test_names_are_text(served: tuple[Path, int, int], opened: Callable[[], Any]) -> None:
    page = opened()
    assert "carsclf" in page.title()
    text = page.locator(".row.at").inner_text()
    assert EVIL in text
    assert NAMES[1] in text
    assert "ann <i>" in page.locator(".side").inner_text()
    assert page.locator(".row i, .row b b, .row img[src='x'], .side i").count() == 0
    page.keyboard.type("r")
    page.wait_for_selector(".match")
    assert NAMES[1] in page.locator(".sheet").inner_text()
    page.keyboard.press("Escape")
    sources = page.evaluate("[...document.images].map(image => new URL(image.src).pathname)")
    assert all(source.startswith("/photo/") for source in sources)
    assert page.title() != "1"


def test_to_the_end_of_20_000_and_enlarged(
    served: tuple[Path, int, int], opened: Callable[[], Any]
) -> None:
    page = opened()
    page.keyboard.press("End")
    page.wait_for_function("document.querySelector('.top').innerText.includes('20,000 of 20,000')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".veil.photo img")
    page.keyboard.press("Escape")
    page.wait_for_selector(".veil", state="detached")
    page.keyboard.press("?")
    page.wait_for_selector(".keys")


def test_other_names_of_this_machine_are_refused(served: tuple[Path, int, int]) -> None:
    _, port, _ = served
    for headers, status in (
        ({"Host": "evil.example"}, 403),
        ({"Host": f"127.0.0.1:{port}", "Origin": "http://evil.example"}, 403),
        ({"Host": f"127.0.0.1:{port}"}, 200),
    ):
        for path in ("/", "/photo/0", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"):
            connection = HTTPConnection("127.0.0.1", port)
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            refused = answer.status == 403 and b"this machine only" in answer.read()
            assert refused is (status == 403)
            connection.close()


def test_no_other_machine_reaches_it(served: tuple[Path, int, int]) -> None:
    _, port, process = served
    heard = [c.laddr for c in psutil.Process(process).net_connections() if c.status == "LISTEN"]
    assert [(place.ip, place.port) for place in heard] == [("127.0.0.1", port)]
