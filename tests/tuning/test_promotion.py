"""The policy of the freeze-thaw search, on decisions worked out by hand."""

import math

import numpy as np
import pytest

from carsclf.tuning.search import promotion
from carsclf.tuning.search.promotion import FreezeThawPolicy

HORIZON = 50
RUNGS = (3, 9, 27, 50)
PEAK = np.array([0.8, 0.2])


def make_policy(prior=None, seed=0, choices=(0, 0)):
    return FreezeThawPolicy(choices, HORIZON, prior, seed)


def run(policy, trial, score, unit=None):
    """A trial starts, or goes on, and runs to where it pauses, at one score all along."""
    if unit is not None:
        policy.add(trial, unit)
    for epoch in range(1, policy.until(trial) + 1):
        policy.observe(trial, epoch, score)


def start(policy, *scores):
    """Trials "0", "1", ... with these scores at the first rung."""
    for number, score in enumerate(scores):
        run(policy, str(number), score, np.full(2, number / 10))


def promoted(policy):
    """Everything that goes on now, in order; each then runs for ever."""
    names = []
    while (trial := policy.next()) and trial not in names:
        policy.promote(trial)
        names.append(trial)
    return names


def height(unit):
    return math.exp(-float(((unit - PEAK) ** 2).sum()) / 0.1)


def searched(count, prior=None, seed=0):
    """A policy that proposed and saw ``count`` short trainings, and where they were."""
    policy = make_policy(prior, seed)
    units = []
    for number in range(count):
        units.append(policy.propose(number))
        run(policy, str(number), height(units[-1]), units[-1])
    return policy, np.array(units)


@pytest.mark.parametrize(
    ("horizon", "expected"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (4, (1, 2, 4)),
        (6, (1, 3, 6)),
        (8, (1, 4, 8)),
        (10, (1, 2, 5, 10)),
        (20, (1, 4, 11, 20)),
        (35, (2, 6, 19, 35)),
        (52, (3, 9, 28, 52)),
    ],
)
def test_rungs_are_6_18_54_and_100_percent(horizon, expected):
    assert FreezeThawPolicy((0,), horizon).rungs == expected


def test_one_alone_waits_and_the_better_of_two_goes_on():
    policy = make_policy()
    for number, expected in enumerate([[], ["1"], [], ["3"]]):
        run(policy, str(number), [0.5, 0.6, 0.4, 0.7][number], np.full(2, 0.5))
        assert promoted(policy) == expected


def test_a_third_goes_on_the_best_first():
    policy = make_policy()
    start(policy, 0.1, 0.7, 0.3, 0.6, 0.2, 0.5, 0.4)
    assert promoted(policy) == ["1", "3"]  # 7 / 3 rounded down


def test_of_equal_trials_the_earlier_goes_on():
    policy = make_policy()
    start(policy, *[0.5] * 7)
    assert promoted(policy) == ["0", "1"]


def test_the_highest_rung_comes_first():
    policy = make_policy()
    start(policy, *np.linspace(0.9, 0.1, 12))
    for trial in "01":
        assert policy.next() == trial
        policy.promote(trial)
        run(policy, trial, 0.9)
    assert policy.next() == "0"
    policy.promote("0")
    assert policy.until("0") == RUNGS[2]
    assert policy.next() == "2"


def test_a_trial_that_runs_is_not_chosen_again():
    policy = make_policy()
    start(policy, 0.9, 0.1, 0.1)
    policy.promote("0")
    for epoch in range(4, RUNGS[1]):
        policy.observe("0", epoch, 0.9)
        assert policy.next() is None


def test_a_trial_of_full_length_counts_at_every_rung_and_never_pauses():
    policy = make_policy()
    policy.add("default", np.full(2, 0.5), HORIZON)
    assert policy.until("default") == HORIZON
    policy.left = 0.9
    for epoch in range(1, HORIZON + 1):
        policy.observe("default", epoch, 0.5)
        assert policy.next() is None
    policy.left = math.inf
    start(policy, 0.4, 0.3)
    assert promoted(policy) == []  # the best of three is the default
    run(policy, "2", 0.6, np.zeros(2))
    assert promoted(policy) == ["2"]


def test_the_best_score_up_to_a_rung_counts():
    policy = make_policy()
    start(policy, 0.5, 0.4)
    policy.add("spike", np.zeros(2))
    for epoch, score in enumerate([0.1, 0.6, 0.2], start=1):
        policy.observe("spike", epoch, score)
    assert promoted(policy) == ["spike"]


def test_a_failed_trial_counts_as_the_worst_and_never_goes_on():
    policy = make_policy()
    start(policy, 0.2, 0.1)
    policy.add("failed", np.zeros(2))
    policy.observe("failed", 1, 0.9)
    policy.close("failed", score_worst=True)
    assert promoted(policy) == ["0"]


def test_a_paused_trial_that_is_closed_never_goes_on():
    policy = make_policy()
    start(policy, 0.9, 0.5, 0.1)
    policy.close("0", score_worst=False)
    assert policy.next() is None
    run(policy, "3", 0.95, np.zeros(2))
    assert policy.next() == "3"


