"""What a study does with what its workers tell, and with the files they leave."""

from pathlib import Path
from typing import Any

import pytest
from scripted import METRIC, epochs, make_study, run_study

from carsclf.records import RunFolder
from carsclf.tuning.search.asha import Asha
from carsclf.tuning.search.base import Search
from carsclf.tuning.search.bohb import Bohb
from carsclf.tuning.search.multitask import Multitask
from carsclf.tuning.search.random import Random
from carsclf.tuning.trial import FAILED, SCORE, Trial
from carsclf.tuning.workers.protocol import Failure

NAN = float("nan")
SEARCHES: dict[str, Search] = {
    "random": Random(budget=99, trials=8),
    "asha": Asha(budget=99, trials=8, grace=0.25, reduction=2),
    "bohb": Bohb(budget=99, trials=8, rungs=3, reduction=2),
    "multitask": Multitask(budget=99, trials=8, fidelities=(0.5, 1.0)),
}


def told(study: Any, trial: int) -> list[dict[str, Any] | None]:
    """Has what the searcher hears of a trial's end written down."""
    heard, real = [], study.controller.searcher.on_trial_complete

    def listen(trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if int(trial_id) == trial:
            heard.append(result)
        real(trial_id, result=result, error=error)

    study.controller.searcher.on_trial_complete = listen
    return heard


@pytest.mark.parametrize("diverged", [NAN, float("inf"), Failure("nan", final=True)], ids=str)
@pytest.mark.parametrize("search", SEARCHES)
def test_a_diverged_trial_is_told_as_the_worst_and_never_wins(
    search: str, diverged: float | Failure, tmp_path: Path
) -> None:
    from scripted import Scripted

    study = make_study(tmp_path, SEARCHES[search], 8)
    heard = told(study, 3)
    outcomes: list[Any] = [0.5, 0.2, 0.7, diverged, 0.6, 0.3, 0.4, 0.65]
    study.run(Scripted(outcomes, lambda _: None), lambda: None)
    study.journal.close()
    trial = study.controller.trials[3]
    assert (trial.status, trial.epoch, trial.best) == (FAILED, 0, None)
    assert [result and result[SCORE] for result in heard] == [0.2]
    assert study.controller.best is study.controller.trials[2]
    again = make_study(tmp_path, SEARCHES[search], 8)
    again.rebuild()
    again.journal.close()
    assert [t.status for t in again.controller.trials] == [
        t.status for t in study.controller.trials
    ]


def test_the_first_trial_may_diverge_too(tmp_path: Path) -> None:
    study = run_study(tmp_path, SEARCHES["asha"], 8, [NAN, *[0.5] * 7])
    assert study.controller.trials[0].status == FAILED
    assert study.controller.best is study.controller.trials[1]


def test_less_of_a_loss_is_better(tmp_path: Path) -> None:
    """As with ASHA's worked table of scores, where each loss is 1 - score."""
    search = Asha(budget=10, trials=5, grace=0.25, reduction=2)
    study = run_study(tmp_path, search, 12, [0.5, 0.6, 0.4, 0.55, 0.48], sign=-1)
    assert epochs(study) == [12, 3, 12, 3, 6]
    assert study.controller.best is study.controller.trials[2]


def test_less_of_a_loss_is_promoted(tmp_path: Path) -> None:
    """As with BOHB's worked table of scores."""
    search = Bohb(budget=10, trials=5, rungs=2, reduction=3)
    study = run_study(tmp_path, search, 9, [0.9, 0.7, 0.8, 0.85, 0.75], sign=-1)
    assert epochs(study) == [3, 9, 3, 9, 9]
    assert study.controller.best is study.controller.trials[1]
    assert study.value(study.controller.trials[1].best) == 0.7


def leaves(study_root: Path, trial: Trial) -> RunFolder:
    return RunFolder(study_root / "trials" / trial.trial_id)


@pytest.mark.parametrize("search", SEARCHES)
def test_of_all_trials_the_best_keeps_its_model(search: str, tmp_path: Path) -> None:
    checked = []

    def trained(trial: Trial) -> None:
        files = leaves(tmp_path, trial)
        if trial.epoch:  # what it goes on from is still there, also after a pause
            assert files.last.is_file()
            checked.append(trial.number)
        for path in (files.last, files.best, files.weights, files.card, files.predictions("val")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(METRIC)

    scores = [0.5, 0.2, 0.7, 0.1, 0.6, 0.3, 0.4, 0.65]
    study = run_study(tmp_path, SEARCHES[search], 8, scores, trained=trained)
    assert checked
    for trial in study.controller.trials:
        files, best = leaves(tmp_path, trial), trial is study.controller.best
        kept = (files.weights, files.card, files.best, files.predictions("val"))
        assert [path.is_file() for path in kept] == [best] * 4
        assert not files.last.is_file()
