"""Cutting: the halves together are the whole, at every stage of every kind of network."""

import pytest
import torch
from torch import nn

from carsclf.errors import ConfigError
from carsclf.models.boundary import cut, join, resolve, stages
from carsclf.models.heads import Head
from carsclf.models.networks import create


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "resnet18"])
def test_every_stage_can_be_cut_and_joined(name: str) -> None:
    torch.manual_seed(0)
    network = create(name, num_classes=3).eval()
    picture = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        whole = network(picture)
        for boundary in [*stages(network), "head"]:
            prefix, rest = cut(network, boundary, 64)
            assert torch.allclose(rest.eval()(prefix(picture)), whole, rtol=1e-4, atol=1e-5)
            state = join(prefix, rest.state_dict())
            assert state.keys() == network.state_dict().keys()
            assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())


@pytest.mark.parametrize("name", ["inception_v4", "tf_efficientnet_lite0", "mobilenetv2_100"])
def test_presets_can_be_cut(name: str) -> None:
    network = create(name, num_classes=3)
    for boundary in ("head", 4):
        cut(network, str(resolve(boundary, network)), 96)


def test_what_is_refused_is_named_with_what_works() -> None:
    network = create("twins_svt_small", num_classes=3, image_size=64, depths=(1, 1, 1, 1))
    with pytest.raises(ConfigError, match=r"Twins cannot be cut at blocks\.1:.* can be head$"):
        cut(network, "blocks.1", 64)  # a list that never runs: it goes through it by itself


def test_behind_the_classifier_nothing_is_left_to_train() -> None:
    with pytest.raises(ConfigError, match=r"cannot be cut at fc: .* can be act1, .*, head$"):
        cut(create("test_resnet", num_classes=3), "fc", 32)


def test_inside_a_residual_block_it_is_refused() -> None:
    network = create("test_resnet", num_classes=3)
    with pytest.raises(ConfigError, match=r"cannot be cut at layer3\.0\.conv1: .*layer3, layer4"):
        cut(network, "layer3.0.conv1", 64)
    prefix, rest = cut(network, "layer3.0", 64)  # between two blocks it is not
    assert {n.split(".")[0] for n, _ in rest.named_parameters()} == {"layer4", "fc"}
    assert not [n for n, _ in prefix.network.named_parameters() if n.startswith("layer4")]


def test_what_lies_before_a_transformer_block_does_not_train() -> None:
    network = create("test_vit2", num_classes=3, image_size=64)  # a class token and positions
    prefix, rest = cut(network, "blocks.3", 64)
    trained = {n for n, p in rest.named_parameters() if p.requires_grad}
    assert trained == {
        n for n, _ in network.named_parameters() if n.startswith(("norm.", "head.", "fc_norm"))
    } | {
        n
        for n, _ in network.named_parameters()
        if n.startswith(tuple(f"blocks.{i}." for i in (4, 5, 6, 7)))
    }
    assert prefix(torch.rand(2, 3, 64, 64)).shape == (2, 16 + 1, 64)
    loss = rest(prefix(torch.rand(5, 3, 64, 64))).sum()  # a batch of another size
    loss.backward()
    assert all(p.grad is not None for p in rest.parameters() if p.requires_grad)


def test_parameters_of_both_halves_are_not_cut() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.block = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
            self.scale, self.fc = nn.Parameter(torch.full((), 2.0)), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.block(self.stem(x) * self.scale)
            return self.fc((x * self.scale).mean((2, 3)))

    with pytest.raises(ConfigError, match="Twice cannot be cut at block"):
        cut(Twice(), "block", 8)
    cut(Twice(), "stem", 8)


def test_distilled_networks_keep_both_heads() -> None:
    network = create(
        "deit_tiny_distilled_patch16_224", num_classes=3, image_size=32, depth=1
    ).eval()
    prefix, head = cut(network, "head", 32)
    picture = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        tokens = network.forward_features(picture)  # type: ignore[operator]
        expected = (network.head(tokens[:, 0]) + network.head_dist(tokens[:, 1])) / 2  # type: ignore[operator]
    assert torch.equal(prefix(picture), tokens[:, :2])
    assert torch.allclose(head.eval()(tokens[:, :2]), expected, atol=1e-6)
    assert {n for n, _ in head.named_parameters()} == {
        f"{h}.{p}" for h in ("head", "head_dist") for p in ("weight", "bias")
    }


