"""The gate's decisions, worked by hand: chance passes, a true loss fails."""

import numpy as np
import pytest

from carsclf.analysis.comparison import holm, worse
from carsclf.analysis.gate import Answers, Rules, decide

ALL = np.ones(40, bool)


def without(count: int, n: int = 40) -> np.ndarray:
    return np.arange(n) >= count


def answers(candidate: np.ndarray, **more) -> Answers:
    classes = np.repeat(["a", "b"], len(candidate) // 2)
    return Answers("set", classes, candidate, np.ones(len(candidate), bool), **more)


def test_a_loss_of_five_photos_and_no_gain_has_p_1_over_64() -> None:
    assert worse(ALL, without(5)) == pytest.approx(0.5**5 / 2)  # mid-p: half of the only outcome
    assert worse(without(5), ALL) == pytest.approx(1 - 0.5**5 / 2)
    assert worse(ALL, ALL) == 0.5
    # 4 lost, 1 gained: P(X >= 4) - P(X = 4) / 2 of 5 fair coins = 6/32 - 5/64
    first, second = np.array([1, 1, 1, 1, 0], bool), np.array([0, 0, 0, 0, 1], bool)
    assert worse(first, second) == pytest.approx(6 / 32 - 5 / 64)


def test_holm_by_hand() -> None:
    # sorted .01 .02 .03 .04, times 4 3 2 1: .04 .06 .06 .04, never less than one before
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1, 1])


def test_a_class_that_lost_by_chance_passes_and_one_that_truly_did_fails() -> None:
    # 15 points of a class, but 3 photos: p = 1/16, times 2 classes
    chance = decide([answers(without(3))], Rules(worse_by=0.2))
    assert chance.reasons == []
    # 6 photos: p = 1/128, times 2 classes: 1/64
    true = decide([answers(without(6))], Rules(worse_by=0.2))
    assert len(true.reasons) == 1
    assert true.reasons[0].startswith("a on set: 30.0 points worse")
    assert true.classes["p"].tolist() == pytest.approx([1 / 64, 0.5])
    # the same loss, allowed
    assert decide([answers(without(6))], Rules(worse_by=0.2, class_worse_by=0.3)).reasons == []


def test_classes_that_matter_are_asked_on_their_own() -> None:
    # p = 1/64, times 2 among all classes: not significant at 0.02, alone it is
    assert decide([answers(without(5))], Rules(worse_by=0.2, significance=0.02)).reasons == []
    rules = Rules(worse_by=0.2, significance=0.02, important=["a"])
    found = decide([answers(without(5))], rules)
    assert len(found.reasons) == 1


def test_overall_loss_minimum_and_a_first_deployment() -> None:
    lost = np.ones(40, bool)
    lost[[0, 1, 2, 20, 21, 22]] = False
    (reason,) = decide([answers(lost)], Rules(class_worse_by=0.2)).reasons
    assert reason.startswith("all of set: 15.0 points worse")
    first = Answers("set", np.repeat(["a", "b"], 20), lost)
    assert decide([first], Rules(minimum=0.85)).reasons == []
    (reason,) = decide([first], Rules(minimum=0.86)).reasons
    assert "85.0%" in reason
    (reason,) = decide([first], Rules(important=["b"], important_minimum=0.9)).reasons
    assert reason.startswith("b on set: accuracy 85.0%")


def test_a_class_that_the_candidate_lacks_fails_whatever_chance_says() -> None:
    lost = np.ones(4, bool)
    lost[:2] = False
    few = Rules(worse_by=1, class_worse_by=1)
    assert "does not have" in decide([answers(lost, lacking=["a"])], few).reasons[0]
    both = answers(lost, lacking=["a"], deployed_lacking=["a"])
    assert decide([both], few).reasons == []


def test_classes_of_too_few_photos_are_counted() -> None:
    # all of 4 photos lost: p = 1/32, times 2 classes: above 0.05; of 5 it is not
    assert decide([answers(np.ones(8, bool))], Rules()).blind == 2
    assert decide([answers(np.ones(10, bool))], Rules()).blind == 0
