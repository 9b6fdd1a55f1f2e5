"""What a network must be for a classifier to be trained on it, told in one line where it is not."""

from typing import Any

import pytest
import torch

from carsclf.errors import ConfigError
from carsclf.models.networks import build_network, create, head_names


def build(name: str, size: int, **args: Any) -> torch.nn.Module:
    return build_network(
        name, num_classes=3, weights="none", seed=0, image_size=size, model_args=args
    )[0]


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("test_resnet", "fc"),
        ("test_convnext", "head.fc"),
        ("sequencer2d_s", "head.fc"),  # get_classifier() gives the pooling with it
        ("caformer_s18", "head.fc"),  # its configuration names the last of its layers only
        ("repvit_m0_9", "head"),
        ("levit_256d", "head"),
    ],
)
def test_the_head_is_what_is_drawn_anew(name: str, head: str) -> None:
    with torch.device("meta"):
        network = create(name, num_classes=3)
        before = {k: id(p) for k, p in network.named_parameters()}
        network.reset_classifier(7)  # type: ignore[operator]
    new = {k for k, p in network.named_parameters() if before.get(k) != id(p)}
    assert new == {k for k in before if k.startswith(f"{head}.")}
    assert head_names(network) == (head,)


@pytest.mark.parametrize(
    ("name", "size"), [("test_vit", 64), ("pit_ti_224", 96), ("test_vit", 160)]
)
def test_a_fixed_size_becomes_that_of_the_pictures(name: str, size: int) -> None:
    assert build(name, size)(torch.rand(1, 3, size, size)).shape == (1, 3)


def test_too_small_pictures_name_a_size_that_works() -> None:
    with pytest.raises(
        ConfigError, match=r"cannot take data\.image_size=64: data\.image_size=96 works"
    ):
        build("inception_v3", 64)
    build("inception_v3", 96)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"in_chans": 1}, r"model\.args\.in_chans=1: pictures enter with 3 channels"),
        ({"num_classes": 5}, "the classes come from the data"),
        ({"features_only": True}, "features_only cannot be given"),
        ({"checkpoint_path": "w.pth"}, r"model\.weights=<path>"),
        ({"pretrained": True}, r"model\.weights says"),
        ({"no_such": 1}, "cannot be made with no_such=1"),
        ({"global_pool": ""}, "leave model.args out"),
    ],
)
def test_arguments_that_cannot_be(args: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build("test_resnet", 32, **args)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gemma4_vit_167m_enc", "no classifier to train: model.name=gemma4_vit_167m has one"),
        ("ResNet-18", "did you mean 'resnet18"),
        ("resnet18.a1_in2k", "no weights tagged a1_in2k: did you mean 'a1_in1k'"),
        ("hf-hub:timm/resnet18.a1_in1k", r"such as resnet18\.a1_in1k"),
    ],
)
def test_names_that_cannot_be(name: str, said: str) -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match=said):
        create(name)
