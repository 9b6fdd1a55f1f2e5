"""The table that ends `train.py -m`: means and deviations worked out by hand."""

from pathlib import Path
from typing import Any

import pytest

from carsclf.records import Run
from carsclf.training.sweep import Job, summarise


def job(seed: int, top1: float | None, *overrides: str) -> Job:
    """One training; None: it failed."""
    told = (*overrides, "data=folder", f"name=run-{seed}", f"seed={seed}")
    if top1 is None:
        return Job(told, None, None)
    values: dict[str, Any] = dict.fromkeys(Run.__annotations__)
    values |= {
        "model": "resnet18",
        "mode": "freeze",
        "protocol": "official",
        "seed": seed,
        "seconds": 10.0 + seed,
        "metrics": {"val/top1": top1, "val/loss": 2.0},
    }
    return Job(told, Path(f"runs/train/run-{seed}"), Run(**values))


def test_jobs_that_differ_in_their_seed_only_are_one_row() -> None:
    jobs = [
        job(seed, top1, f"optimizer.lr={lr}")
        for lr, scores in (
            (0.1, (0.2, 0.4, 0.9)),
            (0.2, (0.5, None, 0.7)),
            (0.3, (None, 0.6, None)),
        )
        for seed, top1 in enumerate(scores)
    ]
    rows = summarise(jobs)
    assert [row["setting"] for row in rows] == [f"optimizer.lr={lr}" for lr in (0.1, 0.2, 0.3)]
    # 0.2, 0.4, 0.9: mean 0.5, squares of the differences 0.09 + 0.01 + 0.16 = 0.26, over 2
    assert rows[0]["val/top1"] == pytest.approx(0.5)
    assert rows[0]["val/top1 sd"] == pytest.approx(0.13**0.5)
    assert (rows[0]["seeds"], rows[0]["failed"], rows[0]["seconds"]) == ("0 1 2", 0, 11.0)
    # 0.5, 0.7: mean 0.6, 0.01 + 0.01, over 1
    assert rows[1]["val/top1"] == pytest.approx(0.6)
    assert rows[1]["val/top1 sd"] == pytest.approx(0.02**0.5)
    assert (rows[1]["seeds"], rows[1]["failed"]) == ("0 2", 1)
    assert (rows[2]["val/top1"], rows[2]["val/top1 sd"], rows[2]["failed"]) == (0.6, None, 2)
    assert rows[0]["val/loss sd"] == 0
    assert rows[0]["folders"] == "runs/train/run-0 runs/train/run-1 runs/train/run-2"


def test_a_row_is_named_by_what_sets_it_apart() -> None:
    (row,) = summarise([job(0, 0.5, "mode=freeze"), job(1, 0.6, "mode=freeze")])
    assert row["setting"] == "resnet18, freeze"
    crossed = [job(s, 0.5, f"mode={m}", f"model={n}") for m in "ab" for n in "cd" for s in (0, 1)]
    assert [row["setting"] for row in summarise(crossed)] == [
        f"mode={m} model={n}" for m in "ab" for n in "cd"
    ]
    assert summarise([job(0, None)])[0]["val/top1"] is None
