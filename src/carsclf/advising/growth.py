"""Stage 4: accuracy as the data grows, by heads on draws of the best probe's features."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from carsclf.advising.advice import (
    CANDIDATES,
    GROWTH,
    PROBE,
    Advice,
    read_rows,
    say,
    write_table,
)
from carsclf.advising.candidates import training_of
from carsclf.advising.frozen import Frozen, frozen
from carsclf.advising.probe import best_of
from carsclf.analysis.power_law import fit_power_law, interval, redrawn_laws
from carsclf.data.build import make_data
from carsclf.data.splits import Splits, share_of, shuffled
from carsclf.files import write_json

SHARES = (0.1, 0.2, 0.5, 1.0)
DRAWS = 5  # of each share but all, of which there is one
OF_HOURS = 0.1  # after which no further draw is made, once each share has one
LEAST = 3  # sizes that a law needs


def growth(advice: Advice) -> None:
    """Writes growth.csv, a head a draw, and growth.json, the law that they follow."""
    best = best_of(read_rows(advice.folder.probe, PROBE))
    named = read_rows(advice.folder.candidates, CANDIDATES)
    candidate = next(row for row in named if row["name"] == best["candidate"])
    config = training_of(advice, candidate)
    data = make_data(config)[0]
    splits: Splits = {name: data.splits[name] for name in ("train", "val")}
    rows = read_rows(advice.folder.growth_table, GROWTH)
    features: Frozen | None = None
    for draw, share in [(draw, share) for draw in range(DRAWS) for share in SHARES]:
        if any((row["draw"], row["share"]) == (draw, share) for row in rows) or (
            draw and share == 1
        ):
            continue
        if draw and advice.ledger.spent_at("growth") > OF_HOURS * 3600 * advice.hours:
            break
        features = features or frozen(config, splits, data)
        among = drawn(splits, share, draw)
        top1 = max(head.top1 for head in features.heads(best["pooling"], among))
        rows.append(
            {"candidate": best["candidate"], "share": share, "images": len(among), "draw": draw,
             "top1": top1}
        )  # fmt: skip
        write_table(advice.folder.growth_table, rows, GROWTH)
        advice.ledger.beat()
    found = summed_up(rows, len(splits["val"]))
    write_json(advice.folder.growth, {"candidate": best["candidate"], **found})
    say(line(found))


def drawn(splits: Splits, share: float, draw: int) -> list[int]:
    """Positions of a draw of the training pictures: a share of each label, at least one."""
    train = splits["train"]
    kept = {s.id for s in share_of(train, shuffled(train, draw, "growth"), share)}
    return [place for place, sample in enumerate(train) if sample.id in kept]


def summed_up(rows: Sequence[Mapping[str, Any]], judged: int) -> dict[str, Any]:
    """The law, what twice the pictures would give, and how many a point costs; or why not."""
    by_size: dict[int, list[float]] = {}
    for row in sorted(rows, key=lambda row: row["images"]):
        by_size.setdefault(int(row["images"]), []).append(1 - float(row["top1"]))
    sizes, errors = list(by_size), list(by_size.values())
    measured = [
        {"images": n, "top1": 1 - float(np.mean(each)), "draws": len(each)}
        for n, each in by_size.items()
    ]
    found: dict[str, Any] = {"images": sizes[-1], "judged": judged, "measured": measured}
    if len(sizes) < LEAST:
        few = f"{len(sizes)} numbers of pictures tell no curve: at least {LEAST} are needed"
        return found | {"law": None, "why": few}
    law = fit_power_law(sizes, [float(np.mean(each)) for each in errors])
    laws, n = redrawn_laws(sizes, errors, judged), sizes[-1]
    return found | {
        "law": {
            name: _told(getattr(law, name), [getattr(one, name) for one in laws])
            for name in ("a", "b", "c")
        },
        "now": _told(1 - law.error(n), [1 - one.error(n) for one in laws]),
        "twice": {
            "images": 2 * n,
            **_told(1 - law.error(2 * n), [1 - one.error(2 * n) for one in laws]),
        },
        "pictures_per_point": _told(
            law.pictures_per_point(n), [one.pictures_per_point(n) for one in laws]
        ),
    }


def line(found: Mapping[str, Any]) -> str:
    """What more pictures would buy, in words."""
    if found["law"] is None:
        return f"accuracy as the data grows: {found['why']}"
    twice, point = found["twice"], found["pictures_per_point"]
    said = (
        f"twice the pictures ({twice['images']:,}) would give a frozen head "
        f"{twice['value']:.1%} ({twice['low']:.1%} to {twice['high']:.1%})"
    )
    if point["value"] is None:
        return f"{said}; no number of pictures would give it another point, as far as this tells"
    most = f"{point['high']:,.0f}" if point["high"] is not None else "any number"
    low = point["low"] if point["low"] is not None else point["value"]
    return (
        f"{said}; a point costs about {point['value']:,.0f} more labelled pictures now "
        f"({low:,.0f} to {most})"
    )


def _told(value: float, values: Sequence[float]) -> dict[str, float | None]:
    """A value with its 95 % interval; None for what is infinite."""
    low, high = interval(values)
    return {
        name: each if math.isfinite(each) else None
        for name, each in (("value", value), ("low", low), ("high", high))
    }
