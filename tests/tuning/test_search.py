"""What every search promises, and what is particular to each."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scripted import epochs, run_study
from tables import HORIZON, SEARCHES, make_searches, make_table

from carsclf.errors import ConfigError
from carsclf.tuning.search.asha import Asha
from carsclf.tuning.search.bohb import Bohb
from carsclf.tuning.search.gaussian_process import _gain
from carsclf.tuning.search.multitask import Multitask
from carsclf.tuning.search.random import Random
from carsclf.tuning.space import Parameter, Space
from carsclf.tuning.study.controller import CONTINUE, Controller
from carsclf.tuning.study.replay import replay
from carsclf.tuning.trial import FIDELITY, SCORE

SPACE = make_table(rows=10).space


class Log(list):
    """What a study recorded."""

    def of(self, kind):
        return [event for event in self if event["kind"] == kind]


def run(name, table, workers=1, budget=3, **options):
    search = make_searches(budget=budget, **options)[name]
    study, curve = replay(search, table, workers=workers)
    events = [{k: v for k, v in e.items() if k != "time"} for e in study.journal.events]
    return curve, Log(events)


@functools.cache
def longer(name):
    """One study of six full trainings, shared by the tests that only look at it."""
    return run(name, make_table(), budget=6)


@pytest.mark.parametrize("name", SEARCHES)
def test_the_same_seed_decides_the_same_and_another_does_not(name, table):
    (_, first), (_, again), (_, other) = (run(name, table, trials=14, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.of("suggest")[0] != other.of("suggest")[0]


@pytest.mark.parametrize("name", SEARCHES)
def test_the_global_generator_of_numpy_does_not_matter(name, table):
    # Trap: hpbandster draws from it, and ignores the seed it is given.
    np.random.seed(1)  # noqa: NPY002
    before = run(name, table, trials=14)[1]
    np.random.seed(2)  # noqa: NPY002
    assert run(name, table, trials=14)[1] == before


@pytest.mark.parametrize("workers", [1, 7])
@pytest.mark.parametrize("name", SEARCHES)
def test_budget_and_trials_are_respected(name, workers, table):
    curve, log = run(name, table, workers=workers, budget=3)
    assert 2 < curve.spent[-1] <= 3 + 1e-9
    assert len(run(name, table, workers=workers, budget=50, trials=5)[1].of("suggest")) == 5
    assert len(log.of("result")) == pytest.approx(curve.spent[-1] * HORIZON)


@pytest.mark.parametrize("name", SEARCHES)
def test_epochs_of_a_trial_are_told_once_and_in_order(name):
    epochs: dict[int, list[int]] = {}
    for result in longer(name)[1].of("result"):
        epochs.setdefault(result["trial"], []).append(result["epoch"])
    assert all(seen == list(range(1, len(seen) + 1)) for seen in epochs.values())
    assert max(map(len, epochs.values())) <= HORIZON


@pytest.mark.parametrize("name", SEARCHES)
def test_suggestions_are_plain_and_become_overrides(name, table):
    suggestion = longer(name)[1].of("suggest")[-1]
    assert all(type(v) in (int, float) for v in suggestion["raw"].values())
    overrides = table.space.overrides(suggestion["raw"])
    assert [o.split("=")[0] for o in overrides] == [p.key for p in table.space]


@pytest.mark.parametrize("name", SEARCHES)
def test_better_than_the_median_of_the_pool(name, table):
    assert longer(name)[0].best[-1] > np.median(table.accuracy.max(axis=1)) + 0.2


@pytest.mark.parametrize("name", SEARCHES)
def test_adopted_proposals_lead_to_the_same_next_one(name, table):
    search = make_searches()[name]
    fresh, resumed = (search.build(table.space, HORIZON, None) for _ in range(2))
    budgets = {"hyperband_info": {"budget": 1}}
    for number in range(24):
        suggestion = fresh[0].suggest(str(number))
        raw = table.space.plain(suggestion)
        resumed[0].adopt(str(number), raw | {FIDELITY: suggestion.get(FIDELITY, 1.0)})
        result = {SCORE: table.accuracy[table.row(suggestion), 2].item(), "training_iteration": 3}
        for searcher, _ in (fresh, resumed):
            searcher.on_trial_result(str(number), result | budgets)
            searcher.on_trial_complete(str(number), dict(result))
    assert fresh[0].suggest("next") == resumed[0].suggest("next")


def test_parallel_proposals_of_multitask_do_not_pile_up(table):
    searcher, _ = make_searches()["multitask"].build(table.space, HORIZON, None)
    for number in range(20):
        suggestion = searcher.suggest(str(number))
        score = table.accuracy[table.row(suggestion), 2].item()
        searcher.on_trial_complete(str(number), {SCORE: score})
    batch = [searcher.suggest(f"p{i}") for i in range(20)]
    units = table.space.to_unit(batch)
    apart = np.linalg.norm(units[:, None] - units[None], axis=2)[np.triu_indices(20, 1)]
    assert len({tuple(b.values()) for b in batch}) == 20
    assert np.quantile(apart, 0.1) > 0.1


def test_multitask_uses_every_fidelity_cheap_ones_first():
    suggested = [s["fidelity"] for s in longer("multitask")[1].of("suggest")]
    assert set(suggested) == {0.1, 0.5, 1.0}
    assert suggested[:10] == [0.1] * 10
    assert np.mean(suggested[10:]) > 0.1


def test_a_failed_trial_counts_as_bad_for_multitask(table):
    searcher, _ = make_searches()["multitask"].build(table.space, HORIZON, None)
    searcher.suggest("0")
    searcher.suggest("1")
    searcher.on_trial_complete("0", {SCORE: 0.4})
    searcher.on_trial_complete("1", error=True)
    assert searcher._seen == [("0", 0.4), ("1", 0.4)]


def test_bohb_promotes_and_promoted_trials_continue(table):
    log = run("bohb", table, budget=12)[1]
    starts = log.of("start")
    again = [s for s in starts if s["epoch"] > 0]
    assert {s["epoch"] for s in again} >= {1, 3, 9}
    assert len({s["trial"] for s in starts if s["epoch"] == 0}) == len(log.of("suggest"))


def test_bohb_rungs_are_shared_by_all_brackets(table):
    search = make_searches(budget=12)["bohb"]
    loop = Controller(search, table.space, HORIZON, lambda *_, **__: None)
    while (trial := loop.ask()) is not None:
        row = table.row(trial.raw)
        while True:
            score = table.accuracy[row, trial.epoch].item()
            if loop.tell(trial, trial.epoch + 1, {SCORE: score}, 1.0) != CONTINUE:
                break
    assert set(loop.searcher.bohber.configs) == {1, 3, 9, 27}
    assert loop.searcher.bohber.kde_models


# Trials come one after the other with these scores at all epochs. At a rung a trial is stopped that
# is below the (1 - 1 / reduction) quantile of those that came there before; the first is not.
SCORES = [0.5, 0.4, 0.6, 0.45, 0.52]
RUNGS = {
    # rungs at 3 and 6 of 12 epochs: at 3 medians of .5 | .5 .4 | .5 .4 .6 | .5 .4 .6 .45, that is
    # .5, .45, .5 and .475; at 6 of .5 | .5 .6
    (0.25, 2): [12, 3, 12, 3, 6],
    # at 6 only: the same four medians
    (0.5, 2): [12, 6, 12, 6, 12],
    # at 3 only, the best quarter: .5, .475, .55 and .525
    (0.25, 4): [12, 3, 12, 3, 3],
}


@pytest.mark.parametrize("settings", RUNGS)
def test_asha_stops_where_it_does_by_hand(settings, tmp_path):
    grace, reduction = settings
    search = Asha(budget=10, trials=5, grace=grace, reduction=reduction)
    study = run_study(tmp_path, search, 12, SCORES)
    assert epochs(study) == RUNGS[settings]
    assert study.controller.spent == sum(RUNGS[settings]) / 12


def test_bohb_promotes_whom_it_does_by_hand(tmp_path):
    # three at a third of 9 epochs, the best of them goes on; then two at full length
    search = Bohb(budget=10, trials=5, rungs=2, reduction=3)
    study = run_study(tmp_path / "third", search, 9, [0.1, 0.3, 0.2, 0.15, 0.25])
    assert epochs(study) == [3, 9, 3, 9, 9]
    assert study.controller.spent == 33 / 9
    # four at a quarter of 8 epochs, two of them at a half, one to the end
    search = Bohb(budget=10, trials=4, rungs=3, reduction=2)
    study = run_study(tmp_path / "half", search, 8, [0.1, 0.4, 0.3, 0.2])
    assert epochs(study) == [2, 8, 4, 2]


# One after the other as above, and what is affordable in which budget. Epochs, and the budget's.
BUDGETS = {
    # 12 and 3 as by hand, then 9 of 12 are left
    "asha": (Asha(budget=2, trials=9, grace=0.25, reduction=2), 12, [12, 3, 9], 24),
    # two at a third of 9 epochs wait in a bracket that a third one would fill; 11 epochs hold it,
    # and of the 2 that are left the best takes both
    "bohb": (Bohb(budget=11 / 9, trials=9, rungs=2, reduction=3), 9, [3, 3, 5], 11),
    # whole ones only
    "random": (Random(budget=2.9, trials=9), 9, [9, 9], 18),
    # all at the shortest length, ceil(9 / 3), as nothing is known yet; 2 are left
    "multitask": (Multitask(budget=20 / 9, trials=9, fidelities=(1 / 3, 1.0)), 9, [3] * 6, 18),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_a_budget_is_spent_as_it_is_by_hand(name, tmp_path):
    search, horizon, lengths, spent = BUDGETS[name]
    study = run_study(tmp_path, search, horizon, [0.5, 0.4, 0.6, 0.3, 0.3, 0.3])
    assert epochs(study) == lengths
    assert study.controller.spent == spent / horizon


def test_multitask_weighs_what_is_gained_against_the_cost():
    """Both lengths tell everything: half the normal's mean absolute deviation for each, by cost."""

    class Sure:
        likelihood = SimpleNamespace(noise=torch.tensor(0.0))

        def posterior(self, points):
            count, levels = points.shape[:2]
            distribution = SimpleNamespace(covariance_matrix=torch.ones(count, levels, levels))
            return SimpleNamespace(mean=torch.zeros(count, levels, 1), distribution=distribution)

    gain = _gain(Sure(), torch.zeros(1, 2), 0.0, [0.1, 1.0])
    assert gain[0] == pytest.approx([0.398942 / 0.12, 0.398942 / 1.02], rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", [name for name in SEARCHES if name != "freeze_thaw"])  # its own
def test_a_share_of_the_proposals_is_drawn_around_the_incumbent(name, share):
    """Around the lower end half of all normal draws lie beyond it, that is on it."""
    space = Space([Parameter("lr", 0.0, 1.0), Parameter("momentum", 0.0, 1.0)])
    search = replace(make_searches()[name], prior=share)
    searcher, _ = search.begin(space, HORIZON, {"lr": 0.0, "momentum": 0.5})
    at_end = 0
    for number in range(60):
        searcher.set_max_concurrency(number + 2)
        at_end += searcher.suggest(f"{number:04d}")["lr"] == 0.0
    assert {0.0: 0, 0.5: 5, 1.0: 19}[share] <= at_end <= {0.0: 0, 0.5: 25, 1.0: 41}[share]


@pytest.mark.parametrize("name", SEARCHES)
def test_proposals_are_spread_over_the_scale_asked_for(name):
    """The first twenty, before anything is known: exponents from -4 to 0, and whole numbers."""
    space = Space(
        [Parameter("lr", 1e-4, 1.0, log=True), Parameter("layers", 1, 3, integer=True)],
    )
    searcher, _ = make_searches()[name].build(space, HORIZON, None)
    proposals = []
    for number in range(20):
        searcher.set_max_concurrency(number + 2)
        proposals.append(space.plain(searcher.suggest(f"{number:04d}")))
    assert 4 <= sum(p["lr"] < 1e-2 for p in proposals) <= 16
    assert {p["layers"] for p in proposals} == {1, 2, 3}


def test_asha_only_stops():
    decisions = {d["decision"] for d in longer("asha")[1].of("decision")}
    assert decisions == {"CONTINUE", "STOP"}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Random(budget=0.5, trials=1), "at least 1 full training"),
        (lambda: Random(budget=1, trials=0), "at least 1 trial"),
        (lambda: Multitask(budget=1, trials=1, fidelities=(0.5, 0.1, 1.0)), "increasing"),
        (lambda: Multitask(budget=1, trials=1, fidelities=(0.1, 0.5)), "increasing"),
        (
            lambda: Multitask(budget=1, trials=1, fidelities=(0.1, 0.2, 1.0)).build(SPACE, 3, None),
            "do not",
        ),
        (lambda: Bohb(budget=1, trials=1, rungs=4, reduction=3).build(SPACE, 5, None), "do not"),
        (lambda: Asha(budget=1, trials=1, grace=0.1, reduction=1), "reduction"),
        (lambda: Asha(budget=1, trials=1, grace=0, reduction=3), "grace"),
        (lambda: Bohb(budget=1, trials=1, rungs=1, reduction=3), "rungs"),
    ],
)
def test_a_senseless_search_is_refused_in_one_line(make, words):
    with pytest.raises(ConfigError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
