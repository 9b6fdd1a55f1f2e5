"""5. What is still wrong?"""

from pathlib import Path

import numpy as np
import pandas as pd

from carsclf.analysis.comparison import wilson
from carsclf.analysis.metrics import worst
from carsclf.analysis.mistakes import KINDS, confused_pairs, error_rates
from carsclf.analysis.proxies import measure_all
from carsclf.figures.mistakes import draw_fates, draw_kinds, draw_rates
from carsclf.records import Predictions, RunFolder
from carsclf.report.context import Context
from carsclf.report.gallery import data_root, make_gallery, photo_path
from carsclf.report.groups import Group
from carsclf.report.page import Section
from carsclf.report.repeat import to_get_predictions
from carsclf.report.sections.changes import show_changes
from carsclf.report.words import INTERVAL, count, listed, percent, tenths

CAUSES = {"clutter": "clutter (things behind)", "light": "light", "illumination": "illumination",
          "yaw": "viewpoint (degrees from the side)", "occlusion": "occlusion (share covered)",
          "blur": "blur (pixels)", "scale": "scale", "body": "body style"}  # fmt: skip
PAIRS = 12
GROUPS = 12
"""Of words that a table's column may tell apart and still be a cause."""


def section(context: Context) -> Section:
    """Fates of errors, their kinds, confused pairs, causes or proxies, and the worst of them."""
    made = Section("errors", "What is still wrong?")
    if not context.predicted:
        made.answer = "No predictions were given, so nothing can be said of single photos."
        made.commands(to_get_predictions(context))
        return made
    best = context.predicted[0]
    predictions = best.predictions
    assert predictions is not None
    wrong = ~predictions.right
    fates = _fates(context, made)
    kinds = _kinds(context, made)
    made.answer = _answer(context, best, wrong, fates, kinds)
    if len(predictions.class_names) == 1:
        made.note("There is one class only: no photo can be wrong.")
        return made
    show_changes(context, made)
    _pairs(context, made, best, predictions)
    _causes(context, made, best, predictions, wrong)
    _gallery(context, made, best, predictions)
    return made


def _fates(context: Context, made: Section) -> pd.DataFrame:
    told = [(p.label, f) for p in context.pairs if (f := p.fates()) is not None]
    if not told:
        if context.pairs:
            made.note("No two configurations were judged on the same photos: no fates of errors.")
        return pd.DataFrame()
    wrong = [(label, f) for label, f in told if f[["vanish", "stay", "appear"]].sum()]
    table = pd.DataFrame([{"label": label, **f} for label, f in wrong])
    if table.empty:
        return table
    caption = "Errors from one model to another, photo by photo, runs of median accuracy."
    context.desk.figure(made, "fates", caption, lambda path: draw_fates(table, path))
    show = {"from → to": ("label", str)} | {f: (f, count) for f in table if f != "label"}
    context.desk.table(made, "fates", table, caption, show)  # type: ignore[arg-type]
    return table


def _kinds(context: Context, made: Section) -> pd.DataFrame:
    rows = []
    for group in context.predicted:
        table = group.error_kinds
        if table is None:
            made.note(
                "The class names have no make, model and year, so errors are not split by them."
            )
            return pd.DataFrame()
        if table["errors"].to_numpy().any():
            rows.append(
                {"label": group.label, **dict(zip(table["kind"], table["errors"], strict=True))}
            )
    table = pd.DataFrame(rows)
    if table.empty:
        made.note("No configuration makes an error.")
        return table
    caption = (
        "Errors by how far off they are: same make, model and body but another year; same make and "
        "model; same make; another make."
    )
    context.desk.figure(made, "kinds", caption, lambda path: draw_kinds(table, path))
    show = {"configuration": ("label", str)} | {kind: (kind, count) for kind in KINDS}
    context.desk.table(made, "kinds", table, caption, show)
    return table


def _pairs(context: Context, made: Section, best: Group, predictions: Predictions) -> None:
    names = predictions.class_names
    table = confused_pairs(predictions.targets, predictions.predicted, names, PAIRS)
    if table.empty or table["errors"].to_numpy().max() < 2:
        return  # each of them happened once
    caption = (
        f"Most confused pairs of {best.label}, both directions; share of both classes' photos."
    )
    show = {
        "class": ("class", str),
        "and": ("other", str),
        "errors": ("errors", count),
        "of photos": ("of", count),
        "share": ("share", lambda v: percent(v, 0)),
    }
    context.desk.table(made, "confused_pairs", table, caption, show)


