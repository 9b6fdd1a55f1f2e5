"""The page never flatters: what is recommended, against what, and what stands beside it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from carsclf.errors import DataError
from carsclf.records import RunFolder
from carsclf.report.command import write_report
from carsclf.report.flat import flat
from carsclf.report.labels import told_apart
from carsclf.report.material import read_material
from carsclf.report.published import published
from carsclf.report.roles import make_groups
from carsclf.report.settings import identity, is_default
from tests.report.folders import FOUND, add_predictions, make_run, make_study
from tests.report.test_report import Text

Composed = Callable[..., DictConfig]


def set_config(run: Path, **changes: Any) -> Path:
    """A run folder with other settings; `data__image_size=96` sets data.image_size."""
    path = run / "config.yaml"
    config = OmegaConf.load(path)
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
    path.write_text(OmegaConf.to_yaml(config))
    return run


def edit_record(run: Path, **changes: Any) -> Path:
    """A run folder with another run.json."""
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return run


def labels(*runs: Path, studies: list[Path] | None = None) -> set[str]:
    return {g.label for g in told_apart(make_groups(read_material(runs, studies or [])))}


@pytest.fixture
def default_run(config_of: Composed, tmp_path: Path) -> Path:
    """A run as train.py makes one if nothing is tuned, at another size and length."""
    run = make_run(tmp_path / "untuned", accuracy=0.63, hours=0.5)
    config = config_of(
        "data=stanford_cars", "data.root=/photos", "data.protocol=published", "model=resnet18",
        "data.image_size=96", "trainer.max_epochs=8", "seed=3",
    )  # fmt: skip
    (run / "config.yaml").write_text(OmegaConf.to_yaml(config))
    return run


def test_our_default_is_a_thing_known(default_run: Path, tmp_path: Path) -> None:
    """A search that beats its own baseline and not our default adds nothing."""
    runs = [
        set_config(make_run(tmp_path / "he", accuracy=0.23), data__image_size=96),
        set_config(make_run(tmp_path / "won", accuracy=0.46, values=FOUND), data__image_size=96),
        default_run,
    ]
    study = set_config(make_study(tmp_path / "s", trials=12, best=0.45), data__image_size=96)
    text = Text(write_report(runs=runs, studies=[study], folder=tmp_path / "report"))
    kind = "ResNet-18 fine-tuned"
    assert text.sections[""].index(f"Use this: {kind}, our default (adamw) validation 63.0 %") > 0
    assert f"one training takes 30 min; +17.0 points over {kind}, searched" in text.sections[""]
    assert f"−17.0 points from the search, {kind}, over {kind}, our default" in text.sections[""]
    search = text.sections["search"]
    assert f"adds nothing (−17.00) to {kind} (63.00 % → 46.00 %" in search
    gains = pd.read_csv(tmp_path / "report/tables/gains.csv")
    assert (100 * gains["gain"]).round(2).tolist() == [-17, 23]  # its own baseline stands below
    cost = text.sections["cost"]
    assert "undefined: nothing was gained over the best known" in cost


def test_what_counts_as_our_default(config_of: Composed) -> None:
    def default(*overrides: str) -> bool:
        return is_default(flat(config_of("model=resnet18", *overrides)))

    assert default()
    assert default("mode=freeze")
    assert default("data.image_size=64", "trainer.max_epochs=3", "seed=9", "mode.cache=false")
    before = ("~mixing", "~class_weights", "~averaging", "~data.sampling")  # an earlier version's
    assert default(*before)
    for trick in ("mixing=mixup", "class_weights=inverse", "averaging=ema"):
        assert not default(trick)
    assert not default("optimizer.lr=0.5")
    assert not default("schedule=constant")
    assert not default("augmentation=none")
    assert not default("mode=freeze", "optimizer=adamw")


def test_a_lead_within_chance_is_not_claimed(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a"), make_run(tmp_path / "b", "freeze")]
    hits = np.arange(60) % 2 == 0
    add_predictions(runs[0], hits)
    add_predictions(runs[1], hits | (np.arange(60) == 1))
    text = Text(write_report(runs=runs, studies=[], folder=tmp_path / "report", gallery=0))
    assert "Use this: ResNet-50 frozen validation 51.7 % [39.3 to 63.8]" in text.sections[""]
    assert "not settled against ResNet-18 fine-tuned, the next best" in text.sections[""]


def test_one_number_for_one_training(tmp_path: Path) -> None:
    """At a glance, in the answer and in the table."""
    runs = [
        set_config(make_run(tmp_path / f"{n}", accuracy=a, hours=h, seed=n), optimizer__lr=lr)
        for n, (a, h, lr) in enumerate([(0.5, 2.0, 0.1), (0.5, 4.0, 0.1), (0.4, 9.0, 0.2)])
    ]
    page = write_report(runs=runs, studies=[], folder=tmp_path / "report")
    text, best = Text(page), "ResNet-18 fine-tuned (lr 0.1)"
    assert "mean of 2 runs, one training takes 3 h;" in text.sections[""]
    assert f"3 h one training, {best}" in text.sections[""]
    assert f"one training takes 3 h ({best})" in text.sections["cost"]
    table = pd.read_csv(page.parent / "tables/trainings.csv").set_index("label")
    assert table.loc[best, "hours"] == 3


STANDS = {
    "as published": ({}, {}, {}, True),
    "other weights of it": ({}, {}, {"model": "resnet18.a1_in1k"}, True),
    "another network": ({}, {}, {"model": "resnet34"}, False),
    "the other mode's network": ({}, {}, {"model": "resnet50"}, False),
    "another protocol": ({"protocol": "official"}, {}, {}, False),
    "other data": ({"source": "folder"}, {}, {}, False),
    "smaller pictures": ({}, {"data__image_size": 96}, {}, False),
    "some classes": ({}, {}, {"classes": 27}, False),
    "a share of the photos": ({}, {"data__fraction": 0.5}, {}, False),
    "random weights": ({"weights": "random"}, {}, {}, False),
}


@pytest.mark.parametrize("case", STANDS)
def test_published_figures_stand_beside_the_same_network_and_protocol(
    case: str, tmp_path: Path
) -> None:
    made, config, record, stands = STANDS[case]
    run = edit_record(set_config(make_run(tmp_path / "a", **made), **config), **record)
    material = read_material([run], [])
    assert (published(material, make_groups(material)[0]) is not None) == stands
    text = Text(write_report(runs=[run], studies=[], folder=tmp_path / "report"))
    assert ("published (K80)" in text.sections["cost"]) == stands
    assert ("Published figures" in text.sections["models"]) == stands


def test_labels_carry_what_differs(tmp_path: Path) -> None:
    small = set_config(make_run(tmp_path / "a"), data__image_size=96)
    large = set_config(make_run(tmp_path / "b", "freeze"), data__image_size=224)
    assert labels(small, large) == {
        "ResNet-18 fine-tuned (96 px)",
        "ResNet-50 frozen (224 px)",
    }
    other = set_config(
        make_run(tmp_path / "c"),
        data__image_size=96,
        optimizer___target_="carsclf.training.optimizers.adamw",
    )
    assert labels(small, other) == {"ResNet-18 fine-tuned (sgd)", "ResNet-18 fine-tuned (adamw)"}
    twice = set_config(make_run(tmp_path / "d"), data__image_size=96, data__batch_size=16)
    set_config(small, data__batch_size=32)
    assert labels(small, twice) == {
        "ResNet-18 fine-tuned (batch 32)",
        "ResNet-18 fine-tuned (batch 16)",
    }


def test_labels_are_never_equal(tmp_path: Path) -> None:
    """Whatever differs: many settings at once, or one that nobody has a word for."""
    runs = [make_run(tmp_path / f"run{n}") for n in range(4)]
    keys = ("optimizer__lr", "schedule__factor", "data__margin", "data__crop", "trainer__clip")
    for n, run in enumerate(runs):
        set_config(run, **dict.fromkeys(keys[: n + 1], n + 1))
    assert len(labels(*runs)) == 4


def test_two_studies_of_one_network_keep_their_names(tmp_path: Path) -> None:
    studies = [make_study(tmp_path / name, trials=5) for name in ("asha", "bohb")]
    set_config(studies[1], search__kind="bohb")
    kind = "ResNet-18 fine-tuned, searched, not retrained"
    assert labels(studies=studies) == {f"{kind} (asha)", f"{kind} (bohb)"}


def test_arms_at_unequal_precision_are_marked(tmp_path: Path) -> None:
    runs = []
    for name, precision, mode in (("a", "bf16-mixed", "finetune"), ("b", "32-true", "freeze")):
        run = set_config(make_run(tmp_path / name, mode), trainer__precision=precision)
        runs.append(edit_record(run, precision=precision))
    runs.append(
        set_config(make_run(tmp_path / "c", "freeze", seed=1), trainer__precision="32-true")
    )
    page = write_report(runs=runs, studies=[], folder=tmp_path / "report")
    text = Text(page)
    assert "Trained in different numbers (32-true and bf16-mixed)" in text.sections[""]
    assert "ResNet-18 fine-tuned (bf16-mixed)" in text.sections["models"]
    (row,) = pd.read_csv(page.parent / "tables/comparisons.csv").to_dict("records")
    told = {frozenset(said.split(" against ")) for said in row["unequal"].split("; ")}
    assert told == {frozenset({"bf16-mixed", "32-true"}), frozenset({"1 run", "2 runs"})}
    assert "not alike in" in text.sections["models"]


def test_what_is_no_number_is_refused_and_what_is_not_finished_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")  # as an older version might have left it
    record = RunFolder(run).run
    record.write_text(re.sub(r'"val/top1": [\d.]+', '"val/top1": NaN', record.read_text()))
    with pytest.raises(DataError, match=r"a: run.json has no val/top1"):
        write_report(runs=[run], studies=[], folder=tmp_path / "report")
    run = edit_record(make_run(tmp_path / "b"), finished=False)
    text = Text(write_report(runs=[run], studies=[], folder=tmp_path / "report"))
    assert "Not trained to their end: b." in text.sections[""]


def test_panels_with_nothing_to_say_are_left_out(tmp_path: Path) -> None:
    """One epoch is no curve; one trial has nobody to wait for; no error has no kind."""
    run = make_run(tmp_path / "a", accuracy=1.0)
    pd.DataFrame({"epoch": [1], "val/top1": [1.0]}).to_csv(run / "metrics.csv", index=False)
    add_predictions(run, np.ones(40, bool))
    study = make_study(tmp_path / "s", trials=1)
    page = write_report(runs=[run], studies=[study], folder=tmp_path / "report", gallery=0)
    drawn = {path.stem for path in (page.parent / "figures").iterdir()}
    assert drawn == {"accuracy", "reliability"}


def test_rates_of_one_optimizer_are_drawn_without_the_trials_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(tmp_path / "study", trials=20)
    edited = yaml.safe_load((study / "config.yaml").read_text())
    rates = {"by": "optimizer", "sgd": {"low": 1e-4, "high": 1.0, "log": True}}
    edited["space"] = {"optimizer": {"choices": ["lbfgs", "sgd"], "lr": rates}}
    (study / "config.yaml").write_text(yaml.safe_dump(edited))
    trials = pd.read_parquet(study / "trials.parquet")
    trials.loc[5:, "values.optimizer.lr"] = np.nan
    trials.to_parquet(study / "trials.parquet")
    drawn: list[tuple[int, bool]] = []

    def draw(placed: pd.DataFrame, key: str, log: bool, metric: str, path: Path, **_: Any) -> None:
        drawn.append((len(placed), log))
        path.write_text("<svg/>")

    monkeypatch.setattr("carsclf.report.sections.study.draw_fidelities", draw)
    write_report(runs=[], studies=[study], folder=tmp_path / "report", gallery=0)
    assert drawn == [(5, True)]


def test_whose_weights_they_are_is_told_as_text(tmp_path: Path) -> None:
    stated = {"hf_hub_id": "timm/resnet18", "origin_url": "https://example.org"}
    run = edit_record(
        make_run(tmp_path / "a"), weights_license="<b>cc-by-nc-4.0</b>", weights_source=stated
    )
    page = write_report(runs=[run, make_run(tmp_path / "b")], studies=[], folder=tmp_path / "r")
    said = Text(page).sections["method"]
    assert "<b>cc-by-nc-4.0</b> timm/resnet18, https://example.org" in said
    assert "their licence" in said
    table = pd.read_csv(page.parent / "tables" / "runs.csv")
    assert set(table["license"]) == {"<b>cc-by-nc-4.0</b>", "unknown"}


def test_a_run_of_an_earlier_version_is_of_the_same_configuration() -> None:
    before: dict[str, object] = {"model.name": "resnet18", "mode.name": "freeze", "seed": 0}
    now = before | {"model.text": None, "mode.pool": "default", "seed": 1}
    assert identity(before) == identity(now)
    assert identity(now) != identity(now | {"mode.pool": "gem"})
    assert identity(now) != identity(now | {"model.text": "auto"})
