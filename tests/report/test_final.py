"""The page of a study with a final: what the study kept is what every part of the page says."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carsclf.report.command import write_report
from carsclf.report.labels import told_apart
from carsclf.report.material import read_material
from carsclf.report.roles import make_groups
from tests.report.folders import HE, add_final, add_predictions, make_run, make_study
from tests.report.test_report import Text

KIND = "ResNet-18 fine-tuned"
NOTHING = (
    "the search found nothing better than the incumbent; trial 0001 against the incumbent on "
    "val/top1: +0.0125 [-0.0400 to +0.0650, 95%] over 2 seeds, better with probability 0.70"
)
BETTER = (
    "better than the incumbent: trial 0001 against the incumbent on val/top1: +0.1000 [+0.0200 to "
    "+0.1800, 95%] over 2 seeds, better with probability 0.99"
)


def right(number: int, of: int = 40) -> np.ndarray:
    """The first so many of the photos."""
    return np.arange(of) < number


def seeds(val: Sequence[int], test: Sequence[int] = ()) -> list[dict[str, np.ndarray]]:
    """Hits of a training per seed, so many of 40 photos each."""
    splits = [{"val": right(n)} for n in val]
    return [s | {"test": right(n)} for s, n in zip(splits, test, strict=True)] if test else splits


def page_of(tmp_path: Path, *studies: Path, runs: Sequence[Path] = ()) -> Text:
    return Text(write_report(runs=runs, studies=studies, folder=tmp_path / "report", gallery=0))


def test_an_incumbent_kept_on_validation_stays_kept_where_test_prefers_its_rival(
    tmp_path: Path,
) -> None:
    """On test 20.5 of 40 against 24.5: 51.25 % and 61.25 %, 10 points that no part may sell."""
    study = add_final(
        make_study(tmp_path / "s", trials=5),
        {0: seeds((24, 26), (20, 21)), 1: seeds((25, 26), (24, 25))},
        {1: (0.0125, -0.04, 0.065, 0.7)},
        winner=0,
        verdict=NOTHING,
    )
    text = page_of(tmp_path, study)
    known, rival = f"{KIND}, baseline", f"{KIND}, searched"
    top = text.sections[""]
    assert f"Use this: {known} test 51.2 %" in top
    assert f"{rival} is +10.0 points [" in top
    assert (
        "ahead here, but its study's final, which decides on validation, did not take it for better"
        in top
    )
    assert f"nothing better than {known}, by the final of s; {rival}: +10.0 points [" in top
    assert f"Use this: {rival}" not in top
    search = text.sections["search"]
    assert f"The search found nothing better than {known} (51.25 %), which study s keeps" in search
    assert f"what it proposes, {rival}, reaches 61.25 %, +10.00 points [" in search
    assert f"its verdict: {NOTHING}. best.yaml keeps the incumbent" in search
    assert "judged on test, which neither search nor final saw" in search
    assert "adds" not in search
    models = text.sections["models"]
    assert f"the kept, {known}, is right on 51.25 %" in models
    assert f"Passed over by a final, which decides on validation: {rival} reaches 61.25 %" in models
    cost = text.sections["cost"]
    assert "the cost of a point is undefined: nothing was gained" in cost
    assert "a point gained" not in cost.split("What each study cost")[0].split("paid money")[0]
    tables = tmp_path / "report/tables"
    accuracy = pd.read_csv(tables / "accuracy.csv")
    assert accuracy["final"].tolist() == ["passed over", "kept"]
    (row,) = pd.read_csv(tables / "final_s.csv").query("trial == 1").to_dict("records")
    assert (row["mean"], row["difference"], row["test"]) == (0.6375, 0.0125, 0.6125)
    assert not row["kept"]


def test_a_proposal_that_won_on_validation_stays_kept_where_test_prefers_the_incumbent(
    tmp_path: Path,
) -> None:
    """On test 24 of 40 against 22: 60 % and 55 %; validation said +10 points."""
    study = add_final(
        make_study(tmp_path / "s", trials=5),
        {0: seeds((20, 22), (24, 24)), 1: seeds((24, 26), (22, 22))},
        {1: (0.1, 0.02, 0.18, 0.99)},
        winner=1,
        verdict=BETTER,
    )
    text = page_of(tmp_path, study)
    known, proposal = f"{KIND}, baseline", f"{KIND}, searched"
    top = text.sections[""]
    assert f"Use this: {proposal} test 55.0 %" in top
    assert f"{known} is +5.0 points [" in top
    assert "−5.0 points [-" in top or "−5.0 points [" in top
    assert "nothing better" not in top
    search = text.sections["search"]
    assert f"The search adds nothing (−5.00) to {KIND} (60.00 % → 55.00 %: from {known}" in search
    assert "though its final, on validation, found it better" in search
    assert f"its verdict: {BETTER}. best.yaml holds trial 0001." in search
    assert "What no search proposed does better" not in search  # the verdict stands beside it
    assert "the cost of a point is undefined" in text.sections["cost"]
    assert f"the kept, {proposal}, is right on 55.00 %" in text.sections["models"]


def test_a_proposal_that_won_and_is_ahead(tmp_path: Path) -> None:
    study = add_final(
        make_study(tmp_path / "s", trials=5),
        {0: seeds((20, 22), (20, 20)), 1: seeds((24, 26), (24, 24))},
        {1: (0.1, 0.02, 0.18, 0.99)},
        winner=1,
        verdict=BETTER,
    )
    text = page_of(tmp_path, study)
    assert f"Use this: {KIND}, searched test 60.0 %" in text.sections[""]
    assert "+10.0 points [" in text.sections[""]
    assert "search adds +10.00 points" in text.sections["search"]
    assert "did not take" not in text.sections[""]
    # the search ran 144 epochs of 35 to the hour, 4.11 h, and the final four full trainings
    costs = (
        pd.read_csv(tmp_path / "report/tables/study_costs.csv").set_index("figure")["s"].to_dict()
    )
    assert costs["of which trainings of the final"] == "4"
    assert costs["of which the final"] == "4 h"
    assert costs["trials"] == "9"
    assert costs["paid, device hours"] == "8.11 h"
    assert costs["full trainings' worth of epochs"] == "8.1"
    assert "4 of them of the studies' finals" in text.sections["method"]


def test_a_failed_incumbent_is_told_and_leaves_nothing_to_compare(tmp_path: Path) -> None:
    note = "the incumbent (trial 0000) failed: out of memory"
    study = make_study(tmp_path / "s", trials=5, notes=[note])
    trials = pd.read_parquet(study / "trials.parquet")
    trials.loc[0, ["status", "ended", "error"]] = ["failed", "failed", "out of memory"]
    trials.loc[0, "best"] = np.nan
    trials.to_parquet(study / "trials.parquet")
    verdict = "trial 0001: the best mean of the final; no incumbent to compare"
    add_final(study, {1: seeds((24, 26)), 2: seeds((20, 21))}, {}, winner=1, verdict=verdict)
    text = page_of(tmp_path, study)
    search = text.sections["search"]
    assert f"Study s: {note}" in search
    assert f"its verdict: {verdict}. best.yaml holds trial 0001." in search
    assert "What study s adds is unknown, for want of a run beside it" in search
    assert f"Use this: {KIND}, searched validation 62.5 %" in text.sections[""]
    assert f"{KIND}, searched, runner-up" in text.sections["models"]
    assert "1 failed" in search
    known = make_run(tmp_path / "he", accuracy=0.5, sizes={"val": 40})
    add_predictions(known, right(20))
    text = page_of(tmp_path, study, runs=[known])
    assert "The search adds +12.50 points" in text.sections["search"]


def test_final_folders_named_by_hand_are_not_counted_twice(tmp_path: Path) -> None:
    """And a run by hand of the incumbent's configuration is another seed of it."""
    study = add_final(
        make_study(tmp_path / "s", trials=5),
        {0: seeds((24, 26)), 1: seeds((25, 26))},
        {1: (0.0125, -0.04, 0.065, 0.7)},
        winner=0,
        verdict=NOTHING,
    )
    own = make_run(tmp_path / "by hand", values=HE, seed=9, sizes={"val": 40})
    add_predictions(own, right(20))
    material = read_material([study / "final/0000-seed1", own], [study])
    assert len(material.runs) == 5
    groups = {g.role: [run.name for run in g.runs] for g in make_groups(material)}
    assert groups == {
        "baseline": ["s-0000-seed1", "s-0000-seed2", "by hand"],
        "searched": ["s-0001-seed1", "s-0001-seed2"],
    }
    elsewhere = make_run(tmp_path / "other photos", values=HE, seed=8, sizes={"val": 60})
    add_predictions(elsewhere, right(30, 60))
    record = json.loads((elsewhere / "run.json").read_text())
    record["split_sizes"] = {"val": 40}
    (elsewhere / "run.json").write_text(json.dumps(record))
    groups = make_groups(read_material([elsewhere], [study]))
    assert [len(g.runs) for g in groups if g.role == "baseline"] == [2]  # its pairs stay pairs


