"""Learning rates against values worked by hand, and those a training really used."""

import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from carsclf.errors import ConfigError
from carsclf.records import RunFolder
from carsclf.training import schedules
from carsclf.training.checks import check_lengths
from carsclf.training.run import fit
from carsclf.training.schedule_curve import curve


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


def test_cyclical_goes_up_and_down_in_straight_lines_and_momentum_against_it() -> None:
    make = partial(schedules.cyclical, low=0.2, cycle_epochs=1, factor=0.25, momentum=True)
    once = [0.2, 0.6, 1.0, 0.6]  # four steps in an epoch
    triangular = partial(make, policy="triangular")
    assert rates(triangular, epochs=2, steps=4) == pytest.approx([*once, *once, 0.2])
    momentum = rates(triangular, epochs=1, steps=4, key="momentum")
    assert momentum == pytest.approx([0.95, 0.9, 0.85, 0.9, 0.95])
    halved = [0.2, 0.4, 0.6, 0.4]
    made = rates(partial(make, policy="triangular2"), epochs=2, steps=4)
    assert made == pytest.approx([*once, *halved, 0.2])
    # a quarter after four steps: the height falls by the root of 1/2 in each
    heights = [0.4 * 0.5**0.5, 0.8 * 0.5, 0.4 * 0.5**1.5]
    falling = [0.2, *(0.2 + h for h in heights), 0.2, *(0.2 + h / 4 for h in heights), 0.2]
    made = rates(partial(make, policy="exp_range"), epochs=2, steps=4)
    assert made == pytest.approx(falling)


def test_momentum_that_is_not_wanted_or_not_there_stays() -> None:
    still = partial(
        schedules.cyclical, policy="triangular", low=0.1, cycle_epochs=1, factor=0.5, momentum=False
    )
    assert rates(still, epochs=2, steps=3, key="momentum") == [0.9] * 7
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    moving = still.func(optimizer, 2, 3, **{**still.keywords, "momentum": True})
    optimizer.step()
    moving.after_step()
    assert optimizer.param_groups[0]["momentum"] == 0


@pytest.mark.parametrize("multiplier", [1, 2])
def test_restarts_are_those_of_torch_and_of_timm(multiplier: int) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    make = partial(schedules.restarts, cycle_epochs=2, multiplier=multiplier, final_factor=0.1)
    ours = rates(make, epochs=7, steps=3)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = CosineAnnealingWarmRestarts(optimizer, T_0=6, T_mult=multiplier, eta_min=0.1)
    expected = []
    for _ in ours:
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert ours == pytest.approx(expected)
    timms = CosineLRScheduler(
        torch.optim.SGD([weight], lr=1.0),
        t_initial=6, lr_min=0.1, cycle_mul=multiplier, cycle_limit=9, t_in_epochs=False,
    )  # fmt: skip
    assert ours == pytest.approx([timms._get_lr(step)[0] for step in range(len(ours))])


def test_restarts_begin_a_cycle_at_the_full_rate() -> None:
    """Each epoch, or after 1 and 2 more epochs, half way down in the middle of each cycle."""
    each = partial(schedules.restarts, cycle_epochs=1, multiplier=1, final_factor=0)
    assert rates(each, epochs=2, steps=2) == pytest.approx([1, 0.5, 1, 0.5, 1])
    longer = partial(schedules.restarts, cycle_epochs=1, multiplier=2, final_factor=0)
    quarter = (1 + math.sqrt(0.5)) / 2
    expected = [1, 0.5, 1, quarter, 0.5, 1 - quarter, 1]
    assert rates(longer, epochs=3, steps=2) == pytest.approx(expected)


def test_stable_decay_holds_the_rate_until_the_last_share() -> None:
    make = partial(schedules.stable_decay, warmup_epochs=0.5, decay_share=0.4, final_factor=0)
    held = [0.5, *[1] * 6]  # of ten steps one warms up below the rate, four decay, from the sixth
    made = rates(partial(make, decay="linear"), epochs=5, steps=2)
    assert made[0] == 1  # a warm-up of one step
    made = rates(partial(make, decay="linear"), epochs=5, steps=4)
    assert made == pytest.approx([0.5, *[1] * 12, *(1 - k / 8 for k in range(1, 8)), 0])
    made = rates(partial(make, decay="sqrt", warmup_epochs=1.0), epochs=5, steps=2)
    roots = [1 - math.sqrt(k / 4) for k in (1, 2, 3, 4)]
    assert made == pytest.approx([*held, *roots])
    raised = rates(partial(make, decay="linear", final_factor=0.2), epochs=5, steps=4)
    assert raised[-1] == pytest.approx(0.2)


