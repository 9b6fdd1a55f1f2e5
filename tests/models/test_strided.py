"""Strided 1x1 convolutions of few channels, whose gradient oneDNN writes past its buffer."""

import pickle
from copy import deepcopy
from typing import Any

import pytest
import timm
import torch
from torch import nn

from carsclf.models.networks import create
from carsclf.models.strided import thin_first


def plain(convolution: nn.Conv2d) -> nn.Conv2d:
    copy = nn.Conv2d(convolution.in_channels, convolution.out_channels, 1, stride=2, bias=False)
    copy.load_state_dict(convolution.state_dict())
    return copy


@pytest.mark.parametrize("channels", [1, 3, 7, 15])
@pytest.mark.parametrize("size", [32, 33])
def test_output_and_gradients_are_those_of_the_convolution(channels: int, size: int) -> None:
    given = thin_first(nn.Conv2d(channels, 48, 1, stride=2, bias=False))
    given = pickle.loads(pickle.dumps(deepcopy(given))).to(memory_format=torch.channels_last)
    expected = plain(given)
    pictures = torch.randn(8, channels, size, size)
    for _ in range(5):  # the fault does not always kill
        last = pictures.to(memory_format=torch.channels_last).requires_grad_()
        first = pictures.clone().requires_grad_()
        given.zero_grad()
        expected.zero_grad()
        said = given(last)
        with torch.backends.mkldnn.flags(enabled=False):
            wanted = expected(first)
            weight = torch.randn_like(wanted)
            (wanted * weight).sum().backward()
        (said * weight).sum().backward()
        torch.testing.assert_close(said, wanted)
        torch.testing.assert_close(given.weight.grad, expected.weight.grad, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(last.grad, first.grad)


@pytest.mark.parametrize("name", ["fastvit_t8", "mobileone_s0", "repvgg_a0"])
def test_networks_that_have_one_train_and_say_the_same(name: str) -> None:
    ours: Any = create(name, num_classes=5)
    theirs: Any = timm.create_model(name, num_classes=5)
    theirs.load_state_dict(ours.state_dict())
    assert [k for k, m in ours.named_modules() if m._forward_pre_hooks]
    pictures = torch.randn(4, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(pictures), theirs.eval()(pictures))
    ours.train().to(memory_format=torch.channels_last)
    for _ in range(3):
        ours(pictures.to(memory_format=torch.channels_last)).square().sum().backward()


@pytest.mark.parametrize("given", [(16, 8, 1, 2), (3, 8, 3, 2), (3, 8, 1, 1)])
def test_others_are_left_alone(given: tuple[int, int, int, int]) -> None:
    network = thin_first(nn.Conv2d(*given))
    assert not network._forward_pre_hooks
    assert network.stride == (given[3], given[3])
