"""1. How much is it asked, by whom, and how long does it take?"""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportCallIssue=false

import numpy as np
import pandas as pd

from carsclf.figures.served import draw_use
from carsclf.report.page import Section, Show
from carsclf.report.served.material import Material
from carsclf.report.served.scan import CLIENTS, OTHERS, Sample
from carsclf.report.words import count, tenths

TIMES: Show = {
    "seconds, median": ("p50", lambda v: f"{v:.3g}"),
    "99 % within": ("p99", lambda v: f"{v:.3g}"),
}


def section(material: Material) -> Section:
    """Predictions per period and client, with the time from arrival to answer."""
    made = Section("use", "How much is it used?")
    scan, kind = material.scan, material.kind
    table = by_period(material)
    busiest = table.loc[table["predictions"].idxmax()]
    made.answer = (
        f"{scan.total:,} predictions in {len(table):,} {kind}s with any, at most "
        f"{busiest['predictions']:,} in a {kind} (from {busiest['period']}); {_slow(table)}."
    )
    use = table[["period", *material.versions]]
    caption = f"Predictions per {kind} (UTC), by version of the model."
    material.desk.figure(made, "use", caption, lambda path: draw_use(use, kind, path))
    show: Show = {kind: ("period", str), "predictions": ("predictions", count)} | dict(TIMES)
    sampled = (
        f" Of at most {scan.most:,} predictions a {kind}, drawn evenly."
        if table["predictions"].to_numpy().max() > scan.most
        else ""
    )
    caption = f"Seconds from a request's arrival to its logging.{sampled}"
    material.desk.table(made, "use", table, caption, show)
    clients = by_client(material)
    show = {
        "client": ("client", str),
        "predictions": ("predictions", count),
        "share": ("share", tenths),
    } | dict(TIMES)
    caption = "Clients as they name themselves in X-Client, which nobody checks"
    caption += f"; the {CLIENTS} with most." if OTHERS in scan.clients else "."
    material.desk.table(made, "clients", clients, caption, show)
    return made


def by_period(material: Material) -> pd.DataFrame:
    """Columns: period, predictions, p50, p99 (seconds), then predictions of each version."""
    scan = material.scan
    return pd.DataFrame(
        [
            {
                "period": name,
                "predictions": sum(scan.counts[name, v] for v in material.versions),
                **_quantiles(scan.seconds[name]),
                **{version: scan.counts[name, version] for version in material.versions},
            }
            for name in scan.names
        ]
    )


def by_client(material: Material) -> pd.DataFrame:
    """Columns: client, predictions, share, p50, p99; those with most first, all others last."""
    scan = material.scan
    order = sorted(scan.clients.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0]))
    return pd.DataFrame(
        [
            {
                "client": client,
                "predictions": many,
                "share": many / scan.total,
                **_quantiles(scan.waits[client]),
            }
            for client, many in order
        ]
    )


def _quantiles(sample: Sample) -> dict[str, float]:
    p50, p99 = np.quantile(sample.values, [0.5, 0.99])
    return {"p50": float(p50), "p99": float(p99)}


def _slow(table: pd.DataFrame) -> str:
    last = table.iloc[-1]
    return (
        f"in the last of them half were answered within {last['p50']:.3g} s and 99 % within "
        f"{last['p99']:.3g} s"
    )