NEW: dict[str, dict[str, Any]] = {
    "cyclical": {"policy": "triangular2", "low": 0.1, "cycle_epochs": 2, "factor": 0.5,
                 "momentum": False},
    "restarts": {"cycle_epochs": 1, "multiplier": 2, "final_factor": 0.01},
    "stable_decay": {"warmup_epochs": 1, "decay_share": 0.5, "decay": "sqrt", "final_factor": 0.1},
}  # fmt: skip


@pytest.mark.parametrize("name", NEW)
def test_groups_keep_the_ratio_of_their_rates(name: str) -> None:
    backbone, head = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    groups = [{"params": [backbone], "lr": 0.1}, {"params": [head], "lr": 0.7}]
    optimizer = torch.optim.AdamW(groups)
    schedule = getattr(schedules, name)(optimizer, 4, 5, **NEW[name])
    seen = set()
    for _ in range(20):
        low, high = (group["lr"] for group in optimizer.param_groups)
        assert high == pytest.approx(7 * low)
        seen.add(round(low, 6))
        optimizer.step()
        schedule.after_step()
    assert len(seen) > 5


def test_a_longer_stable_decay_begins_as_a_shorter_one() -> None:
    make = partial(
        schedules.stable_decay, warmup_epochs=1, decay_share=0.25, decay="sqrt", final_factor=0
    )
    short, long = (rates(make, epochs=epochs, steps=3) for epochs in (4, 12))
    assert long[:10] == short[:10]  # up to and with the first step of the decay
    assert long[10] != short[10]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["schedule=cyclical", "schedule.low=1.5"], "schedule.low=1.5: expected a share"),
        (
            ["schedule=cyclical", "schedule.policy=exp_range", "schedule.factor=0"],
            "schedule.factor=0 leaves no cycle",
        ),
        (["schedule=restarts", "schedule.cycle_epochs=13"], "at most trainer.max_epochs=12"),
        (
            ["schedule=stable_decay", "schedule.decay_share=0.95"],
            "schedule.warmup_epochs=1.0: expected at most 0.6, as the decay begins there",
        ),
    ],
)
def test_what_no_training_could_go_through(
    options: list[str], said: str, config_of: Callable[..., DictConfig]
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        check_lengths(config_of(*options))


def test_a_cycle_of_one_step_is_none() -> None:
    one = partial(
        schedules.cyclical, policy="triangular", low=0.1, cycle_epochs=0.25, factor=1, momentum=True
    )
    with pytest.raises(ConfigError, match=r"cycle_epochs=0.25 is a cycle of 1.25 steps, of 5 in"):
        rates(one, epochs=2, steps=5)
    again = partial(schedules.restarts, cycle_epochs=0.25, multiplier=1, final_factor=0)
    with pytest.raises(ConfigError, match=r"cycle_epochs=0.25 is a cycle of 1.25 steps, of 5 in"):
        rates(again, epochs=2, steps=5)


DRAWN: dict[str, Callable[..., schedules.Schedule]] = {
    **{name: partial(getattr(schedules, name), **options) for name, options in NEW.items()},
    "one_cycle": partial(schedules.one_cycle, warmup_share=0.3, momentum=True),
    "step": partial(schedules.step, factor=0.5, every=1),
    "constant": schedules.constant,
}


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_before_is_what_a_training_goes_through(name: str) -> None:
    make = DRAWN[name]
    weight = torch.nn.Parameter(torch.zeros(1))
    groups = [{"params": [weight], "name": "head"}]
    table = curve(torch.optim.SGD(groups, lr=1.0, momentum=0.9), make, 4, 5)
    assert table["lr"].tolist() == rates(make, epochs=4, steps=5)[:-1]
    assert table["epoch"].tolist() == [step / 5 for step in range(20)]
    momenta = rates(make, epochs=4, steps=5, key="momentum")[:-1]
    assert ("momentum" in table) == (len(set(momenta)) > 1)
    assert "momentum" not in table or table["momentum"].tolist() == momenta


def test_the_rate_that_an_average_holds_is_drawn(
    tiny: list[str], command: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4 epochs of 6 steps the last two are averaged, at a quarter of the rate."""
    drawn: list[pd.DataFrame] = []
    monkeypatch.setattr(
        "carsclf.training.schedule_curve.draw_schedule", lambda table, *_: drawn.append(table)
    )
    cosine = ["schedule=cosine", "schedule.warmup_epochs=0", "schedule.final_factor=0"]
    swa = ["averaging=swa", "averaging.start=0.5", "averaging.lr_factor=0.25"]
    options = [*cosine, *swa, "optimizer=sgd", "optimizer.lr=0.8", "trainer.max_epochs=4"]
    assert command("train.py", *tiny, *options, "look=only") == 0
    (table,) = drawn
    assert set(table["group"]) == {"backbone", "head"}
    falling = [0.4 * (1 + math.cos(math.pi * step / 24)) for step in range(12)]
    for _, rows in table.groupby("group"):
        assert rows["lr"].tolist() == pytest.approx([*falling, *[0.2] * 12])


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
