"""`advise.py` from end to end on tiny networks; killed at any moment, it comes to the same."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from carsclf.advising import speed
from carsclf.advising.ledger import Ledger
from tests.conftest import ROOT, draw

TINY = [
    "data.image_size=32",
    "data.batch_size=8",
    "data.workers=0",
    "trainer.precision=32-true",
    "model.channels_last=true",
]
OURS = [*(one for one in TINY if not one.startswith("model.")), "plan.mode=freeze"]
BOTH = "candidates=[{name: test_resnet, weights: none}, {name: test_vit, weights: none}]"
STAGES = ["look", "candidates", "probe", "growth", "choose", "carry_out", "page"]


@pytest.fixture
def library(pictures: Path, tmp_path: Path) -> Path:
    """The pictures as train/, and a test/ beside them."""
    root = tmp_path / "library"
    root.mkdir()
    pictures.rename(root / "train")
    for target in range(3):
        for seed in range(4):
            draw(root / "test" / f"class {target}" / f"{seed}.png", target, 100 + seed)
    return root


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds are measured in no time."""
    monkeypatch.setattr(speed, "SECONDS", 0.02)


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    names = ("candidates", "probe", "growth")
    return {name: pd.read_csv(folder / f"{name}.csv") for name in names}


@pytest.mark.slow
def test_from_a_folder_to_what_more_pictures_would_give(
    library: Path, command: Callable[..., int], counted: list[int], tmp_path: Path
) -> None:
    asked = ["data=folder", f"data.root={library}", *OURS, BOTH, "name=a", "hours=1"]
    assert command("advise.py", *asked) == 0
    folder = tmp_path / "runs/advise/a"
    found = tables(folder)
    assert list(json.loads((folder / "stages.json").read_text())) == STAGES
    resnet = found["candidates"].set_index("name").loc["test_resnet"]
    assert (resnet["weights"], resnet["origin"], resnet["licence"]) == ("none", "none", "none")
    measured = found["candidates"][["predict_rate", "answer_ms", "train_rate"]].to_numpy()
    assert (measured > 0).all()
    assert list(found["probe"]["share"]) == [1, 1]
    assert set(found["probe"]["candidate"]) == {"test_resnet", "test_vit"}
    assert found["probe"]["top1"].between(found["probe"]["low"], found["probe"]["high"]).all()
    vit = found["probe"].set_index("candidate").loc["test_vit"]
    assert vit["pooling"] in ("both", "token", "average")
    # 48 to train on and 12 of validation, once each candidate; test photos never
    assert counted == [60, 60]
    assert sorted(set(found["growth"]["images"])) == [3, 9, 24, 48]
    assert len(found["growth"]) == 16
    growth = json.loads((folder / "growth.json").read_text())
    assert (growth["images"], growth["judged"], growth["twice"]["images"]) == (48, 12, 96)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert command("advise.py", *asked) == 0  # the same name again: nothing is left to do
    assert command("advise.py", f"resume={folder}") == 0
    after = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {p.name for p in after if after[p] != before.get(p)} == {"time.jsonl"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["trainer.max_epochs=5"], "how long is what is advised, and plan.epochs=<n> decides it"),
        (["mode=freeze"], "mode=freeze: the mode is what is advised"),
        (["model=resnet18"], "candidates=[...] says among which"),
        (["experiment=demo_freeze"], "an experiment chose mode=freeze"),
        (["device=cuda:9"], "device=cuda:9: expected auto, or what this machine has"),
        (["hours=0"], "hours=0: expected a number, above 0"),
        (["latency_ms=-1"], "latency_ms=-1: expected a number, above 0, or null"),
        (["weights=nowhere"], "weights=nowhere is no folder"),
        (["resume=nowhere"], "remove"),
        (["data.val_fraction=2"], "data.val_fraction=2: expected"),
        (["data.transform=random_resized_crop"], "advise.py needs a frozen head, and"),
        (["unfreezing=gradual"], "advise.py needs short ones, and unfreezing.epochs=[1]"),
    ],
)
def test_mistakes_are_found_before_anything_is_read(
    more: list[str], said: str, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("advise.py", "data=rendered_cars", *more) == 1
    (told,) = capsys.readouterr().err.strip().splitlines()
    assert told.startswith("error: ")
    assert said in told
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("classes", "said"), [({"a": 12}, "are of one class, a"), ({"a": 2, "b": 1}, "validation")]
)
def test_data_that_cannot_be_learned_from(
    classes: dict[str, int],
    said: str,
    command: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for target, (name, count) in enumerate(classes.items()):
        for seed in range(count):
            draw(tmp_path / "few" / name / f"{seed}.png", target, seed)
    assert command("advise.py", "data=folder", f"data.root={tmp_path / 'few'}", BOTH) == 1
    assert said in capsys.readouterr().err


def test_another_question_under_the_same_name(
    library: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["data=folder", f"data.root={library}", *OURS, BOTH, "name=a"]
    assert command("advise.py", *asked, "hours=0.0001") == 1
    assert "hours=0.0001 (0 s) is too short: a probe of" in capsys.readouterr().err
    assert command("advise.py", *asked, "hours=2") == 1
    assert "holds an advice that was asked otherwise" in capsys.readouterr().err


def test_another_one_at_work_in_the_folder(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "runs/advise/a"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        assert command("advise.py", "data=rendered_cars", "name=a", "data.image_size=32") == 1
    assert "a is being worked on by another advise.py" in capsys.readouterr().err


def test_a_latency_that_nobody_meets(
    library: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["data=folder", f"data.root={library}", *OURS, BOTH, "latency_ms=0.0001"]
    assert command("advise.py", *asked) == 1
    assert "no candidate answers so quickly here; the nearest is test_" in capsys.readouterr().err


def test_who_cannot_be_had_is_listed_and_the_others_go_on(
    library: Path, command: Callable[..., int], tmp_path: Path
) -> None:
    several = "candidates=[resnet19, resnet18, {name: test_vit, weights: none}]"
    asked = ["data=folder", f"data.root={library}", *OURS, several, "name=a"]
    assert command("advise.py", *asked) == 0
    table = tables(tmp_path / "runs/advise/a")["candidates"].fillna({"skipped": ""})
    skipped = dict(zip(table["name"], table["skipped"], strict=True))
    assert skipped["resnet19"].startswith("model.name=resnet19 is no timm model")
    assert skipped["resnet18"].startswith("no weights here: ImageNet weights of resnet18")
    assert skipped["test_vit"] == ""


def started(folder: Path, cache: Path) -> subprocess.Popen[bytes]:
    asked = ["data=rendered_cars", "data.source.images=300", *OURS, BOTH, "hours=1"]
    env = os.environ | {"CARSCLF_CACHE": str(cache), "PYTHONPATH": str(ROOT / "src")}
    arguments = [str(ROOT / "advise.py"), *asked, f"name={folder.name}", f"runs={folder.parent}"]
    return subprocess.Popen(
        [sys.executable, *arguments], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.is_file() else 0


@pytest.mark.slow
def test_killed_in_each_stage_and_gone_on_with(tmp_path: Path) -> None:
    """SIGKILL after the first candidate, the second probe and the third head of growth."""
    folder, cache = tmp_path / "killed", tmp_path / "cache"
    kept: list[tuple[str, str]] = []
    for name, lines in (("candidates", 2), ("probe", 3), ("growth", 4)):
        process, path = started(folder, cache), folder / f"{name}.csv"
        while lines_of(path) < lines and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kept.append((name, path.read_text().splitlines()[1]))
        assert Ledger(folder / "time.jsonl", 1).spent() > 0
    process = started(folder, cache)
    assert process.communicate()[1].find(b"features of the frozen part:") == -1
    assert process.returncode == 0
    for name, line in kept:  # seconds and rates among them: measured once
        assert line in (folder / f"{name}.csv").read_text().splitlines()
    whole = tmp_path / "whole"
    whole.mkdir()  # with the same measurements, on which the order of candidates depends
    process = started(whole, tmp_path / "other")
    while not (whole / "config.yaml").is_file():
        time.sleep(0.002)
    (whole / "candidates.csv").write_bytes((folder / "candidates.csv").read_bytes())
    process.communicate()
    assert process.returncode == 0
    one, two = tables(folder), tables(whole)
    pd.testing.assert_frame_equal(
        one["probe"].drop(columns="seconds"), two["probe"].drop(columns="seconds")
    )
    pd.testing.assert_frame_equal(one["growth"], two["growth"])
    assert (folder / "growth.json").read_text() == (whole / "growth.json").read_text()
