"""Where a network is frozen half way, by multiplications counted by hand."""

from dataclasses import replace

import pytest
import timm
from hydra import compose
from torch import nn

from carsclf.advising.shortcut import half_way, kept_views
from carsclf.training.configuration import training_part


def test_a_resnet18_is_cut_after_its_first_stage():
    """Millions of multiplications at 224 px: 118 in the stem, 462 in layer1, 412 in layer2, 1,814
    in all; so 32 % lie below layer1 and 55 % below layer2. At 64 px layer1 gives 64 x 16 x 16."""
    network = timm.create_model("resnet18").train()
    assert half_way(network, 64) == ("layer1", 2 * 64 * 16 * 16)
    assert network.training


def test_blocks_between_those_that_timm_names_count():
    """timm names blocks 2 and 4 of an EfficientNet-Lite0: 29 and 63 % of its multiplications."""
    assert half_way(timm.create_model("tf_efficientnet_lite0"), 64) == ("blocks.3", 2 * 80 * 4 * 4)


def test_a_network_that_cannot_be_cut_has_no_such_place():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.Linear(4, 2))
    assert half_way(network, 8) is None


def test_views_change_as_the_training_says(advice_of):
    advice = advice_of([], [])
    at_random = [one for one in advice.overrides if not one.startswith("augmentation=")]
    assert kept_views(with_overrides(advice, at_random)) == (["augmentation=light"], (3, 2))
    trivial = with_overrides(advice, [*at_random, "augmentation=trivial"])
    assert kept_views(trivial) == ([], (3, 2))  # it stands there already
    still = with_overrides(advice, [*at_random, "augmentation=none"])
    assert kept_views(still) == ([], (1,))


@pytest.mark.parametrize(
    "trick",
    [["resizing=progressive", "resizing.sizes=[16]", "resizing.epochs=[0.5]"], ["mixing=cutmix"]],
)
def test_settings_that_exclude_kept_views(advice_of, trick):
    advice = advice_of([], [])
    assert kept_views(with_overrides(advice, [*advice.overrides, *trick])) is None


def with_overrides(advice, overrides):
    training = training_part(compose("train", ["look=false", *overrides]))
    return replace(advice, training=training, overrides=overrides)
