"""A study given hours ends when they do, whatever it searches with, and says when they are few."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tables import HORIZON, make_table

from carsclf.tuning.search.asha import Asha
from carsclf.tuning.search.base import Search
from carsclf.tuning.search.bohb import Bohb
from carsclf.tuning.search.multitask import Multitask
from carsclf.tuning.search.random import Random
from carsclf.tuning.study import journal as journals
from carsclf.tuning.study.controller import Controller
from carsclf.tuning.study.deadline import Deadline, makespan
from carsclf.tuning.study.journal import Journal
from carsclf.tuning.study.records import StudyFolder
from carsclf.tuning.study.replay import replay
from carsclf.tuning.study.study import Study
from carsclf.tuning.trial import Start
from carsclf.tuning.workers.recorded import RecordedWorkers, Table
from tests.test_commands import error_of

Command = Callable[..., int]
KINDS: dict[str, Callable[..., Search]] = {
    "random": Random,
    "asha": lambda **shared: Asha(**shared, grace=0.06, reduction=3),
    "bohb": lambda **shared: Bohb(**shared, rungs=4, reduction=3),
    "multitask": lambda **shared: Multitask(**shared, fidelities=(0.1, 0.5, 1.0)),
}


def timed(kind: str, hours: float, final: float, **options: Any) -> Search:
    shared = {"budget": None, "trials": 1000, "hours": hours, "final": final, **options}
    return KINDS[kind](**shared)


def known(table: Table) -> Start:
    return Start("incumbent", [], table.raw(0))


@pytest.fixture(scope="module", params=["equal", "differing"])
def recorded(request: pytest.FixtureRequest) -> Table:
    """Trainings of an hour each, or from a quarter of an hour to four, an hour on average."""
    table = make_table()
    if request.param == "differing":
        cost = np.exp(np.random.default_rng(1).normal(0, 0.5, len(table.cost)))
        table.cost = cost / cost.mean()
    return table


@pytest.mark.parametrize("final", [0.0, 0.25])
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_with_its_hours(kind: str, workers: int, final: float, recorded: Table) -> None:
    study, curve = replay(
        timed(kind, 12, final), recorded, workers=workers, starts=[known(recorded)]
    )
    assert curve.time[-1] == pytest.approx(12, rel=0.1)
    whole = [t for t in study.controller.finalists if t.epoch == HORIZON]
    assert len(whole) == len(study.controller.finalists)
    assert (len(whole) >= 2) == bool(final)
    closed = [e for e in study.journal.events if e["kind"] == "close"]
    assert [e["why"] for e in closed] == ["hours spent"]


def test_a_search_that_has_nothing_left_hands_its_hours_to_the_final(table: Table) -> None:
    """Three trials of an hour, then the final that a fifth of fifty hours holds: ten trainings."""
    study, curve = replay(timed("random", 50, 0.2, trials=3), table, starts=[known(table)])
    assert [t.epoch for t in study.controller.trials] == [HORIZON] * 3
    assert len(study.controller.finalists) == 9  # three configurations over three seeds
    assert curve.time[-1] == pytest.approx(12)


def test_of_a_budget_and_hours_the_one_that_is_spent_first_counts(table: Table) -> None:
    hours, curve = replay(timed("random", 8, 0.25, budget=100), table, starts=[known(table)])
    assert curve.time[-1] == pytest.approx(8, rel=0.1)
    assert len(hours.controller.finalists) == 2
    budget, curve = replay(timed("random", 100, 0.25, budget=8), table, starts=[known(table)])
    assert curve.time[-1] == pytest.approx(8)
    assert len(budget.controller.finalists) == 2


@pytest.mark.parametrize("when", [0.3, 0.9])
@pytest.mark.parametrize("kind", ["random", "asha"])
def test_a_resumed_study_keeps_to_them_and_its_rest_does_not_count(
    kind: str, when: float, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[float] = []
    path = tmp_path / "events.jsonl"

    def sitting(start: float) -> Study:
        """The study's clock shows ``start`` when its workers' clock shows 0."""
        workers = RecordedWorkers(table, 2, "accuracy")
        monkeypatch.setattr(journals.time, "time", lambda: start + workers.now)
        search, journal = timed(kind, 12, 0.25), Journal(path)
        controller = Controller(search, table.space, HORIZON, journal.record, [known(table)])
        begun = bool(journal.events)
        deadline = Deadline(12, 0.25, lambda _: None, begun)
        study = Study(journal, controller, "accuracy", 1, StudyFolder(tmp_path), deadline)
        study.rebuild()
        study.run(workers, lambda: ended.append(journal.seconds / 3600))
        journal.close()
        return study

    sitting(1000.0)
    events = [json.loads(line) for line in path.read_text().splitlines()]
    first = [e for e in events if e["time"] <= 1000 + when * 12 * 3600]
    path.write_text("".join(json.dumps(e) + "\n" for e in first))
    study = sitting(first[-1]["time"] + 1e6)  # it stood still for eleven days
    assert ended[-1] == pytest.approx(12, rel=0.1)
    assert len([e for e in study.journal.events if e["kind"] == "close"]) == 1


def test_trainings_in_a_row_end_when_the_last_free_worker_does() -> None:
    assert makespan([3, 1, 1, 1, 4], 2) == 7  # 3, then 4 from there; beside it 1, 1, 1
    assert makespan([3, 1], 5) == 3


def short(tiny: list[str], hours: float, *options: str) -> list[str]:
    return [
        *(o for o in tiny if not o.startswith(("trainer.max_epochs", "data.batch"))),
        *("trainer.max_epochs=4", "space.data.batch_size={low: 1, high: 3}"),
        *("resources.workers=1", "search=asha", "search.grace=0.3", "search.budget=null"),
        *(f"search.hours={hours}", "name=timed", *options),
    ]


@pytest.mark.xdist_group("ray")
def test_hours_that_hold_no_training_are_refused_in_one_line_and_leave_no_folder(
    command: Command, tiny: list[str], tmp_path: Path, capfd, ray_cluster: None
) -> None:
    assert command("tune.py", *short(tiny, 0.00001)) == 1
    said = error_of(capfd)
    assert "search.hours=1e-05: one full training of 4 epochs takes about" in said
    assert not (tmp_path / "runs/tune/timed").exists()


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("final", [0, 0.3])
def test_half_a_minute_of_real_trainings(
    final: float, command: Command, tiny: list[str], tmp_path: Path, ray_cluster: None
) -> None:
    seconds = 40.0
    assert command("tune.py", *short(tiny, seconds / 3600, f"search.final={final}")) == 0
    told = json.loads((tmp_path / "runs/tune/timed/study.json").read_text())
    print(final, told["seconds"], told["spent"], len(told["final"]))
    assert told["seconds"] == pytest.approx(seconds, rel=0.1)
    assert bool(told["final"]) == bool(final)
