"""Additions begin at nothing, alone train, and merge into a plain network that says the same."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from carsclf.errors import ConfigError
from carsclf.models.adapt import METHODS, LowRank, adapt, merged
from carsclf.models.boundary import cut
from carsclf.models.networks import create, head_names

NAMES = ("test_resnet", "test_efficientnet", "test_convnext", "test_vit2", "levit_128s")
OPTIONS = {"method": "lora", "rank": 4, "alpha": 8.0, "layers": None, "seed": 0}


def adapted(name: str, **options: object) -> tuple[nn.Module, nn.Module]:
    """A network, and a copy with additions."""
    torch.manual_seed(0)
    network = create(name, num_classes=3, image_size=64).eval()
    rest = copy.deepcopy(network)
    pictures = torch.zeros(2, 3, 64, 64)
    adapt(rest, head_names(network), pictures, **{**OPTIONS, **options})  # type: ignore[arg-type]
    return network, rest


def train(rest: nn.Module, steps: int = 3) -> None:
    optimizer = torch.optim.SGD([p for p in rest.parameters() if p.requires_grad], lr=0.3)
    for step in range(steps):
        pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        F.cross_entropy(rest(pictures), torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()


def said(network: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return network.eval()(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(9)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_merged_it_is_a_plain_network_that_says_the_same(name: str, method: str) -> None:
    network, rest = adapted(name, method=method)
    first = said(network)
    assert torch.allclose(said(rest), first, atol=1e-6)  # nothing is added yet
    train(rest)
    last = said(rest)
    assert not torch.allclose(last, first, atol=1e-3)
    plain = create(name, num_classes=3, image_size=64)
    plain.load_state_dict(merged(rest))  # timm's own names, and all of them
    assert torch.allclose(said(plain), last, rtol=1e-5, atol=1e-5)
    assert torch.equal(said(rest), last)  # merging left it as it was


def test_what_moves_is_the_head_and_what_was_added() -> None:
    network, rest = adapted("test_vit2", layers=["qkv", "fc1"])
    for name, parameter in rest.named_parameters():
        if name.endswith(".gamma"):  # layer scale, so small at first that little gets through
            nn.init.ones_(parameter)
    before = {name: tensor.clone() for name, tensor in rest.state_dict().items()}
    train(rest, 6)  # heads begin at zero, then what is above, then what is below
    moved = {name for name, t in rest.state_dict().items() if not torch.equal(t, before[name])}
    added = {name for name in before if ".lora." in name}
    assert moved == added | {"head.weight", "head.bias"}
    blocks, width, hidden = len(network.blocks), 64, network.blocks[0].mlp.fc1.out_features  # type: ignore[arg-type,index,union-attr]
    expected = blocks * 4 * ((width + 3 * width) + (width + hidden))
    assert sum(before[name].numel() for name in added) == expected


def test_biases_alone() -> None:
    _, rest = adapted("test_vit2", method="bias")
    trained = {name for name, p in rest.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in rest.named_parameters() if n.endswith(".bias")} | {
        "head.weight"
    }


def test_a_product_of_thin_layers() -> None:
    layer = nn.Conv2d(3, 5, 3, stride=2, padding=1)
    added = LowRank(layer, rank=2, alpha=6)
    nn.init.normal_(added.up.weight)  # type: ignore[arg-type]
    taken = torch.rand(2, 3, 8, 8)
    kernel = torch.einsum("or,rikl->oikl", added.up.weight[:, :, 0, 0], added.down.weight) * 6 / 2  # type: ignore[index,arg-type]
    expected = F.conv2d(taken, kernel, stride=2, padding=1)
    assert torch.allclose(added(taken), expected, atol=1e-5)
    assert torch.allclose(added.product.view_as(layer.weight), kernel, atol=1e-6)


def test_scale_and_shift_are_those_of_the_outputs() -> None:
    _, rest = adapted("test_vit2", method="scale_shift", layers=["fc2"])
    place = rest.get_submodule("blocks.0.mlp.fc2")
    scale, shift = place.parametrizations.weight[0].factor, place.parametrizations.bias[0].added  # type: ignore[union-attr,index]
    taken, factors, numbers = torch.rand(2, place.in_features), torch.rand(64), torch.rand(64)  # type: ignore[arg-type]
    with torch.no_grad():
        plain = F.linear(taken, place.parametrizations.weight.original)  # type: ignore[union-attr,arg-type]
        scale.copy_(factors[:, None])
        shift.copy_(numbers)
        bias = place.parametrizations.bias.original  # type: ignore[union-attr]
        assert torch.allclose(place(taken), plain * factors + bias + numbers, atol=1e-5)  # type: ignore[operator]


def test_below_a_boundary_nothing_is_added() -> None:
    network = create("test_vit2", num_classes=3, image_size=64).eval()
    prefix, rest = cut(network, "blocks.3", 64)
    rows = prefix(torch.rand(2, 3, 64, 64))
    adapt(rest, ("head",), rows, **OPTIONS)  # type: ignore[arg-type]
    added = {name.split(".")[1] for name, _ in rest.named_parameters() if ".lora." in name}
    assert added == {"4", "5", "6", "7"}
    assert not any(".lora." in name for name, _ in prefix.named_parameters())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("test_vit2", {"method": "lara"}, "mode.method=lara: did you mean 'lora'"),
        ("test_vit2", {"rank": 0}, "mode.rank=0: expected 1 or more"),
        ("test_vit2", {"rank": 64, "layers": ["proj"]}, r"proj is 64 wide.*mode\.rank=16"),
        ("test_vit2", {"rank": 9999}, "the rank must be less"),
        (
            "test_vit2",
            {"layers": ["qvk"]},
            "mode.layers=qvk: no layer is called so: did you mean 'qkv",
        ),
        ("test_vit2", {"layers": ["norm1"]}, "no linear layer or convolution"),
        ("test_vit2", {"method": "bias", "layers": ["nothing"]}, "no layer is called so"),
        (
            "beit_base_patch16_224",
            {"layers": ["qkv"]},
            "takes the weights of .*qkv without calling it",
        ),
    ],
)
def test_bad_input(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        adapted(name, **options)
