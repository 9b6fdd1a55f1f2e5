"""Rare classes count more: as sklearn weighs them, by hand, and in the order of an epoch."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from carsclf.data.sampler import EpochSampler
from carsclf.errors import ConfigError
from carsclf.records import RunFolder
from carsclf.training.class_weights import WeightedLoss, effective, inverse, loss_of
from carsclf.training.run import fit
from tests.conftest import draw, until
from tests.features.test_steps import features_of
from tests.training.test_resume import same

Make = Callable[..., DictConfig]
COUNTS = np.array([8, 2, 30])
TARGETS = np.repeat(np.arange(3), COUNTS)


@pytest.fixture
def uneven(tiny: list[str], tmp_path: Path) -> list[str]:
    """24, 8 and 4 training pictures of three classes, a quarter as many of validation."""
    root = tmp_path / "uneven"
    for target, count in enumerate((30, 10, 5)):
        for seed in range(count):
            draw(root / f"class {target}" / f"{seed:02}.png", target, seed)
    return [*(o for o in tiny if not o.startswith("data.root")), f"data.root={root}"]


def test_inverse_weights_are_sklearns() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=TARGETS)
    assert np.allclose(inverse(COUNTS), expected)


def test_effective_weights_by_hand() -> None:
    """At beta 1/2: (1 - 2^-n) / (1/2) effective pictures of 1, 2 and 3: 1, 1.5, 1.75."""
    counts = np.array([1, 2, 3])
    raw = np.array([1, 1 / 1.5, 1 / 1.75])
    assert np.allclose(effective(counts, beta=0.5), raw * 6 / (raw @ counts))
    assert np.allclose(effective(COUNTS, beta=0.0), 1)  # no weights
    assert np.allclose(effective(COUNTS, beta=1 - 1e-9), inverse(COUNTS), rtol=1e-5)
    for weights in (inverse(COUNTS), effective(COUNTS, beta=0.9)):
        assert weights[TARGETS].mean() == pytest.approx(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_each_picture_counts_by_its_class(smoothing: float) -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    weights = np.array([1.0, 2.0, 0.5])
    loss = loss_of(weights, smoothing)
    each = nn.functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    expected = (each * torch.tensor([1, 2, 0.5, 0.5, 2, 1])).mean()
    assert math.isclose(loss(logits, targets), expected, rel_tol=1e-6)
    # a mixed label counts as both of its labels do
    mixed = torch.tensor([[0.75, 0.25, 0.0]])
    both = [loss(logits[:1], torch.tensor([label])) for label in (0, 1)]
    assert math.isclose(loss(logits[:1], mixed), 0.75 * both[0] + 0.25 * both[1], rel_tol=1e-6)
    equal = WeightedLoss(np.ones(3), smoothing)
    assert math.isclose(equal(logits, targets), each.mean(), rel_tol=1e-6)


def test_lbfgs_finds_what_sklearn_finds_with_balanced_weights(
    uneven: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(
        *uneven, "mode=freeze", "class_weights=inverse", "reported=last",
        "trainer.max_epochs=10", "optimizer.weight_decay=1e-2",
    )  # fmt: skip
    fit(config, tmp_path / "run")
    ours = load_file(RunFolder(tmp_path / "run").weights)["fc.weight"].numpy()
    data = features_of(config)
    y = [sample.target for sample in data.splits["train"]]
    assert sorted(Counter(y).values()) == [4, 8, 24]
    x = data.rows["train"][torch.arange(len(y))].numpy()
    c = 1 / (1e-2 * len(y))
    settings = {"C": c, "tol": 1e-8, "max_iter": 1000}
    balanced = LogisticRegression(class_weight="balanced", **settings).fit(x, y).coef_
    plain = LogisticRegression(**settings).fit(x, y).coef_
    assert np.allclose(ours, balanced, atol=1e-3)
    assert not np.allclose(ours, plain, atol=1e-2)


def positions(epoch: int, rank: int = 0, world: int = 1) -> list[int]:
    sampler = EpochSampler(
        len(TARGETS), seed=1, shuffle=True, rank=rank, world=world, targets=TARGETS.tolist()
    )
    sampler.set_epoch(epoch)
    return [position for position, _ in sampler]


def test_each_class_comes_equally_often() -> None:
    """13 or 14 of 40 of each of 3 classes; of the 30 of the largest another part each epoch."""
    whole: Counter[int] = Counter()
    for epoch in range(20):
        drawn = positions(epoch)
        assert sorted(Counter(TARGETS[drawn]).values()) == [13, 13, 14]
        times = Counter(drawn)
        assert max(times[i] for i in range(10, 40)) == 1
        assert {times[i] for i in range(8)} <= {1, 2}
        assert {times[i] for i in (8, 9)} <= {6, 7}
        whole += times
    assert set(whole) == set(range(40))
    assert positions(3) == positions(3) != positions(4)
    assert TARGETS[positions(3)].tolist() != sorted(TARGETS[positions(3)])


def test_processes_share_out_the_epoch_of_one() -> None:
    shares = [positions(2, rank, 3) for rank in range(3)]
    assert [len(share) for share in shares] == [13, 13, 13]
    one = positions(2)
    assert all(share == one[rank::3][:13] for rank, share in enumerate(shares))


def test_a_picture_that_comes_twice_changes_in_two_ways() -> None:
    sampler = EpochSampler(40, seed=1, shuffle=True, targets=TARGETS.tolist())
    assert len({seed for _, seed in sampler}) == 40


@pytest.mark.parametrize(
    "options",
    [
        ["data.sampling=balanced", "augmentation=light"],
        ["data.sampling=balanced", "mode=freeze", "optimizer=adamw"],
        ["class_weights=effective", "mixing=mixup", "mode=freeze", "optimizer=adamw"],
    ],
    ids=["pictures", "rows", "weights"],
)
def test_resuming_is_exact(
    options: list[str], uneven: list[str], config_of: Make, tmp_path: Path
) -> None:
    config = config_of(*uneven, *options, "trainer.max_epochs=3")
    fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(1))
    fit(config, tmp_path / "parts", resume=True)
    same(tmp_path / "whole", tmp_path / "parts")


def test_features_come_balanced(uneven: list[str], config_of: Make) -> None:
    config = config_of(*uneven, "mode=freeze", "optimizer=adamw", "data.sampling=balanced")
    (batch,) = features_of(config).train_dataloader()
    assert torch.bincount(batch["targets"]).tolist() == [12, 12, 12]


REFUSED = {
    "class_weights=inverse data.sampling=balanced": "together twice: class_weights=none, or",
    "mode=freeze optimizer=head_grid class_weights=inverse": "needs class_weights=none: its curv",
    "mode=freeze data.sampling=balanced": "optimizer=lbfgs needs data.sampling=natural",
    "class_weights=effective class_weights.beta=1": "beta=1: expected a number, at least 0 and be",
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_does_not_go_together_is_refused(
    options: str, tiny: list[str], config_of: Make
) -> None:
    with pytest.raises(ConfigError, match=REFUSED[options]):
        config_of(*tiny, *options.split())
