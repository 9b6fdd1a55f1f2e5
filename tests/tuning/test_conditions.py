"""Parameters that count under a choice of another one only, and configurations as raw values."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carsclf.errors import ConfigError
from carsclf.tuning.space import Parameter, Space

# schedule depends on the optimizer, and its patience on it in turn; a flag and a number are parents
NESTED: dict[str, Any] = {
    "schedule": {
        "by": "optimizer",
        "adamw": {"choices": ["cosine", "plateau"]},
        "sgd": {"choices": ["plateau", "constant"]},
        "patience": {"by": "schedule", "plateau": {"low": 0, "high": 20, "int": True}},
    },
    "optimizer": {
        "choices": ["adamw", "sgd", "lbfgs"],
        "lr": {
            "by": "optimizer",
            "adamw": {"low": 1e-5, "high": 1e-2, "log": True},
            "sgd": {"low": 1e-3, "high": 1.0, "log": True},
        },
        "momentum": {"by": "optimizer", "sgd": {"low": 0.5, "high": 0.99}},
        "nesterov": {"by": "optimizer", "sgd": {"choices": [True, False]}},
        "dampening": {"by": "optimizer.nesterov", False: {"low": 0.0, "high": 0.9}},
    },
    "data": {"batch_size": {"low": 4, "high": 7, "int": True, "power": 2}},
    "mode": {
        "views": {"choices": [1, 4]},
        "share": {"by": "mode.views", "4": {"low": -3.0, "high": 2.0, "power": 10}},
    },
}
SPACE = Space.from_config(NESTED)
RAW = {
    "optimizer": 1,
    "optimizer.lr@adamw": 1e-4,
    "optimizer.lr@sgd": 0.1,
    "optimizer.momentum@sgd": 0.75,
    "optimizer.nesterov@sgd": 1,
    "optimizer.dampening@false": 0.25,
    "schedule@adamw": 0,
    "schedule@sgd": 0,
    "schedule.patience@plateau": 3,
    "data.batch_size": 6,
    "mode.views": 0,
    "mode.share@4": -1.5,
}
UNITS = st.lists(st.floats(0, 1), min_size=len(SPACE), max_size=len(SPACE))


def test_names_are_unique_and_parents_come_first() -> None:
    assert {p.name for p in SPACE} == set(RAW)
    order = [p.name for p in SPACE]
    assert order.index("optimizer") < order.index("schedule@sgd")
    assert order.index("schedule@sgd") < order.index("schedule.patience@plateau")
    rate = next(p for p in SPACE if p.name == "optimizer.lr@sgd")
    assert (rate.key, rate.condition, rate.high) == ("optimizer.lr", ("optimizer", "sgd"), 1.0)
    assert set(SPACE.domains) == set(RAW)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {},
            {
                "optimizer": "sgd",
                "optimizer.lr": 0.1,
                "optimizer.momentum": 0.75,
                "optimizer.nesterov": False,
                "optimizer.dampening": 0.25,
                "schedule": "plateau",
                "schedule.patience": 3,
                "data.batch_size": 64,
                "mode.views": 1,
            },
        ),
        (
            {"optimizer": 0, "mode.views": 1},
            {
                "optimizer": "adamw",
                "optimizer.lr": 1e-4,
                "schedule": "cosine",
                "data.batch_size": 64,
                "mode.views": 4,
                "mode.share": 10**-1.5,
            },
        ),
        ({"optimizer": 2}, {"optimizer": "lbfgs", "data.batch_size": 64, "mode.views": 1}),
    ],
)
def test_a_trial_gets_what_its_own_choices_make_active(
    change: dict[str, int], expected: dict[str, Any]
) -> None:
    raw = {**RAW, **change}
    assert SPACE.values(raw) == expected
    assert {p.key for p in SPACE.active(raw)} == set(expected)
    overrides = SPACE.overrides(raw)
    assert len(overrides) == len(expected)
    assert overrides[0] == f"optimizer={expected['optimizer']}"
    assert SPACE.plain({k: np.float64(v) for k, v in raw.items()}) == raw


def test_trials_that_differ_in_inactive_values_only_are_the_same_point() -> None:
    one = {**RAW, "optimizer": 2}
    other = one | {"optimizer.lr@sgd": 0.5, "schedule@sgd": 1, "schedule.patience@plateau": 20}
    points = SPACE.to_unit([one, other, RAW])
    assert points[0].tolist() == points[1].tolist() != points[2].tolist()
    place = dict(zip((p.name for p in SPACE), points[2].tolist(), strict=True))
    assert place["optimizer.lr@adamw"] == place["mode.share@4"] == 0.5
    assert place["optimizer.lr@sgd"] == pytest.approx(2 / 3)  # 0.1 between 1e-3 and 1
    assert place["schedule@sgd"] == 0.25


@given(UNITS)
def test_snapping_is_from_the_cube_and_back(units: list[float]) -> None:
    points = np.array([units, units[::-1]])
    assert SPACE.snap(points).tolist() == SPACE.to_unit(SPACE.from_unit(points)).tolist()


def test_extremes_use_every_end_and_choice_where_it_counts() -> None:
    trials = [SPACE.values(raw) for raw in SPACE.extremes()]
    seen = {(key, value) for trial in trials for key, value in trial.items()}
    ends = {
        "optimizer": ["adamw", "sgd", "lbfgs"],
        "optimizer.lr": [1e-5, 1e-2, 1e-3, 1.0],
        "optimizer.momentum": [0.5, 0.99],
        "optimizer.nesterov": [True, False],
        "optimizer.dampening": [0.0, 0.9],
        "schedule": ["cosine", "plateau", "constant"],
        "schedule.patience": [0, 20],
        "data.batch_size": [16, 128],
        "mode.views": [1, 4],
        "mode.share": [10**-3.0, 10**2.0],
    }
    assert seen == {(key, value) for key, values in ends.items() for value in values}
    both = {(t["optimizer"], t.get("schedule")) for t in trials}
    assert {("adamw", "plateau"), ("sgd", "plateau")} <= both
    assert len(trials) < 8  # of the 24 that one for each would take


def test_the_largest_value_may_stand_under_any_choice() -> None:
    assert SPACE.largest("optimizer.lr") == ["optimizer.lr=1.0"]


RANGE = {"low": 0.0, "high": 1.0}
CHOICES = {"choices": ["a", "b"]}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"x": {"by": "x", "a": CHOICES}}, "in a circle: x by x"),
        (
            {
                "p": {"by": "z", "a": RANGE},
                "x": {"by": "y", "a": CHOICES},
                "y": {"by": "z", "a": CHOICES},
                "z": {"by": "x", "a": CHOICES},
            },
            "in a circle: z by x by y by z",
        ),
        ({"optimizer": CHOICES, "x": {"by": "optimiser", "a": RANGE}}, "did you mean 'optimizer'"),
        ({"o": CHOICES, "x": {"by": "o", "c": RANGE}}, "space.x.c: o is one of a, b"),
        (
            {"o": CHOICES, "x": {"by": "o", "a": RANGE, "c": RANGE}, "y": {"by": "o", "c": RANGE}},
            "remove them with ~space.x.c ~space.y",
        ),
        (
            {"o": CHOICES, "x": {"by": "o", "low": 0, "high": 1}},
            "space.x: expected by or high, low",
        ),
        ({"o": RANGE, "x": {"by": "o", "a": RANGE}}, "space.x.by=o: expected a parameter with cho"),
        ({"o": CHOICES, "x": {"by": "o"}}, "space.x.by=o: nothing stands below it"),
        ({"o": CHOICES, "x": {"by": None, "a": RANGE}}, "space.x.by=None: expected the key"),
        ({"o": CHOICES, "x": {"by": "o", "a": 3}}, "space.x.a: expected low and high"),
        ({"o": CHOICES, "x": {"by": "o", "a": {"low": 2, "high": 1}}}, "space.x.a: empty range"),
        ({"o": {"choices": ["a"], "x": 3}}, "nothing else beside it but parameters of the group"),
    ],
)
def test_a_condition_that_cannot_be_met_is_refused_in_one_line(
    config: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Space.from_config(config)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_choice_with_a_slash_makes_a_name_that_ray_leaves_whole() -> None:
    space = Space.from_config({"model": {"choices": ["a/b"]}, "x": {"by": "model", "a/b": RANGE}})
    assert [p.name for p in space] == ["model", "x@a|b"]
    assert space.values({"model": 0, "x@a|b": 0.5}) == {"model": "a/b", "x": 0.5}


def test_a_configuration_as_raw_values_by_hand() -> None:
    raw, said = SPACE.raw_of({**SPACE.values(RAW), "optimizer.weight_decay": 0.1})
    assert said == []
    assert raw["data.batch_size"] == 6
    assert raw["optimizer.nesterov@sgd"] == 1
    assert raw["optimizer.lr@adamw"] == pytest.approx(math.sqrt(1e-5 * 1e-2))  # the middle
    assert raw["mode.share@4"] == -0.5


@pytest.mark.parametrize(
    ("change", "raw", "said"),
    [
        (
            {"optimizer.lr": 2.0},
            {"optimizer.lr@sgd": 1.0},
            "optimizer.lr=2.0 lies outside space.optimizer.lr.sgd (0.001 to 1.0)",
        ),
        (
            {"optimizer.lr": 0},
            {"optimizer.lr@sgd": 0.001},
            "optimizer.lr=0 lies outside space.optimizer.lr.sgd (0.001 to 1.0)",
        ),
        (
            {"data.batch_size": 48},  # log2 is 5.58
            {"data.batch_size": 6},
            "data.batch_size=48 lies outside space.data.batch_size (16 to 128, powers of 2)",
        ),
        (
            {"data.batch_size": 1},
            {"data.batch_size": 4},
            "data.batch_size=1 lies outside space.data.batch_size (16 to 128, powers of 2)",
        ),
        (
            {"schedule.patience": 2.75},
            {"schedule.patience@plateau": 3},
            "schedule.patience=2.75 lies outside space.schedule.patience.plateau "
            "(0 to 20, whole numbers)",
        ),
        (
            {"optimizer.momentum": None},
            {"optimizer.momentum@sgd": 0.745},
            "optimizer.momentum=null lies outside space.optimizer.momentum.sgd (0.5 to 0.99)",
        ),
        (
            {"schedule": "one_cycle"},
            {"schedule@sgd": 0},
            "schedule=one_cycle lies outside space.schedule.sgd (plateau, constant)",
        ),
        (
            {"mode.views": True},  # which is no 1
            {"mode.views": 0},
            "mode.views=true lies outside space.mode.views (1, 4)",
        ),
    ],
)
def test_what_lies_outside_is_told_and_taken_to_the_nearest(
    change: dict[str, Any], raw: dict[str, Any], said: str
) -> None:
    found, told = SPACE.raw_of({**SPACE.values(RAW), **change})
    assert told == [said]
    assert {name: found[name] for name in raw} == pytest.approx(raw)


def test_what_a_configuration_does_not_have_is_told() -> None:
    values = SPACE.values(RAW)
    del values["optimizer.momentum"]
    raw, said = SPACE.raw_of(values)
    assert raw["optimizer.momentum@sgd"] == pytest.approx(0.745)
    assert said == [
        "optimizer.momentum is not set, but space.optimizer.momentum.sgd searches it (0.5 to 0.99)"
    ]


@given(UNITS)
def test_a_trials_values_give_it_back(units: list[float]) -> None:
    (raw,) = SPACE.from_unit(np.array([units]))
    found, said = SPACE.raw_of(SPACE.values(raw))
    assert said == []
    assert SPACE.overrides(found) == SPACE.overrides(raw)
    assert set(found) == set(raw)


@given(st.floats(-30, 30), st.sampled_from([2, 10, math.e, 0.5, 0.001, 1.5]))
def test_powers_are_inverted_to_the_last_bit(raw: float, power: float) -> None:
    parameter = Parameter("x", -30.0, 30.0, power=power)
    assert parameter.value(parameter.raw(parameter.value(raw))) == parameter.value(raw)
