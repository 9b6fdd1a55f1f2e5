"""Photos that lie on their side: turned, the network knows them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from carsclf.analysis.calibration import tempered
from carsclf.curation.findings import Library, Rows
from carsclf.data.images import Unreadable, read_picture
from carsclf.data.transforms import EvalTransform

MOST = 500  # of the photos whose label is doubted that are turned, the most doubtful first
TURNS = {1: "90 degrees to the left", 2: "upside down", 3: "90 degrees to the right"}
Judge = Callable[[int, torch.Tensor], np.ndarray]


def suspects(library: Library, doubted: Sequence[str]) -> list[int]:
    """Positions of photos that may lie on their side, turned as they were decided to be.

    Those that stand where their class lies or lie where it stands, those whose EXIF says that they
    were turned (which is undone in reading, once too often where the pixels were turned already),
    and those whose label is doubted. Photos of classes of their own are left out.
    """
    m = library.measures
    quarter = np.array([sample.turn in (90, 270) for sample in library.samples])
    high = np.where(quarter, m["height"] < m["width"], m["height"] > m["width"])
    readable = m["unreadable"].isna().to_numpy()
    share: Any = pd.Series(high[readable]).groupby(library.targets[readable]).mean()
    usual = library.targets
    odd = np.array([high[i] != (share.get(usual[i], 0.0) > 0.5) for i in range(len(high))])
    tagged = (m["orientation"].fillna(1) != 1).to_numpy()
    first = set(list(dict.fromkeys(doubted))[:MOST])
    named = np.array([sample.id in first for sample in library.samples])
    alone = set(np.flatnonzero(np.bincount(usual) < 2).tolist())
    found = np.flatnonzero(readable & (odd | tagged | named))
    return [int(i) for i in found if usual[i] not in alone]


def turn(
    library: Library,
    photos: Sequence[int],
    folds: Sequence[int],
    judge: Judge,
    transform: EvalTransform,
    temperature: float = 1.0,
    **read: object,
) -> pd.DataFrame:
    """What each photo's label gets as it is (`turn` 0) and turned: id, turn, probability, right."""
    rows = []
    for photo, fold in zip(photos, folds, strict=True):
        sample = library.samples[photo]
        try:
            picture = read_picture(sample, **read)  # type: ignore[arg-type]
        except Unreadable:
            continue
        each = torch.stack([transform(torch.rot90(picture, k, (1, 2))) for k in range(4)])
        shares = tempered(judge(fold, each), temperature)
        rows += [
            (sample.id, k, float(shares[k, sample.target]),
             bool(shares[k].argmax() == sample.target))
            for k in range(4)
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=["id", "turn", "probability", "right"])


def on_their_side(library: Library, turned: pd.DataFrame, gain: float) -> Rows:
    """Photos that a turn makes their class of, and whose label it makes so much more probable."""
    place = {sample.id: i for i, sample in enumerate(library.samples)}
    rows = []
    for id, four in turned.groupby("id", sort=True):
        before = float(four.loc[four["turn"] == 0, "probability"].iloc[0])
        others: Any = four[four["turn"] > 0]
        best = others.sort_values("probability", ascending=False).iloc[0]
        rise = float(best["probability"]) - before
        if best["right"] and rise >= gain:
            how = TURNS[int(best["turn"])]
            words = f"its label has {before:.0%} as it is, {best['probability']:.0%} turned {how}"
            rows.append(library.row("on_its_side", place[str(id)], words, rise))
    return sorted(rows, key=lambda row: -row["score"])
