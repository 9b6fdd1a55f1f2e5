"""Each head of a grid is what scikit-learn and autograd say it should be; the best is kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from torch import nn

from carsclf.errors import ConfigError
from carsclf.features import head_grid
from carsclf.features.head_grid import HeadGrid
from carsclf.records import ModelCard, Predictions, Run, RunFolder
from carsclf.training import optimizers
from carsclf.training.optimizers import lbfgs
from carsclf.training.run import fit
from carsclf.training.schedules import penalties
from tests.conftest import draw, until
from tests.features.test_steps import features_of

Make = Callable[..., DictConfig]
Rows = tuple[torch.Tensor, torch.Tensor]
CLASSES, WIDTH = 5, 12
PENALTIES = np.geomspace(0.1, 1e-5, 20).tolist()


@pytest.fixture
def rows() -> tuple[Rows, Rows]:
    """(x, y) to train on and to validate on; features all positive and of unequal spread."""
    draw = torch.Generator().manual_seed(3)
    means = torch.randn(CLASSES, WIDTH, generator=draw)

    def make(n: int) -> Rows:
        y = torch.randint(CLASSES, (n,), generator=draw)
        noise = 1.5 * torch.randn(n, WIDTH, generator=draw)
        return torch.relu(1 + (means[y] + noise) * torch.linspace(0.3, 2, WIDTH)), y

    return make(160), make(400)


def heads(rows: Rows, penalties: list[float], smoothing: float = 0.0) -> list[nn.Linear]:
    """The grid's head for each penalty."""
    torch.manual_seed(0)
    found, linear = [], nn.Linear(WIDTH, CLASSES)
    optimizer = HeadGrid(*linear.parameters())
    for penalty in penalties:
        optimizer.param_groups[0]["weight_decay"] = penalty
        logits = optimizer.fit(*rows, smoothing)
        assert torch.allclose(logits, linear(rows[0]), atol=1e-3)  # those of the head in place
        found.append(nn.Linear(WIDTH, CLASSES))
        found[-1].load_state_dict(linear.state_dict())
    return found


def by_sklearn(rows: Rows, penalty: float) -> LogisticRegression:
    x, y = rows[0].double().numpy(), rows[1].numpy()
    return LogisticRegression(C=1 / (penalty * len(y)), tol=1e-9, max_iter=20_000).fit(x, y)


def test_each_head_is_scikit_learns(rows: tuple[Rows, Rows]) -> None:
    """The loss with its penalty within a thousandth of the least, probabilities within 0.02."""
    (x, y), _ = rows
    for penalty, head in zip(PENALTIES, heads(rows[0], PENALTIES), strict=True):
        model = by_sklearn(rows[0], penalty)
        best, ours = model.predict_proba(x), head(x).double().softmax(1).detach().numpy()
        least = log_loss(y, best) + penalty / 2 * np.square(model.coef_).sum()
        reached = log_loss(y, ours) + penalty / 2 * float(head.weight.detach().square().sum())
        assert least - 1e-6 <= reached <= least * 1.001
        assert np.abs(ours - best).max() < 0.02


