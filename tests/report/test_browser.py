"""The page in a real browser: every picture loads, the contents lead where they say, no network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import pytest

from carsclf.data.drawing import class_names, render
from carsclf.records import Predictions, RunFolder
from carsclf.report.command import write_report
from carsclf.report.context import Price
from tests.conftest import ROOT
from tests.report.folders import FOUND, make_run, make_study

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next((p for n in ("chromium", "google-chrome") if (p := shutil.which(n))), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
LOADED = "images => images.every(image => image.complete && image.naturalWidth > 0)"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt-get install chromium)")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with a gallery of drawn cars, whose causes are known."""
    root = tmp_path_factory.mktemp("browser")
    photos = render(root / "cars", images=96, workers=1)
    ids = sorted(p.relative_to(photos).as_posix() for p in photos.glob("cars_test/*.jpg"))
    names, runs = class_names(), []
    rng = np.random.default_rng(0)
    for role, values in (("baseline", None), ("winner", FOUND)):
        settings: dict[str, Any] = {"values": values} if values else {}
        run = make_run(root / role, source="rendered_cars", protocol="official", **settings)
        shares = rng.dirichlet(np.full(len(names), 0.1), len(ids)).astype(np.float32)
        targets = np.arange(len(ids)) % len(names)
        paths = [str(photos / id) for id in ids]
        Predictions(ids, paths, targets, shares, names).write(RunFolder(run).predictions("test"))
        runs.append(run)
    study = make_study(root / "study", trials=12)
    config = (study / "config.yaml").read_text()
    config = config.replace("stanford_cars", "rendered_cars").replace("published", "official")
    (study / "config.yaml").write_text(config)
    price = Price(2.0, machine="a machine", source="example.org/" + "a" * 60)  # wide
    return write_report(runs=runs, studies=[study], folder=root / "report", gallery=8, price=price)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        started.close()


def click_through(page: Any, file: Path) -> None:
    """Every entry of the contents leads to its section, every picture loads, nothing is fetched."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    links = page.locator("nav a")
    assert links.count() == 7
    for i in range(7):
        title = links.nth(i).inner_text()
        links.nth(i).click()
        target = links.nth(i).get_attribute("href").removeprefix("#")
        assert title in page.locator(f"#{target} h2").inner_text()
        page.wait_for_function(
            "id => { const at = document.getElementById(id).getBoundingClientRect().top;"
            " const end = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;"
            " return Math.abs(at) < 60 || (end && at >= 0); }",
            arg=target,
        )
    assert page.eval_on_selector_all("img", LOADED)
    assert page.locator(".absent").count() == 0
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}


def test_contents_and_pictures(page_file: Path, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    click_through(page, page_file)
    assert page.locator(".error").count() == 8
    assert page.locator(".error img").count() == 16
    assert page.locator("img").count() > 25


def test_the_report_of_real_photos(browser: Any) -> None:
    """The one that is kept in experiments/, with its tables and figures, and without photos."""
    folder = ROOT / "experiments/cars_report"
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    click_through(page, folder / "index.html")
    assert page.locator("figure > img").count() == len(list((folder / "figures").glob("*.svg")))
    tables = page.locator("a", has_text="CSV").evaluate_all("all => all.map(a => a.href)")
    assert tables
    assert all(Path(unquote(urlparse(url).path)).is_file() for url in tables)
    assert page.locator(".error").count() == 0
    assert not (folder / "gallery").exists()


def test_a_narrow_window_scrolls_one_way_only(page_file: Path, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
