"""A study rebuilt from its journal, cut anywhere, decides as if it had never been killed."""

import json
from pathlib import Path

import pytest
from tables import HORIZON, SEARCHES, make_searches

from carsclf.errors import CheckpointError
from carsclf.tuning.study.controller import Controller
from carsclf.tuning.study.journal import Journal
from carsclf.tuning.study.records import StudyFolder
from carsclf.tuning.study.study import Study
from carsclf.tuning.workers.recorded import RecordedWorkers, Table

ASIDE = {"idle", "resume", "error", "start"}


def make_study(root: Path, table: Table, search: str, budget: float) -> Study:
    folder = StudyFolder(root)
    journal = Journal(folder.events)
    chosen = make_searches(budget=budget)[search]
    loop = Controller(chosen, table.space, HORIZON, journal.record)
    return Study(journal, loop, "accuracy", 1, folder)


def run(study: Study, table: Table, workers: int) -> Study:
    study.rebuild()
    study.run(RecordedWorkers(table, workers, "accuracy"), lambda: None)
    study.journal.close()
    return study


def decisions(path: Path) -> list[dict]:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        {k: v for k, v in e.items() if k not in ("time", "seconds")}
        for e in events
        if e["kind"] not in ASIDE
    ]


@pytest.mark.parametrize("search", SEARCHES)
def test_cut_anywhere_it_goes_on_as_if_undisturbed(
    search: str, table: Table, tmp_path: Path
) -> None:
    run(make_study(tmp_path / "whole", table, search, 4), table, 1)
    whole = tmp_path / "whole" / "events.jsonl"
    lines = whole.read_bytes().splitlines(keepends=True)
    for number, cut in enumerate(range(1, len(lines), max(1, len(lines) // 6))):
        root = tmp_path / str(number)
        root.mkdir()
        torn = lines[cut][: len(lines[cut]) // 2]
        (root / "events.jsonl").write_bytes(b"".join(lines[:cut]) + torn)
        run(make_study(root, table, search, 4), table, 1)
        assert decisions(root / "events.jsonl") == decisions(whole)


@pytest.mark.parametrize("search", SEARCHES)
def test_many_workers_twice_killed(search: str, table: Table, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    run(make_study(tmp_path, table, search, 6), table, 5)
    for share in (0.3, 0.6):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[: int(len(lines) * share)]))
        study = run(make_study(tmp_path, table, search, 6), table, 5)
    assert study.controller.spent <= 6 + 1e-9
    assert not study.controller.running
    assert not study.controller.waiting
    suggested = [e["trial"] for e in decisions(path) if e["kind"] == "suggest"]
    assert suggested == list(range(len(study.controller.trials)))


def test_the_time_a_study_stood_still_does_not_count(table: Table, tmp_path: Path) -> None:
    run(make_study(tmp_path, table, "random", 2), table, 1)
    path = tmp_path / "events.jsonl"
    lines = path.read_text().splitlines()
    shifted = [json.loads(line) for line in lines[: len(lines) // 2]]
    for event in shifted:
        event["time"] -= 1000  # the second half comes a quarter of an hour later
    path.write_text("".join(json.dumps(event) + "\n" for event in shifted))
    assert run(make_study(tmp_path, table, "random", 2), table, 1).journal.seconds < 100


def test_another_past_is_refused(table: Table, tmp_path: Path) -> None:
    run(make_study(tmp_path, table, "random", 1), table, 1)
    path = tmp_path / "events.jsonl"
    text = path.read_text()
    path.write_text(text.replace('"decision": "STOP"', '"decision": "PAUSE"'))
    with pytest.raises(CheckpointError, match="does not repeat itself"):
        make_study(tmp_path, table, "random", 1).rebuild()


def test_a_damaged_journal_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"kind": "study"}\nnot json\n{"kind": "idle"}\n')
    with pytest.raises(CheckpointError, match="line 2"):
        Journal(tmp_path / "events.jsonl")


@pytest.mark.parametrize("search", SEARCHES)
def test_a_diverged_training_is_not_retried_and_scores_worst(
    search: str, table: Table, tmp_path: Path
) -> None:
    study = make_study(tmp_path, table, search, 4)
    loop, workers = study.controller, RecordedWorkers(table, 1, "score")
    said: dict[int, float] = {}  # what the searcher heard last of each trial
    worst = float("nan")
    complete = loop.searcher.on_trial_complete

    def listen(trial_id: str, result: dict | None = None, error: bool = False) -> None:
        if result:
            said[int(trial_id)] = result["score"]
        complete(trial_id, result=result, error=error)

    loop.searcher.on_trial_complete = listen
    for _ in range(40):
        trial = loop.ask()
        if trial is None:
            break
        while trial in loop.running:
            if trial.number == 3:
                worst = min(t.result["score"] for t in loop.trials if t.result)
                loop.reject(trial, "loss became nan")
                break
            workers.start(trial)
            event = workers.next(1.0)
            assert event is not None
            assert event.epoch is not None
            loop.tell(trial, event.epoch.epoch, event.epoch.metrics, 1.0)
    assert [(t.number, t.status) for t in loop.trials if t.failures] == [(3, "ERROR")]
    assert said[3] == worst < max(said.values())
    study.journal.close()
    again = make_study(tmp_path, table, search, 4)
    again.rebuild()
    assert [t.status for t in again.controller.trials] == [t.status for t in loop.trials]
