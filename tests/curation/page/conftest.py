"""A few photos, and findings about them, without a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from carsclf.curation.findings import as_table
from carsclf.curation.page.board import Board, findings_of

NAMES = ["grün", "red <b>wide", "it's blue"]
EVIL = '"><img src=x onerror="document.title=1">{{ 1 + 1 }}.png'  # a name that a file may have


def photos(root: Path, count: int = 12) -> dict[str, Path]:
    """By id; the first has HTML for a name."""
    ids = [f"{NAMES[1]}/{EVIL}", *(f"{NAMES[n % 3]}/{n:02} é.png" for n in range(1, count))]
    paths = {id: root / id for id in ids}
    for n, path in enumerate(paths.values()):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((24, 36, 3), 20 * n % 256, np.uint8)
        pixels[:12, :12] = 255 - pixels[:12, :12]
        Image.fromarray(pixels).save(path)
    return paths


def doubt(id: str, kind: str = "label_error", **more: Any) -> dict[str, Any]:
    told = {"kind": kind, "id": id, "class": NAMES[1], "split": "train", "score": 0.9}
    told |= {"reason": f"doubt about {id}", "suggested": NAMES[0], "predicted": NAMES[2]}
    return {**told, "probability": 0.8, **more}


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    return photos(tmp_path / "photos")


@pytest.fixture
def board(tmp_path: Path, paths: dict[str, Path]) -> Callable[..., Board]:
    """Of rows about the photos; the log is decisions.csv."""

    def make(*rows: dict[str, Any], log: str = "decisions.csv") -> Board:
        return Board(findings_of(as_table(list(rows))), paths, NAMES, tmp_path / log)

    return make
