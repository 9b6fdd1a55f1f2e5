"""Losses against hand-worked values; the class asked for is what is made and judged."""

import math

import pytest
import torch
from torch import nn

from carsclf.models.gan import Critic, Generator, critic_loss, gradient_penalty


def pictures(count: int, size: int = 8) -> torch.Tensor:
    return torch.randn(count, 3, size, size)


class Linear(nn.Module):
    """<w, x>, with another w for each class."""

    def __init__(self, *norms: float, size: int = 8) -> None:
        super().__init__()
        w = torch.randn(len(norms), 3 * size * size)
        self.w = nn.Parameter(w / w.norm(dim=1, keepdim=True) * torch.tensor(norms)[:, None])

    def forward(self, x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) * self.w[targets]).sum(1)


@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_penalty_of_a_linear_critic_is_its_slope_less_one_squared(norm: float) -> None:
    real, made, targets = pictures(5), pictures(5), torch.zeros(5, dtype=torch.long)
    critic = Linear(norm)
    penalty = gradient_penalty(critic, real, made, targets)
    assert penalty.item() == pytest.approx((norm - 1) ** 2, abs=1e-5)
    penalty.backward()  # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|: the gradient of a gradient
    expected = 2 * (norm - 1) * critic.w.detach() / norm
    assert critic.w.grad is not None
    assert torch.allclose(critic.w.grad, expected, atol=1e-4)


def test_penalty_is_each_pictures_own_and_of_its_class() -> None:
    targets = torch.tensor([0, 1, 1, 1])
    penalty = gradient_penalty(Linear(3.0, 2.0), pictures(4), pictures(4), targets)
    assert penalty.item() == pytest.approx((4 + 1 + 1 + 1) / 4, abs=1e-4)


def test_penalty_is_taken_between_real_and_made() -> None:
    real, made = torch.zeros(400, 3, 2, 2), torch.ones(400, 3, 2, 2)
    seen: list[torch.Tensor] = []

    def half_square(x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach())
        return x.flatten(1).square().sum(1) / 2  # whose gradient is x itself

    targets = torch.zeros(400, dtype=torch.long)
    penalty = gradient_penalty(half_square, real, made, targets)
    shares = seen[0][:, 0, 0, 0]
    assert (seen[0] == shares[:, None, None, None]).all()  # one point for each pair
    assert shares.min() < 0.05
    assert shares.max() > 0.95
    assert shares.mean().item() == pytest.approx(0.5, abs=0.06)
    assert penalty.item() == pytest.approx((shares * math.sqrt(12) - 1).square().mean().item())


def test_a_trained_critic_says_how_far_apart_two_piles_are() -> None:
    """max w d - k (|w| - 1)^2 lies along d, at |w| = 1 + |d| / 2k: by hand, signs and all."""
    torch.manual_seed(0)
    real, shift, weight = pictures(8), pictures(1), 10.0
    shift = shift / shift.norm() * 2
    made, targets = real - shift, torch.zeros(8, dtype=torch.long)
    critic = Linear(1.0)
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.04)
    loss = torch.zeros(())
    for _ in range(200):
        loss = critic_loss(critic, real, made, targets)
        optimizer.zero_grad()
        (loss + weight * gradient_penalty(critic, real, made, targets)).backward()
        optimizer.step()
    assert critic.w.norm().item() == pytest.approx(1 + 2 / (2 * weight), abs=1e-3)
    assert -loss.item() == pytest.approx(2 * (1 + 2 / (2 * weight)), abs=1e-2)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_sizes(size: int) -> None:
    generator = Generator(classes=3, latent=5, width=2, size=size)
    critic = Critic(classes=3, width=2, size=size)
    targets = torch.tensor([0, 2])
    made = generator(torch.randn(2, 5), targets)
    assert made.shape == (2, 3, size, size)
    assert made.abs().max() <= 1
    assert critic(made, targets).shape == (2,)


def test_a_class_has_parameters_of_its_own_and_no_others() -> None:
    torch.manual_seed(0)  # so narrow a network is blind to its class now and then
    generator = Generator(classes=3, latent=5, width=8, size=32).eval()
    noise = torch.randn(1, 5).expand(3, -1)
    targets = torch.arange(3)
    before = generator(noise, targets)
    assert not torch.allclose(before[0], before[1])
    with torch.no_grad():
        for module in generator.modules():
            if isinstance(module, nn.Embedding):
                module.weight[1] += 0.5
    after = generator(noise, targets)
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [False, True, False]


def test_a_critic_judges_each_picture_alone_and_the_class_by_a_projection() -> None:
    critic, shown = Critic(classes=3, width=2, size=32), pictures(6, 32)
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    together = critic(shown, targets)
    alone = torch.cat([critic(shown[i : i + 1], targets[i : i + 1]) for i in range(6)])
    assert torch.allclose(together, alone, atol=1e-5)
    one, two, both = (critic(shown, torch.full((6,), c)) for c in range(3))
    with torch.no_grad():
        critic.name.weight[2] = critic.name.weight[0] + critic.name.weight[1]
        plain = critic.name.weight.clone()
        critic.name.weight.zero_()
    none = critic(shown, targets)
    with torch.no_grad():
        critic.name.weight.copy_(plain)
    both = critic(shown, torch.full((6,), 2))
    assert torch.allclose(both - none, (one - none) + (two - none), atol=1e-5)
    assert not torch.allclose(one, two)