def test_only_failures_promote_nothing():
    policy = make_policy()
    for number in range(9):
        policy.add(str(number), np.full(2, number / 10))
        policy.close(str(number), score_worst=True)
    assert policy.next() is None
    assert policy.propose(9).shape == (2,)


def test_the_last_of_the_budget_finishes_the_best_paused_trial():
    policy = make_policy()
    start(policy, 0.9, 0.8, 0.1)
    policy.promote("0")
    run(policy, "0", 0.9)
    assert policy.next() is None  # the only one at its rung
    policy.left = 1.0
    assert policy.next() is None  # a new one could still be trained in full
    policy.left = 0.95
    assert policy.next() == "0"
    policy.left = 0.5  # less than the 41 of 50 epochs it lacks
    assert policy.next() is None


def test_twenty_idle_workers_start_twenty_different_trials():
    policy = make_policy(prior=PEAK)
    units = []
    for number in range(20):
        assert policy.next() is None
        units.append(policy.propose(number))
        policy.add(str(number), units[-1])
    assert len(np.unique(units, axis=0)) == 20
    for number in range(3):
        run(policy, str(number), number / 10)
    assert promoted(policy) == ["2"]  # of those that are scored, not of those that run


def test_a_proposal_depends_on_seed_number_and_observations_alone(monkeypatch):
    monkeypatch.setattr(promotion, "EXPLORE", 0.0)
    policy, units = searched(30)
    adopted = make_policy()
    for number, unit in enumerate(units):  # a resumed study computes none of these again
        run(adopted, str(number), height(unit), unit)
    for number in (30, 31, 35, 30):
        np.testing.assert_array_equal(policy.propose(number), adopted.propose(number))
    others = [policy.propose(31), searched(30, seed=1)[0].propose(30)]
    run(adopted, "30", 2.0, np.array([0.1, 0.9]))
    others.append(adopted.propose(30))
    assert not any(np.array_equal(policy.propose(30), other) for other in others)


def test_no_proposal_of_the_model_is_a_twin(monkeypatch):
    monkeypatch.setattr(promotion, "EXPLORE", 0.0)
    policy, units = searched(20)
    for number in range(20, 40):  # all pending: none of them has a result
        unit = policy.propose(number)
        spacing = number ** (-1 / 2)  # of a grid of as many points in the square
        assert np.sqrt(((units - unit) ** 2).sum(1)).min() >= min(0.1 * math.sqrt(2), spacing / 2)
        policy.add(str(number), unit)
        units = np.array([*units, unit])


def test_proposals_gather_where_scores_are_high(monkeypatch):
    monkeypatch.setattr(promotion, "EXPLORE", 0.0)
    policy, _ = searched(25)
    scores = [height(policy.propose(number)) for number in range(25, 35)]
    uniform = [height(unit) for unit in np.random.default_rng(0).random((1000, 2))]
    assert np.mean(scores) > 1.5 * np.mean(uniform)


def test_a_default_that_turns_out_bad_is_left_alone(monkeypatch):
    monkeypatch.setattr(promotion, "EXPLORE", 0.0)
    bad = np.array([0.1, 0.9])
    before = [make_policy(bad).propose(number) for number in range(200)]
    policy, _ = searched(25, prior=bad)
    after = [policy.propose(number) for number in range(25, 45)]
    assert np.mean([height(u) for u in after]) > 3 * np.mean([height(u) for u in before])
    near = [np.linalg.norm(units - bad, axis=1).mean() for units in (before, after)]
    assert near[1] > near[0]


def test_first_proposals_stay_around_the_default_and_keep_its_choices():
    policy = make_policy(prior=np.array([0.5, 0.25]), choices=(0, 4))
    units = np.array([policy.propose(number) for number in range(2000)])
    assert ((units >= 0) & (units <= 1)).all()
    # 40 % uniform, and of the others half: 0.6 * 0.5 + (1 - 0.6 * 0.5) / 4
    kept = np.floor(units[:, 1] * 4) == 1
    assert kept.mean() == pytest.approx(0.475, abs=0.04)
    # 0.6 * P(|normal(0, 0.5)| < 0.1) + 0.4 * 0.2
    assert (abs(units[:, 0] - 0.5) < 0.1).mean() == pytest.approx(0.6 * 0.1585 + 0.08, abs=0.03)


def test_draws_leave_a_default_that_others_beat(monkeypatch):
    monkeypatch.setattr(promotion, "EXPLORE", 1.0)
    policy = make_policy(prior=np.array([0.5, 0.25]), choices=(0, 4))
    run(policy, "default", 0.1, np.array([0.5, 0.375]))
    for number in range(9):
        run(policy, str(number), 0.5, np.array([number / 8, 0.9]))
    units = np.array([policy.propose(number) for number in range(400)])
    # it is not beaten by 1 of 10, so 0.06 of the draws are around it: 0.06 * 0.5 + 0.97 / 4
    assert (np.floor(units[:, 1] * 4) == 1).mean() == pytest.approx(0.2725, abs=0.08)
