"""The page from folders made to order: the published figures, and what a user gets wrong."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carsclf.errors import DataError
from carsclf.records import RunFolder
from carsclf.report.command import write_report
from carsclf.report.context import Price
from carsclf.report.page import Desk, Page, Section
from carsclf.report.words import placeless
from tests.report.folders import (
    CLASSES,
    FOUND,
    add_predictions,
    make_photos,
    make_run,
    make_study,
)


class Text(HTMLParser):
    """What a reader of the page reads, tables of published figures included."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.sections: dict[str, str] = {"": ""}
        self.at = ""
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self.at = str(dict(attrs)["id"])
            self.sections[self.at] = ""

    def handle_data(self, data: str) -> None:
        self.sections[self.at] += " ".join(data.split()) + " "


def answer(text: Text, section: str) -> str:
    """The sentence a section opens with."""
    return text.sections[section].split(".  ")[0]


def test_published_figures(tmp_path: Path) -> None:
    """Folders that hold the study's accuracies and hours give the study's conclusions."""
    runs = [
        make_run(tmp_path / "a", "freeze", accuracy=0.4641, hours=4.08),
        make_run(tmp_path / "b", "finetune", accuracy=0.8341, hours=4.2),
    ]
    studies = [
        make_study(tmp_path / "extractor", "freeze", best=0.4799, hours=4.08),
        make_study(tmp_path / "tuned", "finetune", best=0.8733, hours=4.2),
    ]
    page = write_report(runs=runs, studies=studies, folder=tmp_path / "report", gallery=0)
    text = Text(page)
    gains = pd.read_csv(page.parent / "tables/gains.csv")
    assert (100 * gains["gain"]).round(2).tolist() == [1.58, 3.92]
    search = text.sections["search"]
    assert "adds +1.58 points to ResNet-50 frozen (46.41 % → 47.99 %" in search
    assert "+3.92 points to ResNet-18 fine-tuned (83.41 % → 87.33 %" in search
    assert "what it proposes was NOT retrained" in search
    assert "lie 40.92 points, 76.4 % less error" in text.sections["models"]
    cost = text.sections["cost"]
    assert "220 full trainings would have taken 898 h" in cost
    assert "220 full trainings would have taken 924 h" in cost
    assert "differ by 26 h, under 3 %" in cost
    paid = pd.read_csv(page.parent / "tables/study_costs.csv").set_index("figure")
    assert paid.loc["trials"].tolist() == ["220", "220"]
    assert "924 h" in paid.loc["as many full trainings, device hours"].tolist()
    assert "protocol published" in text.sections["models"]
    assert "split drawn anew in every run" in text.sections["models"]
    assert "Judged on validation" in text.sections[""]
    for told in (
        "Use this: ResNet-18 fine-tuned, baseline validation 83.4 % [82.1 to 84.7]; one training "
        "takes 4.2 h; +37.0 points over ResNet-50 frozen, baseline, the next best; "
        "ResNet-18 fine-tuned, searched, not retrained: 87.3 % on validation is the best of 220",
        "+39.3 points, fine-tuned over frozen",
        "+1.6 points from the search, ResNet-50 frozen, not retrained, over ResNet-50 frozen,",
        "4.2 h one training, ResNet-18 fine-tuned, baseline",
    ):
        assert told in text.sections[""]


def test_other_figures_give_other_conclusions(tmp_path: Path) -> None:
    run = make_run(tmp_path / "b", accuracy=0.5, hours=2.0, source="folder")
    study = make_study(tmp_path / "tuned", best=0.45, hours=2.0, trials=10)
    config = (study / "config.yaml").read_text().replace("stanford_cars", "folder")
    (study / "config.yaml").write_text(config)
    page = write_report(runs=[run], studies=[study], folder=tmp_path / "report")
    text = Text(page)
    assert "adds nothing (−5.00)" in text.sections["search"]
    assert "undefined: nothing was gained over the best known" in text.sections["cost"]
    assert "10 full trainings would have taken 20 h" in text.sections["cost"]
    assert "published" not in text.sections["cost"]