def _causes(
    context: Context, made: Section, best: Group, predictions: Predictions, wrong: np.ndarray
) -> None:
    root = data_root(predictions, context.root)
    true = root / "causes.csv" if root else None
    own = RunFolder(best.typical.folder).causes if best.typical else None
    if own is not None and own.is_file():
        values, what = noted_causes(own, predictions), "noted in the table"
        caption = f"Error rate of {best.label} by what the table notes, with 95 % Wilson intervals."
    elif true is not None and true.is_file():
        values, what = true_causes(true, predictions), "true cause, as drawn"
        caption = f"Error rate of {best.label} by true cause, with 95 % Wilson intervals."
    else:
        paths = [str(photo_path(predictions, i, context.root)) for i in range(len(predictions.ids))]
        measured = measure_all(paths)
        values = {str(name): measured[name].to_numpy() for name in measured}
        values = {name: v for name, v in values.items() if np.isfinite(v).any()}
        what = "measurable proxy"
        caption = (
            f"Error rate of {best.label} by proxies measured on the photos (terciles), which stand "
            "for causes nobody noted: sharpness and edges at 160 pixels, edges around in the "
            "outer 15 %; 95 % Wilson intervals."
        )
        unread = int(measured.isna().all(axis=1).sum())
        if unread:
            context.warnings.append(f"{unread} of {len(paths)} photos could not be read.")
    if not values:
        made.note("The photos are not where the predictions say (root=...): no rates by proxy.")
        return
    rates = error_rates(wrong, values)
    many = [cause for cause, part in rates.groupby("cause") if len(part) > 1]
    if not many or not wrong.any():  # there is nothing to compare
        return
    rates = rates.query("cause in @many")
    table = pd.concat([rates, _distances(best, len(wrong))])
    overall, mode = float(wrong.mean()), best.mode
    context.desk.figure(
        made, "causes", caption, lambda path: draw_rates(rates, overall, mode, path)
    )
    show = {
        what: ("cause", str),
        "group": ("group", str),
        "photos": ("images", count),
        "errors": ("errors", count),
        "rate": ("rate", tenths),
        **INTERVAL,
    }
    context.desk.table(made, "causes", table, caption, show)


def _distances(best: Group, n: int) -> pd.DataFrame:
    """How far off: of all photos, the rate taken for another year, body, model, make."""
    table = best.error_kinds
    if table is None:
        return pd.DataFrame()
    rates = [wilson(errors, n) for errors in table["errors"]]
    ends = {end: [getattr(rate, end) for rate in rates] for end in ("low", "high")}
    return (
        table.drop(columns="share")
        .assign(cause="taken for", images=n, rate=[rate.value for rate in rates], **ends)
        .rename(columns={"kind": "group"})
    )


def true_causes(path: Path, predictions: Predictions) -> dict[str, np.ndarray]:
    """Of each predicted photo, from the causes.csv of rendered_cars."""
    table = pd.read_csv(path).set_index("id").reindex(predictions.ids)
    table["yaw"] = table["yaw"].abs()
    found = {said: table[name].to_numpy() for name, said in CAUSES.items() if name in table}
    return {said: v.astype(str) if v.dtype == object else v for said, v in found.items()}


def noted_causes(path: Path, predictions: Predictions) -> dict[str, np.ndarray]:
    """Of each predicted photo, from a run's causes.csv: numbers, and words for a few groups."""
    table = pd.read_csv(path, dtype={"id": str}).set_index("id")
    values = {}
    for name in map(str, table):
        noted = table[name].reindex(predictions.ids)
        if table[name].dtype.kind in "if":
            values[name] = noted.to_numpy(float)
        elif len(table[name].unique()) <= GROUPS:  # more are names of photos, say
            values[name] = np.where(noted.isna(), "not noted", noted.astype(str))
    return values


def _gallery(context: Context, made: Section, best: Group, predictions: Predictions) -> None:
    if not context.gallery:
        made.note("The gallery was left out (gallery=0).")
        return
    shown = worst(predictions.targets, predictions.probabilities, context.gallery)
    if not len(shown):
        made.note(f"{best.label} makes no error: the gallery is empty.")
        return
    maps = None
    if context.attention:
        from carsclf.report.attention import overlays  # torch, and an extra package

        assert best.typical is not None
        maps = overlays(best.typical.folder, predictions, shown.tolist(), context.root)
    items, missing = make_gallery(context.desk, predictions, context.gallery, context.root, maps)
    if missing:
        context.warnings.append(
            f"{missing} photos of the gallery are missing, placeholders stand in their places: "
            "root=<folder> tells where the photos lie now."
        )
    caption = (
        f"The {len(items)} most confident errors of {best.label}: the photo with its class, beside "
        "the photo of the predicted class that the model is surest of; both probabilities are "
        "those of the left photo."
    )
    if maps:
        caption += " Glow: what spoke for the predicted class (Grad-CAM)."
    made.gallery(items, caption)


def _answer(
    context: Context, best: Group, wrong: np.ndarray, fates: pd.DataFrame, kinds: pd.DataFrame
) -> str:
    number, total = int(wrong.sum()), len(wrong)
    said = [f"{best.label} is wrong on {number:,} of {total:,} photos ({context.judged})"]
    if len(kinds) and number:
        own = next(row for row in kinds.to_dict("records") if row["label"] == best.label)
        each = [
            f"{percent(own[kind] / number, 0)} name another {kind.removeprefix('other ')}"
            for kind in KINDS
            if own[kind]
        ]
        said.append(f"of its errors {listed(each)}")
    if len(fates):
        row = fates.loc[fates["label"].str.endswith(f"→ {best.label}").idxmax()]  # else the first
        said.append(
            f"going {row['label']}, {row['vanish']:,} errors vanish, {row['appear']:,} appear and "
            f"{row['stay']:,} stay"
        )
    return "; ".join(said) + "."
