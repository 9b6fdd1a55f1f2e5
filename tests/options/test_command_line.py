"""Text arrives as it was typed; Hydra's own parser is what it is compared with."""

import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from carsclf.errors import ConfigError, nearest
from carsclf.options.command_line import (
    argument,
    as_typed,
    check_groups,
    flags_first,
    joined_experiments,
    quoted,
)
from tests.conftest import ROOT

PARSER = OverridesParser.create()


def read(argument: str) -> object:
    """What Hydra makes of an argument."""
    return PARSER.parse_override(argument).value()


NAMES = [
    *("2024", "007", "1.10", "1e5", "2024_12_01", "0", "true", "inf", "nan", "-1"),
    *("a:b", "[x]", "/x/[a] b", "a b", "a=b", "a'b", 'a"b', "a,b", "(a)", "{a: 1}", "a#b", "a;b"),
    *("größe", "日本", "a\\b", "a\\", "\\'", "-x", "../x", "a/b", "100%", "a&b|c", "~a", "!a", "'"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["name", "data.root", "resume", "overrides", "++name"])
def test_names_are_text(key: str, name: str) -> None:
    (argument,) = as_typed([f"{key}={name}"], "train")
    assert read(argument) == name
    assert as_typed([argument], "train") == [argument]  # DDP's further processes type it again


@given(st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), min_size=1))
def test_any_text_survives_quoting(text: str) -> None:
    assert read(f"name={quoted(text)}") == text


def test_lists_of_names() -> None:
    (argument,) = as_typed(["data.classes=[911, größe, 1_0, A4]"], "train")
    assert read(argument) == ["911", "größe", "1_0", "A4"]
    (argument,) = as_typed(["runs=[/x/ü,2024]"], "report")
    assert read(argument) == ["/x/ü", "2024"]
    assert as_typed(["data.classes=['a,b',c]"], "train") == ["data.classes=['a,b',c]"]


def test_lists_of_names_and_settings() -> None:
    (argument,) = as_typed(["candidates=[a.b, {name: c, weights: /d/e.pth}]"], "advise")
    assert read(argument) == ["a.b", {"name": "c", "weights": "/d/e.pth"}]
    (argument,) = as_typed(["candidates=[größe]"], "advise")
    assert read(argument) == ["größe"]


def test_what_stays_as_it_is() -> None:
    kept = ["seed=1,2", "name=null", "name=plain", "name='5'", "-m", "mode.boundary=4", "~name"]
    assert as_typed(kept, "train") == kept
    assert as_typed(["-m", "name=a,b"], "train") == ["-m", "name=a,b"]
    assert as_typed(["data.root=${oc.env:HOME}/x"], "train") == ["data.root=${oc.env:HOME}/x"]


def test_flags_may_stand_anywhere() -> None:
    typed = ["data=folder", "-m", "seed=1,2"]
    assert flags_first(typed) == ["-m", "data=folder", "seed=1,2"]
    assert flags_first(["seed=1", "--cfg", "job"]) == ["seed=1", "--cfg", "job"]


def test_capitals_are_a_slip() -> None:
    assert nearest("SEA", ["forest", "sea", "Ses"]) == "did you mean 'sea'?"


def test_a_group_takes_the_name_of_an_option() -> None:
    with pytest.raises(ConfigError, match=r"logger=null: choose from csv, wandb"):
        check_groups(["logger=null"], ROOT / "conf")
    with pytest.raises(ConfigError, match=r"model=\{name: x\}"):
        check_groups(["model={name: x}"], ROOT / "conf")
    with pytest.raises(ConfigError, match=r"mixing=\[mixup,cutmix\]: expected one of them"):
        check_groups(["mixing=[mixup,cutmix]"], ROOT / "conf")
    check_groups(["logger=csv", "name=null", "data.root=null", "space=[a,b]"], ROOT / "conf")


def test_what_is_printed_can_be_typed_into_a_shell() -> None:
    folder = Path("runs/train/a b's [1]")
    (typed,) = shlex.split(argument("resume", folder))
    assert PARSER.parse_override(typed).value() == str(folder)


@pytest.mark.parametrize(
    ("typed", "joined"),
    [
        (["seed=1", "+experiment=demo", "a=b"], ["seed=1", "experiment=demo", "a=b"]),
        (["experiment=demo", "seed=1"], ["experiment=demo", "seed=1"]),
        (["experiment=x", "seed=1", "+experiment=y"], ["experiment=[x,y]", "seed=1"]),
        (["experiment=[x,y]", "+experiment=z", "-m"], ["experiment=[x,y,z]", "-m"]),
    ],
)
def test_a_plus_adds_an_experiment_to_those_that_stand_there(
    typed: list[str], joined: list[str]
) -> None:
    assert joined_experiments(typed) == joined
