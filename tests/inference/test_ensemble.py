"""`evaluate.py runs=[...]`: what is combined, where it is written, and what is said of it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from carsclf.inference.ensemble import short_names
from carsclf.records import Ensemble, Predictions, RunFolder
from tests.report.folders import CLASSES, add_predictions, make_run

Command = Callable[..., int]
PHOTOS = 1200


def hits(share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(PHOTOS) < share


@pytest.fixture
def members(tmp_path: Path) -> list[Path]:
    """Three runs that err on other photos each."""
    runs = [make_run(tmp_path / f"runs/train/{name}", seed=i) for i, name in enumerate("abc")]
    for i, run in enumerate(runs):
        add_predictions(run, hits(0.6, i), split="test", seed=i)
        add_predictions(run, hits(0.6, 10 + i), split="val", seed=i)
    return runs


def written(tmp_path: Path, rule: str) -> RunFolder:
    (folder,) = (tmp_path / "runs/ensembles").glob(f"{rule}-of-*")
    return RunFolder(folder)


RUNS = "runs=[runs/train/a,runs/train/b,runs/train/c]"


def test_the_mean_of_what_is_kept(
    command: Command, members: list[Path], tmp_path: Path, capfd
) -> None:
    assert command("evaluate.py", RUNS, "split=test") == 0
    files = written(tmp_path, "mean")
    whole = Predictions.read(files.predictions("test"))
    each = [Predictions.read(RunFolder(run).predictions("test")) for run in members]
    expected = np.mean([member.probabilities for member in each], axis=0)
    np.testing.assert_allclose(whole.probabilities, expected, atol=1e-6)
    assert list(pd.read_csv(files.per_class("test"))["class"]) == CLASSES
    record = Ensemble.read(files.ensemble)
    assert (record.rule, record.seed, record.tta) == ("mean", None, None)
    assert record.members == ["runs/train/a", "runs/train/b", "runs/train/c"]
    assert record.weights == pytest.approx([1 / 3] * 3)
    said = capfd.readouterr().out
    right = (expected.argmax(1) == each[0].targets).mean()
    best = max(member.right.mean() for member in each)
    assert right > best + 0.03  # that errors of their own cancel is what an ensemble is for
    assert f"│ {right:.2%}" in said
    assert (
        f"better than its best member, {'abc'[np.argmax([m.right.mean() for m in each])]}" in said
    )
    assert f": {100 * (right - best):+.2f} points [" in said
    pairs = [(each[i].predicted == each[j].predicted).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert f"members agree on {np.mean(pairs):.1%} of the photos" in said
    assert said.splitlines()[-1] == f"next: python report.py {RUNS}"
    assert command("evaluate.py", RUNS) == 0  # another split, beside the first
    assert {p.name for p in files.predictions("val").parent.iterdir()} == {
        *("test.parquet", "test_per_class.csv", "val.parquet", "val_per_class.csv"),
    }


def test_two_equal_members_are_not_told_apart_from_one(
    command: Command, members: list[Path], tmp_path: Path, capfd
) -> None:
    shutil.copytree(members[0], tmp_path / "runs/train/twin")
    assert command("evaluate.py", "runs=[runs/train/a,runs/train/twin]", "split=test") == 0
    said = capfd.readouterr().out
    assert "members agree on 100.0% of the photos" in said
    assert "not told apart from its best member, a: +0.00 points [+0.00 to +0.00, 95 %" in said


def test_weights_are_fitted_on_validation_alone(
    command: Command, members: list[Path], tmp_path: Path
) -> None:
    """On validation all but a err, on test a errs: a has all the weight all the same."""
    for i, run in enumerate(members):
        add_predictions(run, np.full(PHOTOS, i == 0), split="val", seed=i)
        add_predictions(run, np.full(PHOTOS, i != 0), split="test", seed=i)
    assert command("evaluate.py", RUNS, "split=test", "ensemble=weighted", "folder=here") == 0
    files = RunFolder(tmp_path / "here")
    weights = Ensemble.read(files.ensemble).weights
    assert weights[0] > 0.8
    assert sum(weights) == pytest.approx(1)
    each = [Predictions.read(RunFolder(run).predictions("test")) for run in members]
    expected = sum(w * member.probabilities for w, member in zip(weights, each, strict=True))
    whole = Predictions.read(files.predictions("test"))
    np.testing.assert_allclose(whole.probabilities, expected, atol=1e-6)


def test_votes_are_drawn_by_the_seed(
    command: Command, members: list[Path], tmp_path: Path, capfd
) -> None:
    two = "runs=[runs/train/a,runs/train/b]"
    for seed, folder in ((5, "one"), (5, "same"), (6, "other")):
        settings = ["ensemble=vote", f"seed={seed}", f"folder={folder}", "split=test"]
        assert command("evaluate.py", two, *settings) == 0
    assert "95 %" in capfd.readouterr().out
    one, same, other = (
        Predictions.read(RunFolder(tmp_path / name).predictions("test")).predicted
        for name in ("one", "same", "other")
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    a, b = (Predictions.read(RunFolder(run).predictions("test")) for run in members[:2])
    agreed = a.predicted == b.predicted
    assert np.array_equal(one[agreed], a.predicted[agreed])
    assert Ensemble.read(tmp_path / "one/ensemble.json").seed == 5


def test_what_not_all_members_have_is_left_out_and_said(
    command: Command, members: list[Path], capfd
) -> None:
    path = RunFolder(members[1]).predictions("test")
    whole = Predictions.read(path)
    rows = np.flatnonzero(whole.targets < 3)[:200]
    shares = whole.probabilities[rows, :3] / whole.probabilities[rows, :3].sum(1, keepdims=True)
    ids, paths = ([names[i] for i in rows] for names in (whole.ids, whole.paths))
    Predictions(ids, paths, whole.targets[rows], shares, CLASSES[:3]).write(path)
    assert command("evaluate.py", RUNS, "split=test") == 0
    said = capfd.readouterr().out
    assert "left out: 1 of 4 classes, which not all members know: Audi S4 Sedan 2007" in said
    assert "judged on 200 of up to 1200 photos: those that all members have in test" in said


def test_missing_predictions_are_those_of_a_plain_evaluation(
    command: Command, tiny: list[str], tmp_path: Path, capfd
) -> None:
    """Members of other picture sizes, with views of each picture."""
    short = [*tiny, "data.test_fraction=0.2", "data.split_seed=0", "trainer.max_epochs=1"]
    for i, name in enumerate("ab"):
        size = f"data.image_size={32 + 8 * i}"
        assert command("train.py", *short, f"seed={i}", size, f"name={name}") == 0
    runs = ["runs=[runs/train/a,runs/train/b]", "split=test", "tta=flip"]
    capfd.readouterr()
    assert command("evaluate.py", *runs) == 0
    cost = r"flip: 2 views of each picture: 2 x the network's time; \d+ s\n"
    told = rf"a: predicting test_flip\n{cost}b: predicting test_flip\n{cost}"
    assert re.search(told, capfd.readouterr().out)
    places = [RunFolder(tmp_path / f"runs/train/{n}").predictions("test_flip") for n in "ab"]
    made = [path.read_bytes() for path in places]
    files = written(tmp_path, "mean")
    mean = np.mean([Predictions.read(path).probabilities for path in places], axis=0)
    whole = Predictions.read(files.predictions("test_flip"))
    np.testing.assert_allclose(whole.probabilities, mean, atol=1e-6)
    assert Ensemble.read(files.ensemble).tta == "flip"
    assert command("evaluate.py", "run=runs/train/a", "split=test", "tta=flip") == 0
    assert places[0].read_bytes() == made[0]
    capfd.readouterr()
    assert command("evaluate.py", *runs) == 0
    assert "predicting" not in capfd.readouterr().out


MISFITS: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "classes": ({"class_names": ["class 0", "x", "y"]}, [], "b shares 1 classes with those named"),
    "leak": ({"leak": "published"}, [], "runs: b was trained with data.leak=published"),
    "squashed": (
        {"eval_transform": {"rule": "squash", "size": 32, "resize": 32}},
        ["tta=ten_crop"],
        "tta=ten_crop cuts views of 32 pixels out of larger pictures",
    ),
}


def test_members_that_do_not_go_together_are_refused_before_one_is_predicted(
    command: Command, tiny: list[str], tmp_path: Path, capfd
) -> None:
    """The second is the first, but for what its card says."""
    short = [*tiny, "data.transform=random_resized_crop", "data.test_fraction=0.2"]
    assert command("train.py", *short, "trainer.max_epochs=1", "name=a") == 0
    one, two = (RunFolder(tmp_path / f"runs/train/{name}") for name in "ab")
    shutil.copytree(one.root, two.root)
    card = json.loads(one.card.read_text())
    for changes, options, expected in MISFITS.values():
        two.card.write_text(json.dumps(card | changes))
        capfd.readouterr()
        asked = ["runs=[runs/train/a,runs/train/b]", "split=test", *options]
        assert command("evaluate.py", *asked) == 1
        assert expected in capfd.readouterr().err
        assert not list(one.predictions("test").parent.glob("test*"))


def test_members_of_one_name_are_told_by_their_paths() -> None:
    assert short_names([Path("x/a"), Path("y/b")]) == ["a", "b"]
    assert short_names([Path("x/a"), Path("y/a")]) == ["x/a", "y/a"]


MISTAKES = {
    "nothing": ([], "run has no value: give it as run=<run folder>, or several as runs=[...]"),
    "both": ([RUNS, "run=runs/train/a"], "run= is one model and runs=[...] are several as one"),
    "rule of one": (["run=runs/train/a", "ensemble=vote"], "ensemble=vote needs members: runs="),
    "one": (["runs=[runs/train/a]"], "two or more runs, each of them once"),
    "twice": (["runs=[runs/train/a,runs/train/a/]"], "two or more runs, each of them once"),
    "rule": ([RUNS, "ensemble=median"], "ensemble=median: expected mean, vote, weighted, soup"),
    "flattered": ([RUNS, "ensemble=weighted"], "ensemble=weighted fits its weights on val"),
    "no run": (["runs=[runs/train/a,nowhere]"], "runs: nowhere holds neither a model nor pred"),
    "views": ([RUNS, "tta=mirror"], "tta=mirror: expected flip, crops, ten_crop, scales"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(
    mistake: str, command: Command, members: list[Path], tmp_path: Path, capfd
) -> None:
    arguments, expected = MISTAKES[mistake]
    assert command("evaluate.py", *arguments) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert expected in line
    assert not (tmp_path / "runs/ensembles").exists()
