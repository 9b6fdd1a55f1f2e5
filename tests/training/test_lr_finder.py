"""The learning-rate finder: what it tries, and that the training after it does not know of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file

from carsclf.errors import CarsclfError, ConfigError
from carsclf.records import Run, RunFolder
from carsclf.training.checks import check_training
from carsclf.training.run import fit
from tests.conftest import until

Make = Callable[..., DictConfig]
FINDER = ["callbacks=lr_finder", "lr_finder.steps=40"]
SHORT = ["callbacks=lr_finder", "lr_finder.steps=20", "lr_finder.only=true"]
FROZEN = ["mode=freeze", "optimizer=sgd", "schedule=one_cycle"]


def rates_of(config: DictConfig, folder: Path) -> pd.DataFrame:
    assert not fit(config, folder).finished
    return pd.read_csv(RunFolder(folder).rates)


def test_what_waits_in_the_first_epoch_waits_here_too(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """Of all pictures in one batch only a head trains whose rates are next to nothing."""
    options = ["unfreezing=gradual", "optimizer.head_lr_factor=1e-9", "data.batch_size=48"]
    plain = ["augmentation=none", "trainer.max_epochs=3"]
    losses = rates_of(config_of(*tiny, *SHORT, *plain, *options), tmp_path / "run")["loss"]
    assert len(losses) == 20
    assert losses.tolist() == pytest.approx([losses[0]] * 20, rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [["augmentation=light", "+model.args.drop_rate=0.5"], FROZEN],
    ids=["pictures", "features"],
)
def test_a_training_after_it_is_the_same_to_the_bit(
    options: list[str], tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    plain, after = (fit(config_of(*tiny, *options, *more), tmp_path / name) for name, more in
                    (("plain", []), ("after", FINDER)))  # fmt: skip
    assert set(after.suggested) == {"valley", "steepest", "minimum"}
    assert not plain.suggested
    one, two = (load_file(RunFolder(tmp_path / name).weights) for name in ("plain", "after"))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    first, second = (
        pd.read_csv(RunFolder(tmp_path / name).metrics).drop(columns="seconds")
        for name in ("plain", "after")
    )
    pd.testing.assert_frame_equal(first, second)


def test_each_group_is_tried_at_its_ratio(
    tiny: list[str], config_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[list[float]] = []
    step = torch.optim.SGD.step

    def watched(self: torch.optim.SGD, *args: Any) -> Any:
        used.append([group["lr"] for group in self.param_groups])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    options = ["optimizer=sgd", "optimizer.head_lr_factor=7", "lr_finder.to=1e-3"]
    table = rates_of(config_of(*tiny, *SHORT, *options), tmp_path / "run")
    assert table["lr"].tolist() == pytest.approx(np.geomspace(1e-7, 1e-3, 20).tolist())
    assert used == pytest.approx(np.outer(table["lr"], [1, 7]))


def test_pictures_features_and_parts_of_a_batch_tell_the_same(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """The frozen part run once per photo or in each step, and steps of one batch or of two."""
    pictures = [*FROZEN, "mode.cache=false"]
    ways = {
        "features": FROZEN,
        "pictures": pictures,
        "halves": [*pictures, "data.batch_size=4", "+trainer.accumulate_grad_batches=2"],
    }
    tables = {n: rates_of(config_of(*tiny, *SHORT, *o), tmp_path / n) for n, o in ways.items()}
    losses = {name: table["loss"].to_numpy() for name, table in tables.items()}
    assert np.ptp(losses["features"]) > 0.1
    assert losses["halves"] == pytest.approx(losses["pictures"], rel=1e-4)
    assert losses["features"] == pytest.approx(losses["pictures"], rel=0.01)  # kept as halves


def test_it_ends_where_the_loss_explodes(tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    options = ["optimizer=sgd", "lr_finder.from=1e-3", "lr_finder.to=1e6", "lr_finder.steps=60"]
    table = rates_of(config_of(*tiny, *SHORT[:1], "lr_finder.only=true", *options), tmp_path / "r")
    assert 20 < len(table) < 60
    assert (table["smoothed"].iloc[:-1] <= 4 * table["smoothed"].iloc[:-1].cummin()).all()


def test_the_suggestion_taken_is_as_if_it_had_been_given(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    used = config_of(*tiny, *FINDER, "lr_finder.use=steepest")
    told = ["callbacks=lr_finder", "lr_finder.use=steepest"]
    fit(used, tmp_path / "parts", overrides=told, on_epoch=until(1))
    run = fit(used, tmp_path / "parts", resume=True)
    files = RunFolder(tmp_path / "parts")
    lr = run.suggested["steepest"]
    assert OmegaConf.load(files.config).optimizer.lr == lr
    assert yaml.safe_load(files.overrides.read_text()) == [
        *told, "lr_finder.use=null", f"optimizer.lr={lr}",
    ]  # fmt: skip
    fit(config_of(*tiny, f"optimizer.lr={lr}"), tmp_path / "given")
    one, two = (load_file(RunFolder(tmp_path / name).weights) for name in ("parts", "given"))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_chance_is_no_suggestion_and_cannot_be_taken(
    tiny: list[str], config_of: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """At such rates nothing is learned, and the loss is what the batches' pictures are."""
    options = [*tiny, *SHORT[:1], "lr_finder.steps=30", "lr_finder.to=1e-6"]
    rates_of(config_of(*options, "lr_finder.only=true"), tmp_path / "told")
    assert "(lr_finder.png): nothing is suggested, as the loss fell by" in capfd.readouterr().err
    assert not Run.read(RunFolder(tmp_path / "told").run).suggested
    with pytest.raises(CarsclfError, match="lr_finder.use=valley: nothing .* lr_finder.steps"):
        fit(config_of(*options, "lr_finder.use=valley"), tmp_path / "taken")
    files = RunFolder(tmp_path / "taken")
    assert files.rates_figure.is_file()
    assert not files.rates.exists()


