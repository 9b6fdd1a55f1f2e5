"""Trainings on growing pictures: what enters, at what rate, exact on resume, what is refused."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import initialize_config_dir
from omegaconf import DictConfig
from safetensors.torch import load_file, save_file

from carsclf.errors import CarsclfError, ConfigError
from carsclf.models.networks import create
from carsclf.records import Run, RunFolder
from carsclf.training import schedules
from carsclf.training.checks import check_training
from carsclf.training.modules import TransferModule
from carsclf.training.prolong import prolong
from carsclf.training.run import fit
from carsclf.training.schedule_curve import curve
from carsclf.tuning.study.composition import Composition
from tests.conftest import ROOT, until
from tests.training.test_resume import same

Make = Callable[..., DictConfig]
GROWING = [
    *("resizing=progressive", "resizing.sizes=[16,24]", "resizing.epochs=[2,1]"),
    *("resizing.batch=pixels", "trainer.max_epochs=5", "reported=last"),
]
MAKE = {
    "one_cycle": partial(schedules.one_cycle, warmup_share=0.3, momentum=True),
    "cosine": partial(schedules.cosine, warmup_epochs=1, final_factor=0.0),
    "restarts": partial(schedules.restarts, cycle_epochs=1, multiplier=1, final_factor=0.0),
    "cyclical": partial(
        schedules.cyclical, policy="exp_range", low=0.1, cycle_epochs=2, factor=0.5, momentum=True
    ),
    "stable_decay": partial(
        schedules.stable_decay, warmup_epochs=1, decay_share=0.4, decay="sqrt", final_factor=0.0
    ),
}


def drawn(make: Any, each: list[int], steps: int = 60) -> pd.DataFrame:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "name": "head"}]
    return curve(torch.optim.SGD(groups, lr=1.0, momentum=0.9), make, len(each), steps, each)


@pytest.mark.parametrize("name", MAKE)
def test_rates_hang_on_the_epoch_and_not_on_the_size_of_its_steps(name: str) -> None:
    """At the same fraction of an epoch the rate is that of a training of equal steps."""
    plain, grown = drawn(MAKE[name], [60] * 5), drawn(MAKE[name], [7, 7, 12, 60, 60])
    assert len(grown) == 146
    rate = dict(zip(plain["epoch"].round(6), plain["lr"], strict=True))
    shared = grown[grown["epoch"].round(6).isin(list(rate))]
    assert len(shared) == 2 + 12 + 120  # starts of the first two epochs, 12 | 60, and the last two
    wanted = np.array([rate[epoch] for epoch in shared["epoch"].round(6)])
    if name in ("cosine", "stable_decay"):  # a warm-up counts the step that it begins
        wanted, shared = wanted[1:], shared.iloc[1:]
    assert np.allclose(shared["lr"], wanted, atol=1e-9)


def test_an_epoch_of_thirds_of_steps_ends_on_a_whole_one() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    schedule = MAKE["restarts"](optimizer, 4, 10)
    ends = []
    for n in (3, 7, 10, 6):
        for _ in range(n):
            optimizer.step()
            schedule.after_step(10 / n)
        ends.append(schedule.scheduler.last_epoch)
    assert ends == [10, 20, 30, 40]


def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str, int, int]]:
    """(epoch, train or val, size, pictures) of each batch that a module gets."""
    seen: list[tuple[int, str, int, int]] = []
    for kind in ("training", "validation"):
        real = getattr(TransferModule, f"{kind}_step")

        def step(self: Any, batch: Any, i: int, real: Any = real, kind: str = kind) -> Any:
            n, _, _, size = batch["pictures"].shape
            seen.append((self.current_epoch, kind, size, n))
            return real(self, batch, i)

        monkeypatch.setattr(TransferModule, f"{kind}_step", step)
    return seen


def test_what_enters_and_at_what_rate(
    tiny: list[str], config_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 pictures: batches of 32 and 16, then 14, then 8; the schedule ends where it would."""
    seen = watched(monkeypatch)
    fit(config_of(*tiny, *GROWING), tmp_path / "run")
    first = [(16, 32), (16, 16)]
    wanted = [first, first, [(24, 14)] * 3 + [(24, 6)], [(32, 8)] * 6, [(32, 8)] * 6]
    for epoch, batches in enumerate(wanted):
        of = [told for told in seen if told[0] == epoch]
        assert [told[2:] for told in of if told[1] == "training"] == batches
        assert {told[2] for told in of if told[1] == "validation"} == {32}
    rows = pd.read_csv(RunFolder(tmp_path / "run").metrics)
    seen.clear()
    fit(config_of(*tiny, "trainer.max_epochs=5"), tmp_path / "plain")
    plain = pd.read_csv(RunFolder(tmp_path / "plain").metrics)
    for rate in ("lr/backbone", "lr/head"):  # at the ends of epochs, whatever their steps
        assert rows[rate].tolist() == pytest.approx(plain[rate].tolist(), rel=1e-6)
    assert Run.read(RunFolder(tmp_path / "run").run).images_trained == 5 * 48


TRAININGS = {
    "plain": [],
    "ema, mixed, two loaders": ["averaging=ema", "mixing=cutmix", "data.workers=2"],
    "swa": ["averaging=swa", "averaging.start=0.2", "resizing.epochs=[0.4,0.3]"],
    "adapted": ["mode=adapt", "mode.rank=2"],
    "a frozen part": ["mode=partial", "mode.boundary=2", "mode.cache=false"],
    "a head": ["mode=freeze", "mode.cache=false", "optimizer=sgd", "optimizer.lr=0.1"],
    "restarts, summed gradients": ["schedule=restarts", "+trainer.accumulate_grad_batches=2"],
}


