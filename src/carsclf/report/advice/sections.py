"""The sections of an advice's page."""

# a table's column, row and part are one type to pyright
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false

import numpy as np
import pandas as pd

from carsclf.advising.candidates import NO_WEIGHTS
from carsclf.advising.plan import SAME
from carsclf.analysis.comparison import wilson
from carsclf.analysis.power_law import interval, redrawn_laws
from carsclf.figures.advice import draw_choices, draw_epochs, draw_growth
from carsclf.figures.cost import hours
from carsclf.report.advice.material import Material
from carsclf.report.advice.more import more_pictures, told, twice_the_time
from carsclf.report.page import Desk, Section
from carsclf.report.words import count, percent, tenths

MODES = {"freeze": "frozen, new head", "finetune": "fine-tuned", "partial": "partly frozen"}


def answer(material: Material, desk: Desk) -> Section:
    """Frozen or fine-tuned, and whether the plan kept what it said."""
    outcome, plan, training = material.outcome, material.plan, material.training
    one = Section("answer", "Frozen or fine-tuned?", f"{_verdict(material)}.")
    if outcome.difference is not None and material.head is not None:
        gap, low, high = (100 * part for part in outcome.difference)
        one.note(
            f"On the same {outcome.images:,} {outcome.split} pictures: {training.network} "
            f"{MODES[training.mode]} {percent(training.top1, 1)}, the best frozen head "
            f"({material.head.network}) {percent(material.head.top1, 1)}; difference {gap:+.1f} "
            f"points [{low:+.1f} to {high:+.1f}]."
        )
    if outcome.expected is not None:
        value, low, high = outcome.expected
        kept = "holds" if outcome.held else "does NOT hold"
        one.note(
            f"Expected before it was trained: {percent(value, 1)} [{100 * low:.1f} to "
            f"{100 * high:.1f}], from {plan.choice.rests}. The interval {kept} the measured "
            f"{percent(training.top1, 1)}."
        )
    for note in outcome.notes:
        one.note(note)
    table = pd.DataFrame(
        [{**vars(model), "seconds": material.cost(model), "ends": _ends(model.low, model.high),
          "length": "–" if model.mode == "freeze" else model.epochs}
         for model in (training, material.head) if model is not None]
    ).drop_duplicates("folder")  # fmt: skip
    desk.table(one, "judged", table, f"Judged once on {outcome.images:,} {outcome.split} pictures; "
               "95 % intervals of Wilson. Speeds measured on this machine.", {
        "model": ("network", str), "mode": ("mode", lambda m: MODES[m]),
        "pixels": ("image_size", str), "epochs": ("length", str),
        "trained in": ("seconds", lambda s: hours(s / 3600)),
        "validation": ("val", tenths),
        outcome.split: ("top1", tenths),
        "95 %": ("ends", str),
        "ms an answer": ("answer_ms", _three),
        "pictures/s": ("predict_rate", _three),
    })  # fmt: skip
    return one


def _verdict(material: Material) -> str:
    plan = material.plan
    if plan.verdict == SAME:
        return f"A frozen head is as good as fine-tuning here, or better: {plan.why}"
    if material.outcome.head_as_good and material.head is not None:
        gap, low, high = (100 * part for part in material.outcome.difference or ())
        return (
            f"A frozen head is as good as fine-tuning here{', or better' * (gap < 0)}: on the same "
            f"{material.outcome.images:,} {material.outcome.split} pictures "
            f"{material.training.network} {MODES[material.training.mode]} is {gap:+.1f} points "
            f"from it [{low:+.1f} to {high:+.1f}]"
        )
    if plan.verdict == "frozen":
        return f"A frozen head, as {plan.why}" if plan.why != "as asked" else "As asked"
    mode = MODES[plan.choice.mode].capitalize()
    return f"{mode}: {plan.why}" if plan.why != "as asked" else f"{mode}, as asked"