def test_only_looking_leaves_a_figure_and_trains_nothing(
    tiny: list[str], tmp_path: Path, command: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    options = [o for o in tiny if o != "look=false"]
    finder = [*FINDER, "lr_finder.only=true"]
    assert command("train.py", *options, *finder, "name=found") == 0
    files = RunFolder(tmp_path / "runs/train/found")
    said = capfd.readouterr().out
    rate = Run.read(files.run).suggested["valley"]
    assert f"optimizer.lr suggested by the range test (lr_finder.png): valley {rate:g}" in said
    assert "overrides.yaml lr_finder.only=false lr_finder.use=valley" in said
    assert files.rates_figure.read_bytes()[:4] == b"\x89PNG"
    assert (files.root / "look/schedule.png").read_bytes()[:4] == b"\x89PNG"
    assert not files.last.exists()
    assert not files.weights.exists()
    assert command("train.py", *options, *finder, "lr_finder.to=1e-6", "name=nothing") == 0
    assert "overrides.yaml lr_finder.steps=160" in capfd.readouterr().out


REFUSED = [
    (["mode=freeze"], "optimizer=lbfgs has no learning rate (its line search finds the rate)"),
    (["mode=freeze", "optimizer=head_grid"], "optimizer=head_grid has no learning rate"),
    (["lr_finder.from=1", "lr_finder.to=0.1"], "lr_finder.from=1, lr_finder.to=0.1: expected from"),
    (["lr_finder.only=true", "lr_finder.use=valley"], "remove lr_finder.use=valley"),
    (["lr_finder.use=best"], "lr_finder.use=best: expected valley, steepest, minimum, or null"),
    (["lr_finder.steps=5"], "lr_finder.steps=5: expected a whole number, at least 20"),
    (["look=only"], "lr_finder.only=true ends after both"),
    (["+lr_finder.rule=valley"], "lr_finder.rule is no option"),
    (["trainer.devices=2", "+trainer.num_nodes=1"], "needs one process, and here are 2"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_what_no_rate_can_be_found_for(
    options: list[str], said: str, tiny: list[str], config_of: Make
) -> None:
    with pytest.raises(ConfigError) as refusal:
        check_training(config_of(*tiny, "callbacks=lr_finder", *options))
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_its_options_alone_do_not_choose_it(tiny: list[str], config_of: Make) -> None:
    with pytest.raises(ConfigError, match="choose the finder with callbacks=lr_finder"):
        config_of(*tiny, "+lr_finder.use=valley")