def test_a_clean_judgement_of_several_seeds(tmp_path: Path) -> None:
    """Winner and baseline retrained and judged on test: paired tests, fates, kinds, a gallery."""
    rng = np.random.default_rng(0)
    make_photos(tmp_path / "photos", 40)
    runs = []
    for role, values, share in (("baseline", None, 0.4), ("winner", FOUND, 0.8)):
        for seed in (1, 2):
            settings = {"seed": seed} | ({"values": values} if values else {})
            run = make_run(tmp_path / f"{role}-{seed}", **settings)  # type: ignore[arg-type]
            add_predictions(run, rng.random(40) < share, split="test", photos=tmp_path / "photos")
            runs.append(run)
    study = make_study(tmp_path / "study", trials=30)
    page = write_report(runs=runs, studies=[study], folder=tmp_path / "report", gallery=6)
    text, tables = Text(page), page.parent / "tables"
    accuracy = pd.read_csv(tables / "accuracy.csv").set_index("role")
    assert accuracy["runs"].tolist() == [2, 2]
    assert accuracy.loc["searched", "split"] == "test"
    assert set(accuracy.index) == {"searched", "baseline"}
    gains = pd.read_csv(tables / "gains.csv")
    (gain,) = gains.to_dict("records")
    assert gain["mcnemar_p"] < 0.05
    assert gain["low"] < gain["gain"] < gain["high"]
    assert "judged on test, which the search never saw" in text.sections["search"]
    assert "Judged on validation" not in text.sections[""]
    fates = pd.read_csv(tables / "fates.csv")
    assert fates[["both right", "vanish", "appear", "stay"]].sum(axis=1).tolist() == [40]
    kinds = pd.read_csv(tables / "kinds.csv")
    assert {"other year", "other model", "other make"} <= set(kinds)
    assert len(list((page.parent / "gallery").iterdir())) == 12
    assert page.read_text().count("data:image/jpeg") == 12
    assert "/photos" not in text.sections["method"].replace("<photos>", "")
    assert "baseline-1: its command was not recorded" in text.sections["method"]
    assert "protocol published" in answer(text, "confidence") + text.sections["confidence"]


