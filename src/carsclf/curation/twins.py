"""Findings about photos that are there twice, and what leaks from training through them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from carsclf.analysis.duplicates import equal_pairs, likeness, neighbours, pairs_above
from carsclf.curation.findings import Library, Rows
from carsclf.data.fingerprints import hashes_of, thumbs_of

LABELS = {True: "", False: ", with different labels"}


def exact(library: Library) -> Rows:
    """Files of the same content; of many copies, each with the first."""
    contents = [c if isinstance(c, str) else "" for c in library.measures["content"]]
    return [
        _pair(library, "exact_duplicate", *_ordered(library, pair), "the same file", 1.0)
        for pair in equal_pairs(contents)
    ]


def compare(
    library: Library, *, neighbours: int, cosine: float, bits: int, least: float
) -> pd.DataFrame:
    """How alike the pixels of the candidates are: id, other, likeness, mirrored."""
    pairs = candidates(library, neighbours, cosine, bits)
    scores, mirrored = likeness(thumbs_of(library.measures), pairs, least)
    ids = np.array([sample.id for sample in library.samples], object)
    one, two = ids[pairs.T]
    return pd.DataFrame({"id": one, "other": two, "likeness": scores, "mirrored": mirrored})


def near(library: Library, pairs: pd.DataFrame, least: float) -> Rows:
    """Photos whose pixels agree at the best placement of one in the other; most alike first."""
    place = {sample.id: i for i, sample in enumerate(library.samples)}
    contents = library.measures["content"].tolist()
    rows = []
    alike: Any = pairs[pairs["likeness"] >= least]
    alike = alike.sort_values("likeness", ascending=False, kind="stable")
    for pair in alike.to_dict("records"):
        one, two = _ordered(library, [place[pair["id"]], place[pair["other"]]])
        if contents[one] != contents[two]:
            how = (
                f"pixels agree by {pair['likeness']:.3f}{', mirrored' if pair['mirrored'] else ''}"
            )
            rows.append(_pair(library, "near_duplicate", one, two, how, pair["likeness"]))
    return rows


def candidates(library: Library, most: int, cosine: float, bits: int) -> np.ndarray:
    """(p, 2) positions of readable photos that are worth a look at their pixels.

    Each photo's `most` nearest by features, and by the perceptual hashes (Zauner 2010) of itself
    and of its mirror image up to so many bits; of all those, pairs whose features have the cosine.
    """
    one, two = (hashes_of(library.measures, c) / 8 for c in ("hash", "mirrored"))  # of length 1
    rows = library.features
    found = [
        pairs_above(*neighbours(rows, rows, most), cosine),
        pairs_above(*neighbours(one, one, most), 1 - bits / 32 - 1e-6),
        pairs_above(*neighbours(two, one, most), 1 - bits / 32 - 1e-6),
    ]
    pairs = np.unique(np.concatenate(found), axis=0)
    near = np.einsum("pd,pd->p", rows[pairs[:, 0]], rows[pairs[:, 1]]) >= cosine
    readable = library.measures["unreadable"].isna().to_numpy()
    return pairs[near & readable[pairs].all(1)]


def leak(table: pd.DataFrame) -> dict[str, int]:
    """Photos of test and of validation with a twin in training, and those with another label."""
    twins: Any = table[table["kind"].isin(["exact_duplicate", "near_duplicate"])]
    counts = {}
    for split in ("test", "val"):
        across = twins[(twins["split"] == split) & (twins["other_split"] == "train")]
        against = across[across["class"] != across["other_class"]]
        counts[split] = across["id"].nunique()
        counts[f"{split}, other label"] = against["id"].nunique()
    return counts


def _ordered(library: Library, pair: Sequence[int] | np.ndarray) -> tuple[int, int]:
    """The photo that is held out first: the other is where it leaks from."""
    rank = {"test": 0, "val": 1, "train": 2}
    one, two = sorted(map(int, pair), key=lambda i: (rank[library.splits[i]], i))
    return one, two


def _pair(
    library: Library, kind: str, one: int, two: int, how: str, score: float
) -> dict[str, Any]:
    same = library.samples[one].target == library.samples[two].target
    where = "" if library.splits[one] == library.splits[two] else (
        f", in {library.splits[one]} and {library.splits[two]}"
    )  # fmt: skip
    return library.pair(kind, one, two, f"{how}{LABELS[same]}{where}", score)