def test_carried_on_each_head_is_scikit_learns_number_for_number(
    rows: tuple[Rows, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = head_grid.fit_head.__kwdefaults__
    assert defaults
    monkeypatch.setitem(defaults, "tolerance", 1e-9)
    few = PENALTIES[:12]
    for penalty, head in zip(few, heads(rows[0], few), strict=True):
        model = by_sklearn(rows[0], penalty)
        weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
        assert np.allclose(weight, model.coef_, atol=2e-3 * np.abs(model.coef_).max())
        expected = model.intercept_ - np.mean(model.intercept_)  # softmax does not see the rest
        assert np.allclose(bias - bias.mean(), expected, atol=5e-3 * np.abs(expected).max())


def test_with_smoothed_labels_autograd_finds_no_slope(rows: tuple[Rows, Rows]) -> None:
    (x, y), _ = rows
    head = heads(rows[0], [0.1, 0.01], smoothing=0.2)[-1]
    loss = nn.CrossEntropyLoss(label_smoothing=0.2)(head(x), y)
    (loss + 0.01 / 2 * head.weight.square().sum()).backward()
    assert head.weight.grad is not None
    assert head.weight.grad.abs().max() < 2e-3
    nn.CrossEntropyLoss()(head(x), y).backward()  # without, there is one
    assert head.weight.grad.abs().max() > 2e-2


def test_the_best_is_at_least_l_bfgs_best(rows: tuple[Rows, Rows]) -> None:
    (x, y), (seen, right) = rows
    best = []
    for penalty in PENALTIES[::3]:
        head = nn.Linear(WIDTH, CLASSES)
        optimizer = lbfgs([], list(head.parameters()), weight_decay=penalty)

        def closure(head: nn.Linear = head, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(x), y)
            loss.backward()
            return loss.detach()

        for _ in range(12):
            optimizer.step(closure)
        best.append(accuracy_score(right, head(seen).argmax(1)))
    ours = [accuracy_score(right, head(seen).argmax(1)) for head in heads(rows[0], PENALTIES)]
    assert max(ours) >= max(best) > 1.5 / CLASSES


def test_of_several_vectors_each_alone_and_all_are_scikit_learns(rows: tuple[Rows, Rows]) -> None:
    """Weights of the vectors left out are zero, so that any head goes with the whole row."""
    (x, y), half = rows[0], WIDTH // 2
    linear = nn.Linear(WIDTH, CLASSES)
    optimizer = HeadGrid(*linear.parameters(), vectors=2)
    schedule = penalties(optimizer, 7, 1, low=1e-3, high=1e-1)
    seen = []
    for _ in range(7):
        group = optimizer.param_groups[0]
        logits, used = optimizer.fit(x, y), {1: slice(half), 2: slice(half, None), 0: slice(None)}
        seen.append((group["vector"], round(np.log10(group["weight_decay"]), 3)))
        columns = used[group["vector"]]
        expected = by_sklearn((x[:, columns], y), group["weight_decay"])
        assert torch.allclose(logits, linear(x), atol=1e-3)
        theirs = expected.predict_proba(x[:, columns].double().numpy())
        assert np.abs(logits.softmax(1).numpy() - theirs).max() < 0.02
        others = torch.ones(WIDTH, dtype=torch.bool)
        others[columns] = False
        assert not linear.weight[:, others].any()
        schedule.after_epoch({})
    # three, two and two of seven, each from the strongest penalty to the weakest
    assert seen == [(1, -1), (1, -2), (1, -3), (2, -1), (2, -3), (0, -1), (0, -3)]


GRID = ["mode=freeze", "optimizer=head_grid", "trainer.max_epochs=9"]


def test_a_run_keeps_the_best_head_and_resumes(
    tiny: list[str], pictures: Path, config_of: Make, tmp_path: Path
) -> None:
    for seed in range(20, 44):  # whose colours tell nothing, so that strong penalties say class 0
        draw(pictures / "class 0" / f"{seed}.png", seed % 3, seed)
    config = config_of(*tiny, *GRID, "schedule.high=1e3", "schedule.low=1e-3")
    run = fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(4))
    fit(config, tmp_path / "parts", resume=True)
    one, two = (load_file(RunFolder(tmp_path / n).weights) for n in ("whole", "parts"))
    assert all(torch.equal(one[k], two[k]) for k in one)

    files = RunFolder(tmp_path / "whole")
    table = pd.read_csv(files.heads)
    assert np.allclose(table["weight_decay"], 10.0 ** np.linspace(3, -3, 9))
    (kept,) = np.flatnonzero(table["kept"])
    assert kept == table["val/top1"].argmax()  # the first of equals: the stronger penalty
    assert kept > 0
    assert run.chosen == Run.read(files.run).chosen
    assert run.chosen["weight_decay"] == pytest.approx(table["weight_decay"][kept])
    assert run.metrics["val/loss"] == pytest.approx(table["val/loss"][kept], rel=1e-4)
    assert table["train/loss"].is_monotonic_decreasing  # each row is of its own head

    data = features_of(config)
    x, seen = (data.rows[s][torch.arange(len(data.splits[s]))] for s in ("train", "val"))
    y = torch.tensor([sample.target for sample in data.splits["train"]])
    model = by_sklearn((x, y), run.chosen["weight_decay"])
    predictions = Predictions.read(files.predictions("val"))
    expected = model.predict_proba(seen.numpy())
    assert np.abs(predictions.probabilities - expected).max() < 0.02
    assert ModelCard.read(files.card).class_names == predictions.class_names


def test_a_grid_over_the_vectors_of_a_pooling(
    tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    given = ["model.name=test_vit", "mode.pool=last3", "schedule.low=1e-3"]
    config = config_of(*tiny, *GRID, *given)
    run = fit(config, tmp_path / "whole")
    fit(config, tmp_path / "parts", on_epoch=until(4))
    fit(config, tmp_path / "parts", resume=True)
    files, parts = (RunFolder(tmp_path / name) for name in ("whole", "parts"))
    one, two = load_file(files.weights), load_file(parts.weights)
    assert all(torch.equal(one[k], two[k]) for k in one)
    table = pd.read_csv(files.heads)
    assert table["vector"].tolist() == [1, 1, 1, 2, 2, 3, 3, 0, 0]
    (kept,) = np.flatnonzero(table["kept"])
    assert run.chosen["vector"] == table["vector"][kept]
    each = one["head.weight"].unflatten(1, (3, -1)).abs().sum((0, 2)) > 0
    expected = [True] * 3 if not run.chosen["vector"] else [False] * 3
    if run.chosen["vector"]:
        expected[int(run.chosen["vector"]) - 1] = True
    assert each.tolist() == expected


REFUSED = {
    "mode.pool=last4 model.name=test_vit trainer.max_epochs=4": "need at least 5 epochs",
    "mode.cache=false": "optimizer=head_grid needs mode.cache=true: .*; or take optimizer=adamw",
    "mode.boundary=2": "needs mode=freeze",
    "augmentation=light mode.views=2": "needs mode.views=1",
    "schedule=constant": "needs schedule=penalties: each epoch is a head",
    "reported=last": "needs reported=best: the last head",
    "+trainer.check_val_every_n_epoch=2": "check_val_every_n_epoch=1: each epoch is another head",
    "trainer.gradient_clip_val=1.0": "needs trainer.gradient_clip_val=null",
    "+trainer.limit_train_batches=0.5": "optimizer=head_grid needs trainer.devices=1",
    "+trainer.accumulate_grad_batches=2": "optimizer=head_grid needs trainer.devices=1",
    "model.args.drop_rate=0.5": "optimizer=head_grid needs model.args.drop_rate=0.0",
    "schedule.low=1": "expected 0 < low < high",
    "schedule.low=0": "schedule.low=0: expected a number, above 0",
    "optimizer=adamw schedule=penalties": "schedule=penalties needs optimizer=head_grid",
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_does_not_go_with_a_grid_is_refused_with_the_reason(
    options: str, tiny: list[str], config_of: Make, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=REFUSED[options]):
        fit(config_of(*tiny, *GRID, *options.split()), tmp_path / "run")


def test_another_head_than_a_linear_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="a linear head with a bias.*take optimizer=lbfgs"):
        optimizers.head_grid([], list(nn.Linear(2, 3, bias=False).parameters()))
    with pytest.raises(ConfigError, match="mode=freeze"):
        optimizers.head_grid([nn.Parameter(torch.ones(1))], list(nn.Linear(2, 3).parameters()))
