"""An advice whose first stages are written by hand, so that what follows is all that is tested."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from carsclf.advising.advice import CANDIDATES, PROBE, Advice, AdviceFolder
from carsclf.advising.ledger import Ledger
from carsclf.training.configuration import training_part

ROOT = Path(__file__).parents[2]


def candidate(name: str, **values: Any) -> dict[str, Any]:
    """A row of candidates.csv; an epoch of 36 pictures, and 12 judged, takes 0.12 s at 32 px."""
    row = dict.fromkeys(CANDIDATES) | {
        "name": name, "weights": "none", "licence": "mit", "parameters": 500_000,
        "image_size": 32, "predict_rate": 600.0, "answer_ms": 4.0, "train_rate": 360.0,
        "memory_mb": 80.0, "skipped": "",
    }  # fmt: skip
    return row | values


def head(name: str, top1: float, **values: Any) -> dict[str, Any]:
    row = dict.fromkeys(PROBE) | {
        "candidate": name, "image_size": 32, "pooling": "default", "penalty": 1e-3, "share": 1.0,
        "images": 36, "top1": top1, "low": top1 - 0.1, "high": min(1.0, top1 + 0.1),
        "seconds": 1.0, "dropped": "",
    }  # fmt: skip
    return row | values


@pytest.fixture
def advice_of(tiny: list[str], tmp_path: Path) -> Iterator[Callable[..., Advice]]:
    """An advice on 36, 12 and 12 pictures of 3 classes, with these candidates and heads."""

    def make(
        rows: list[dict[str, Any]], heads: list[dict[str, Any]], hours: float = 1.0, **asked: Any
    ) -> Advice:
        folder = AdviceFolder(tmp_path / "advice")
        folder.root.mkdir(exist_ok=True)
        pd.DataFrame(rows, columns=list(CANDIDATES)).to_csv(folder.candidates, index=False)
        pd.DataFrame(heads, columns=list(PROBE)).to_csv(folder.probe, index=False)
        folder.look.write_text(json.dumps({"images": {"train": 36, "val": 12, "test": 12}}))
        overrides = [
            *(o for o in tiny if not o.startswith(("model.", "trainer.max"))),
            "data.protocol=fractions", "data.test_fraction=0.2", "model.channels_last=true",
        ]  # fmt: skip
        latency = asked.pop("latency_ms", None)
        return Advice(
            folder=folder, training=training_part(compose("train", ["look=false", *overrides])),
            overrides=overrides, hours=hours, latency_ms=latency, candidates=[], weights=None,
            ledger=Ledger(folder.time, hours), plan=asked,
        )  # fmt: skip

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield make
