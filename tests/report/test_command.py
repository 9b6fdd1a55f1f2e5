"""`report.py` on the command line: its options, and mistakes in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from tests.conftest import ROOT
from tests.report.folders import make_run, make_study

Command = Callable[..., int]
COSTS = sorted(path.stem for path in (ROOT / "conf/cost").glob("*.yaml"))


@pytest.mark.parametrize("cost", COSTS)
def test_every_price_names_its_date_and_source(cost: str) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        price = compose("report", [f"cost={cost}"]).cost
    assert (price.price_per_hour is None) == (cost == "none")
    assert cost == "none" or (price.machine and price.date and price.source)


def test_report_py(command: Command, tmp_path: Path, capfd) -> None:
    make_run(tmp_path / "runs/a")
    make_study(tmp_path / "runs/s", trials=9)
    done = command("report.py", "runs=[runs/a]", "studies=[runs/s]", "cost.price_per_hour=2")
    assert done == 0
    assert "report: runs/report/index.html" in capfd.readouterr().out
    page = (tmp_path / "runs/report/index.html").read_text()
    assert "2 USD per device hour" in page
    assert "python report.py studies=[runs/s] runs=[runs/a]" in page


MISTAKES = {
    "nothing": ([], "name runs=[<run folder>,...]"),
    "no folder": (["runs=[nowhere]"], "nowhere is no folder"),
    "no run": (["runs=[empty]"], "run.json is missing"),
    "no study": (["studies=[empty]"], "study.json is missing"),
    "a price": (["runs=[a]", "cost.price_per_hour=cheap"], "expected a number, at least 0"),
    "a gallery": (["runs=[a]", "gallery=-1"], "gallery=-1: expected a whole number, at least 0"),
    "twice": (["runs=[a,a]"], "named twice"),
    "misspelt": (["galery=3"], "did you mean 'gallery'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(mistake: str, command: Command, tmp_path: Path, capfd) -> None:
    arguments, expected = MISTAKES[mistake]
    make_run(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    assert command("report.py", *arguments) == 1
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert expected in said[0]
