"""State dicts of other makings, loaded as timm itself loads them, with what was left out told."""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from carsclf.errors import CheckpointError
from carsclf.models.networks import Weights, build_network, create

TINY = "test_resnet"


def build(
    weights: Path, name: str = TINY, classes: int = 4, **args: Any
) -> tuple[nn.Module, Weights]:
    return build_network(name, num_classes=classes, weights=str(weights), seed=0, **args)


def equal_but_head(network: nn.Module, state: dict[str, torch.Tensor], head: str) -> bool:
    own = network.state_dict()
    return all(torch.equal(own[k], v) for k, v in state.items() if not k.startswith(head))


@pytest.mark.parametrize(
    "prefix",
    [
        *("_orig_mod.", "module.", "net.", "model.", "backbone.", "teacher.", "student."),
        *("module._orig_mod.", "_orig_mod.module.", "model.net.backbone.", "teacher.backbone."),
        *("rest.", "my_own.wrapper."),
    ],
)
def test_wrappers_prefixes_go_however_they_nest(tmp_path: Path, prefix: str) -> None:
    state = create(TINY, num_classes=9).state_dict()
    torch.save({prefix + k: v for k, v in state.items()}, tmp_path / "w.pth")
    network, weights = build(tmp_path / "w.pth")
    assert equal_but_head(network, state, "fc")
    loaded = f"{len(state) - 2} of {len(state)} tensors loaded"  # all but weight and bias of fc
    assert weights.notes == (loaded, "head fc drawn at random: that of the file has 9")


def test_of_several_networks_the_averaged_is_taken_and_the_rest_told(tmp_path: Path) -> None:
    state = create(TINY).state_dict()
    student = {f"student.backbone.{k}": v + 1 for k, v in state.items()}
    teacher = {f"teacher.backbone.{k}": v for k, v in state.items()}
    other = {"teacher.head.mlp.weight": torch.ones(2), "loss.centre": torch.ones(3)}
    torch.save({**student, **teacher, **other}, tmp_path / "w.pth")
    network, weights = build(tmp_path / "w.pth")
    assert equal_but_head(network, state, "fc")
    assert "taken from teacher.backbone.*" in weights.notes
    left = next(note for note in weights.notes if note.startswith("left out"))
    assert f"student.* ({len(state)})" in left
    assert "loss.* (1)" in left


@pytest.mark.parametrize(("size", "patch"), [(64, 16), (160, 8), (160, 16)])
def test_positions_and_patches_are_resampled_as_timm_does(
    tmp_path: Path, size: int, patch: int
) -> None:
    torch.manual_seed(1)
    state = timm.create_model("test_vit").state_dict()
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "w.pth")
    torch.save(state, tmp_path / "bare.pth")
    network, weights = build(
        tmp_path / "w.pth", "test_vit", image_size=size, model_args={"patch_size": patch}
    )
    expected = timm.create_model(
        "test_vit",
        pretrained=True,
        pretrained_cfg_overlay={"file": str(tmp_path / "bare.pth")},
        img_size=size,
        patch_size=patch,
        num_classes=4,
    )
    assert equal_but_head(network, expected.state_dict(), "head")
    changed = (size, patch) != (160, 16)
    assert any(re.match("resampled by timm: .*pos_embed", n) for n in weights.notes) == changed


def test_names_of_the_original_repository_are_converted(tmp_path: Path) -> None:
    state = create("test_convnext", num_classes=4).state_dict()

    def original(name: str) -> str:
        name = name.replace("head.norm.", "norm.").replace("head.fc.", "head.")
        name = re.sub(r"stages\.(\d)\.downsample\.", r"downsample_layers.\1.", name)
        name = re.sub(r"stages\.(\d)\.blocks\.", r"stages.\1.", name)
        name = name.replace("stem.", "downsample_layers.0.").replace("conv_dw", "dwconv")
        return re.sub(r"mlp\.fc(\d)", r"pwconv\1", name)

    torch.save({"model": {original(k): v for k, v in state.items()}}, tmp_path / "w.pth")
    network, weights = build(tmp_path / "w.pth", "test_convnext")
    assert all(torch.equal(network.state_dict()[k], v) for k, v in state.items())
    assert any("names converted by timm" in note for note in weights.notes)


def test_auxiliary_heads_and_counters_are_left_out(tmp_path: Path) -> None:
    state = create(TINY, num_classes=4).state_dict()
    extra = {"AuxLogits.fc.weight": torch.ones(3), "layer1.total_ops": torch.ones(1)}
    save_file(state | extra, tmp_path / "w.safetensors")
    network, weights = build(tmp_path / "w.safetensors")
    assert all(torch.equal(network.state_dict()[k], v) for k, v in state.items())
    loaded = f"{len(state)} of {len(state)} tensors loaded"
    left = "left out, as the network has no such part: AuxLogits (1 tensors)"
    assert weights.notes == (loaded, left)


def test_another_depth_is_another_network(tmp_path: Path) -> None:
    state = create(TINY).state_dict()
    deeper = state | {"layer4.1.conv1.weight": torch.ones(3)}
    save_file(deeper, tmp_path / "deeper.safetensors")
    with pytest.raises(
        CheckpointError, match=r"1 of \d+ tensors are unknown to it \(layer4\.1\.conv1"
    ):
        build(tmp_path / "deeper.safetensors")
    shallower = {k: v for k, v in state.items() if not k.startswith("layer4")}
    save_file(shallower, tmp_path / "shallower.safetensors")
    with pytest.raises(CheckpointError, match=r"tensors are missing \(layer4"):
        build(tmp_path / "shallower.safetensors")


def test_a_filter_that_stumbles_is_told_in_one_line(tmp_path: Path) -> None:
    clip = {"visual.class_embedding": torch.ones(2), "visual.conv1.weight": torch.ones(2)}
    save_file(clip, tmp_path / "w.safetensors")
    with pytest.raises(
        CheckpointError, match="timm's filter cannot read them.*visual.conv1"
    ) as error:
        build(tmp_path / "w.safetensors", "test_vit")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_of_a_diverged_training_are_refused(tmp_path: Path, bad: float) -> None:
    state = create(TINY).state_dict()
    state["layer1.0.conv1.weight"].view(-1)[3] = bad
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(
        CheckpointError, match=r"NaN or infinity in 1 tensors, e\.g\. layer1\.0\.conv1"
    ):
        build(tmp_path / "w.safetensors")


def test_half_precision_is_widened(tmp_path: Path) -> None:
    state = create(TINY).state_dict()
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in state.items()}, tmp_path / "w.bin"
    )
    network, _ = build(tmp_path / "w.bin")
    assert network.conv1[0].weight.dtype == torch.float32  # type: ignore[index,union-attr]
    assert torch.allclose(network.conv1[0].weight, state["conv1.0.weight"], atol=1e-3)  # type: ignore[index,arg-type]


def test_looking_at_timms_filter_leaves_torch_as_it_was(tmp_path: Path) -> None:
    loading = nn.Module.load_state_dict
    torch.save({"head.weight": torch.ones(3)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError):
        build(tmp_path / "w.pth", "test_vit")
    assert nn.Module.load_state_dict is loading
