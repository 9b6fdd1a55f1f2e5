from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from carsclf.errors import ConfigError
from carsclf.inference.predict import load_model
from carsclf.models.boundary import HEAD, cut
from carsclf.models.networks import build_network, create
from carsclf.models.pooling import pool_of
from carsclf.records import ModelCard

VIT = {"embed_dim": 24, "depth": 4, "num_heads": 2, "img_size": (32, 32), "patch_size": 16}


def vit(pool: str, **more: Any) -> Any:
    torch.manual_seed(0)
    return create("vit_tiny_patch16_224", num_classes=5, pool=pool, **(VIT | more)).eval()


def pictures(size: int = 32, n: int = 3) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def rows(network: Any, given: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network.forward_head(network.forward_features(given), pre_logits=True)


@pytest.mark.parametrize("pool", ["average", "token", "both", "gem", "last3"])
def test_what_is_pooled_of_a_transformer(pool: str) -> None:
    """Against timm's own plain network with the same weights, pooled by hand."""
    network, given = vit(pool), pictures()
    plain: Any = timm.create_model("vit_tiny_patch16_224", num_classes=5, **VIT).eval()
    state = {k: v for k, v in network.state_dict().items() if not k.startswith("head.")}
    plain.load_state_dict(state, strict=False)
    with torch.no_grad():
        tokens = plain.forward_features(given)  # normalised; one class token, four positions
        blocks, x = [], plain.norm_pre(plain._pos_embed(plain.patch_embed(given)))
        for block in plain.blocks:
            x = block(x)
            blocks.append(plain.norm(x)[:, 0])
    mean, token = tokens[:, 1:].mean(1), tokens[:, 0]
    expected = {
        "average": mean,
        "token": token,
        "both": torch.cat([token, mean], 1),
        "gem": tokens[:, 1:].clamp(min=1e-6).pow(3).mean(1).pow(1 / 3),
        "last3": torch.cat(blocks[1:], 1),
    }[pool]
    torch.testing.assert_close(rows(network, given), expected)
    weight, bias = network.head.weight, network.head.bias
    with torch.no_grad():
        torch.testing.assert_close(network(given), expected @ weight.T + bias)


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("vit_tiny_patch16_224", "token"),
        ("resnet10t", "average"),
        ("test_efficientnet", "average"),
        ("mobilenetv4_conv_small_035", "average"),  # a layer between pooling and classifier
        ("swin_tiny_patch4_window7_224", "average"),  # channels come last
        ("test_convnext", "average"),  # a norm between them
        ("eva02_tiny_patch14_224", "average"),
    ],
)
def test_a_networks_own_pooling_by_name_changes_nothing(name: str, pool: str) -> None:
    size = {"swin_tiny_patch4_window7_224": 224, "eva02_tiny_patch14_224": 224}.get(name, 64)
    torch.manual_seed(0)
    own = create(name, image_size=size, num_classes=5).eval()
    other = create(name, image_size=size, num_classes=5, pool=pool).eval()
    other.load_state_dict(own.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(other(pictures(size, 2)), own(pictures(size, 2)))


def test_a_generalised_mean_lies_between_mean_and_maximum() -> None:
    torch.manual_seed(0)
    network: Any = create("resnet10t", num_classes=3, pool="gem").eval()
    plain: Any = create("resnet10t").eval()
    plain.load_state_dict(
        {k: v for k, v in network.state_dict().items() if not k.startswith("fc.")}, strict=False
    )
    with torch.no_grad():
        maps = plain.forward_features(pictures(64))
    found = rows(network, pictures(64))
    assert (found >= maps.mean((2, 3)) - 1e-5).all()
    assert (found <= maps.amax((2, 3)) + 1e-5).all()


@pytest.mark.parametrize(
    ("name", "pool", "told"),
    [
        ("resnet10t", "token", "no class token"),
        ("resnet10t", "both", "no class token"),
        ("resnet10t", "last2", "0 blocks in a row to take"),
        ("test_efficientnet", "last2", "differ in width"),
        ("deit_tiny_distilled_patch16_224", "average", "several classifiers"),
        ("cait_xxs24_224", "last2", "timm cannot tell"),
        ("vit_tiny_patch16_224", "last13", "it has 12 blocks"),
        ("vit_tiny_patch16_224", "tokens", "did you mean 'token'"),
        ("vit_tiny_patch16_224", "last0", "last<blocks>"),
    ],
)
def test_what_cannot_be_pooled_so_is_one_line(name: str, pool: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        create(name, pool=pool)
    assert "\n" not in str(raised.value)
    assert f"mode.pool={pool}" in str(raised.value)


@pytest.mark.parametrize("pool", ["both", "last2"])
@pytest.mark.parametrize("boundary", [HEAD, "blocks.1"])
def test_it_is_cut_as_any_network_and_keyed_by_its_pooling(pool: str, boundary: str) -> None:
    network, given = vit(pool), pictures()
    prefix, rest = cut(network, boundary, 32)
    with torch.no_grad():
        torch.testing.assert_close(rest.eval()(prefix(given)), network(given))
    other, _ = cut(vit("token"), HEAD, 32)
    same = dict(other.network.state_dict())
    twin, _ = cut(vit("average"), HEAD, 32)
    twin.network.load_state_dict(same)
    assert twin.key != other.key  # the same weights, other rows


def test_dropout_before_the_classifier_stays(tmp_path: Path) -> None:
    network = vit("both", drop_rate=0.25)
    _, head = cut(network, HEAD, 32)
    assert head.dropout.p == 0.25  # type: ignore[union-attr]


def test_weights_of_the_backbone_are_taken_and_a_saved_model_comes_back(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    plain = create("resnet10t", num_classes=7)
    save_file(dict(plain.state_dict()), tmp_path / "plain.safetensors")
    network, _ = build_network(
        "resnet10t",
        num_classes=4,
        weights=str(tmp_path / "plain.safetensors"),
        seed=0,
        image_size=64,
        pool="gem",
    )
    assert pool_of(network) == "gem"
    assert torch.equal(
        network.get_parameter("conv1.0.weight"), plain.get_parameter("conv1.0.weight")
    )
    save_file(dict(network.state_dict()), tmp_path / "model.safetensors")
    seen = {"rule": "squash", "size": 64, "resize": 64}
    ModelCard("resnet10t", list("abcd"), seen, [0.5] * 3, [0.5] * 3, "file", pool="gem").write(
        tmp_path / "model.json"
    )
    back = load_model(tmp_path, device="cpu", channels_last=False).network
    with torch.no_grad():
        torch.testing.assert_close(back(pictures(64)), network.eval()(pictures(64)))
