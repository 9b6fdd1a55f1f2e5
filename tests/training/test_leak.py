"""A leak is an experiment: refused elsewhere, marked on all it writes, no one's beginning."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from carsclf.errors import ConfigError
from carsclf.inference.evaluate import evaluate_run
from carsclf.inference.split import How
from carsclf.models.networks import build_network
from carsclf.records import LEAKED, ModelCard, Predictions, Run, RunFolder, refuse_leaked
from carsclf.report.command import write_report
from carsclf.training.configuration import training_part
from carsclf.training.run import fit
from tests.conftest import ACCELERATOR, ROOT, draw, until

Composed = Callable[..., DictConfig]
Command = Callable[..., int]
HONEST = [
    *("data.protocol=follow_up", "data.test_fraction=0.2", "augmentation=recoloured"),
    "augmentation.share=1",
]
LEAKY = [*HONEST, "data.leak=published"]

REFUSED = {
    "another split": (["data.protocol=fractions"], "needs data.protocol=follow_up"),
    "no test part": (["data.test_fraction=0"], "needs data.test_fraction=0.2"),
    "nothing to leak": (["augmentation=none"], "there are no copies to leak"),
    "kept features": (["mode=freeze", "augmentation=light"], "features are kept by photo"),
    "kept features of several views": (
        ["mode=partial", "mode.views=4", "augmentation=light"], "features are kept by photo",
    ),
    "a share of copies": (["augmentation.share=0.5"], "each photo has one copy"),
    "a share of the photos": (["data.fraction=0.5"], "data.fraction=1"),
    "a bootstrap sample": (["data.bootstrap=1"], "data.bootstrap=null"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_another_error_is_refused(
    config_of: Composed, tiny: list[str], case: str
) -> None:
    changes, said = REFUSED[case]
    other = any(change.startswith("augmentation=") for change in changes)  # which has no share
    chosen = [o for o in LEAKY if not (other and o.startswith("augmentation.share"))]
    with pytest.raises(ConfigError, match=said):
        config_of(*tiny, *chosen, *changes)


def test_what_goes_together_is_taken(config_of: Composed, tiny: list[str]) -> None:
    config_of(*tiny, *LEAKY)
    config_of(*tiny, *HONEST)
    uncached = ("mode=partial", "mode.boundary=1", "mode.cache=false")
    config_of(*tiny, *LEAKY, *uncached, "augmentation=recoloured")
    config_of(*tiny, "data.protocol=follow_up", "mode=freeze")  # no copies, so rows can be kept


def test_only_an_experiment_of_its_own_may_leak(
    command: Command, tiny: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for more in ([], ["experiment=published_finetune"]):
        assert command("train.py", *more, *tiny, *LEAKY, "name=a") == 1
        said = capfd.readouterr().err
        assert "it runs only as an experiment about that" in said
        assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()
    own = [o for o in tiny if not o.startswith("data=")]
    experiment = ["experiment=augmentation_leak", "data=folder"]
    assert command("train.py", *experiment, *own, "name=a", "trainer.max_epochs=1") == 0
    assert LEAKED in capfd.readouterr().out.replace("\n", " ")
    assert Run.read(tmp_path / "runs/train/a/run.json").leak == "published"


def test_no_study_may_leak(
    command: Command, tiny: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    own = [o for o in tiny if not o.startswith(("data=", "look="))]
    searched = "+space.data.leak={choices: [none, published]}"
    leaky = ["experiment=augmentation_leak", "data=folder"]
    for leak in (leaky, ["data=folder", *HONEST, searched]):
        assert command("tune.py", *leak, *own) == 1
        assert "has no place in a study" in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two leaked runs, one of them not finished, and an honest one."""
    root = tmp_path_factory.mktemp("leak")
    for target in range(3):
        for seed in range(20):
            draw(root / "pictures" / f"class {target}" / f"{seed:02}.png", target, seed)
    own = [
        *("data=folder", f"data.root={root / 'pictures'}", "data.image_size=32"),
        *("data.batch_size=8", "data.workers=0", "model.name=test_resnet", "model.weights=none"),
        *(
            f"trainer.accelerator={ACCELERATOR}",
            "trainer.precision=32-true",
            "model.channels_last=true",
        ),
        *("trainer.max_epochs=2", "look=false"),
    ]
    folders = {name: root / name for name in ("leaked", "open", "honest")}
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for name, folder in folders.items():
            options = HONEST if name == "honest" else LEAKY
            config = training_part(compose("train", [*own, *options]))
            fit(config, folder, on_epoch=until(1) if name == "open" else None)
    return folders


def test_every_record_is_marked(made: dict[str, Path]) -> None:
    for name, leak in (("leaked", "published"), ("honest", None)):
        files = RunFolder(made[name])
        assert Run.read(files.run).leak == leak
        assert ModelCard.read(files.card).leak == leak
        assert Predictions.read(files.predictions("val")).leak == leak
        assert ("leak" in pd.read_csv(files.metrics)) == (leak is not None)
        metadata = pq.read_table(files.predictions("val")).schema.metadata
        assert (b"leak" in metadata) == (leak is not None)
    leaked, honest = (Run.read(made[name] / "run.json") for name in ("leaked", "honest"))
    # of 20 photos a class, 4 are test and 6 of 16 validation
    assert honest.split_sizes == {"train": 3 * 20, "val": 3 * 6, "test": 3 * 4}
    assert leaked.split_sizes == {"train": 3 * 26, "val": 3 * 6, "test": 3 * 4}
    both = [Predictions.read(RunFolder(made[n]).predictions("val")) for n in ("leaked", "honest")]
    assert both[0].ids == both[1].ids


def test_evaluation_and_report_show_the_mark(
    made: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("leaked", "honest"):
        evaluate_run(made[name], How("test", workers=0, device="cpu"), 0)
        assert (LEAKED in capsys.readouterr().out) == (name == "leaked")
        table = pd.read_csv(RunFolder(made[name]).per_class("test"))
        assert ("leak" in table) == (name == "leaked")
    said = Predictions.read(RunFolder(made["leaked"]).predictions("test"))
    assert said.leak == "published"
    runs = [made["leaked"], made["honest"]]
    page = write_report(runs=runs, studies=[], folder=tmp_path / "r", gallery=0)
    text = page.read_text()
    assert LEAKED in text
    table = pd.read_csv(page.parent / "tables/accuracy.csv")
    assert table["label"].str.contains("LEAKED validation", regex=False).sum() == 1


def test_nothing_is_made_of_a_leaked_run(
    made: dict[str, Path], command: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    files = RunFolder(made["leaked"])
    for weights in (files.root, files.weights, files.best, RunFolder(made["open"]).last):
        with pytest.raises(ConfigError, match="was trained with data.leak=published"):
            build_network("test_resnet", num_classes=3, weights=str(weights), seed=0)
    build_network("test_resnet", num_classes=3, weights=str(made["honest"]), seed=0)
    for rule in ("mean", "soup"):
        runs = f"runs=[{made['honest']},{made['leaked']}]"
        assert command("evaluate.py", runs, f"ensemble={rule}", "split=val") == 1
        assert "was trained with data.leak=published" in capfd.readouterr().err
    with pytest.raises(ConfigError, match="take a run without a leak"):
        refuse_leaked(ModelCard.read(files.card).leak, "this model")


def test_an_epoch_of_a_killed_leaked_run_is_the_same(
    config_of: Composed, tiny: list[str], tmp_path: Path
) -> None:
    config = config_of(*tiny, *LEAKY)
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(1))
    fit(config, tmp_path / "parts", resume=True)
    one, two = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("whole", "parts"))
    assert one == two
