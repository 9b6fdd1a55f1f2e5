"""Trainings on mixed batches: exact on resume, the plain training where nothing is mixed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import initialize_config_dir
from omegaconf import DictConfig
from safetensors.torch import load_file
from torch import nn
from torchvision.transforms import v2

from carsclf.errors import ConfigError
from carsclf.features.steps import gradients_of
from carsclf.models.heads import Head
from carsclf.records import RunFolder
from carsclf.training import build
from carsclf.training.modules import labels
from carsclf.training.run import fit
from carsclf.tuning.space import Space
from carsclf.tuning.study.composition import Composition
from tests.conftest import ROOT, until
from tests.training.test_resume import same

Make = Callable[..., DictConfig]
FROZEN = ["mode=freeze", "optimizer=adamw"]
TRAININGS = {
    "pictures": ["mixing=mixup", "mode=finetune"],
    "boxes": ["mixing=cutmix", "mode=finetune"],
    "rows": ["mixing=mixup", *FROZEN],
    "maps": ["mixing=mixup", "mode=partial", "mode.boundary=2"],
    "boxes before a frozen part": ["mixing=cutmix", *FROZEN, "mode.cache=false"],
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(RunFolder(folder).weights)


@pytest.mark.parametrize("training", TRAININGS)
def test_resuming_is_exact(training: str, tiny: list[str], config_of: Make, tmp_path: Path) -> None:
    config = config_of(*tiny, *TRAININGS[training], "trainer.max_epochs=3")
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(1))
    fit(config, tmp_path / "parts", resume=True)
    same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("options", [["mode=finetune"], FROZEN], ids=["pictures", "rows"])
def test_a_share_of_one_is_no_mixing_and_another_is_not(
    options: list[str], tiny: list[str], config_of: Make, tmp_path: Path, monkeypatch
) -> None:
    fit(config_of(*tiny, *options), tmp_path / "plain")
    config = config_of(*tiny, *options, "mixing=mixup")
    fit(config, tmp_path / "mixed")
    monkeypatch.setattr(v2.MixUp, "make_params", lambda *_: {"lam": 1.0})
    fit(config, tmp_path / "own")
    plain, own, mixed = (weights(tmp_path / name) for name in ("plain", "own", "mixed"))
    apart = [max(float((plain[n] - w[n]).abs().max()) for n in plain) for w in (own, mixed)]
    assert apart[0] < 1e-4
    assert apart[1] > 1e-2


@pytest.mark.parametrize("smoothing", ["0.0", "0.1"])
def test_chunks_mix_as_the_plain_loop_does(
    smoothing: str, tiny: list[str], config_of: Make, tmp_path: Path, monkeypatch
) -> None:
    config = config_of(
        *tiny, *FROZEN, "mixing=mixup", "data.batch_size=7", f"mode.label_smoothing={smoothing}"
    )
    fit(config, tmp_path / "chunks")
    monkeypatch.setattr(build, "steps_are_ours", lambda trainer: False)
    fit(config, tmp_path / "plain")
    one, two = weights(tmp_path / "chunks"), weights(tmp_path / "plain")
    assert all(torch.allclose(one[k], two[k], rtol=1e-3, atol=1e-5) for k in one)


def test_the_formula_for_a_linear_head_is_autograds() -> None:
    torch.manual_seed(0)
    network = nn.Sequential()
    network.fc = nn.Linear(4, 3)
    head, loss = Head(network, ("fc",)), nn.CrossEntropyLoss(label_smoothing=0.2)
    x, y = torch.randn(5, 4), torch.randn(5, 3).softmax(1)
    gradients_of(head, loss)(x, y)
    given = [p.grad.clone() for p in head.parameters() if p.grad is not None]
    loss(head(x), y).backward(inputs=list(head.parameters()))  # adds to them
    for parameter, ours in zip(head.parameters(), given, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, 2 * ours, atol=1e-6)


def test_train_top1_counts_the_larger_share() -> None:
    assert labels(torch.tensor([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])).tolist() == [1, 0, 0]
    assert labels(torch.tensor([1, 0])).tolist() == [1, 0]


REFUSED = {
    "mode=freeze mixing=mixup": "optimizer=lbfgs needs mixing=none: .*; or take optimizer=adamw",
    "mode=freeze optimizer=head_grid mixing=mixup": "optimizer=head_grid needs mixing=none",
    "mode=freeze optimizer=adamw mixing=cutmix": "take mixing=mixup, .* or mode.cache=false",
    "mode=partial mixing=cutmix": "cuts boxes out of pictures",
    "mode=adapt mode.boundary=2 mixing=cutmix augmentation=none": "cuts boxes out of pictures",
    "mixing=mixup data.batch_size=1": "data.batch_size=2 or more",
    "mixing=mixup mixing.alpha=0": "mixing.alpha=0: expected a number, at least 0.01",
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_does_not_go_together_is_refused(
    options: str, tiny: list[str], config_of: Make
) -> None:
    kept = [o for o in tiny if o.split("=")[0] not in options]
    with pytest.raises(ConfigError, match=REFUSED[options]):
        config_of(*kept, *options.split())


def test_what_goes_together_is_not(tiny: list[str], config_of: Make) -> None:
    for options in ("mode=adapt mixing=cutmix", "mode=finetune mixing=cutmix"):
        config_of(*tiny, *options.split())


def test_a_configuration_of_before_has_no_mixing(tiny: list[str], config_of: Make) -> None:
    assert "mixing" not in config_of(*tiny, "~mixing")


def test_a_search_may_choose_it(tiny: list[str]) -> None:
    space = Space.from_config(
        {
            "mixing": {
                "choices": ["none", "mixup", "cutmix"],
                "alpha": {"by": "mixing", "mixup": {"low": 0.1, "high": 1.0}},
            }
        }
    )
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        study = Composition.of(tiny)
        study.check(space)
        raw = {"mixing": 1, "mixing.alpha@mixup": 0.3}
        trial = study.trial(space.overrides(raw), 2, "group")
    assert trial["mixing"]["alpha"] == 0.3
    assert trial["mixing"]["_target_"] == "carsclf.data.mixing.mixup"
