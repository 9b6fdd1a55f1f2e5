"""Where to freeze, what augmentation does and what changes by class, from folders made to order."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from carsclf.report.command import write_report
from tests.report.folders import add_final, add_predictions, make_photos, make_run, make_study
from tests.report.test_final import BETTER, seeds
from tests.report.test_honesty import set_config
from tests.report.test_report import Text

GREY = {
    "augmentation___target_": "carsclf.data.policies.Recoloured",
    "augmentation__share": 0.5,
    "augmentation__saturation": 0.0,
    "data__image_size": 16,
    "data__transform": "squash",
    "data__interpolation": "bilinear",
}


def with_values(study: Path, **columns: Any) -> Path:
    """A study that searched more; `mode__boundary=[...]`: a value for each trial."""
    trials = pd.read_parquet(study / "trials.parquet")
    for name, values in columns.items():
        trials[f"values.{name.replace('__', '.')}"] = values
    trials.to_parquet(study / "trials.parquet")
    return study


def test_accuracy_and_cost_by_boundary(tmp_path: Path) -> None:
    study = with_values(make_study(tmp_path / "s", trials=6), mode__boundary=[0, 3, 0, 3, 5, 5])
    trials = pd.read_parquet(study / "trials.parquet")
    trials["best"] = [0.5, 0.6, 0.4, 0.2, 0.1, 0.3]
    trials["epochs"], trials["seconds"] = 35, [350.0, 70, 350, 140, 35, 35]
    trials.to_parquet(study / "trials.parquet")
    page = write_report(runs=[], studies=[study], folder=tmp_path / "r", gallery=0)
    table = pd.read_csv(page.parent / "tables/boundaries_s.csv")
    assert table["boundary"].tolist() == [0, 3, 5]
    assert table["best"].tolist() == [0.5, 0.6, 0.3]
    assert table["seconds"].tolist() == [350, 105, 35]
    assert (page.parent / "figures/boundaries_s.svg").is_file()
    assert "Where to freeze: every trial" in Text(page).sections["search"]


def test_one_boundary_is_no_question(tmp_path: Path) -> None:
    studies = [
        with_values(make_study(tmp_path / "a", trials=4), mode__boundary=[3, 3, 3, 3]),
        make_study(tmp_path / "b", trials=4),
    ]
    page = write_report(runs=[], studies=studies, folder=tmp_path / "r", gallery=0)
    assert not list((page.parent / "figures").glob("boundaries*"))


def searched(tmp_path: Path) -> Path:
    """A study whose winner trains half of its pictures without their colours."""
    study = make_study(tmp_path / "s", trials=5)
    hits = {0: seeds((24, 26)), 1: seeds((28, 30))}
    add_final(study, hits, {1: (0.1, 0.02, 0.18, 0.99)}, winner=1, verdict=BETTER)
    for run in (study / "final").glob("0001-*"):
        set_config(run, **GREY)
    return with_values(study, augmentation__saturation=[1.0, 0.0, 0.5, 0.5, 0.5])


def test_what_the_winners_augmentation_does(tmp_path: Path) -> None:
    """Pictures of saturation 0 have no colour, and the originals beside them have theirs."""
    make_photos(tmp_path / "photos", 40)
    study, root = searched(tmp_path), str(tmp_path / "photos")
    page = write_report(runs=[], studies=[study], folder=tmp_path / "r", gallery=0, root=root)
    table = pd.read_csv(page.parent / "tables/augmented_s.csv")
    assert len(set(table["picture"])) == 6 + 1  # and their mean
    rows = table.to_dict("records")
    changed = [row for row in rows if row["version"] == "augmented"]
    assert {(row["colourfulness"], row["saturation"]) for row in changed} == {(0, 0)}
    assert all(row["saturation"] > 0.1 for row in rows if row not in changed)
    figure = page.parent / "figures/augmented_s.png"
    assert figure.read_bytes()[:4] == b"\x89PNG"
    assert "data:image/png;base64" in page.read_text()
    assert "→ 0.00, edge energy" in Text(page).sections["search"]


@pytest.mark.parametrize("photos", [True, False])
def test_without_photos_or_changes_it_is_said(tmp_path: Path, photos: bool) -> None:
    study = searched(tmp_path)
    if photos:
        make_photos(tmp_path / "photos", 40)
        for run in (study / "final").glob("0001-*"):
            set_config(run, augmentation__share=0.0)
    root = str(tmp_path / "photos")
    page = write_report(runs=[], studies=[study], folder=tmp_path / "r", gallery=0, root=root)
    assert "What the augmentation does is not shown" in Text(page).sections["search"]
    assert not (page.parent / "figures/augmented_s.png").is_file()


def test_what_changes_from_run_to_run(tmp_path: Path) -> None:
    """Of 80 photos, 20 of each class, one model misses all of the first class."""
    runs = [make_run(tmp_path / "a", accuracy=0.75), make_run(tmp_path / "b", "freeze")]
    targets = np.arange(80) % 4
    add_predictions(runs[0], np.ones(80, bool))
    add_predictions(runs[1], targets != 0)
    page = write_report(runs=runs, studies=[], folder=tmp_path / "r", gallery=0)
    table = pd.read_csv(page.parent / "tables/class_changes.csv").set_index("class")
    assert table["photos"].tolist() == [20] * 4
    assert table["change"].tolist() == [1, 0, 0, 0]
    assert table.index[0] == "BMW M5 Sedan 2010"
    kinds = pd.read_csv(page.parent / "tables/kind_changes.csv")
    assert sum(kinds["vanish"]) == 20
    assert sum(kinds["appear"]) == sum(kinds["after"]) == 0
    assert "the 4 classes that change the most" in Text(page).sections["errors"]
