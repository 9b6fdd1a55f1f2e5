"""What long studies learn from: less than all, and nothing else changes."""

from pathlib import Path

import numpy as np
import pytest
import test_journal
import test_search
from tables import HORIZON, make_searches, make_table

from carsclf.tuning.search import asha, bohb, gaussian_process
from carsclf.tuning.search.asha import Tpe
from carsclf.tuning.search.memory import remembered
from carsclf.tuning.trial import SCORE
from carsclf.tuning.workers.recorded import Table

MODELS = ("asha", "bohb", "multitask")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches that soon forget."""
    for module in (asha, bohb, gaussian_process):
        monkeypatch.setattr(module, "MOST", 12)
    monkeypatch.setattr(asha, "MORE", 3)
    monkeypatch.setattr(asha, "STARTUP", 5)


def test_the_best_and_the_newest_by_hand() -> None:
    scores = [0.5, 0.1, 0.4, 0.2, 0.3, 0.1]
    assert remembered(scores, 6) == [0, 1, 2, 3, 4, 5]
    assert remembered(scores, 4) == [0, 2, 4, 5]  # .5 and .4, then the last two others
    assert remembered(scores, 5) == [0, 2, 3, 4, 5]
    assert remembered([0.1, 0.1, 0.1, 0.1], 2) == [0, 3]  # of equals the first is the best


def test_forgetting_step_by_step_is_forgetting_at_once() -> None:
    scores = np.random.default_rng(0).random(200).round(1).tolist()
    kept: list[int] = []
    for number in range(len(scores)):
        kept.append(number)
        kept = [kept[i] for i in remembered([scores[i] for i in kept], 20)]
    assert kept == remembered(scores, 20)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("search", MODELS)
def test_a_study_that_forgets_is_resumed_alike(search: str, table: Table, tmp_path: Path) -> None:
    test_journal.test_cut_anywhere_it_goes_on_as_if_undisturbed(search, table, tmp_path)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("search", MODELS)
def test_adopted_proposals_lead_to_the_same_next_one(search: str, table: Table) -> None:
    test_search.test_adopted_proposals_lead_to_the_same_next_one(search, table)


@pytest.mark.parametrize("search", MODELS)
def test_forgetting_changes_what_is_proposed_only_beyond_the_cap(
    search: str, request: pytest.FixtureRequest
) -> None:
    def proposals() -> list[dict]:
        table = make_table()
        searcher, _ = make_searches()[search].build(table.space, HORIZON, None)
        made = []
        for number in range(40):
            made.append(searcher.suggest(str(number)))
            score = table.accuracy[table.row(made[-1]), 2].item()
            result = {SCORE: score, "hyperband_info": {"budget": 1}}
            searcher.on_trial_result(str(number), result)
            searcher.on_trial_complete(str(number), {SCORE: score})
        return made

    whole = proposals()
    request.getfixturevalue("short")
    if search == "asha":  # its start is part of the fixture
        asha.STARTUP = 20
    short = proposals()
    assert short[:12] == whole[:12]
    assert short != whole


@pytest.mark.usefixtures("short")
def test_tpe_keeps_its_best_and_what_still_runs(table: Table) -> None:
    searcher = Tpe(table.space, 0)
    searcher.suggest("early")
    scores = [0.9, *np.linspace(0.1, 0.5, 39)]
    for number, score in enumerate(scores):
        searcher.suggest(str(number))
        searcher.on_trial_complete(str(number), {SCORE: float(score)})
    study = searcher._study
    assert 12 < len(study.get_trials()) <= 12 + 3 + 2
    assert study.best_value == 0.9
    searcher.on_trial_complete("early", {SCORE: 0.95})
    assert searcher._study.best_value == 0.95


@pytest.mark.usefixtures("short")
def test_densities_are_of_few_and_the_best_results(table: Table) -> None:
    searcher, _ = make_searches()["bohb"].build(table.space, HORIZON, None)
    for number in range(40):
        result = {SCORE: 0.9 if number == 0 else number / 100, "hyperband_info": {"budget": 1}}
        searcher.suggest(str(number))
        searcher.on_trial_result(str(number), result)
    losses = searcher.bohber.losses[1]
    assert len(losses) == len(searcher.bohber.configs[1]) == 12
    assert losses[0] == -0.9
    learnt = searcher.bohber.kde_models[1]
    assert len(learnt["good"].data) + len(learnt["bad"].data) <= 13
