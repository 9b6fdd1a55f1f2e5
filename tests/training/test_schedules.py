"""Learning rates against values worked by hand, and those a training really used."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from carsclf.records import RunFolder
from carsclf.training import schedules
from carsclf.training.run import fit


def rates(
    make: Callable[..., schedules.Schedule],
    *,
    epochs: int,
    steps: int,
    metrics: list[dict[str, float]] | None = None,
    key: str = "lr",
) -> list[float]:
    """The rate of each step, from a peak of 1, and the one that is left at the end."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    schedule, used = make(optimizer, epochs, steps), []
    for epoch in range(epochs):
        for _ in range(steps):
            used.append(optimizer.param_groups[0][key])
            optimizer.step()
            schedule.after_step()
        schedule.after_epoch(metrics[epoch] if metrics else {})
    return [*used, optimizer.param_groups[0][key]]


def test_constant_and_step() -> None:
    assert rates(schedules.constant, epochs=2, steps=2) == [1] * 5
    step = partial(schedules.step, factor=0.5, every=2)
    expected = [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]  # two steps in each of 5 epochs
    assert rates(step, epochs=5, steps=2) == expected


def test_plateau_waits_out_its_patience_and_knows_what_is_better() -> None:
    losses = [1.0, 0.9, 0.95, 0.96, 0.97, 0.98, 0.7, 0.6]  # best in epoch 2; 3 and 4 are too many
    falling = partial(schedules.plateau, factor=0.5, patience=1, monitor="train/loss")
    told = [{"train/loss": loss} for loss in losses]
    expected = [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert rates(falling, epochs=8, steps=1, metrics=told) == expected
    rising = partial(schedules.plateau, factor=0.5, patience=1, monitor="val/top1")
    told = [{"val/top1": 1 - loss} for loss in losses]
    assert rates(rising, epochs=8, steps=1, metrics=told) == expected


def test_cosine_warms_up_and_ends_at_the_last_step() -> None:
    cosine = partial(schedules.cosine, warmup_epochs=0.5, final_factor=0.0)
    # two of eight steps warm up; then (1 + cos(k 30 degrees)) / 2
    expected = [0.5, 1, 1, 0.5 + math.sqrt(3) / 4, 0.75, 0.5, 0.25, 0.5 - math.sqrt(3) / 4, 0]
    assert rates(cosine, epochs=2, steps=4) == pytest.approx(expected, abs=1e-12)
    raised = partial(schedules.cosine, warmup_epochs=0, final_factor=0.2)
    assert rates(raised, epochs=1, steps=2) == pytest.approx([1, 0.6, 0.2])


def test_one_cycle_rises_from_a_25th_and_momentum_goes_the_other_way() -> None:
    make = partial(schedules.one_cycle, warmup_share=0.25, momentum=True)
    used = rates(make, epochs=1, steps=19)  # 20 points, the peak at 0.25 x 20 - 1
    assert used[0] == pytest.approx(1 / 25)
    assert used[2] == pytest.approx((1 + 1 / 25) / 2)  # half way up, on half a cosine
    assert used[4] == pytest.approx(max(used)) == pytest.approx(1)
    assert used[-1] == pytest.approx(1 / 25 / 1e4)
    momentum = rates(make, epochs=1, steps=19, key="momentum")
    assert momentum[0] == pytest.approx(0.95)
    assert momentum[4] == pytest.approx(0.85)
    still = partial(schedules.one_cycle, warmup_share=0.25, momentum=False)
    assert rates(still, epochs=1, steps=19, key="momentum") == [0.9] * 20


@pytest.mark.parametrize("mode", ["finetune", "freeze"])
def test_a_training_goes_through_the_whole_schedule(
    mode: str, tiny: list[str], config_of: Callable[..., DictConfig], tmp_path: Path
) -> None:
    cosine: list[Any] = ["schedule=cosine", "schedule.warmup_epochs=0", "schedule.final_factor=0"]
    options = [f"mode={mode}", "optimizer=sgd", "optimizer.lr=0.01", "trainer.max_epochs=3"]
    fit(config_of(*tiny, *cosine, *options), tmp_path / "run")  # 6 steps in an epoch
    rows = pd.read_csv(RunFolder(tmp_path / "run").metrics)
    expected = [0.01 * (1 + math.cos(math.pi * epoch / 3)) / 2 for epoch in (1, 2, 3)]
    assert rows["lr/head"].tolist() == pytest.approx(expected, abs=1e-12)
