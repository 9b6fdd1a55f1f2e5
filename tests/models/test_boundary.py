"""Cutting: the halves together are the whole, at every stage of every kind of network."""

import pytest
import torch

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
            state = join(prefix, rest)
            assert state.keys() == network.state_dict().keys()
            assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())


@pytest.mark.parametrize("name", ["inception_v4", "tf_efficientnet_lite0", "mobilenetv2_100"])
def test_presets_can_be_cut(name: str) -> None:
    network = create(name, num_classes=3)
    for boundary in ("head", 4):
        cut(network, str(resolve(boundary, network)), 96)


def test_a_transformer_is_cut_at_its_head_and_refused_elsewhere() -> None:
    network = create("test_vit", num_classes=3)
    cut(network, "head", 160)
    with pytest.raises(ConfigError, match=r"cannot be cut at blocks\.1.*can be head$"):
        cut(network, "blocks.1", 160)


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
    state = join(prefix, head)
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
    network = create("mvitv2_tiny", num_classes=3, image_size=64)
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
