"""Gradual unfreezing: what waits stays bit-equal and costs no backward; exact on resume."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from timm.models import create_model

from carsclf.errors import ConfigError
from carsclf.records import RunFolder
from carsclf.training.build import make_network
from carsclf.training.checkpoints import read_checkpoint
from carsclf.training.checks import check_training
from carsclf.training.modules import TransferModule
from carsclf.training.run import fit
from carsclf.training.unfreezing import gradual
from tests.conftest import until
from tests.training.test_resume import same

Make = Callable[..., DictConfig]
GRADUAL = ["unfreezing=gradual", "unfreezing.epochs=[1,2]", "trainer.max_epochs=3"]


def test_stages_by_hand() -> None:
    """layer4 after one epoch, layer3 after two, all others after four; the head at once."""
    network = create_model("test_resnet", num_classes=3)
    begins = gradual(network, ("fc",), epochs=[1, 2, 4])
    told = {name.split(".")[0]: epoch for name, epoch in begins.items()}
    assert told == {"layer4": 1, "layer3": 2, "layer2": 4, "layer1": 4, "conv1": 4, "bn1": 4}
    assert set(gradual(network, ("fc",), epochs=[1]).values()) == {1}  # as fastai's fine_tune
    with pytest.raises(ConfigError, match="trains 5 stages"):
        gradual(network, ("fc",), epochs=[1, 2, 3, 4, 5, 6])


def test_fine_tune_is_the_head_alone_and_then_everything_at_rates_by_depth(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """As fastai's: in the first epoch nothing but the head moves, in the second all of it."""
    config = config_of("experiment=fine_tune", *tiny, "reported=last")
    kept: list[dict[str, torch.Tensor]] = []

    def keep(*told: object) -> None:
        kept.append(read_checkpoint(RunFolder(tmp_path).last)["state_dict"])

    fit(config, tmp_path, on_epoch=keep)
    before = make_network(config, 3)[0]
    names = [name for name, _ in before.named_parameters()]
    for old, new, moves in (
        (before.state_dict(), kept[0], names[-2:]),
        ({n.removeprefix("rest."): t for n, t in kept[0].items()}, kept[1], names),
    ):
        assert [n for n in names if not torch.equal(old[n], new[f"rest.{n}"])] == moves
    rates = pd.read_csv(RunFolder(tmp_path).metrics).iloc[0]
    depths = [int(c.rpartition("-")[2]) for c in rates.index if c.startswith("lr/backbone-")]
    assert len(depths) > 3
    for n in depths:
        assert rates[f"lr/backbone-{n}"] / rates["lr/head"] == pytest.approx(0.8**n / 5)


def test_what_waits_stays_and_costs_no_backward(
    tiny: list[str], config_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[dict[str, torch.Tensor]] = []
    graphs: list[tuple[int, bool, bool]] = []
    began: dict[str, torch.Tensor] = {}
    real = TransferModule.training_step

    def step(self: Any, batch: Any, i: int) -> Any:
        if not began:
            began.update({n: t.clone() for n, t in self.rest.state_dict().items()})
            for name in ("layer4", "layer2"):
                self.rest.get_submodule(name).register_forward_hook(
                    lambda m, x, out: flowing.append(out.requires_grad)
                )
        flowing: list[bool] = self.__dict__.setdefault("_flowing", [])
        loss = real(self, batch, i)
        graphs.append((self.current_epoch, flowing[-2], flowing[-1]))
        return loss

    flowing: list[bool] = []

    def watched(self: Any, batch: Any, i: int) -> Any:
        self.__dict__["_flowing"] = flowing
        return step(self, batch, i)

    monkeypatch.setattr(TransferModule, "training_step", watched)

    def keep(*told: object) -> None:
        state = read_checkpoint(RunFolder(tmp_path / "run").last)["state_dict"]
        kept.append({n.removeprefix("rest."): t for n, t in state.items() if "rest." in n})

    fit(config_of(*tiny, *GRADUAL), tmp_path / "run", on_epoch=keep)
    assert all(state.keys() == began.keys() for state in kept)  # all in every checkpoint
    first = {"fc": 0, "layer4": 1}
    for name, tensor in began.items():
        waits = first.get(name.split(".")[0], 2)
        for epoch, state in enumerate(kept):
            if epoch < waits:
                assert torch.equal(state[name], tensor), (name, epoch)
    for name in ("fc.weight", "layer4.0.conv1.weight", "layer1.0.conv1.weight"):
        waits = first.get(name.split(".")[0], 2)
        assert not torch.equal(kept[waits][name], began[name]), name
    # (layer2, layer4) give something with a gradient
    assert set(graphs) == {(0, False, False), (1, False, True), (2, True, True)}


TRAININGS = {
    "plain": [],
    "ema, decayed": ["averaging=ema", "optimizer.layer_decay=0.8", "resizing=none"],
    "cached maps": ["mode=partial", "mode.boundary=2", "unfreezing.epochs=[2]"],
}


@pytest.mark.parametrize("training", TRAININGS)
def test_resuming_is_exact(training: str, tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    config = config_of(*tiny, *GRADUAL, "reported=last", *TRAININGS[training])
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(1))
    fit(config, tmp_path / "parts", resume=True)
    same(tmp_path / "whole", tmp_path / "parts")


REFUSED = {
    "mode=freeze optimizer=adamw": "leaves no stages that could begin later",
    "unfreezing.epochs=[1,3]": "expected numbers below trainer.max_epochs=3",
    "unfreezing.epochs=[0]": "unfreezing.epochs=.*: expected a list",
    "unfreezing.epochs=[]": "unfreezing.epochs=.*: expected a list",
    "unfreezing.epochs=[2,1]": "expected numbers that grow",
}


@pytest.mark.parametrize("options", REFUSED)
def test_bad_input(options: str, tiny: list[str], config_of: Make) -> None:
    with pytest.raises(ConfigError, match=REFUSED[options]):
        check_training(config_of(*tiny, *GRADUAL, *options.split()))


def test_more_numbers_than_stages_that_train_are_refused_before_features(
    tiny: list[str], config_of: Make, tmp_path: Path, counted: list[int]
) -> None:
    """The network has 5 stages below its head, of which 2 are not frozen."""
    own = ["mode=partial", "mode.boundary=3", "trainer.max_epochs=4", "unfreezing.epochs=[1,2,3]"]
    config = config_of(*tiny, *GRADUAL, *own)
    check_training(config)
    with pytest.raises(ConfigError, match="trains 2 stages below its head"):
        fit(config, tmp_path)
    assert not counted


def test_several_processes_are_refused(tiny: list[str], config_of: Make) -> None:
    two = ["trainer.devices=2", "trainer.strategy=ddp"]
    with pytest.raises(ConfigError, match="unfreezing=gradual needs one process"):
        check_training(config_of(*tiny, *GRADUAL, *two))
