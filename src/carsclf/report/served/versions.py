"""5. Is the new version better than the old?"""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

from typing import Any

import numpy as np
import pandas as pd

from carsclf.analysis.comparison import Interval, bootstrap_difference, mcnemar, newcombe
from carsclf.report.page import Section, Show
from carsclf.report.served.material import Material
from carsclf.report.words import count, ends, p_value, percent, points, tenths

MOST = 6  # earlier versions
FEW = 30  # photos, below which nothing is concluded
GAIN: Show = {
    "old right": ("old_accuracy", tenths),
    "new right": ("new_accuracy", tenths),
    "gain, points": ("gain", points),
    "95 % from": ("low", points),
    "to": ("high", points),
}


def section(material: Material) -> Section:
    """The newest version against each earlier one: on the same photos, and on its own."""
    made = Section("versions", "Is the new version better than the old?")
    if len(material.models) < 2:
        made.answer = f"Only one version answered in this time: {material.deployed}."
        return made
    if material.lacks_evaluations(made):
        return made
    same = paired(material)
    rows = [_apart(material, old) for old in _earlier(material)]
    apart = pd.DataFrame([row for row in rows if row is not None])
    made.answer = _answer(material, same)
    if len(same):
        show: Show = {
            "old version": ("old", str),
            "photos": ("photos", count),
            **GAIN,
            "McNemar p": ("p", p_value),
            "mended": ("mended", count),
            "broken": ("broken", count),
        }
        caption = (
            f"{material.deployed} on the same photos as each old version (equal SHA-256 of the "
            "file), where one of the two predictions or another of that photo was evaluated; a "
            "photo counts once. Gain with a 95 % interval from 10,000 bootstrap draws of the "
            "photos; McNemar's mid-p, not adjusted for the number of old versions."
        )
        material.desk.table(made, "paired", same, caption, show)
        if unknown := int(same["unknown"].max()):
            made.note(f"On up to {unknown:,} of these photos the old version could not be right: "
                      "it has no such class.")  # fmt: skip
    if len(apart):
        show = {
            "old version": ("old", str),
            "evaluated, old": ("old_n", count),
            "new": ("new_n", count),
            **GAIN,
        }
        caption = (
            "All that was evaluated of each, on different pictures: a gain may be the pictures' "
            "or the evaluators' as well as the model's. Newcombe's 95 % interval."
        )
        material.desk.table(made, "unpaired", apart, caption, show)
    return made


def paired(material: Material) -> pd.DataFrame:
    """A row per earlier version that saw evaluated photos of the newest, the latest first."""
    rows = [_paired(material, old) for old in _earlier(material)]
    return pd.DataFrame([row for row in rows if row is not None])


def _earlier(material: Material) -> list[str]:
    """The latest first."""
    return material.versions[:-1][::-1][:MOST]


def _paired(material: Material, old: str) -> dict[str, Any] | None:
    """On the photos that both versions saw; None where there is none."""
    photos, new = material.photos, material.deployed
    if old not in photos or new not in photos:
        return None
    both = photos[photos[old].notna() & photos[new].notna()]
    if both.empty:
        return None
    truth = both["truth"].to_numpy(object)
    before, after = (np.asarray(both[v].to_numpy(object) == truth, bool) for v in (old, new))
    gain = bootstrap_difference(before, after)
    classes = next(m.classes for m in material.models if m.version == old)
    return {
        "old": old,
        "new": new,
        "photos": len(both),
        "old_accuracy": before.mean(),
        "new_accuracy": after.mean(),
        "gain": gain.value,
        "low": gain.low,
        "high": gain.high,
        "p": mcnemar(before, after),
        "mended": int((~before & after).sum()),
        "broken": int((before & ~after).sum()),
        "unknown": sum(t not in classes for t in truth) if classes else 0,
    }


def _apart(material: Material, old: str) -> dict[str, Any] | None:
    new, rows = material.deployed, material.evaluated
    before, after = (rows.loc[rows["version"] == v, "right"].to_numpy(bool) for v in (old, new))
    if not len(before) or not len(after):
        return None
    gain = newcombe(int(before.sum()), len(before), int(after.sum()), len(after))
    return {
        "old": old,
        "new": new,
        "old_n": len(before),
        "new_n": len(after),
        "old_accuracy": before.mean(),
        "new_accuracy": after.mean(),
        "gain": gain.value,
        "low": gain.low,
        "high": gain.high,
    }


def _answer(material: Material, same: pd.DataFrame) -> str:
    if same.empty:
        return (
            f"{material.deployed} and the versions before it were never asked the same evaluated "
            "photo, so the photos may differ as much as the models: send evaluated photos again "
            "(keep_photos=true keeps them) to compare on the same ones."
        )
    row = same.iloc[0]
    interval = Interval(row["gain"], row["low"], row["high"])
    if row["photos"] < FEW:
        word = f"too few to tell (fewer than {FEW})"
    elif row["low"] > 0 or row["high"] < 0:
        word = "a gain" if row["gain"] > 0 else "a LOSS"
    else:
        word = "which these photos do not settle"
    return (
        f"On the {row['photos']:,} evaluated photos that both saw, {row['new']} is right on "
        f"{percent(row['new_accuracy'], 1)} and {row['old']} on {percent(row['old_accuracy'], 1)}: "
        f"{points(row['gain'], 1)} points{ends(interval)}, {word}."
    )