def test_two_studies_keep_their_finals_apart(tmp_path: Path) -> None:
    """Equal seeds of one configuration are the same training: not two runs of it."""
    studies = [
        add_final(
            make_study(tmp_path / name, trials=5),
            {0: seeds((24, 26)), 1: seeds(val)},
            {1: (0.0125, -0.04, 0.065, 0.7)},
            winner=winner,
            verdict=verdict,
        )
        for name, val, winner, verdict in (
            ("asha", (25, 26), 0, NOTHING),
            ("bohb", (30, 32), 1, BETTER),
        )
    ]
    material = read_material([], studies)
    names = [run.name for run in material.runs]
    assert len(set(names)) == len(names) == 8
    groups = told_apart(make_groups(material))
    assert [(g.label, len(g.runs), g.passed_over) for g in groups] == [
        (f"{KIND}, searched (bohb)", 2, False),
        (f"{KIND}, baseline (asha)", 2, False),
        (f"{KIND}, searched (asha)", 2, True),
        (f"{KIND}, baseline (bohb)", 2, True),
    ]
    text = page_of(tmp_path, *studies)
    assert "nothing better than ResNet-18 fine-tuned, baseline (asha)" in text.sections[""]
    assert "points [" in text.sections[""]


def test_what_two_studies_began_with_is_told_once(tmp_path: Path) -> None:
    """And is held against what each of them found, in each one's own words."""
    studies = [
        add_final(
            make_study(tmp_path / name, trials=5),
            {0: seeds((24, 26)), 1: seeds(val)},
            {1: (-0.05, -0.1, 0.02, 0.1)},
            winner=0,
            verdict=NOTHING,
        )
        for name, val in (("asha", (22, 26)), ("bohb", (21, 23)))
    ]
    groups = told_apart(make_groups(read_material([], studies)))
    assert [(g.label, len(g.runs), g.passed_over) for g in groups] == [
        (f"{KIND}, baseline", 2, False),
        (f"{KIND}, searched (asha)", 2, True),
        (f"{KIND}, searched (bohb)", 2, True),
    ]
    text = page_of(tmp_path, *studies)
    known = "nothing better than ResNet-18 fine-tuned, baseline, by the final of"
    assert f"{known} asha" in text.sections[""]
    assert f"{known} bohb" in text.sections[""]
    for name, gain in (("asha", -1 / 40), ("bohb", -3 / 40)):
        table = pd.read_csv(tmp_path / "report" / "tables" / f"final_{name}.csv")
        labels = table.set_index("trial")["configuration"].to_dict()
        assert labels == {0: f"{KIND}, baseline", 1: f"{KIND}, searched ({name})"}
        pairs = pd.read_csv(tmp_path / "report" / "tables" / "comparisons.csv")
        own = pairs[pairs["to"] == labels[1]]
        assert own["gain"].tolist() == pytest.approx([gain])