def choices(material: Material, desk: Desk) -> Section:
    """Accuracy against time, trained and answering."""
    one = Section(
        "choices", "What does accuracy cost?",
        "Accuracy against the time to train, and against that of one answer: the line joins what "
        "nothing else beats in both.",
    )  # fmt: skip
    table = _choices(material)
    limit = material.advice.latency_ms
    desk.figure(one, "choices", "Filled: measured on validation; hollow: a fine-tuning "
                "as expected from short ones. Bars: 95 %. Blue: frozen; red: fine-tuned.",
                lambda path: draw_choices(table, path, limit))  # fmt: skip
    return one


def _choices(material: Material) -> pd.DataFrame:
    answers = {one.name: one for one in material.probed}
    rows, known = [], (material.training, material.head)
    names = {(m.network, m.mode) for m in known if m is not None}
    for model in (m for m in known if m is not None):
        if any(row["folder"] == model.folder for row in rows):
            continue
        right = wilson(model.val * material.counts.val, material.counts.val)
        rows.append({**vars(model), "label": _label(model.network, model.image_size),
                     "seconds": material.cost(model), "kind": "measured", "top1": right.value,
                     "low": right.low, "high": right.high})  # fmt: skip
    for one in material.plan.choices:
        if one.top1 is None or (one.network, one.mode) in names:
            continue
        frozen, own = one.mode == "freeze", answers[one.network]
        right = wilson(own.top1 * material.counts.val, material.counts.val)
        likely = {"top1": right.value, "low": right.low, "high": right.high} if frozen else {}
        rows.append({
            **vars(one), **likely, "folder": "", "label": _label(one.network, one.image_size),
            "kind": "measured" if frozen else "expected", "answer_ms": own.answer(one.image_size),
        })  # fmt: skip
    columns = ["label", "network", "mode", "image_size", "seconds", "answer_ms", "top1", "low",
               "high", "kind"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _label(network: str, size: int) -> str:
    return f"{network.removeprefix('tf_').replace('efficientnet_', '')}, {size} px"


def candidates(material: Material, desk: Desk) -> Section:
    """All that were looked at, and what was dropped, with the reasons."""
    probe = material.probe.dropna(subset=["top1"])
    last = probe.sort_values("share").groupby("candidate").last()
    seconds = probe.groupby("candidate")["seconds"].sum()
    table = material.candidates.set_index("name").join(last[["top1", "low", "high", "pooling",
                                                             "share"]])  # fmt: skip
    table = table.assign(probed=seconds).reset_index().sort_values("top1", ascending=False)
    table["ends"] = [_ends(*pair) for pair in zip(table["low"], table["high"], strict=True)]
    had = table[table["predict_rate"].notna()]
    one = Section(
        "candidates", "Which networks?",
        f"Of {len(table)} candidates {len(had)} could be had and run here, and {len(seconds)} "
        "got a linear head on their frozen features.",
    )  # fmt: skip
    desk.table(one, "candidates", had, "Accuracy of the best head on validation, with the most "
               "pictures it was given; speeds for one answer alone, in batches, and trained whole "
               "or half frozen, measured here for seconds. M: millions of parameters.", {
        "network": ("name", str), "pixels": ("image_size", _whole),
        "frozen head": ("top1", tenths),
        "95 %": ("ends", str), "probed in": ("probed", _seconds),
        "ms an answer": ("answer_ms", _three), "pictures/s": ("predict_rate", _three),
        "trained/s": ("train_rate", _three), "half frozen": ("kept_rate", _three),
        "M": ("parameters", _millions),
        "licence": ("licence", str),
    })  # fmt: skip
    dropped = _dropped(material)
    if len(dropped):
        desk.table(one, "dropped", dropped, "What was left out, and why.",
                   {"network": ("network", str), "reason": ("reason", str)})  # fmt: skip
    return one


def _dropped(material: Material) -> pd.DataFrame:
    rows = [(row["name"], row["skipped"]) for row in material.candidates.to_dict("records")
            if row["skipped"]]  # fmt: skip
    without = [name for name, why in rows if why.startswith(NO_WEIGHTS)]
    if len(without) > 1:
        told = "no weights here; candidates.csv has of each where they were looked for"
        rows = [(", ".join(without), told), *(row for row in rows if row[0] not in without)]
    rows += [(row["candidate"], row["dropped"]) for row in material.probe.to_dict("records")
             if row["dropped"]]  # fmt: skip
    return pd.DataFrame(rows, columns=["network", "reason"])


def epochs(material: Material, desk: Desk) -> Section:
    """What twice the time would buy, from the few epochs that were tried."""
    one = Section("more", "What would more time buy?", twice_the_time(material)[2])
    tuned = material.tuned
    if tuned is None:
        return one
    own = tuned.name == material.plan.choice.name and not material.outcome.study
    end = 2 * max(tuned.epochs, material.training.epochs if own else 0, 2)
    tried = material.tried(tuned)
    lengths = np.arange(int(tried["epochs"].max()), end + 1)
    ahead = [material.foretold(tuned, int(e), at_end=False) for e in lengths]
    table = pd.DataFrame([{"epochs": e, "top1": a.value, "low": a.low, "high": a.high}
                          for e, a in zip(lengths, ahead, strict=True)])  # fmt: skip
    measured = (material.training.epochs, material.training.top1) if own else None
    desk.figure(one, "epochs", f"{tuned.network} at {tuned.image_size} px: each point is a "
                "complete training with a schedule of its own; the error goes on as a power of the "
                "epochs, whose exponent may change by half of it on the way (band: 95 %).",
                lambda path: draw_epochs(tried, table, measured, path))  # fmt: skip
    planned = material.foretold(tuned, max(1, tuned.epochs), at_end=False)
    one.note(f"{tuned.epochs} epochs, which fit: {told(planned)}.")
    return one


def growth(material: Material, desk: Desk) -> Section:
    """Accuracy as the labelled pictures grow."""
    one = Section("growth", "What would more pictures buy?", more_pictures(material))
    draws = material.draws.dropna(subset=["top1"])
    if draws.empty:
        return one
    law = _law(material, draws) if material.growth.get("law") else None
    desk.figure(one, "growth", f"Frozen heads of {material.growth['candidate']} on draws of the "
                "training pictures; error = a n^-b + c, with its 95 % band. Fine-tuning follows "
                "another curve, which was not measured.",
                lambda path: draw_growth(draws, law, path))  # fmt: skip
    return one


def _law(material: Material, draws: pd.DataFrame) -> pd.DataFrame:
    groups = draws.groupby("images")["top1"]
    sizes = [int(n) for n, _ in groups]
    errors = [(1 - each).tolist() for _, each in groups]
    laws = redrawn_laws(sizes, errors, int(material.growth["judged"]))
    fitted = material.growth["law"]
    a, b, c = (fitted[name]["value"] for name in ("a", "b", "c"))
    n = np.geomspace(min(sizes), 2 * max(sizes), 60)
    n = np.sort(np.append(n, max(sizes)))
    ends = [interval([1 - law.error(x) for law in laws]) for x in n]
    low, high = (np.clip([e[i] for e in ends], 0, 1) for i in (0, 1))
    return pd.DataFrame({"images": n, "top1": 1 - (a * n**-b + c), "low": low, "high": high})


def time(material: Material, desk: Desk) -> Section:
    """Where the time went."""
    outcome = material.outcome
    share = outcome.used_seconds / outcome.asked_seconds
    one = Section(
        "time", "Was the time kept?",
        f"{hours(outcome.used_seconds / 3600)} of {hours(outcome.asked_seconds / 3600)} were used "
        f"({share:.0%}) until the winner was judged.",
    )  # fmt: skip
    rows = [{"stage": name, "seconds": stage["seconds"]} for name, stage in material.stages.items()]
    desk.table(one, "stages", pd.DataFrame(rows, columns=["stage", "seconds"]), "Seconds of each "
               "stage, over all sittings.",
               {"stage": ("stage", lambda s: s.replace("_", " ")),
                "time": ("seconds", lambda s: hours(s / 3600))})  # fmt: skip
    return one


def _ends(low: float, high: float) -> str:
    return "–" if np.isnan(low) else f"{100 * low:.1f} to {100 * high:.1f}"


def _whole(value: float) -> str:
    return count(value)


def _three(value: float) -> str:
    return "–" if np.isnan(value) else count(value) if value >= 100 else f"{value:.3g}"


def _seconds(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1f} s"


def _millions(value: float) -> str:
    return "–" if np.isnan(value) else f"{value / 1e6:.1f}"
