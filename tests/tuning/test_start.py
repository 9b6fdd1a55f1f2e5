"""What is known before a search: the study as composed, and what search.start adds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hydra import initialize_config_dir

from carsclf.errors import ConfigError
from carsclf.tuning.space import Space
from carsclf.tuning.study.composition import Composition
from carsclf.tuning.study.start import known_starts
from tests.conftest import ROOT

SPACE = {
    "optimizer": {
        "choices": ["adamw", "sgd"],
        "lr": {
            "by": "optimizer",
            "adamw": {"low": 1e-4, "high": 1e-2, "log": True},
            "sgd": {"low": 1e-3, "high": 1.0, "log": True},
        },
    },
    "data": {"batch_size": {"low": 4, "high": 7, "int": True, "power": 2}},
}


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield


def starts(*given, study=(), space=SPACE):
    return known_starts(given, Composition.of(list(study)), Space.from_config(space))


def test_the_incumbent_is_the_study_as_composed() -> None:
    (known,) = starts(study=["optimizer.lr=0.004", "data.batch_size=64"])
    assert (known.role, known.overrides, known.outside) == ("incumbent", [], [])
    assert known.raw["optimizer"] == 0
    assert known.raw["optimizer.lr@adamw"] == 0.004
    assert known.raw["data.batch_size"] == 6  # 2**6


def test_what_lies_outside_is_said_and_run_as_it_is() -> None:
    (known,) = starts(study=["optimizer.lr=0.5", "data.batch_size=256"])
    assert known.overrides == []
    assert known.raw["optimizer.lr@adamw"] == 1e-2
    assert known.values == {"optimizer": "adamw", "optimizer.lr": 0.5, "data.batch_size": 256}
    said = " ".join(known.outside)
    assert "optimizer.lr=0.5 lies outside space.optimizer.lr" in said
    assert "data.batch_size=256 lies outside space.data.batch_size" in said


@pytest.mark.parametrize(
    "given", ["optimizer=sgd optimizer.lr=0.1", ["optimizer=sgd", "optimizer.lr=0.1"]]
)
def test_a_list_of_overrides_goes_on_top(given) -> None:
    _, other = starts(given, study=["data.batch_size=16"])
    assert (other.role, other.overrides) == ("start", ["optimizer=sgd", "optimizer.lr=0.1"])
    assert (other.raw["optimizer"], other.raw["data.batch_size"]) == (1, 4)
    assert other.raw["optimizer.lr@sgd"] == 0.1


def test_of_an_earlier_study_only_what_is_searched_here(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    earlier = ["data=stanford_cars", "optimizer=adamw", "data.image_size=64", "optimizer.lr=0.003"]
    path.write_text(yaml.safe_dump(earlier))
    _, warm = starts(str(path))
    assert warm.overrides == ["optimizer=adamw", "optimizer.lr=0.003"]
    assert warm.raw["optimizer.lr@adamw"] == 0.003


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("optimizer.speed=3", "search.start: optimizer.speed=3: .*speed"),
        ("optimizer=adamm", "search.start: optimizer=adamm: .*adamm"),
        ("optimizer.lr=fast", "search.start: optimizer.lr=fast: .*expected a number"),
        ("0.01", "search.start: 0.01: expected a list of overrides or a best.yaml"),
        ("nowhere.yaml", "nowhere.yaml cannot be read"),
    ],
)
def test_what_does_not_compose_is_one_line(given: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        starts(given)
    assert "\n" not in str(caught.value)


def test_a_study_that_sets_nothing_searched_is_no_start(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    path.write_text("[data=folder]\n")
    with pytest.raises(ConfigError, match="sets nothing that this space searches"):
        starts(str(path))
