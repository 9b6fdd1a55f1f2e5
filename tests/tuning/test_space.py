from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from carsclf.errors import ConfigError
from carsclf.training.run import fit
from carsclf.tuning.space import Parameter, Space
from carsclf.tuning.study.composition import Composition

CONF = Path(__file__).parents[2] / "conf"
MIXED = {
    "optimizer": {
        "lr": {"low": 1e-4, "high": 1.0, "log": True},
        "nesterov": {"choices": [True, False]},
    },
    "data": {"batch_size": {"low": 4, "high": 8, "int": True, "power": 2}},
    "schedule": {"choices": ["plateau", "cosine", None]},
    "patience": {"low": 0, "high": 20, "int": True},
}


def read(name: str) -> Space:
    config = OmegaConf.to_container(OmegaConf.load(CONF / "space" / f"{name}.yaml"))
    assert isinstance(config, dict)
    return Space.from_config({str(k): v for k, v in config.items()})


def test_published_space_has_the_published_bounds():
    space = {p.key: p for p in read("published")}
    assert set(space) == {
        "optimizer.lr",
        "optimizer.weight_decay",
        "optimizer.momentum",
        "optimizer.nesterov",
        "schedule.factor",
        "schedule.patience",
        "data.batch_size",
    }
    rate, decay = space["optimizer.lr"], space["optimizer.weight_decay"]
    assert np.log([rate.low, rate.high]) == pytest.approx([-9.21, 0], abs=1e-5)
    assert np.log([decay.low, decay.high]) == pytest.approx([-11.33, 0], abs=1e-5)
    assert rate.log
    assert decay.log
    assert [space["data.batch_size"].value(k) for k in range(4, 9)] == [16, 32, 64, 128, 256]
    assert (space["schedule.patience"].low, space["schedule.patience"].high) == (0, 20)


@pytest.mark.parametrize("name", ["published", "boundary", "modern", "frozen"])
def test_every_space_reads(name):
    assert len(read(name)) > 0


def test_spaces_combine_and_bounds_change_on_the_command_line(tmp_path):
    (tmp_path / "config.yaml").write_text("defaults:\n  - space: published\n")
    for file in (CONF / "space").glob("*.yaml"):
        (tmp_path / "space").mkdir(exist_ok=True)
        (tmp_path / "space" / file.name).write_text(file.read_text())
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        config = compose("config", ["space=[published,boundary]", "space.optimizer.lr.high=0.1"])
    space = Space.from_config(OmegaConf.to_container(config.space))  # type: ignore[arg-type]
    keys = {p.key: p for p in space}
    assert keys["optimizer.lr"].high == 0.1
    assert "mode.boundary" in keys


def composed(overrides: str) -> tuple[Composition, Space]:
    """A study and its space; call inside `initialize_config_dir`."""
    made = Composition.of(overrides.split())
    return made, Space.from_config(OmegaConf.to_container(made.config.space))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("overrides", "optimizers"),
    [
        ("mode=finetune", {"adamw", "sgd"}),
        ("mode=partial", {"adamw", "sgd"}),
        ("mode=freeze", {"lbfgs", "adamw"}),
        ("mode=freeze optimizer=adamw", {"lbfgs", "adamw"}),
        ("mode=freeze optimizer=sgd schedule=cosine", {"lbfgs", "adamw"}),
        ("optimizer=sgd", {"adamw", "sgd"}),
        ("mode=freeze optimizer=adamw mode.cache=false space=modern", {"adamw", "sgd"}),
        ("mode=partial space=[partial,boundary]", {"adamw", "sgd"}),
        ("experiment=demo_finetune", {"adamw", "sgd"}),
        ("experiment=demo_freeze", {"lbfgs", "adamw"}),
        ("space=published optimizer=sgd schedule=plateau", set()),
    ],
)
def test_the_space_fits_the_training_without_being_named(
    overrides: str, optimizers: set[str]
) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composition, space = composed(overrides)
        composition.check(space)
    found = {v["optimizer"] for v in map(space.values, space.extremes()) if "optimizer" in v}
    assert found == optimizers