def test_nothing_from_outside(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", "freeze")]
    config = runs[1] / "config.yaml"
    config.write_text(config.read_text().replace("weights: imagenet", f"weights: {tmp_path}/n.pth"))
    study = make_study(tmp_path / "s", trials=9)
    page = write_report(runs=runs, studies=[study], folder=tmp_path / "report")
    html = page.read_text()
    assert "&lt;n.pth&gt;" in html
    assert not re.findall(r"(?:src|href)=\"(?!data:|#|tables/)[^\"]*\"", html)
    assert "<script" not in html
    assert str(tmp_path) not in html


def test_random_weights_are_marked_wherever_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", weights="random")
    add_predictions(run, np.arange(40) % 2 == 0)
    page = write_report(runs=[run], studies=[], folder=tmp_path / "report", gallery=0)
    text = Text(page)
    assert "trained from RANDOM weights" in text.sections[""]
    for section in ("models", "cost", "errors", "confidence", "method"):
        assert "[RANDOM weights]" in text.sections[section]


def test_runs_beside_a_study_are_told_apart(tmp_path: Path) -> None:
    """By a setting or two, by their optimizer, or by name."""
    runs = [make_run(tmp_path / name) for name in ("he", "long")]
    runs.insert(1, make_run(tmp_path / "probe", accuracy=0.7))
    for run, changes in (
        (runs[1], {"optimizers.sgd": "optimizers.lbfgs", "lr: 0.1": "lr: 0.3"}),
        (runs[2], {"max_epochs: 35": "max_epochs: 70"}),
    ):
        config = (run / "config.yaml").read_text()
        for old, new in changes.items():
            config = config.replace(old, new)
        (run / "config.yaml").write_text(config)
    study = make_study(tmp_path / "s", trials=9)
    page = write_report(runs=runs, studies=[study], folder=tmp_path / "report")
    labels = set(pd.read_csv(page.parent / "tables/accuracy.csv")["label"])
    kind = "ResNet-18 fine-tuned"
    assert labels == {
        f"{kind}, searched, not retrained (sgd)",
        f"{kind}, baseline (sgd)",
        f"{kind} (lbfgs)",
        f"{kind} (sgd, 70 epochs)",
    }
    said = f"does better: {kind} (lbfgs) reaches 70.00 % (+10.00 over the winner)."
    assert said in Text(page).sections["search"]
    page = write_report(runs=[runs[0], runs[2]], studies=[], folder=tmp_path / "report")
    labels = set(pd.read_csv(page.parent / "tables/accuracy.csv")["label"])
    assert labels == {f"{kind} (35 epochs)", f"{kind} (70 epochs)"}


MISMATCHES = {
    "protocol": ({"protocol": "official"}, "protocol published against official"),
    "data": ({"source": "folder"}, "data stanford_cars against folder"),
    "photos": ({"sizes": {"val": 99}}, "photos in val 3159 against 99"),
}


@pytest.mark.parametrize("what", MISMATCHES)
def test_runs_that_do_not_compare_are_refused(what: str, tmp_path: Path) -> None:
    settings, expected = MISMATCHES[what]
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", **settings)]  # type: ignore[arg-type]
    with pytest.raises(DataError, match=expected):
        write_report(runs=runs, studies=[], folder=tmp_path / "report")


def test_other_class_lists_are_refused(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b")]
    add_predictions(runs[0], np.ones(8, bool))
    add_predictions(runs[1], np.ones(8, bool), [*CLASSES[:3], "Audi S5 Coupe 2012"])
    with pytest.raises(DataError, match="class list differs at class 3 .*S4.* against .*S5"):
        write_report(runs=runs, studies=[], folder=tmp_path / "report")


def test_a_study_of_other_classes_is_refused(tmp_path: Path) -> None:
    """Its configuration alone would not tell: its best trial's record does."""
    run = make_run(tmp_path / "a")
    study = make_study(tmp_path / "s", trials=3)
    make_run(study / "trials/0001")
    write_report(runs=[run], studies=[study], folder=tmp_path / "report")
    record = study / "trials/0001/run.json"
    record.write_text(record.read_text().replace('"classes": 196', '"classes": 27'))
    with pytest.raises(DataError, match="do not compare: classes 196 against 27"):
        write_report(runs=[run], studies=[study], folder=tmp_path / "report")


def test_what_a_study_left_to_the_machine_does_not_hide_its_winner(tmp_path: Path) -> None:
    """trainer.precision=auto stands in a study's config.yaml; a run's says what it became."""
    runs = [make_run(tmp_path / "he", accuracy=0.4)]
    runs.append(make_run(tmp_path / "found", accuracy=0.6, values=FOUND))
    study = make_study(tmp_path / "s", trials=9)
    for folder, precision in ((study, "auto"), *((run, "32-true") for run in runs)):
        config = folder / "config.yaml"
        trainer = f"trainer:\n  precision: {precision}\n"
        config.write_text(config.read_text().replace("trainer:\n", trainer))
    page = write_report(runs=runs, studies=[study], folder=tmp_path / "report")
    accuracy = pd.read_csv(page.parent / "tables/accuracy.csv")
    assert accuracy["role"].tolist() == ["searched", "baseline"]
    assert accuracy["runs"].tolist() == [1, 1]


def test_a_protocol_that_the_data_chose_is_read_from_the_trials(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=3)
    config = study / "config.yaml"
    config.write_text(config.read_text().replace("protocol: published", "protocol: auto"))
    run = make_run(tmp_path / "a", protocol="official")
    page = write_report(runs=[run], studies=[study], folder=tmp_path / "report")
    make_run(study / "trials/0001", protocol="official")
    page = write_report(runs=[], studies=[study], folder=tmp_path / "report")
    assert "protocol official" in page.read_text()
    make_run(tmp_path / "b", protocol="fractions")
    with pytest.raises(DataError, match="protocol fractions against official"):
        write_report(runs=[tmp_path / "b"], studies=[study], folder=tmp_path / "report")


def test_a_device_that_costs_nothing(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a", accuracy=0.4)]
    page = write_report(
        runs=runs, studies=[make_study(tmp_path / "s", trials=9)], folder=tmp_path / "report",
        price=Price(0.0),
    )  # fmt: skip
    paid = pd.read_csv(page.parent / "tables/study_costs.csv").set_index("figure")
    assert paid.loc["paid money per point gained"].tolist() == ["0.00 USD"]


def test_a_study_without_a_finished_trial_is_refused(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=3, finished=False)
    with pytest.raises(DataError, match=r"no finished trial \(3 failed\): go on with"):
        write_report(runs=[], studies=[study], folder=tmp_path / "report")


def test_predictions_without_probabilities_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    path = RunFolder(run).predictions("val")
    path.parent.mkdir()
    pd.DataFrame({"id": ["x"], "class": ["y"], "predicted": ["y"]}).to_parquet(path)
    with pytest.raises(DataError, match="holds no probabilities"):
        write_report(runs=[run], studies=[], folder=tmp_path / "report")


def test_names_without_make_and_year(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    add_predictions(run, np.arange(40) % 3 > 0, ["sea", "forest", "street"])
    page = write_report(runs=[run], studies=[], folder=tmp_path / "report")
    assert "no make, model and year" in Text(page).sections["errors"]
    assert not (page.parent / "tables/kinds.csv").exists()


def test_missing_photos_get_placeholders_and_a_count(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    make_photos(tmp_path / "photos", 40)
    add_predictions(run, np.arange(40) % 3 > 0, photos=tmp_path / "photos")
    for photo in (tmp_path / "photos/cars").iterdir():
        photo.unlink()
    page = write_report(runs=[run], studies=[], folder=tmp_path / "report", gallery=3)
    text = Text(page)
    assert "6 photos of the gallery are missing" in text.sections[""]
    assert "40 of 40 photos could not be read" in text.sections[""]
    assert text.sections["errors"].count("photo missing") == 6
    make_photos(tmp_path / "elsewhere", 40)
    page = write_report(
        runs=[run], studies=[], folder=tmp_path / "report", gallery=3,
        root=str(tmp_path / "elsewhere"),
    )  # fmt: skip
    assert "missing" not in page.read_text()


def test_what_somebody_else_laid_there_stays(tmp_path: Path) -> None:
    folder = tmp_path / "paper"
    for name in ("figures/own.svg", "tables/own.csv", "gallery/own.jpg"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("mine")
    first = Desk(folder)
    page = Page("a", "b", [], [], [section := Section("s", "S")])
    first.table(section, "old", pd.DataFrame({"a": [1]}), "", {"a": ("a", str)})
    first.write(page)
    again = Desk(folder)
    again.table(section, "new", pd.DataFrame({"a": [1]}), "", {"a": ("a", str)})
    again.write(page)
    left = sorted(str(p.relative_to(folder)) for p in folder.rglob("*.*") if p.suffix != ".json")
    kept = ["figures/own.svg", "gallery/own.jpg", "tables/own.csv"]
    assert left == sorted([*kept, "index.html", "tables/new.csv"])


def test_one_class_only(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", accuracy=1.0)
    add_predictions(run, np.ones(20, bool), ["BMW M5 Sedan 2010"])
    page = write_report(runs=[run], studies=[], folder=tmp_path / "report")
    text = Text(page)
    assert "One class only" in text.sections[""]
    assert "one class only" in text.sections["errors"]


def test_sections_without_material_say_how_to_get_it(tmp_path: Path) -> None:
    page = write_report(runs=[make_run(tmp_path / "a")], studies=[], folder=tmp_path / "report")
    text = Text(page)
    for section, command in (
        ("models", "python train.py mode=freeze"),
        ("search", "python tune.py"),
        ("parallel", "python tune.py"),
        ("errors", "python evaluate.py"),
        ("confidence", "python evaluate.py"),
    ):
        assert command in text.sections[section]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data.root=/home/me/cars", "data.root=<cars>"),
        ("model.weights=/home/me/net.pth", "model.weights=<net.pth>"),
        ("runs=[/x/a,/x/b/]", "runs=[<a>,<b>]"),
        ("runs/tune/study", "runs/tune/study"),
        ("published figures: 1/2", "published figures: 1/2"),
    ],
)
def test_no_folders_of_a_machine(text: str, expected: str) -> None:
    assert placeless(text) == expected
