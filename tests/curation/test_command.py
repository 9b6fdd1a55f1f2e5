"""`curate.py` on photos whose faults were planted."""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from carsclf.curation.page.review import Review
from carsclf.records import Predictions, Run
from tests.conftest import ROOT
from tests.curation.conftest import NAMES, Command, of_kind, settings

Planted = tuple[Path, dict[str, str]]


@pytest.fixture
def run(planted: Planted, command: Command, tmp_path: Path) -> Path:
    assert command("train.py", *settings(planted[0]), "name=one") == 0
    return tmp_path / "runs/train/one"


def findings(run: Path) -> Any:
    return pd.read_parquet(run / "curation/findings.parquet")


def pairs(table: Any) -> set[frozenset[str]]:
    return {frozenset(pair) for pair in zip(table["id"], table["other"], strict=True)}


def test_planted_faults_are_found(
    planted: Planted, run: Path, command: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    root, ids = planted
    assert command("curate.py", f"run={run}", "folds.count=3", "pictures.bright=200") == 0
    said = capfd.readouterr().out
    table = findings(run)
    first, second = (f"train/{NAMES[0]}/00 é.png", f"train/{NAMES[1]}/01 é.png")
    assert pairs(of_kind(table, "exact_duplicate")) == {frozenset({first, ids["copy"]})}
    near = pairs(of_kind(table, "near_duplicate"))
    wanted = {"mirror": second, "small": second, "crop": first}
    assert {frozenset({ids[copy], whole}) for copy, whole in wanted.items()} <= near
    twins = {ids["mirror"], ids["small"], second}, {ids["crop"], ids["copy"], first}
    assert all(any(pair <= same for same in twins) for pair in near)  # no other photo is a copy
    mirrored = of_kind(table, "near_duplicate").set_index("id")["reason"].str.contains("mirrored")
    assert mirrored[ids["mirror"]].any() if ids["mirror"] in mirrored.index else mirrored.any()
    assert "leak: 1 photos of test have a twin in training, 0 of them with another label" in said
    assert list(of_kind(table, "too_dark")["id"]) == [ids["dark"]]
    assert list(of_kind(table, "too_bright")["id"]) == [ids["bright"]]
    assert ids["blurred"] in set(of_kind(table, "blurred")["id"])
    assert list(of_kind(table, "odd_shape")["id"]) == [ids["long"]]
    assert set(of_kind(table, "too_small")["id"]) == {ids["tiny"]}
    assert list(of_kind(table, "unreadable")["id"]) == [ids["broken"]]
    assert set(of_kind(table, "few_photos")["class"]) == set(NAMES)  # 14 of at least 20
    assert (root / ids["copy"]).is_file()  # nothing was removed
    assert {p.stem for p in (run / "curation/sheets").iterdir()} >= {"exact_duplicate", "too_dark"}
    written = pd.read_csv(run / "curation/findings.csv")
    assert list(written["kind"]) == list(table["kind"])


def test_a_second_run_takes_what_is_there(
    run: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fitted, compared or measured again; another threshold is only a threshold."""
    assert command("curate.py", f"run={run}", "folds.count=3") == 0
    before = findings(run)
    for place in ("frozen.fit_folds", "twins.likeness", "turned.tempered", "photos.decode"):
        monkeypatch.setattr(f"carsclf.curation.{place}", lambda *_, **__: 1 / 0)
    assert command("curate.py", f"run={run}", "folds.count=3") == 0
    pd.testing.assert_frame_equal(findings(run), before)
    assert command("curate.py", f"run={run}", "folds.count=3", "classes.min_images=0") == 0
    assert not len(of_kind(findings(run), "few_photos"))


def test_a_part_of_the_findings_is_left_out_of_the_next_training(
    planted: Planted, run: Path, command: Command, tmp_path: Path
) -> None:
    assert command("curate.py", f"run={run}", "folds.count=3") == 0
    table = findings(run)
    chosen = table[table["kind"].isin(["exact_duplicate", "too_dark", "few_photos"])]
    chosen.to_csv(tmp_path / "out.csv", index=False)
    more = [*settings(planted[0]), "data.exclude=out.csv", "name=two"]
    assert command("train.py", *more) == 0
    left = {*chosen["id"].dropna()}
    said = Predictions.read(tmp_path / "runs/train/two/predictions/val.parquet")
    assert len(left) == 2
    assert not left & set(said.ids)


def test_corrupt_after_the_training_is_a_finding(
    planted: Planted, command: Command, tmp_path: Path
) -> None:
    import shutil

    root = tmp_path / "photos"
    shutil.copytree(planted[0], root)
    assert command("train.py", *settings(root), "name=one") == 0
    victim = f"train/{NAMES[2]}/03 é.png"
    (root / victim).write_bytes(b"")
    os.utime(root / victim)
    assert command("curate.py", "run=runs/train/one", "folds.count=2", "sheets=0") == 0
    table = findings(tmp_path / "runs/train/one")
    assert set(of_kind(table, "unreadable")["id"]) == {victim, planted[1]["broken"]}


def test_trainings_of_the_run_may_judge(
    run: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each photo of training and validation once; a second call trains nothing."""
    asked = [f"run={run}", "folds.mode=run", "folds.count=2", "sheets=0"]
    assert command("curate.py", *asked) == 0
    said = Predictions.read(run / "curation/oof.parquet")
    assert len(said.ids) == len(set(said.ids)) == 42
    assert not any(id.startswith("test/") for id in said.ids)
    before = findings(run)
    monkeypatch.setattr("carsclf.curation.trained.fit", lambda *_, **__: 1 / 0)
    assert command("curate.py", *asked, "workers=0") == 0
    pd.testing.assert_frame_equal(findings(run), before)


def test_a_run_of_the_follow_up_has_each_photo_once(
    planted: Planted, command: Command, tmp_path: Path
) -> None:
    """It trained on changed copies too, which are no photos: of 14 and more in each class, 52."""
    own = [o for o in settings(planted[0]) if o != "mode=freeze"]
    more = ["data.protocol=follow_up", "augmentation=light", "name=one"]
    assert command("train.py", *own, *more) == 0
    run = tmp_path / "runs/train/one"
    assert command("curate.py", f"run={run}", "folds.count=3", "sheets=0") == 0
    said = Predictions.read(run / "curation/oof.parquet")
    assert len(said.ids) == len(set(said.ids)) == 52
    same = pairs(of_kind(findings(run), "exact_duplicate"))
    assert same == {frozenset({f"train/{NAMES[0]}/00 é.png", planted[1]["copy"]})}


def test_a_leaked_run_is_refused(
    planted: Planted, command: Command, config_of: Any, tmp_path: Path, capfd
) -> None:
    own = [o for o in settings(planted[0]) if o != "mode=freeze"]
    leak = ["data.protocol=follow_up", "data.leak=published", "data.test_fraction=0.2"]
    (tmp_path / "leaked").mkdir()
    config = config_of(*own, *leak, "augmentation=light")
    OmegaConf.save(config, tmp_path / "leaked/config.yaml")
    assert command("curate.py", "run=leaked", "folds.count=3") == 1
    assert "run=leaked was trained with data.leak=published" in capfd.readouterr().err
    assert not (tmp_path / "leaked/curation").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["confusing.several=[0.6,0.5]"], "expected the lower end first"),
        (["pictures.dark=240"], "expected dark below bright"),
        (["folds.count=1"], "folds.count=1: expected a whole number, at least 2"),
        (["label_errors.filter_by=cleanlab"], "expected prune_by_noise_rate"),
        (["folds.count=100"], "are too few: lower it"),
    ],
)
def test_bad_options_end_in_one_line(
    options: list[str], said: str, run: Path, command: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command("curate.py", f"run={run}", *options) == 1
    (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith("error")]
    assert said in line


def test_no_run_folder(command: Command, capfd: pytest.CaptureFixture[str]) -> None:
    assert command("curate.py", "run=nowhere") == 1
    assert "is it a run folder?" in capfd.readouterr().err


def test_the_root_script_is_short() -> None:
    lines = (ROOT / "curate.py").read_text().splitlines()
    assert len([x for x in lines if x.strip() and not x.startswith(('"""', "import", "from"))]) < 15


def test_the_page_begins_with_the_run_s_own_decisions_and_trains_with_all(
    planted: Planted,
    run: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """First a run with a decision, then its page, then a run with both its and the page's."""
    flipped, dark = planted[1]["flipped"], planted[1]["dark"]
    (tmp_path / "first.csv").write_text(f'id,decision,value\n"{flipped}",relabel,"{NAMES[2]}"\n')
    asked = [*settings(planted[0]), "data.decisions=first.csv", "name=decided"]
    assert command("train.py", *asked) == 0
    opened: list[Any] = []
    monkeypatch.setattr(
        "carsclf.curation.page.serve.serve_page", lambda *given: opened.append(given)
    )
    folder = tmp_path / "runs/train/decided"
    asked = [f"run={folder}", "folds.count=2", "sheets=0", "page=true", "who=ann", "port=0"]
    assert command("curate.py", *asked) == 0
    board, who, port = opened[0]
    assert (who, port) == ("ann", 0)
    assert board.path == folder / "curation/decisions.csv"
    assert board.ledger.fate(flipped).value == NAMES[2]
    assert flipped not in set(of_kind(findings(folder), "mislabelled")["id"])
    assert {finding.id for finding in board.findings} >= {dark, planted[1]["broken"]}
    review = Review(board, who, kind="too_dark")
    assert review.exclude() == "1 photo left out"
    more = [*settings(planted[0]), f"data.decisions={board.path}", "name=two"]
    assert command("train.py", *more) == 0
    told = Run.read(tmp_path / "runs/train/two/run.json").decided
    assert {k: told[k] for k in ("relabel", "exclude", "changed")} == {
        "relabel": 1,
        "exclude": 1,
        "changed": 0,
    }


def test_trainings_that_judge_turn_photos_as_decided(
    planted: Planted, command: Command, tmp_path: Path
) -> None:
    """The folds' own lists hold the turns, and all that was decided else."""
    turned, out = f"train/{NAMES[2]}/03 é.png", f"train/{NAMES[2]}/04 é.png"
    log = tmp_path / "first.csv"
    log.write_text(f'id,decision,value\n"{turned}",turn,90\n"{out}",exclude,\n')
    asked = [*settings(planted[0]), "data.decisions=first.csv", "name=one"]
    assert command("train.py", *asked) == 0
    asked = ["run=runs/train/one", "folds.mode=run", "folds.count=2", "sheets=0"]
    assert command("curate.py", *asked) == 0
    said = Predictions.read(tmp_path / "runs/train/one/curation/oof.parquet")
    assert turned in said.ids
    assert out not in said.ids
    folds = list((tmp_path / "runs/train/one/curation/folds").glob("*/*/run.json"))
    assert [Run.read(fold).decided["turn"] for fold in folds] == [1, 1]
