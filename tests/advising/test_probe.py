"""Heads against scikit-learn's, halving by intervals, and time that does not last for all."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from carsclf.advising.advice import PROBE, AdviceFolder, read_rows
from carsclf.advising.frozen import PENALTIES, Frozen
from carsclf.advising.growth import line, summed_up
from carsclf.advising.probe import Probing, best_of, drop, probe, shares_of
from carsclf.data.samples import Sample
from carsclf.data.splits import share_of
from carsclf.data.wholes import Wholes
from carsclf.errors import ConfigError
from tests.advising.conftest import candidate

NAMES = ("a", "b", "c")


@pytest.fixture
def blobs() -> Frozen:
    """Rows of three classes that overlap; one pooling is noise."""
    generator = torch.Generator().manual_seed(0)
    targets = [torch.arange(n) % 3 for n in (90, 60)]
    rows = [torch.randn(len(y), 6, generator=generator) + 1.2 * torch.eye(3, 6)[y] for y in targets]
    noise = [torch.randn(len(y), 6, generator=generator) for y in targets]
    wholes = Wholes.of(NAMES, {})
    both = {"token": (noise[0], noise[1]), "average": (rows[0], rows[1])}
    return Frozen(both, (targets[0], targets[1]), wholes)


def test_heads_are_those_of_logistic_regression(blobs: Frozen) -> None:
    (x, held), (y, truth) = blobs.rows["average"], blobs.targets
    heads = list(blobs.heads("average"))
    assert [head.penalty for head in heads] == list(PENALTIES[: len(heads)])
    for head in heads[:3]:
        # scikit-learn adds up losses, and takes 1 / C for the penalty
        model = LogisticRegression(C=1 / (len(y) * head.penalty), tol=1e-8, max_iter=2000)
        model.fit(x.numpy(), y.numpy())
        p = model.predict_proba(held.numpy())[np.arange(len(truth)), truth.numpy()]
        assert head.loss == pytest.approx(-np.log(p).mean(), rel=2e-3)
        right = np.equal(model.predict(held.numpy()), truth.numpy())
        assert head.right.tolist() == right.tolist()


def test_the_best_head_is_of_the_pooling_that_tells_something(blobs: Frozen) -> None:
    best = blobs.best()
    assert best.pooling == "average"
    assert best.top1 == max(head.top1 for head in blobs.heads("average"))


def test_parts_are_judged_as_their_whole(blobs: Frozen) -> None:
    told = Frozen(blobs.rows, blobs.targets, Wholes.of(NAMES, {"a": "all", "b": "all", "c": "all"}))
    assert next(told.heads("average")).top1 == 1


def sample(number: int) -> Sample:
    return Sample(f"{number}", Path(f"{number}"), number % 3)


def test_a_share_is_of_each_label_and_lies_in_a_larger_one() -> None:
    samples = [sample(i) for i in range(31)]
    order = samples[::-1]
    tenth, third = (share_of(samples, order, share) for share in (0.1, 1 / 3))
    assert [s.id for s in tenth] == ["28", "29", "30"]
    assert {s.id for s in tenth} < {s.id for s in third}
    assert [sum(s.target == t for s in third) for t in range(3)] == [3, 3, 3]
    assert share_of(samples, order, 1.0) == samples


def test_few_pictures_are_not_divided() -> None:
    assert shares_of(5000) == [0.1, 1 / 3, 1.0]
    assert shares_of(400) == [1 / 3, 1.0]
    assert shares_of(20) == [1.0]


def row(name: str, top1: float | None, half: float = 0.05, share: float = 0.1) -> dict[str, Any]:
    known = {} if top1 is None else {"low": top1 - half, "high": top1 + half}
    return {"candidate": name, "top1": top1, "images": 100, "image_size": 32, "share": share,
            "dropped": "", "seconds": 2.0, **known}  # fmt: skip


def test_who_lies_below_the_leader_goes() -> None:
    rows = [row("a", 0.6), row("b", 0.71), row("c", 0.8), row("d", None)]
    assert drop(rows, last=False) == "c"
    assert [bool(r["dropped"]) for r in rows] == [True, False, False, False]
    assert rows[0]["dropped"] == "at most 65.0% with 100 pictures, where c has at least 75.0%"
    last = [row("a", 0.6), row("c", 0.8)]
    assert drop(last, last=True) == "c"
    assert not last[0]["dropped"]
    with pytest.raises(ConfigError, match="no candidate could be probed: d, 100 pictures"):
        drop([row("d", None) | {"dropped": "no room"}], last=False)


def test_the_best_is_of_all_pictures() -> None:
    rows = [row("a", 0.9), row("b", 0.7, share=1), row("c", None, share=1), row("d", 0.8, share=1)]
    assert best_of(rows)["candidate"] == "d"
    assert best_of([row("a", 0.0, share=1)])["candidate"] == "a"


@pytest.fixture
def probing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Probing]:
    """Probes of 300 training and 60 validation pictures at 10 a second, in so many seconds."""
    parts = {"train": [sample(i) for i in range(300)], "val": [sample(i) for i in range(60)]}

    def make(seconds: float, rows: list[dict[str, Any]]) -> Probing:
        data = SimpleNamespace(split_seed=0)
        ledger = SimpleNamespace(
            beat=lambda: None, spent=lambda: 4.0, spent_at=lambda stage: 1.0, left=lambda: seconds
        )
        advice: Any = SimpleNamespace(
            training=SimpleNamespace(seed=0, data=data), hours=seconds / 3600, ledger=ledger,
            folder=AdviceFolder(tmp_path),
        )  # fmt: skip
        work = Probing(advice, rows)
        monkeypatch.setattr(work, "data", lambda candidate: SimpleNamespace(splits=parts))
        return work

    return make


SLOW = {"name": "a", "predict_rate": 10.0, "image_size": 32}


def test_hours_that_hold_no_probe_are_refused_with_what_would_do(probing) -> None:
    # 360 pictures at 10 a second, 1.3 times, and 5 s for heads: 51.8 s; that is 30 % of 173 s
    with pytest.raises(ConfigError, match=r"of a alone takes about 52 s .* give hours=0.05 or"):
        probing(100, []).check(SLOW)
    probing(200, []).check(SLOW)
    probing(100, []).check(SLOW)  # it was found to fit before: a killed sitting has spent the rest


def test_who_finds_no_time_is_listed(probing) -> None:
    work = probing(100, [row("b", 0.5)])
    assert work.probed(SLOW, 1.0)["top1"] is None
    assert work.probed(SLOW, 1.0)["dropped"] == (
        "it would take about 52 s, and 29 s are left for probes"
    )
    assert work.probed(SLOW, 1.0, leads=True)["dropped"] == (  # a third of all that is left
        "it would take about 52 s, and 33 s are left for probes"
    )


def test_where_the_leader_finds_no_time_the_quickest_goes_on(advice_of, monkeypatch) -> None:
    """It had been dropped as the worse one."""

    def probed(self, one, share, *, leads=False, surely=False):
        known = one["name"] == "quick" or share < 1
        top1 = {"quick": 0.3, "slow": 0.8}[one["name"]] if known else None
        return row(one["name"], top1, share=share) | {"pooling": "default", "penalty": 0.1}

    monkeypatch.setattr(Probing, "probed", probed)
    monkeypatch.setattr("carsclf.advising.probe.shares_of", lambda pictures: [0.1, 1.0])
    advice = advice_of([candidate("quick"), candidate("slow", predict_rate=10.0)], [])
    probe(advice)
    rows = read_rows(advice.folder.probe, PROBE)
    assert [(r["candidate"], r["share"], r["top1"]) for r in rows] == [
        *(("quick", 0.1, 0.3), ("slow", 0.1, 0.8), ("slow", 1.0, None), ("quick", 1.0, 0.3)),
    ]
    probe(advice)  # once more, as after a kill
    assert read_rows(advice.folder.probe, PROBE) == rows


def test_seconds_of_a_further_round_are_of_its_new_pictures(probing) -> None:
    # a tenth: 30 + 60 pictures are 11.7 s of the network; of its 20 s the rest went into heads
    work = probing(1000, [row("a", 0.5) | {"seconds": 20.0}])
    heads = (20 - 11.7) * 360 / 90
    assert work.seconds(SLOW, 1.0) == pytest.approx(1.3 * 270 / 10 + heads)
    # a third, 33 of each label: 69 more pictures are 8.97 s of its 20, and 159 were seen
    work = probing(1000, [row("a", 0.5), row("a", 0.5, share=0.333) | {"seconds": 20.0}])
    heads = (20 - 8.97) * 360 / 159
    assert work.seconds(SLOW, 1.0) == pytest.approx(1.3 * 201 / 10 + heads)


def test_growth_in_words() -> None:
    # error = 1 / sqrt(n): 400 pictures give 5 %, 800 give 3.54 %
    rows = [
        {"images": n, "top1": 1 - n**-0.5, "draw": draw} for n in (40, 80, 200, 400)
        for draw in range(2)
    ]  # fmt: skip
    found = summed_up(rows, judged=10_000)
    assert found["twice"]["images"] == 800
    assert found["twice"]["value"] == pytest.approx(1 - 800**-0.5, abs=1e-3)
    assert found["twice"]["low"] < found["twice"]["value"] < found["twice"]["high"]
    assert found["pictures_per_point"]["value"] == pytest.approx(0.04**-2 - 400, rel=0.1)
    assert "twice the pictures (800) would give a frozen head 96.5%" in line(found)
    few = summed_up(rows[:4], judged=100)
    assert few["law"] is None
    assert "at least 3 are needed" in line(few)
