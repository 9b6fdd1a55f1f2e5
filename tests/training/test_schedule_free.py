"""Schedule-free AdamW: the average of the library's own reference, exact on resume, refusals."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file
from torch.optim.swa_utils import update_bn

from carsclf.data.build import make_data
from carsclf.errors import ConfigError
from carsclf.records import RunFolder
from carsclf.training.build import cut_network, make_network
from carsclf.training.checkpoints import read_checkpoint
from carsclf.training.checks import check_training
from carsclf.training.optimizers import schedule_free
from carsclf.training.run import fit
from carsclf.training.schedule_curve import curve
from carsclf.training.schedules import constant
from tests.conftest import until
from tests.training.test_resume import same

schedulefree = pytest.importorskip("schedulefree")

Make = Callable[..., DictConfig]
FREE = ["optimizer=schedule_free", "optimizer.lr=0.01"]
MODES = {
    "pictures": ["mode=finetune"],
    "rows": ["mode=freeze"],
    "views": ["mode=freeze", "augmentation=light", "mode.views=2"],
    "maps": ["mode=partial", "mode.boundary=2", "optimizer.layer_decay=0.5"],
    "prefix": ["mode=partial", "mode.boundary=2", "mode.cache=false", "augmentation=light"],
    "adapted": ["mode=adapt", "mode.rank=2"],
}
Seen = list[list[tuple[torch.Tensor, torch.Tensor]]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Of each step what it was taken at, and its gradients, parameter by parameter."""
    kept: Seen = []
    step = schedulefree.AdamWScheduleFree.step

    def watched(self: Any, closure: Any = None) -> Any:
        if closure is not None:
            closure()
        parameters = [p for group in self.param_groups for p in group["params"]]
        assert all(p.grad is not None for p in parameters)
        kept.append([(p.detach().clone().cpu(), p.grad.clone().cpu()) for p in parameters])
        return step(self)

    monkeypatch.setattr(schedulefree.AdamWScheduleFree, "step", watched)
    return kept


@pytest.mark.parametrize("mode", ["pictures", "rows"])
def test_what_is_exported_is_the_average_of_the_librarys_reference(
    mode: str, tiny: list[str], config_of: Make, tmp_path: Path, seen: Seen
) -> None:
    """From the same gradients, which are taken where the reference wants them."""
    config = config_of(*tiny, *MODES[mode], *FREE, "reported=last", "optimizer.warmup_epochs=1")
    fit(config, tmp_path / "run")
    assert len(seen) == 12  # 48 pictures, 8 at once, twice
    mine = [torch.nn.Parameter(p.clone()) for p, _ in seen[0]]
    rates = [0.01 if i < len(mine) - 2 else 0.05 for i in range(len(mine))]  # the head is the last
    reference = schedulefree.adamw_schedulefree_reference.AdamWScheduleFreeReference(
        [{"params": [p], "lr": lr} for p, lr in zip(mine, rates, strict=True)],
        weight_decay=0.01,
        warmup_steps=6,
    )
    reference.train()
    for step in seen:
        for p, (taken_at, gradient) in zip(mine, step, strict=True):
            assert torch.allclose(p, taken_at, atol=2e-6)
            p.grad = gradient.clone()
        reference.step()
    averages = [reference.state[p]["x"] for p in mine]
    exported = load_file(RunFolder(tmp_path / "run").weights)
    names = [name for name, _ in make_network(config, 3)[0].named_parameters()][-len(mine) :]
    assert names[-2:] == ["fc.weight", "fc.bias"]
    for name, average, at in zip(names, averages, mine, strict=True):
        assert torch.allclose(exported[name], average, atol=2e-6), name
        assert not torch.allclose(exported[name], at, atol=1e-4), name


