"""Class names and kinds of errors, against all official names of Stanford Cars."""

from pathlib import Path

import numpy as np
import pytest

from carsclf.analysis.class_names import CarName, parse, parse_all
from carsclf.analysis.mistakes import confused_pairs, error_kind, error_rates, split_errors
from carsclf.data.drawing import CLASSES, class_names

OFFICIAL = Path(__file__).with_name("stanford_cars_classes.txt").read_text().splitlines()


def test_official_names() -> None:
    parts = parse_all(OFFICIAL)
    assert parts is not None
    assert len(parts) == 196
    assert len({p.make for p in parts}) == 49
    assert min(p.year for p in parts) == 1991
    without = [p for p in parts if p.body is None]
    assert len(without) == 14
    for name, part in zip(OFFICIAL, parts, strict=True):
        words = [part.make, part.model, part.body or "", str(part.year)]
        assert all(word in name for word in words)
        assert name.startswith(f"{part.make} {part.model}")


NAMES = {
    "Aston Martin V8 Vantage Coupe 2012": ("Aston Martin", "V8 Vantage", "Coupe", 2012),
    "AM General Hummer SUV 2000": ("AM General", "Hummer", "SUV", 2000),
    "Land Rover Range Rover SUV 2012": ("Land Rover", "Range Rover", "SUV", 2012),
    "Rolls-Royce Phantom Drophead Coupe Convertible 2012": (
        *("Rolls-Royce", "Phantom Drophead Coupe", "Convertible", 2012),
    ),
    "Ram C/V Cargo Van Minivan 2012": ("Ram", "C/V Cargo Van", "Minivan", 2012),
    "Audi 100 Wagon 1994": ("Audi", "100", "Wagon", 1994),
    "Chevrolet Express Cargo Van 2007": ("Chevrolet", "Express", "Cargo Van", 2007),
    "Ford Ranger SuperCab 2011": ("Ford", "Ranger", "SuperCab", 2011),
    "Dodge Charger SRT-8 2009": ("Dodge", "Charger", None, 2009),
    "Infiniti G Coupe IPL 2012": ("Infiniti", "G", "Coupe", 2012),
    "Acura TL Type-S 2008": ("Acura", "TL", None, 2008),
    "smart fortwo Convertible 2012": ("smart", "fortwo", "Convertible", 2012),
}


@pytest.mark.parametrize("name", NAMES)
def test_parts(name: str) -> None:
    assert parse(name) == CarName(*NAMES[name])


def test_names_without_parts() -> None:
    assert [parse(n) for n in ("buildings", "class 0", "Audi 2012", "2012", "")] == [None] * 5
    assert parse_all(["Audi A5 Coupe 2012", "sea"]) is None
    assert split_errors(np.array([0]), np.array([1]), ["Audi A5 Coupe 2012", "sea"]) is None


def test_drawn_cars_are_named_alike() -> None:
    for name, (model, design) in zip(class_names(), CLASSES, strict=True):
        assert parse(name) == CarName(model.make, model.name, model.body, design.year)


KINDS = {
    ("BMW M5 Sedan 2010", "BMW M5 Sedan 2012"): "other year",
    ("Dodge Charger SRT-8 2009", "Dodge Charger Sedan 2012"): "other year",
    ("BMW 1 Series Coupe 2012", "BMW 1 Series Convertible 2012"): "other body style",
    ("BMW 1 Series Coupe 2012", "BMW 1 Series Convertible 2007"): "other body style",
    ("Chevrolet Corvette ZR1 2012", "Chevrolet Corvette Convertible 2012"): "other body style",
    ("BMW M5 Sedan 2010", "BMW M6 Convertible 2010"): "other model",
    ("BMW M5 Sedan 2010", "Audi S4 Sedan 2007"): "other make",
}


@pytest.mark.parametrize("pair", KINDS)
def test_kind_of_error(pair: tuple[str, str]) -> None:
    a, b = parse(pair[0]), parse(pair[1])
    assert a is not None
    assert b is not None
    assert error_kind(a, b) == error_kind(b, a) == KINDS[pair]


def test_split_and_pairs_by_hand() -> None:
    names = ["BMW M5 Sedan 2010", "BMW M5 Sedan 2012", "Audi S4 Sedan 2007"]
    targets = np.array([0, 0, 0, 1, 1, 2, 2])
    predicted = np.array([0, 1, 1, 0, 1, 0, 2])
    table = split_errors(targets, predicted, names)
    assert table is not None
    assert table.set_index("kind")["errors"].to_dict() == {
        "other year": 3,
        "other body style": 0,
        "other model": 0,
        "other make": 1,
    }
    assert sum(table["share"].tolist()) == 1
    pairs = confused_pairs(targets, predicted, names, most=9)
    assert pairs.to_numpy().tolist() == [
        ["BMW M5 Sedan 2010", "BMW M5 Sedan 2012", 3, 5, 0.6],
        ["BMW M5 Sedan 2010", "Audi S4 Sedan 2007", 1, 5, 0.2],
    ]
    assert confused_pairs(targets, targets, names, most=9).empty


def test_error_rates_by_cause() -> None:
    wrong = np.array([1, 1, 0, 0, 0, 0, 0, 0, 1], bool)
    clutter = np.arange(9)
    light = np.array(["day"] * 6 + ["night"] * 3)
    occlusion = np.array([0.0] * 6 + [0.1, 0.2, np.nan])
    table = error_rates(wrong, {"clutter": clutter, "light": light, "occlusion": occlusion})
    by = table.set_index(["cause", "group"])
    assert by.loc["clutter", "images"].tolist() == [3, 3, 3]
    assert by.loc["clutter", "errors"].tolist() == [2, 0, 1]
    assert by.loc[("light", "night"), "rate"] == pytest.approx(1 / 3)
    assert sum(by.loc["occlusion", "images"].tolist()) == 8  # the unknown one is in no group
    low, rate, high = table[["low", "rate", "high"]].to_numpy().T
    assert ((low <= rate) & (rate <= high)).all()


def test_most_values_alike() -> None:
    table = error_rates(np.zeros(10, bool), {"blur": np.r_[np.zeros(6), 1, 2, 3, 4.0]})
    assert table["group"].tolist() == ["up to 0", "0 to 2.5", "over 2.5"]
    assert table["images"].tolist() == [6, 2, 2]
