"""Cutting: the halves together are the whole, at every stage of every kind of network."""

import pytest
import torch

from carsclf.errors import ConfigError
from carsclf.models.boundary import cut, join, resolve, stages
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
    with pytest.raises(ConfigError, match=r"cannot be cut at blocks\.1.*head always works"):
        cut(network, "blocks.1", 160)


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