@pytest.mark.parametrize("every", [1, 2])
def test_what_is_validated_is_what_is_exported_and_in_checkpoints(
    every: int, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """Also at the end of an epoch that nobody validates."""
    options = [*tiny, *FREE, "trainer.max_epochs=4", "reported=last"]
    run = fit(
        config_of(*options, f"+trainer.check_val_every_n_epoch={every}"), tmp_path / f"{every}"
    )
    rows = pd.read_csv(RunFolder(tmp_path / f"{every}").metrics)
    assert run.metrics["val/loss"] == pytest.approx(rows["val/loss"].iloc[-1], rel=1e-5)
    state = read_checkpoint(RunFolder(tmp_path / f"{every}").last)
    exported = load_file(RunFolder(tmp_path / f"{every}").weights)
    for name, tensor in exported.items():
        assert torch.equal(state["state_dict"][f"rest.{name}"], tensor), name
    assert not any(g["train_mode"] for g in state["optimizer_states"][0]["param_groups"])


def test_validating_less_often_trains_the_same(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    options = [*tiny, *FREE, "trainer.max_epochs=2", "reported=last"]
    for every in (1, 2):
        config = config_of(*options, f"+trainer.check_val_every_n_epoch={every}")
        fit(config, tmp_path / f"{every}")
    one, two = (load_file(RunFolder(tmp_path / f"{n}").weights) for n in (1, 2))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_statistics_are_those_of_the_average(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """An epoch's pictures at once: the statistics are those of that batch, as torch has them."""
    config = config_of(
        *tiny, *FREE, "mode=finetune", "augmentation=none", "data.batch_size=48",
        "trainer.max_epochs=2", "reported=last",
    )  # fmt: skip
    fit(config, tmp_path / "run")
    exported = load_file(RunFolder(tmp_path / "run").weights)
    data, _ = make_data(config)
    network, _ = make_network(config, 3)
    halves = cut_network(config, network, data)
    network.load_state_dict(exported)
    (batch,) = data.train_dataloader()
    update_bn([halves.normalise(batch["pictures"])], network)
    for name, tensor in network.state_dict().items():
        assert torch.allclose(exported[name].float(), tensor.float(), atol=1e-4), name


@pytest.mark.parametrize("mode", MODES)
def test_resuming_is_exact(mode: str, tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    """Wherever it was stopped: in its warm-up too, and twice, as at the rungs of a study."""
    config = config_of(*tiny, *MODES[mode], *FREE, "optimizer.warmup_epochs=1.5",
                       "trainer.max_epochs=4", "reported=last")  # fmt: skip
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(1))
    fit(config, tmp_path / "parts", resume=True, on_epoch=until(3))
    fit(config, tmp_path / "parts", resume=True)
    same(tmp_path / "whole", tmp_path / "parts")


def test_nothing_depends_on_how_long_it_is(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """After the same epochs a longer training has the same bits."""
    for epochs in (2, 5):
        config = config_of(*tiny, *FREE, f"trainer.max_epochs={epochs}")
        fit(config, tmp_path / f"{epochs}", on_epoch=until(2))
    one, two = (read_checkpoint(RunFolder(tmp_path / f"{n}").last)["state_dict"] for n in (2, 5))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_the_warm_up_is_drawn() -> None:
    """Of the optimizer's own, in the steps of epochs: (k + 1) / 4 of the rate."""
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = schedule_free(
        [], [weight], lr=0.1, head_lr_factor=2.0, weight_decay=0.0, warmup_epochs=2.0, steps=2
    )
    rates = curve(optimizer, constant, 3, 2)["lr"].tolist()
    assert rates == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.2, 0.2])


def test_the_rate_finder_tries_the_rates_that_it_says(
    tiny: list[str], config_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its steps are no part of the warm-up, and the training after them is as without."""
    used: list[float] = []
    step = schedulefree.AdamWScheduleFree.step

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        told = step(self, *args, **kwargs)
        used.append(self.param_groups[0]["scheduled_lr"])
        return told

    finder = ["callbacks=lr_finder", "lr_finder.steps=20", "lr_finder.to=1e-3"]
    fit(config_of(*tiny, *FREE, "reported=last"), tmp_path / "plain")
    monkeypatch.setattr(schedulefree.AdamWScheduleFree, "step", watched)
    fit(config_of(*tiny, *FREE, *finder, "reported=last"), tmp_path / "after")
    assert used[:20] == pytest.approx(np.geomspace(1e-7, 1e-3, 20).tolist())
    assert used[20:23] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01])  # half an epoch of 6 steps
    one, two = (load_file(RunFolder(tmp_path / name).weights) for name in ("plain", "after"))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["schedule=cosine"], "schedule=constant: .* optimizer.warmup_epochs is its warm-up"),
        (["schedule=plateau"], "schedule=constant"),
        (["averaging=ema"], "averaging=none"),
        (["averaging=swa", "mode=freeze"], "averaging=none"),
        (["unfreezing=gradual"], "unfreezing=none"),
        (["optimizer.betas=[0.0,0.99]"], "optimizer.betas with a first above 0"),
    ],
)
def test_what_does_not_go_with_it_is_refused(
    options: list[str], said: str, tiny: list[str], config_of: Make
) -> None:
    message = f"optimizer=schedule_free needs {said}.*; or take optimizer=adamw"
    with pytest.raises(ConfigError, match=message):
        config_of(*tiny, *FREE, *options)


def test_a_warm_up_longer_than_the_training_is_refused(tiny: list[str], config_of: Make) -> None:
    config = config_of(*tiny, *FREE, "optimizer.warmup_epochs=3")
    with pytest.raises(ConfigError, match="optimizer.warmup_epochs=3: expected at most .*epochs=2"):
        check_training(config)


def test_the_extra_is_named_where_it_is_missing(
    tiny: list[str], config_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "schedulefree", None)
    with pytest.raises(ConfigError, match=r"pip install 'carsclf\[schedule-free\]'"):
        config_of(*tiny, *FREE)


def test_the_schedule_is_chosen_with_it(config_of: Make) -> None:
    for mode in ("finetune", "partial", "freeze", "adapt"):
        config = config_of("optimizer=schedule_free", f"mode={mode}")
        assert config.schedule._target_ == "carsclf.training.schedules.constant"
