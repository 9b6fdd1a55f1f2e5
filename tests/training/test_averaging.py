"""Averaged weights: by hand, as validated and exported, with BatchNorm's own, exact on resume."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file
from timm.models import create_model
from torch import nn
from torch.optim.swa_utils import update_bn

from carsclf.data.build import make_data
from carsclf.errors import ConfigError
from carsclf.records import RunFolder
from carsclf.training.averaging import ema, new_statistics, swa
from carsclf.training.build import cut_network, make_network
from carsclf.training.checkpoints import read_checkpoint
from carsclf.training.run import fit
from tests.conftest import until
from tests.training.test_resume import same

Make = Callable[..., DictConfig]
FROZEN = ["mode=freeze", "optimizer=sgd", "optimizer.lr=0.1"]
SWA = ["averaging=swa", "averaging.start=0.5"]
TRAININGS = {
    "pictures, ema": ["averaging=ema", "mode=finetune"],
    "pictures, swa": [*SWA, "mode=finetune"],
    "rows, ema": ["averaging=ema", *FROZEN],
    "maps, swa": [*SWA, "mode=partial", "mode.boundary=2", "mixing=mixup"],
    "adapted, ema": ["averaging=ema", "mode=adapt", "mode.rank=2"],
}


def moved(network: nn.Module, value: float) -> nn.Module:
    nn.init.constant_(network.get_parameter("weight"), value)
    return network


def test_ema_by_hand() -> None:
    """Decays 2/11, 3/12, then 0.3 at most instead of 4/13."""
    layer = nn.Linear(1, 1, bias=False)
    average: Any = ema(layer, 10, decay=0.3)
    assert not average.begun
    for value in (1.0, 2.0, 4.0, 8.0):
        average.after_step(moved(layer, value))
    second = 2 / 11 * 1 + 9 / 11 * 2
    third = 0.25 * second + 0.75 * 4
    assert average.module.weight.item() == pytest.approx(0.3 * third + 0.7 * 8, rel=1e-6)


def test_ema_averages_statistics_and_keeps_the_last_count() -> None:
    norm: Any = nn.BatchNorm1d(1)
    average: Any = ema(norm, 10, decay=0.999)
    for mean, count in ((0.0, 5), (11.0, 6)):
        norm.running_mean.fill_(mean)
        norm.num_batches_tracked.fill_(count)
        average.after_step(norm)
    assert average.module.running_mean.item() == pytest.approx(9.0)  # 9 / 11 of the new one
    assert average.module.num_batches_tracked.item() == 6


def epochs_of(config: DictConfig, folder: Path) -> list[dict[str, torch.Tensor]]:
    """Trains; what trained, as it was at the end of each epoch."""
    kept: list[dict[str, torch.Tensor]] = []

    def keep(*told: object) -> None:
        kept.append(read_checkpoint(RunFolder(folder).last)["state_dict"])

    fit(config, folder, on_epoch=keep)
    return kept


@pytest.mark.parametrize("mode", ["freeze", "finetune"])
def test_swa_is_the_plain_mean_of_the_last_epochs(
    mode: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    options = FROZEN if mode == "freeze" else ["mode=finetune", "optimizer=sgd"]
    config = config_of(*tiny, *options, *SWA, "reported=last", "trainer.max_epochs=4")
    kept = epochs_of(config, tmp_path / "run")
    exported = load_file(RunFolder(tmp_path / "run").weights)
    name = "fc.weight"
    mean = (kept[2][f"rest.{name}"] + kept[3][f"rest.{name}"]) / 2
    assert torch.allclose(exported[name], mean, atol=1e-6)
    assert not torch.allclose(exported[name], kept[3][f"rest.{name}"], atol=1e-5)
    rows = pd.read_csv(RunFolder(tmp_path / "run").metrics)
    factor = {"freeze": 0.1, "finetune": 0.01}[mode]  # optimizer.lr, the head's too
    assert rows["lr/head"].iloc[2:].tolist() == pytest.approx([factor / 2] * 2)
    assert not (rows["lr/head"].iloc[:2].round(6) == factor / 2).any()


def test_ema_of_a_training_is_that_of_its_steps(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """A step an epoch, so that checkpoints hold all of them."""
    config = config_of(
        *tiny, *FROZEN, "averaging=ema", "data.batch_size=48",
        "reported=last", "trainer.max_epochs=4",
    )  # fmt: skip
    kept = epochs_of(config, tmp_path / "run")
    mean = kept[0]["rest.fc.weight"]
    for t in (1, 2, 3):
        decay = (1 + t) / (10 + t)
        mean = decay * mean + (1 - decay) * kept[t]["rest.fc.weight"]
    exported = load_file(RunFolder(tmp_path / "run").weights)["fc.weight"]
    assert torch.allclose(exported, mean, atol=1e-6)
    assert not torch.allclose(exported, kept[3]["rest.fc.weight"], atol=1e-5)


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_what_is_validated_is_what_is_exported(
    averaging: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    plain = config_of(*tiny, *FROZEN, "reported=last", "schedule=constant")
    config = config_of(
        *tiny, *FROZEN, "reported=last", "schedule=constant", f"averaging={averaging}",
        *(["averaging.start=0", "averaging.lr_factor=null"] if averaging == "swa" else []),
    )  # fmt: skip
    run = fit(config, tmp_path / "averaged")
    fit(plain, tmp_path / "plain")
    rows, other = (
        pd.read_csv(RunFolder(tmp_path / n).metrics).iloc[-1] for n in ("averaged", "plain")
    )
    assert run.metrics["val/loss"] == pytest.approx(rows["val/loss"], rel=1e-5)
    assert rows["train/loss"] == pytest.approx(other["train/loss"], rel=1e-6)  # goes on as it was
    assert rows["val/loss"] != pytest.approx(other["val/loss"], rel=1e-3)


def test_statistics_are_those_of_torchs_update_bn() -> None:
    torch.manual_seed(0)
    network = create_model("test_resnet", pretrained=False, num_classes=3).train()
    batches = [torch.randn(4, 3, 32, 32) for _ in range(3)]
    ours, theirs = copy.deepcopy(network), copy.deepcopy(network)
    momenta = [n.momentum for n in network.modules() if isinstance(n, nn.BatchNorm2d)]
    norms = new_statistics(ours, network, iter(batches))
    update_bn(batches, theirs)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    assert [n.momentum for n in norms] == momenta
    was = network.state_dict()["bn1.running_mean"]
    assert not torch.equal(ours.state_dict()["bn1.running_mean"], was)


def test_frozen_statistics_stay() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2)).train()
    network[0].requires_grad_(False)
    average: Any = swa(network, 4, start=0.0, lr_factor=None).module
    assert new_statistics(average, network, [torch.randn(8, 2) + 5]) == [average[1]]
    assert average[0].running_mean.tolist() == [0, 0]
    assert average[1].running_mean.min() > 3


def test_swa_exports_the_statistics_of_its_own_weights(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    """One epoch, all its pictures at once: the statistics are those of that batch."""
    config = config_of(
        *tiny, *SWA, "mode=finetune", "augmentation=none", "data.batch_size=48",
        "trainer.max_epochs=1",
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


@pytest.mark.parametrize("training", TRAININGS)
def test_resuming_is_exact(training: str, tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    config = config_of(
        *tiny, *TRAININGS[training], "trainer.max_epochs=4", "reported=last", "data.batch_size=16"
    )
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(3))
    fit(config, tmp_path / "parts", resume=True)
    same(tmp_path / "whole", tmp_path / "parts")
    state = read_checkpoint(RunFolder(tmp_path / "whole").last)["state_dict"]
    if training.startswith("adapted"):
        frozen = load_file(RunFolder(tmp_path / "whole").weights)
        kept = [
            {name.removeprefix(place) for name in state if name.startswith(place)}
            for place in ("rest.", "average.module.")
        ]
        before = make_network(config, 3)[0].state_dict()
        assert kept[0] == kept[1]  # not what is frozen, in neither
        assert not {"layer1.0.conv1.weight", "layer2.0.conv1.weight"} & kept[0]
        assert before.keys() >= {"layer1.0.conv1.weight", "layer2.0.conv1.weight"}
        assert torch.equal(frozen["bn1.running_mean"], before["bn1.running_mean"])


def test_the_best_epoch_may_be_one_before_the_average(
    tiny: list[str], config_of: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its weights are then exported as they are, which is said."""
    config = config_of(*tiny, *FROZEN, *SWA, "trainer.max_epochs=4", "optimizer.lr=1e-9")
    kept = epochs_of(config, tmp_path / "run")  # all epochs are equal, so the first is best
    exported = load_file(RunFolder(tmp_path / "run").weights)
    assert torch.equal(exported["fc.weight"], kept[0]["rest.fc.weight"])
    said = "the best epoch, 1, lies before the weights that are averaged, those of 3 and later"
    assert said in capsys.readouterr().err


def test_epochs_that_count() -> None:
    layer = nn.Linear(1, 1)
    firsts = [swa(layer, n, start=0.75, lr_factor=None).first for n in (1, 2, 4, 12)]
    assert firsts == [0, 1, 3, 9]
    held = partial(swa(layer, 4, start=0.5, lr_factor=0.5).holds)
    assert [held(epoch) for epoch in range(4)] == [False, False, True, True]


@pytest.mark.parametrize("optimizer", ["lbfgs", "head_grid"])
def test_a_fit_to_the_end_has_nothing_to_average(
    optimizer: str, tiny: list[str], config_of: Make
) -> None:
    said = f"optimizer={optimizer} needs averaging=none: .*; or take optimizer=adamw"
    with pytest.raises(ConfigError, match=said):
        config_of(*tiny, "mode=freeze", f"optimizer={optimizer}", "averaging=ema")