def test_a_start_is_no_find_of_the_search(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=5)
    trials = pd.read_parquet(study / "trials.parquet")
    trials.loc[1, "role"] = "start"
    trials.to_parquet(study / "trials.parquet")
    add_final(
        study,
        {0: seeds((20, 22)), 1: seeds((24, 26))},
        {1: (0.1, 0.02, 0.18, 0.99)},
        winner=1,
        verdict=BETTER,
    )
    labels = [g.label for g in told_apart(make_groups(read_material([], [study])))]
    assert labels == [f"{KIND}, known before", f"{KIND}, baseline"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"budget": 20.0}, r"4.1 full trainings spent, of 20 given"),
        ({"budget": None, "hours": 2.0}, r"4.1 full trainings spent in 4.11 h, of 2 h given"),
        ({"budget": 9.0, "hours": 0.5}, r"spent in 4.11 h, of 9 and 0.5 h given"),
    ],
)
def test_what_a_study_was_given(given: dict[str, float | None], said: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=5)
    record = study / "study.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | given))
    text = page_of(tmp_path, study)
    assert re.search(said, text.sections["search"])


def test_without_a_final_the_incumbent_is_no_proposal(tmp_path: Path) -> None:
    """Its own trial was the best: the page offers the best of the others, and says what is kept."""
    words = "the incumbent: no final has shown anything to be better"
    study = make_study(tmp_path / "s", trials=5, winner=0, verdict=words, best_trial=0)
    trials = pd.read_parquet(study / "trials.parquet")
    trials.loc[0, "best"] = 0.9
    trials.to_parquet(study / "trials.parquet")
    text = page_of(tmp_path, study, runs=[make_run(tmp_path / "he", accuracy=0.9)])
    search = text.sections["search"]
    assert f"its verdict: {words}. best.yaml keeps the incumbent" in search
    assert "60.00 % is the best of 4 trials beside the incumbent" in search
    assert "What the search proposes: trial 0001 of 5, 60.00 %" in search
    assert "best.yaml seed=1" not in search  # which would train the incumbent


def test_why_trials_ended(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=5)
    trials = pd.read_parquet(study / "trials.parquet")
    rung = "rung at epoch 3: not among the best 1/3 so far"
    trials["ended"] = ["full length", "full length", rung, rung, rung]
    trials.to_parquet(study / "trials.parquet")
    text = page_of(tmp_path, study)
    assert f"How its 5 trials ended: 3 {rung}; 2 full length." in text.sections["search"]
    assert "ended" in pd.read_csv(tmp_path / "report/tables/trials_s.csv")
