"""Time counts over sittings, whatever ended them."""

import json
from pathlib import Path

import pytest

from carsclf.advising import ledger as module
from carsclf.advising.ledger import Ledger


class Clock:
    """A clock that a test moves on."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_seconds_of_all_sittings_count_and_those_between_do_not(
    tmp_path: Path, clock: Clock
) -> None:
    one = Ledger(tmp_path / "time.jsonl", hours=0.1)
    with one.at("probe"):
        clock.now += 100
        one.beat()
        clock.now += 30  # killed here: lost, as no beat came
        rows = (tmp_path / "time.jsonl").read_text()
    (tmp_path / "time.jsonl").write_text(rows)
    clock.now += 10_000
    two = Ledger(tmp_path / "time.jsonl", hours=0.1)
    assert two.spent_at("probe") == 100
    with two.at("growth"):
        clock.now += 60
    assert (two.spent(), two.left()) == (160, 200)
    assert two.spent_at("growth") == 60


def test_imports_before_the_first_stage_count(tmp_path: Path, clock: Clock) -> None:
    ledger = Ledger(tmp_path / "time.jsonl", hours=1)
    with ledger.running(began=clock.now - 7):
        clock.now += 1
    assert ledger.spent() == 8


def test_a_line_cut_off_by_a_kill_costs_that_line_only(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "time.jsonl"
    path.write_text(json.dumps({"stage": "look", "seconds": 5}) + '\n{"stage": "lo')
    ledger = Ledger(path, hours=1)
    clock.now += 2
    ledger.beat()
    assert Ledger(path, hours=1).spent() == 7