# each with a head of its own make: pooled maps, tokens, convolutions, layers before the classifier
FAMILIES = (
    *("dla46_c", "dpn48b", "resnetv2_18", "lcnet_035", "mobilenetv3_small_050", "ghostnet_050"),
    *(
        "efficientvit_b0",
        "levit_256d",
        "repvit_m0_9",
        "regnetx_002",
        "starnet_s050",
        "fasternet_t0",
    ),
    *("xcit_nano_12_p8_224", "pit_ti_224", "cait_xxs24_224", "tiny_vit_5m_224", "test_nfnet"),
    *("test_coatnet", "shvit_s1", "pvt_v2_b0", "gmlp_ti16_224", "iformer_t"),
)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_head_of_every_family_comes_off(name: str) -> None:
    network = create(name, num_classes=3, image_size=64).eval()
    prefix, head = cut(network, "head", 64)
    picture = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        pooled = network.forward_head(network.forward_features(picture), pre_logits=True)  # type: ignore[operator]
        whole = network(picture)
    assert torch.equal(prefix(picture), pooled)
    assert pooled.ndim == 2
    assert torch.allclose(head.eval()(pooled), whole, rtol=1e-4, atol=1e-5)
    state = join(prefix, head.state_dict())
    assert state.keys() == network.state_dict().keys()
    before = network.get_classifier()  # type: ignore[operator]
    drawn = sum(p.numel() for p in before.parameters())
    assert sum(p.numel() for p in head.parameters()) == drawn


def test_a_head_that_pools_is_cut_behind_its_pooling() -> None:
    network = create("sequencer2d_s", num_classes=3, image_size=64, layers=(1, 1, 1, 1))
    prefix, head = cut(network, "head", 64)
    assert {name for name, _ in head.named_parameters()} == {"head.fc.weight", "head.fc.bias"}
    assert prefix(torch.rand(1, 3, 64, 64)).shape == (1, 384)


@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",
        "test_efficientnet",
        "test_vit",
        "dla46_c",
        "dpn48b",
        "test_nfnet",
        "lcnet_035",
    ],
)
def test_dropout_before_the_classifier_stays_with_the_head(name: str) -> None:
    plain = cut(create(name, num_classes=3, image_size=64), "head", 64)[1]
    assert isinstance(plain, Head)
    assert plain.dropout.p == 0
    head = cut(create(name, num_classes=3, image_size=64, drop_rate=0.3), "head", 64)[1]
    assert isinstance(head, Head)
    assert head.dropout.p == pytest.approx(0.3)
    assert head.linear is None
    features = torch.rand(2, head.get_submodule(head.paths[0]).weight.shape[1])  # type: ignore[union-attr,index]
    assert not torch.equal(head.train()(features), head(features))
    assert torch.equal(head.eval()(features), head(features))


def test_networks_without_stages_say_so() -> None:
    network = create("test_resnet", num_classes=3, image_size=64)
    del network.feature_info
    assert stages(network) == []
    with pytest.raises(ConfigError, match="has no stages to cut between: mode=freeze"):
        resolve(4, network)


def test_prefix_stays_in_evaluation_mode_without_gradients() -> None:
    prefix, rest = cut(create("test_resnet", num_classes=3), "layer2", 32)
    prefix.train()
    assert not any(module.training for module in prefix.modules())
    assert not any(p.requires_grad for p in prefix.parameters())
    assert not prefix(torch.rand(1, 3, 32, 32)).requires_grad
    assert all(p.requires_grad for p in rest.parameters())


def test_boundaries_by_number_and_name() -> None:
    network = create("test_resnet", num_classes=3)
    names = stages(network)
    assert resolve(0, network) is None
    assert resolve(1, network) == names[0]
    assert resolve(len(names), network) == names[-1]
    assert resolve("head", network) == "head"
    with pytest.raises(ConfigError, match="did you mean"):
        resolve("layr2", network)
    with pytest.raises(ConfigError, match="expected 0 to"):
        resolve(99, network)