@pytest.mark.parametrize(
    "overrides",
    [
        "mode=finetune",
        "optimizer=sgd",
        "mode=partial",
        "mode=freeze",
        "mode=freeze optimizer=adamw",
    ],
)
def test_a_modes_own_settings_lie_inside_its_space(overrides: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composition, space = composed(overrides)
    groups = dict(o.split("=") for o in composition.training if "." not in o.split("=")[0])
    keys = {p.key for p in space}
    absent = object()
    values = {
        key: groups.get(key, OmegaConf.select(composition.config, key, default=absent))
        for key in keys
    }
    raw, said = space.raw_of({k: v for k, v in values.items() if v is not absent})
    own = space.values(raw)
    assert said == []
    assert own["optimizer"] == groups["optimizer"]
    assert all(own[key] == values[key] for key in own)


def test_a_trial_of_another_optimizer_leaves_out_what_only_the_studys_has() -> None:
    own = "optimizer=sgd optimizer.momentum=0.8 optimizer.lr=0.5 schedule.momentum=false"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composition, space = composed(own)
        composition.check(space)
        trial = composition.trial(["optimizer=adamw", "schedule=cosine"], 3, "a")
        winners = [composition.repeated(space.overrides(raw)) for raw in space.extremes()]
        trained = [compose("train", winner) for winner in winners]
    assert trial["optimizer"]["_target_"].endswith("adamw")
    assert trial["optimizer"]["lr"] == 0.5  # adamw has one too, and nothing else was said of it
    assert "momentum" not in trial["optimizer"]
    assert "momentum" not in trial["schedule"]
    for winner, training in zip(winners, trained, strict=True):
        assert ("optimizer.momentum=0.8" in winner) is ("optimizer=sgd" in winner[-12:])
        assert ("momentum" in training.optimizer) is ("optimizer=sgd" in winner[-12:])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("mode=partial space=modern", "frozen part's outputs cannot be kept"),
        ("mode=freeze optimizer=adamw mode.views=4 data.transform=published", "cannot be kept"),
        ("mode=freeze optimizer=adamw mode.cache=false", "optimizer=lbfgs needs mode.cache=true"),
        ("mode=freeze space=modern", "frozen part's outputs cannot be kept"),
        ("mode=finetune space=frozen", "mode.views"),
        ("mode=finetune space=partial", "mode.views"),
    ],
)
def test_a_space_that_some_trial_would_not_take_is_refused(overrides: str, said: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composition, space = composed(overrides)
        with pytest.raises(ConfigError, match="the space does not fit the training") as caught:
            composition.check(space)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["finetune", "partial", "freeze"])
def test_every_extreme_of_a_modes_space_trains(mode: str, tiny: list[str], tmp_path: Path) -> None:
    sizes = "space.data.batch_size" + (".adamw" if mode == "freeze" else "")
    own = [*tiny, f"mode={mode}", f"{sizes}.low=2", f"{sizes}.high=3"]  # of 48 pictures
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composition, space = composed(" ".join(own))
        composition.check(space)
        trials = [composition.trial(space.overrides(raw), 1, "a") for raw in space.extremes()]
    for number, trial in enumerate(trials):
        run = fit(OmegaConf.create(trial), tmp_path / f"{number}")
        assert run.epochs == 1


@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        ({"low": 1.0, "high": 1.0}, "empty range"),
        ({"low": 2.0, "high": 1.0}, "empty range"),
        ({"low": 0.0, "high": 1.0, "log": True}, "above zero"),
        ({"low": 0.0}, "both low and high"),
        ({"low": 0.0, "hihg": 1.0}, "unknown"),
        ({"low": "a", "high": 1.0}, "must be numbers"),
        ({"low": 0.5, "high": 3, "int": True}, "whole ends"),
        ({"choices": []}, "non-empty"),
        ({"choices": [1], "low": 0}, "nothing else"),
        ({"lowest": 0.0, "highest": 1.0}, "expected low and high"),
        ({}, "both low and high"),
        (3, "expected low and high"),
    ],
)
def test_a_bad_leaf_is_refused_in_one_line_that_names_it(leaf, words):
    with pytest.raises(ConfigError, match=words) as caught:
        Space.from_config({"optimizer": {"lr": leaf}})
    assert "space.optimizer.lr" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_space_is_refused():
    with pytest.raises(ConfigError, match="empty"):
        Space.from_config({})


