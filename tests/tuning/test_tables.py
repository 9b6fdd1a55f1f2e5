"""What a study writes down, against sums made by hand."""

from pathlib import Path

import pytest
import yaml
from scripted import SPACE, epochs, run_study, written

from carsclf.tuning.search.asha import Asha
from carsclf.tuning.search.freeze_thaw import FreezeThaw
from carsclf.tuning.search.random import Random
from carsclf.tuning.workers.protocol import Failure

ASHA = Asha(budget=10, trials=5, grace=0.25, reduction=2)
SCORES = [0.5, 0.4, 0.6, 0.45, 0.52]  # of twelve epochs these run 12, 3, 12, 3 and 6


def test_costs_are_the_epochs_that_were_run(tmp_path: Path) -> None:
    study = run_study(tmp_path, ASHA, 12, SCORES)
    told, trials, curves = written(study)
    assert trials["epochs"].tolist() == [12, 3, 12, 3, 6]
    assert trials["cost"].tolist() == [1, 0.25, 1, 0.25, 0.5]
    assert trials["seconds"].tolist() == [12, 3, 12, 3, 6]
    assert (told.spent, told.budget, told.trials) == (3, 10, 5)
    # twelve epochs of the first trial, three of the second, ...
    assert curves["trial"].tolist() == [0] * 12 + [1] * 3 + [2] * 12 + [3] * 3 + [4] * 6
    assert curves["spent"].tolist() == pytest.approx([n / 12 for n in range(1, 37)])


def test_each_trial_says_who_ended_it(tmp_path: Path) -> None:
    study = run_study(tmp_path / "asha", ASHA, 12, SCORES)
    _, trials, _ = written(study)
    third, sixth = (f"rung at epoch {n}: not among the best 1/2 so far" for n in (3, 6))
    assert trials["ended"].tolist() == ["full length", third, "full length", third, sixth]
    study = run_study(tmp_path / "random", Random(budget=1.5, trials=9), 2, [0.5, 0.4])
    assert written(study)[1]["ended"].tolist() == ["full length"]  # no other one fits
    # rungs of four epochs are 1, 3 and 4: the best of the first three goes on, then nothing is left
    search = FreezeThaw(budget=1.75, trials=9, grace=0.25, reduction=3)
    study = run_study(tmp_path / "thaw", search, 4, [0.1, 0.4, 0.3, 0.2, 0.15])
    assert epochs(study) == [1, 4, 1, 1]
    assert written(study)[1]["ended"].tolist() == [
        "paused at epoch 1, number 4 of 4 there",
        "full length",
        "paused at epoch 1, number 2 of 4 there",
        "paused at epoch 1, number 3 of 4 there",
    ]


def test_a_cap_on_trials_leaves_the_budget_to_those_there_are(tmp_path: Path) -> None:
    search = FreezeThaw(budget=2.5, trials=3, grace=0.25, reduction=3)
    study = run_study(tmp_path, search, 4, [0.1, 0.4, 0.3])
    # all to the first rung, the best to its end, then the next best
    assert epochs(study) == [1, 4, 4]


def test_what_failed_was_paid_for(tmp_path: Path) -> None:
    """Of 14 epochs in budget: two of one that diverged, one of one that crashed, two of four."""
    diverged = [0.9, 0.9, Failure("the training loss became nan", final=True)]
    crashed = [0.8, Failure("out of memory", final=False)]
    outcomes = [diverged, crashed, 0.3, 0.2, 0.1]
    study = run_study(tmp_path, Random(budget=3.5, trials=99), 4, outcomes)
    assert epochs(study) == [2, 1, 4, 4]
    assert study.controller.spent == 11 / 4
    told, trials, _ = written(study)
    assert trials["status"].tolist() == ["failed", "failed", "finished", "finished"]
    assert trials["cost"].tolist() == [0.5, 0.25, 1, 1]
    assert told.spent == 11 / 4
    assert told.failures == {"0000": "the training loss became nan", "0001": "out of memory"}


@pytest.mark.parametrize(("sign", "best"), [(1, 2), (-1, 1)])
def test_the_winner_is_the_best_of_the_metric(sign: int, best: int, tmp_path: Path) -> None:
    study = run_study(tmp_path, Random(budget=4, trials=4), 2, [0.5, 0.3, 0.9, 0.4], sign=sign)
    told, trials, curves = written(study)
    assert trials["best"].tolist() == [0.5, 0.3, 0.9, 0.4]
    assert curves["val/top1"].tolist()[::2] == [0.5, 0.3, 0.9, 0.4]
    assert (
        yaml.safe_load((tmp_path / "best.yaml").read_text()) == trials["overrides"][best].tolist()
    )
    assert (told.best_trial, told.best) == (best, [0.5, 0.3, 0.9, 0.4][best])
    assert told.mode == ("max" if sign == 1 else "min")


def test_of_equals_the_longest_then_the_first_wins(tmp_path: Path) -> None:
    # at epoch 3 the second trial is behind, though it was as good before
    scores = [[0.1, 0.1, 0.4, 0.5], [0.5, 0.1, 0.1], 0.5, 0.5]
    search = Asha(budget=10, trials=4, grace=0.25, reduction=2)
    study = run_study(tmp_path, search, 12, scores)
    assert epochs(study) == [12, 3, 12, 12]
    assert study.controller.best is study.controller.trials[0]


def test_overrides_are_what_was_proposed(tmp_path: Path) -> None:
    study = run_study(tmp_path, Random(budget=2, trials=2), 2, [0.1, 0.2])
    _, trials, _ = written(study)
    for parameter in SPACE:
        values = trials[f"values.{parameter.key}"].tolist()
        typed = [dict(o.split("=") for o in row)[parameter.key] for row in trials["overrides"]]
        assert [float(w) for w in typed] == values
