"""What is mixed is the stated combination of two pictures, and its labels are that of theirs."""

import math

import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from carsclf.data.mixing import cutmix, mix_each, mixup

TARGETS = torch.tensor([0, 2, 1])


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> float:
    """A share of 0.75 for every batch, instead of a drawn one."""
    fixed = torch.tensor([0.75])
    monkeypatch.setattr(torch.distributions.Beta, "sample", lambda self, shape: fixed)
    return 0.75


def test_mixup_by_hand(share: float) -> None:
    pictures = torch.tensor([[[[0, 100]]], [[[40, 60]]], [[[80, 20]]]], dtype=torch.uint8)
    mixed = mixup(3, alpha=0.4)({"pictures": pictures, "targets": TARGETS})
    assert mixed["pictures"].flatten(1).tolist() == [[20, 80], [30, 70], [70, 30]]
    assert mixed["targets"].tolist() == [[0.75, 0.25, 0], [0.25, 0, 0.75], [0, 0.75, 0.25]]


@pytest.mark.parametrize("shape", [(4,), (2, 5), (2, 3, 3)])
def test_features_of_any_shape_are_mixed_as_pictures_are(
    shape: tuple[int, ...], share: float
) -> None:
    features = torch.randn(3, *shape).half()
    mixed = mixup(3, alpha=0.4)({"features": features, "targets": TARGETS})
    expected = 0.75 * features.float() + 0.25 * features.float()[[2, 0, 1]]
    assert torch.allclose(mixed["features"], expected, atol=1e-6)


def test_cutmix_by_hand(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the area is half of each side; the middle of the box lies at (3, 1)."""
    middle = iter([torch.tensor([3]), torch.tensor([1])])  # x, then y
    monkeypatch.setattr(torch, "randint", lambda *_, **__: next(middle))
    pictures = torch.stack([torch.full((1, 4, 4), 10 * i, dtype=torch.uint8) for i in (1, 2, 3)])
    mixed = cutmix(3, alpha=1.0)({"pictures": pictures, "targets": TARGETS})
    box = torch.zeros(4, 4, dtype=torch.bool)
    box[0:2, 2:4] = True
    for own, other, picture in zip((10, 20, 30), (30, 10, 20), mixed["pictures"], strict=True):
        assert torch.equal(picture[0], torch.where(box, other, own).float())
    assert mixed["targets"][0].tolist() == [0.75, 0.25, 0]


def test_a_box_that_is_cut_off_at_the_edge_counts_by_what_is_left(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.tensor([0]))
    pictures = torch.tensor([0, 200, 100], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    mixed = cutmix(3, alpha=1.0)({"pictures": pictures, "targets": TARGETS})
    assert (mixed["pictures"][0] == 100).sum() == 1  # of 16 pixels, instead of 4
    assert mixed["targets"][0].tolist() == [15 / 16, 1 / 16, 0]


@pytest.mark.parametrize("make", [mixup, cutmix])
def test_labels_sum_to_one_and_shares_follow_beta(make) -> None:
    torch.manual_seed(0)
    mixing = make(3, alpha=0.4)
    batch = {"pictures": torch.zeros(3, 3, 64, 64), "targets": TARGETS}
    said = torch.stack([mixing(batch)["targets"] for _ in range(2000)])
    assert torch.allclose(said.sum(2), torch.ones(2000, 3))
    if make is mixup:  # of Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1))
        shares = said[:, 0, 0]
        assert float(shares.mean()) == pytest.approx(0.5, abs=0.03)
        assert float(shares.var()) == pytest.approx(1 / (4 * 1.8), rel=0.05)


def test_a_small_alpha_mixes_next_to_nothing() -> None:
    torch.manual_seed(0)
    mixing, pictures = mixup(3, alpha=0.01), torch.arange(3.0).view(3, 1, 1, 1)
    said = torch.stack(
        [mixing({"pictures": pictures, "targets": TARGETS})["targets"] for _ in range(500)]
    )
    assert float((said.amax(2) > 0.999).float().mean()) > 0.9
    assert set(said.argmax(2)[:, 0].tolist()) == {0, 1}  # itself, or its neighbour as it is


def test_mixed_labels_and_smoothing_are_the_loss_of_both_labels() -> None:
    """-(share log p_1 + (1 - share) log p_2), smoothed: what timm and the papers train on."""
    torch.manual_seed(0)
    logits, mixed = torch.randn(3, 3), mixup(3, alpha=1.0)
    batch = mixed({"pictures": torch.zeros(3, 1, 2, 2), "targets": TARGETS})
    share = float(batch["targets"][0, 0])
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    both = share * smooth(logits, TARGETS) + (1 - share) * smooth(logits, TARGETS.roll(1))
    assert 0.01 < share < 0.99
    assert math.isclose(smooth(logits, batch["targets"]), both, rel_tol=1e-6)


def test_each_mini_batch_of_a_chunk_is_mixed_by_itself() -> None:
    rows, targets = torch.randn(7, 4), torch.arange(7) % 3
    mixing = mixup(3, alpha=0.4)
    torch.manual_seed(1)
    chunk = mix_each(mixing, {"features": rows, "targets": targets}, 3)
    torch.manual_seed(1)
    for i in (0, 3, 6):
        part = mixing({"features": rows[i : i + 3], "targets": targets[i : i + 3]})
        assert torch.equal(chunk["features"][i : i + 3], part["features"])
        assert torch.equal(chunk["targets"][i : i + 3], part["targets"])


def test_it_is_torchvisions() -> None:
    pictures = torch.randint(0, 255, (3, 3, 16, 16), dtype=torch.uint8)
    for ours, theirs in ((mixup, v2.MixUp), (cutmix, v2.CutMix)):
        torch.manual_seed(2)
        mixed = ours(3, alpha=0.7)({"pictures": pictures, "targets": TARGETS})
        torch.manual_seed(2)
        expected, labels = theirs(alpha=0.7, num_classes=3)(pictures.float(), TARGETS)
        assert torch.equal(mixed["pictures"], expected)
        assert torch.equal(mixed["targets"], labels)