def test_numpy_scalars_become_plain_python():
    # Trap: TuneBOHB hands out numpy scalars, which OmegaConf refuses and which make a
    # checkpoint unreadable with weights_only=True.
    space = Space.from_config(MIXED)
    raw = {
        "optimizer.lr": np.float64(0.1),
        "optimizer.nesterov": np.int64(1),
        "data.batch_size": np.int64(5),
        "schedule": np.int64(0),
        "patience": np.int64(3),
    }
    values = space.values(space.plain(raw))
    assert values == {
        "optimizer.lr": 0.1,
        "optimizer.nesterov": False,
        "data.batch_size": 32,
        "schedule": "plateau",
        "patience": 3,
    }
    assert {type(v) for v in values.values()} == {float, bool, int, str}
    OmegaConf.create(values)


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_unit_cube_and_raw_values_are_inverse_and_overrides_parse(units):
    space = Space.from_config(MIXED)
    raw = space.from_unit(np.array([units]))[0]
    again = space.from_unit(space.to_unit([raw]))[0]
    assert again == pytest.approx(raw)
    values = space.values(raw)
    assert 1e-4 <= values["optimizer.lr"] <= 1.0 * (1 + 1e-12)  # type: ignore[operator]
    assert values["data.batch_size"] in {16, 32, 64, 128, 256}
    parsed = OverridesParser.create().parse_overrides(space.overrides(raw))
    assert {o.key_or_group: o.value() for o in parsed} == pytest.approx(values)


def test_extremes_use_both_ends_and_every_choice():
    trials = list(Space.from_config(MIXED).extremes())
    assert {t["schedule"] for t in trials} == {0, 1, 2}
    assert {t["optimizer.lr"] for t in trials} == {1e-4, 1.0}


def test_strings_that_look_like_something_else_are_quoted():
    space = Space.from_config({"name": {"choices": ["true", "1e3", "it's", "a b", "cosine"]}})
    parsed = [
        OverridesParser.create().parse_override(space.overrides({"name": i})[0]).value()
        for i in range(5)
    ]
    assert [str(v) for v in parsed] == ["true", "1e3", "it's", "a b", "cosine"]
    assert all(isinstance(v, str) for v in parsed)


def test_the_largest_value_of_a_parameter_is_an_override():
    space = Space.from_config(
        {"data": {"batch_size": {"low": 4, "high": 7, "int": True, "power": 2}}}
    )
    assert space.largest("data.batch_size") == ["data.batch_size=128"]
    assert space.largest("optimizer.lr") == []


def test_shares_of_the_unit_line_by_hand():
    numbers = [p.from_unit(np.array([0, 0.32, 0.34, 0.65, 0.67, 1])).tolist() for p in PARAMETERS]
    assert numbers[0] == pytest.approx([1e-4, 10**-2.72, 10**-2.64, 10**-1.4, 10**-1.32, 1])
    assert numbers[1] == [0, 0, 1, 1, 2, 2]  # thirds
    assert numbers[2] == [0, 0, 1, 1, 2, 2]
    assert numbers[3] == pytest.approx([2, 2.64, 2.68, 3.3, 3.34, 4])
    places = [
        p.to_unit(np.array([low, high])) for p, (low, high) in zip(PARAMETERS, ENDS, strict=True)
    ]
    assert places[0].tolist() == pytest.approx([0, 1])
    assert places[1].tolist() == pytest.approx([1 / 6, 5 / 6])  # the middles of their shares
    assert places[2].tolist() == pytest.approx([1 / 6, 5 / 6])
    assert places[3].tolist() == pytest.approx([0, 1])


PARAMETERS = [
    Parameter("optimizer.lr", 1e-4, 1.0, log=True),
    Parameter("schedule.patience", 0, 2, integer=True),
    Parameter("schedule", choices=("plateau", "cosine", None)),
    Parameter("depth", 2, 4),
]
ENDS = [(1e-4, 1.0), (0, 2), (0, 2), (2, 4)]


def test_a_final_takes_the_best_epoch_by_what_is_searched() -> None:
    """Trials report their last, whatever it is by."""
    own = ["objective.metric=val/macro_f1", "reported=best"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composition = Composition.of(own)
        final, trial = composition.trial([], 3, "study", 1), composition.trial([], 3, "study")
    assert (final["reported"], final["monitor"]) == ("best", "val/macro_f1")
    assert trial["reported"] == "last"
