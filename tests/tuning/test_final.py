"""The final: who takes part, what an interval is, and what a study then says."""

import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import ttest_rel
from scripted import SPACE, make_study, run_study, written

from carsclf.errors import ConfigError
from carsclf.tuning.search.asha import Asha
from carsclf.tuning.search.random import Random
from carsclf.tuning.study.final import Outcome, compare, final_size
from carsclf.tuning.trial import FAILED, Start
from carsclf.tuning.workers.protocol import Failure

NAN = float("nan")
KNOWN = Start("incumbent", [], SPACE.from_unit(np.full((1, 2), 0.5))[0])


def outcomes(*scores: float) -> list[Outcome]:
    return [Outcome(score) for score in scores]


@pytest.mark.parametrize(
    ("trainings", "size"),
    [
        (1.9, (0, 0)),
        (2, (1, 1)),
        (3.99, (1, 1)),
        (4, (1, 2)),
        (8, (1, 4)),
        (9, (2, 3)),
        (16, (3, 4)),
    ],
)
def test_seeds_come_before_candidates(trainings: float, size: tuple[int, int]) -> None:
    assert final_size(trainings) == size


def test_over_seeds_it_is_the_paired_t_test() -> None:
    known, other = [0.5, 0.6, 0.7], [0.6, 0.65, 0.85]
    found = compare(outcomes(*known), outcomes(*other))
    test = ttest_rel(other, known)
    low, high = test.confidence_interval(0.95)
    assert (found.difference, found.seeds) == (pytest.approx(0.1), 3)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.probability == pytest.approx(1 - test.pvalue / 2)


def test_photos_give_one_seed_an_interval() -> None:
    # differences 0, 1, 1, 0: variance 1/3, of their mean 1/12; 2.776445 is t's 97.5 % at 4 degrees
    known = Outcome(0.5, np.array([1.0, 0.0, 0.0, 1.0]))
    other = Outcome(1.0, np.ones(4))
    found = compare([known], [other])
    assert found.difference == 0.5
    assert found.high - found.low == pytest.approx(2 * 2.776445 * math.sqrt(1 / 12), rel=1e-6)


def test_seeds_and_photos_together() -> None:
    # over photos: differences 0, 1, .5, .5 of variance 1/6, of their mean 1/24
    # over seeds: 0.75 and 0.25 of variance 1/8, of their mean 1/16; (4/24 + 1/16) / 5 = 11/240
    # 2.570582 is t's 97.5 % at 5 degrees
    known = [Outcome(0.25, np.array([1.0, 0, 0, 0])), Outcome(0.75, np.array([1.0, 0, 1, 1]))]
    other = [Outcome(1.0, np.ones(4)), Outcome(1.0, np.ones(4))]
    found = compare(known, other)
    assert found.difference == 0.5
    assert found.high - found.low == pytest.approx(2 * 2.570582 * math.sqrt(11 / 240), rel=1e-6)


def test_without_photos_one_seed_says_nothing_and_several_candidates_widen() -> None:
    alone = compare(outcomes(0.1), outcomes(0.9))
    assert (alone.low, alone.high, alone.probability) == (-math.inf, math.inf, 0.5)
    known, other = outcomes(0.5, 0.6, 0.7), outcomes(0.6, 0.65, 0.85)
    one, three = (compare(known, other, candidates=n) for n in (1, 3))
    assert three.low < one.low < one.high < three.high
    with pytest.raises(ConfigError, match="paired"):
        compare(known, other[:2])


# the known one and three of the search, then a final of six: seeds 1, 2, 3 of trials 0 and 2
TRIALS = [0.5, 0.4, 0.7, 0.6]


def final_of(tmp_path: Path, *scores: float, **options):
    search = Random(budget=10, trials=4, final=0.6)
    return run_study(tmp_path, search, 2, [*TRIALS, *scores], starts=[KNOWN], **options)


def test_a_better_one_is_named_with_its_interval(tmp_path: Path) -> None:
    study = final_of(tmp_path, *(0.50, 0.70), *(0.52, 0.72), *(0.51, 0.73))
    assert [(t.repeats, t.seed) for t in study.controller.finalists] == [
        *((0, 1), (2, 1)),
        *((0, 2), (2, 2)),
        *((0, 3), (2, 3)),
    ]
    told, trials, _ = written(study)
    assert told.winner == 2
    assert [entry["scores"] for entry in told.final] == [[0.5, 0.52, 0.51], [0.7, 0.72, 0.73]]
    assert [entry["difference"] for entry in told.final] == [None, pytest.approx(0.62 / 3)]
    assert told.final[1]["folders"] == [f"final/0002-seed{n}" for n in (1, 2, 3)]
    assert told.spent == 10
    assert trials["role"].tolist() == ["incumbent", *["search"] * 3]
    kept = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert kept == trials["overrides"][2].tolist()


