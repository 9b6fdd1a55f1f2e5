"""Rates that a training would ignore are refused by name; those that act are let through."""

from typing import Any

import pytest
import torch
from torch import nn

from carsclf.errors import ConfigError
from carsclf.features.steps import gradients_of
from carsclf.models.boundary import cut
from carsclf.models.effects import check_effect
from carsclf.models.networks import create


def check(name: str, boundary: str | None, **args: Any) -> None:
    network = create(name, num_classes=3, image_size=64, **args)
    prefix, rest = (None, network) if boundary is None else cut(network, boundary, 64)
    before = {k: v.clone() for k, v in rest.state_dict().items()}
    drawn = torch.get_rng_state()
    check_effect(
        network, rest, prefix, name=name, image_size=64, boundary=boundary, model_args=args
    )
    assert all(torch.equal(v, before[k]) for k, v in rest.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    ("name", "boundary", "args"),
    [
        ("test_resnet", "head", {"drop_rate": 0.3}),
        ("test_resnet", "layer2", {"drop_rate": 0.3}),
        ("resnet18", "layer1", {"drop_path_rate": 0.3}),
        ("test_vit", "head", {"drop_rate": 0.3, "drop_path_rate": 0.0}),
        ("test_vit", None, {"drop_path_rate": 0.3, "pos_drop_rate": 0.1, "attn_drop_rate": 0.1}),
        ("dla46_c", "head", {"drop_rate": 0.3, "drop_path_rate": None}),
    ],
)
def test_what_acts_is_let_through(name: str, boundary: str, args: dict[str, Any]) -> None:
    check(name, boundary, **args)


@pytest.mark.parametrize(
    ("name", "boundary", "args", "named"),
    [
        ("resnet18", "head", {"drop_path_rate": 0.3}, "drop_path_rate=0.3"),
        ("test_vit", "head", {"drop_rate": 0.1, "pos_drop_rate": 0.2}, "pos_drop_rate=0.2"),
        ("test_vit", "head", {"attn_drop_rate": 0.2}, "attn_drop_rate=0.2"),
        ("test_vit", "head", {"patch_drop_rate": 0.2}, "patch_drop_rate=0.2"),
        ("resnet18", "head", {"drop_block_rate": 0.2}, "drop_block_rate=0.2"),
    ],
)
def test_what_is_frozen_away_is_refused(
    name: str, boundary: str, args: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=f"{named} would have no effect: what is frozen"):
        check(name, boundary, **args)


def test_dropout_acts_on_cached_features_too() -> None:
    features, targets = torch.rand(4, 96), torch.zeros(4, dtype=torch.long)
    for rate in (0.0, 0.5):
        head = cut(create("test_resnet", num_classes=3, drop_rate=rate), "head", 32)[1].train()
        step = gradients_of(head, nn.CrossEntropyLoss())
        assert torch.equal(step(features, targets), step(features, targets)) == (rate == 0)
