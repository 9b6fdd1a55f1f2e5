"""What the searches read of Ray's and hpbandster's inner parts is still there."""

import pytest
from ray.tune.schedulers import HyperBandForBOHB
from tables import make_table

from carsclf.tuning.search.bohb import Density
from carsclf.tuning.trial import RUNG, SCORE, Trial

TABLE = make_table(rows=40)
RESULT = {SCORE: 0.5, "training_iteration": 3, "hyperband_info": {"budget": 1}}


def told(searcher: Density, number: int) -> None:
    """One trial from its proposal to the result at its first rung."""
    searcher.set_max_concurrency(99)
    assert searcher.suggest(str(number)) is not None
    searcher.on_trial_result(str(number), dict(RESULT))


def test_hyperband_tells_the_rung_that_a_trial_has_not_reached() -> None:
    scheduler, trial = HyperBandForBOHB(RUNG, SCORE, "max", 9, 3), Trial(0, {}, [], 9, False)
    scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
    known = getattr(scheduler, "_trial_info", {})
    assert trial in known, (
        "Ray's HyperBandForBOHB keeps no _trial_info of trials any more: Bohb.missed needs another "
        "way to the rung that a failed trial did not reach"
    )
    rung = getattr(known[trial][0], "_cumul_r", None)
    assert rung == 1, f"a bracket of Ray's has {rung} for _cumul_r, not its next rung: Bohb.missed"


def test_hpbandster_keeps_what_it_learns_from_in_lists_per_budget() -> None:
    searcher = Density(TABLE.space, 0)
    told(searcher, 0)
    learner = getattr(searcher, "bohber", None)
    assert learner is not None, "Ray's TuneBOHB has no bohber any more: Density tells it results"
    for name in ("configs", "losses"):
        kept = getattr(learner, name, {})
        assert [len(kept[budget]) for budget in kept] == [1], (
            f"hpbandster has no list of {name} per budget any more: Density._forget shortens it"
        )
    assert learner.losses == {1: [-0.5]}


def test_rays_bohb_knows_a_trial_by_what_density_sets_for_it() -> None:
    searcher = Density(TABLE.space, 0)
    raw = TABLE.raw(3)
    searcher.adopt("a", raw)
    assert (searcher.trial_to_params, searcher.running) == ({"a": raw}, {"a"}), "Density.adopt"
    searcher.on_trial_result("a", dict(RESULT))
    assert len(searcher.bohber.losses[1]) == 1
    searcher.on_trial_complete("a", dict(RESULT))
    assert (searcher.trial_to_params, searcher.running) == ({}, set()), "Ray keeps ended trials"


@pytest.mark.parametrize("end", [0, 1])
def test_the_ends_of_a_range_are_taken_though_configspace_rounds_them(end: int) -> None:
    searcher = Density(TABLE.space, 0)
    searcher.adopt("a", {p.name: p.corners[end] for p in TABLE.space})
    searcher.on_trial_result("a", dict(RESULT))  # raised IllegalValueError
    assert searcher.bohber.losses == {1: [-0.5]}