def test_a_lucky_one_is_not(tmp_path: Path) -> None:
    study = final_of(tmp_path, *(0.50, 0.70), *(0.52, 0.40), *(0.51, 0.60))
    told, _, _ = written(study)
    assert told.winner == 0
    assert told.verdict.startswith("the search found nothing better than the incumbent")
    assert yaml.safe_load((tmp_path / "best.yaml").read_text()) == []


def test_less_of_a_loss_wins_a_final(tmp_path: Path) -> None:
    losses = (0.50, 0.30, 0.52, 0.31, 0.51, 0.30)
    search = Random(budget=10, trials=4, final=0.6)
    trials = [0.5, 0.6, 0.3, 0.4]
    study = run_study(tmp_path, search, 2, [*trials, *losses], starts=[KNOWN], sign=-1)
    told, _, _ = written(study)
    assert told.winner == 2
    assert told.final[1]["mean"] == pytest.approx(0.91 / 3)


@pytest.mark.parametrize(
    "failed", [NAN, Failure("out of memory", final=False)], ids=["nan", "dies"]
)
def test_an_incumbent_that_fails_is_told_first_and_takes_no_part(
    failed: float | Failure, tmp_path: Path
) -> None:
    search = Random(budget=10, trials=4, final=0.4)
    outcomes = [failed, 0.4, 0.7, 0.6, 0.65, 0.66, 0.64, 0.65]
    study = run_study(tmp_path, search, 2, outcomes, starts=[KNOWN])
    assert study.controller.trials[0].status == FAILED
    assert [(t.repeats, t.seed) for t in study.controller.finalists] == [(2, 1), (2, 2)]
    told, _, _ = written(study)
    assert told.notes[0].startswith("the incumbent (trial 0000) failed")
    assert told.winner == 2


def test_a_final_that_fails_in_part_is_judged_by_the_seeds_that_both_have(tmp_path: Path) -> None:
    study = final_of(tmp_path, *(0.50, 0.70), *(NAN, 0.72), *(0.51, 0.73))
    told, _, _ = written(study)
    assert [entry["scores"] for entry in told.final] == [[0.5, 0.51], [0.7, 0.72, 0.73]]
    # of the seeds 1 and 3: 0.20 and 0.22
    assert told.final[1]["difference"] == pytest.approx(0.21)
    assert told.winner == 2


def test_a_study_cut_in_its_final_goes_on_with_it(tmp_path: Path) -> None:
    scores = (0.50, 0.70, 0.52, 0.72, 0.51, 0.73)
    whole = final_of(tmp_path / "whole", *scores)
    lines = (tmp_path / "whole" / "events.jsonl").read_bytes().splitlines(keepends=True)
    final = next(i for i, line in enumerate(lines) if b'"final"' in line)
    from scripted import Scripted

    for cut in range(final, len(lines)):
        root = tmp_path / str(cut)
        root.mkdir()
        (root / "events.jsonl").write_bytes(b"".join(lines[:cut]))
        study = make_study(root, whole.controller.search, 2, starts=[KNOWN])
        study.rebuild()
        study.run(Scripted([*TRIALS, *scores], lambda _: None), lambda: None)
        study.journal.close()
        assert written(study)[0].final == written(whole)[0].final
        assert written(study)[0].spent <= 10


def test_known_ones_run_first_at_full_length_whatever_the_search(tmp_path: Path) -> None:
    other = Start("start", ["optimizer.lr=0.5"], SPACE.from_unit(np.full((1, 2), 0.9))[0])
    search = Asha(budget=8, trials=6, grace=0.25, reduction=2)
    study = run_study(tmp_path, search, 12, [0.1, 0.2, 0.9, 0.8, 0.7, 0.6], starts=[KNOWN, other])
    first = study.controller.trials[:2]
    assert [(t.role, t.epoch, t.overrides) for t in first] == [
        ("incumbent", 12, []),
        ("start", 12, ["optimizer.lr=0.5"]),
    ]
    assert study.controller.trials[3].epoch == 3  # behind 0.9 at the first rung, of which it knows


@pytest.mark.parametrize(
    ("budget", "final", "starts", "words"),
    [
        (6, 0.25, 1, "search.budget=6: the final needs 2 full trainings.*are 1.5"),
        (3, 0.7, 2, "2 known configurations at full length and a final of 2 trainings need 4"),
        (1.5, 0.0, 2, "need 2"),
    ],
)
def test_a_budget_too_small_is_said_beforehand(
    budget: float, final: float, starts: int, words: str
) -> None:
    search = Random(budget=budget, trials=9, final=final)
    with pytest.raises(ConfigError, match=words) as caught:
        search.check_budget(starts)
    assert "\n" not in str(caught.value)