@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("epoch", [1, 3], ids=["inside a phase", "between two"])
def test_resuming_is_exact(
    training: str, epoch: int, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    if epoch == 3 and training not in ("plain", "swa"):
        pytest.skip("the same code")
    config = config_of(*tiny, *GROWING, "schedule=cyclical", *TRAININGS[training])
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(epoch))
    fit(config, tmp_path / "parts", resume=True)
    same(tmp_path / "whole", tmp_path / "parts")


def test_a_chain_of_runs(tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    """Each begins with the weights of the one before, head and all."""
    first, second = (RunFolder(tmp_path / n) for n in ("small", "large"))
    fit(config_of(*tiny, "data.image_size=16"), first.root)
    config = config_of(*tiny, f"model.weights={first.root}", "optimizer.lr=1e-12")
    fit(config, second.root)
    kept, began = load_file(first.weights), load_file(second.weights)
    name = "fc.weight"
    assert torch.allclose(kept[name], began[name], atol=1e-7)
    assert torch.allclose(kept["layer1.0.conv1.weight"], began["layer1.0.conv1.weight"], atol=1e-7)


def test_the_figure_shows_the_schedule(tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    fit(config_of(*tiny, *GROWING, "look=only"), tmp_path / "run")
    assert (tmp_path / "run" / "look" / "schedule.png").is_file()


REFUSED = {
    "mode=freeze": "optimizer=lbfgs needs resizing=none|resizing=none, or mode.cache=false",
    "mode=freeze optimizer=adamw": "resizing=none, or mode.cache=false optimizer=adamw",
    "mode=partial": "sees features of them",
    "mode=adapt mode.boundary=2 augmentation=none": "sees features of them",
    "resizing.sizes=[16,32]": "stay below data.image_size=32",
    "resizing.epochs=[3,2]": "leave none for data.image_size=32",
    "resizing.epochs=[3]": "2 sizes and resizing.epochs 1 numbers",
    "resizing.sizes=[4,16]": "resizing.sizes=.*: expected a list: a whole number, at least 8",
    "resizing.epochs=[0,1]": "resizing.epochs=.*: expected a list",
    "resizing.epochs=[1.5,1]": "resizing.epochs=.*: expected a list",
    "resizing.batch=more": "resizing.batch=more: expected constant, pixels",
    "+resizing.size=3": "resizing=progressive takes sizes, epochs, batch, not size",
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_does_not_go_is_refused(options: str, tiny: list[str], config_of: Make) -> None:
    given = {option.split("=")[0] for option in options.split()}
    kept = [o for o in [*tiny, *GROWING] if o.split("=")[0] not in given]
    with pytest.raises(ConfigError, match=REFUSED[options]):
        config_of(*kept, *options.split())


def test_networks_of_one_size_are_refused_with_what_helps(tiny: list[str], config_of: Make) -> None:
    own = [
        *tiny,
        *GROWING,
        "model.name=vit_tiny_patch16_224",
        "data.image_size=64",
        "resizing.sizes=[16,32]",
    ]
    with pytest.raises(ConfigError, match="vit_tiny.*cannot take .*dynamic_img_size=true it can"):
        check_training(config_of(*own))
    check_training(config_of(*own, "+model.args.dynamic_img_size=true"))
    wrong = "resizing.sizes=[24,40]"  # patches of 16
    with pytest.raises(ConfigError, match="cannot take pictures of 24 pixels: take another size"):
        check_training(config_of(*own, wrong, "+model.args.dynamic_img_size=true"))


def test_a_search_may_choose_it_and_stop_early(tiny: list[str]) -> None:
    """Of a shorter horizon, shares stay shares, and numbers that leave no epoch are refused."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        study = Composition.of([*tiny, "resizing.sizes=[16]", "resizing=progressive"])
        trial = study.trial(["resizing.epochs=[0.5]"], 2, "group")
        assert trial["resizing"]["epochs"] == [0.5]
        with pytest.raises(ConfigError, match="of trainer.max_epochs=2 leave none"):
            study.trial(["resizing.epochs=[3]"], 2, "group")


def test_prolonging_changes_no_phase_that_was(config_of: Make, tiny: list[str], tmp_path) -> None:
    own = [*tiny, "resizing=progressive", "resizing.sizes=[16]", "schedule=stable_decay"]
    config = config_of(*own, "resizing.epochs=[0.5]", "trainer.max_epochs=4")
    files = RunFolder(tmp_path / "shares")
    fit(config, files.root, on_epoch=until(3))
    with pytest.raises(ConfigError, match="resizing.epochs are shares of it"):
        prolong(config, 8, files)
    config = config_of(*own, "resizing.epochs=[1]", "trainer.max_epochs=4")
    assert prolong(config, 8, files).trainer.max_epochs == 8


def test_a_loss_that_is_none_still_ends_in_one_line(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    state = create("test_resnet", num_classes=3).state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    config = config_of(
        *tiny, *GROWING, "optimizer=sgd", "optimizer.lr=1e30",
        f"model.weights={tmp_path}/weights.safetensors",
    )  # fmt: skip
    with pytest.raises(CarsclfError, match="loss became"):
        fit(config, tmp_path / "run")
