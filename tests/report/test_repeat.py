"""Every command that a page prints is typed again: it runs, and composes what it repeats."""

import html
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from carsclf.report.command import write_report
from carsclf.report.flat import read_config
from carsclf.report.repeat import placed, shell, written
from tests.report.folders import make_run, make_study

Command = Callable[..., int]
SHORT = {"train.py": "trainer.max_epochs=1"}


def lines_of(page: Path) -> list[str]:
    """The lines of all blocks of code on a page."""
    blocks = re.findall(r"<pre>(.*?)</pre>", page.read_text(), re.DOTALL)
    return [line for block in blocks for line in html.unescape(block).splitlines()]


def words_of(line: str) -> list[str]:
    """What a shell makes of a line, its substitutions done."""
    told = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], check=True, text=True, stdout=subprocess.PIPE
    ).stdout
    return told.removesuffix("\0").split("\0")


def settings(folder: Path) -> dict[str, Any]:
    """Of a run or study, without what names or shortens it."""
    own = {option.partition("=")[0] for option in SHORT.values()} | {"name", "runs"}
    found = read_config(folder / "config.yaml")
    for key in ("data.root", "objective.table"):  # paths, however they were typed
        if key in found:
            found[key] = str(Path(found[key]).resolve())
    return {k: v for k, v in found.items() if k not in own}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Recorded curves for a study without Ray."""
    path = tmp_path / "curves.npz"
    rates = np.geomspace(1e-3, 1, 8)
    np.savez(
        path,
        params=rates[:, None],
        names=np.array(["optimizer.lr"]),
        log=np.array([True]),
        accuracy=np.linspace(0.1, 0.9, 8 * 4).reshape(8, 4).astype(np.float32),
        cost=np.ones(8),
    )
    return path


@pytest.mark.xdist_group("ray")
def test_every_command_repeats(
    command: Command, tiny: list[str], table: Path, tmp_path: Path
) -> None:
    """Runs begun by hand, by a file of overrides and by a sweep; a study with its final, and one
    on recorded curves, whose final left no runs."""
    settled = ("trainer.precision", "model.channels_last")
    data = [o for o in tiny if not o.startswith(settled)] + ["data.test_fraction=0.2"]
    fixed = [o for o in tiny if o.startswith(settled)]
    own = ["optimizer=sgd", "optimizer.lr=0.05", "+model.args={drop_rate: 0.1}", "seed=3"]
    assert command("train.py", *data, *fixed, *own, "runs=runs", "name=by hand") == 0
    Path("found.yaml").write_text(yaml.safe_dump([*data, *fixed, "schedule=cosine", "seed=1"]))
    frozen = ["mode=freeze", "optimizer=sgd", "optimizer.lr=0.2"]
    assert command("train.py", "overrides=found.yaml", *frozen, "runs=runs", "name=file") == 0
    assert command("train.py", "-m", *data, *fixed, "seed=5", "runs=runs/sweep") == 0
    search = ["search=random", "search.budget=4", "search.final=0.5"]
    replayed = [*search, "objective=replay", f"objective.table={table}"]
    assert command("tune.py", *data, *replayed, "runs=runs", "name=replayed") == 0
    modest = ["space.data.batch_size.high=5", "resources.workers=1"]
    assert command("tune.py", *data, *fixed, *search, *modest, "runs=runs", "name=study") == 0
    swept = [str(folder) for folder in Path("runs/sweep").iterdir() if folder.is_dir()]
    runs = ["runs/by hand", "runs/file", *swept]
    finals = [str(folder) for folder in Path("runs/study/final").iterdir()]
    assert len(finals) == 2
    judged = ",".join(f"'{run}'" for run in [*runs, *finals])
    assert command("evaluate.py", "-m", f"run={judged}", "split=test", "workers=0") == 0
    quoted = ",".join(f"'{run}'" for run in runs)
    assert (
        command("report.py", f"runs=[{quoted}]", "studies=[runs/study,runs/replayed]", "gallery=2")
        == 0
    )

    page = Path("runs/report/index.html")
    lines = lines_of(page)
    assert all(line.startswith("python ") for line in lines), lines
    assert str(tmp_path) not in page.read_text()
    for line in lines:
        _, script, *arguments = words_of(line)
        assert command(script, *arguments, *([SHORT[script]] if script in SHORT else [])) == 0, line
    again = {folder.name: folder for folder in Path("repeat").iterdir()}
    assert set(again) == {"study", "replayed", "report", *(Path(run).name for run in runs)}
    assert (again["study"] / "final/0000-seed1/predictions/test.parquet").is_file()
    for run in [*runs, "runs/study", "runs/replayed"]:
        assert settings(again[Path(run).name]) == settings(Path(run)), run
    assert "gallery=2" in lines[0]


def test_what_was_not_recorded_is_said(tmp_path: Path) -> None:
    """Runs of earlier versions, and studies without a journal."""
    study = make_study(tmp_path / "s", trials=9)
    (study / "events.jsonl").unlink()
    page = write_report(
        runs=[make_run(tmp_path / "a")], studies=[study], folder=tmp_path / "report"
    )
    told = "\n".join(line for line in lines_of(page) if line.startswith("# "))
    assert "# s: its command was not recorded" in told
    assert "# a: its command was not recorded; its settings are in a/config.yaml" in told
    assert "<...> lies elsewhere" in told


def test_what_the_machine_settled_is_part_of_the_command(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["trainer"] |= {"precision": "bf16-mixed"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "overrides.yaml").write_text("- data.root=../photos\n- seed=0\n")
    lines = lines_of(write_report(runs=[run], studies=[], folder=tmp_path / "report"))
    (line,) = [line for line in lines if line.startswith("python train.py") and "name=a" in line]
    assert shlex.split(line)[2:] == [
        "data.root=<photos>",  # as config.yaml says, which does not hang on where it was typed
        "seed=0",
        "trainer.precision=bf16-mixed",
        "runs=repeat",
        "name=a",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "true"),
        (None, "null"),
        ([1, 2.5, "a b"], "[1,2.5,'a b']"),
        ("runs/a", "runs/a"),
        ("it's", "'it\\'s'"),
        ("0012", "'0012'"),
    ],
)
def test_values_in_the_grammar_of_overrides(value: Any, expected: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    assert written(value) == expected
    (parsed,) = OverridesParser.create().parse_overrides([f"key={written(value)}"])
    assert parsed.value() == value


def test_lines_for_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = shell("python train.py", "a=[1,2]", "b={c: 1}", "name=${hydra:x}")
    assert line == "python train.py a=[1,2] 'b={c: 1}' 'name=${hydra:x}'"
    paths = [f"data.root={tmp_path}/cars", "model.weights=/elsewhere/net.pth"]
    assert placed(paths, {}) == ["data.root=cars", "model.weights=<net.pth>"]
