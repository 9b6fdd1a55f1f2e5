"""3. What do they cost?"""

import math

import numpy as np
import pandas as pd

from carsclf.analysis.cost import StudyCost, money, per_point, study_cost
from carsclf.figures.cost import draw_costs
from carsclf.report.context import Context
from carsclf.report.groups import WORDS
from carsclf.report.material import StudyMaterial
from carsclf.report.page import Section
from carsclf.report.pairs import searched
from carsclf.report.published import FIGURES, SOURCE, TRIALS
from carsclf.report.words import hours, listed, points
from carsclf.report.words import money as written


def section(context: Context) -> Section:
    """Hours per training, hours and money per study, and what a point costs."""
    made = Section("cost", "What do they cost?")
    if not context.groups and not context.material.studies:
        made.answer = "Neither runs nor studies were given, so no hours were measured."
        return made
    trainings, studies = training_table(context), study_table(context)
    made.answer = _answer(trainings, studies, context.price.currency)
    if len(trainings):
        caption = (
            "Hours per training: wall-clock of each run, mean over seeds, on the device named. "
            "Frozen features that were found in the cache were not computed again."
        )
        show = {
            "configuration": ("label", str),
            "runs": ("runs", str),
            "one training": ("hours", hours),
            "± sd": ("sd", lambda v: "–" if math.isnan(v) else hours(v)),
            "cost": ("money", lambda v: written(v, context.price.currency)),
            "device": ("device", str),
        }
        if context.material.source == SOURCE:
            show["published (K80)"] = ("published", lambda v: "–" if math.isnan(v) else hours(v))
        context.desk.table(made, "trainings", trainings, caption, show)
    if studies.empty:
        made.commands(["python tune.py ...", "python report.py studies=[runs/tune/<study>]"],
                      "No study was given; to see what a search costs:")  # fmt: skip
        return made
    caption = "Device hours of each study: paid, and had every trial run at full length."
    context.desk.figure(made, "cost", caption, lambda path: draw_costs(studies, path))
    _study_table(context, made, studies)
    made.note(f"Price: {context.price.told}.")
    if context.material.source == SOURCE:
        counted = [f"{hours(TRIALS * f.hours)} ({f.model})" for f in FIGURES.values()]
        made.note(
            f"The published study counts {TRIALS} full trainings: {listed(counted)}, although most "
            "of its observations cost 0.1 or 0.5 of one. Both ways of counting are shown above."
        )
    return made


def training_table(context: Context) -> pd.DataFrame:
    """Hours of one training per configuration."""
    rows = []
    for group in context.groups:
        if not group.runs:
            continue
        took = np.array(group.hours)
        cost = money(took.mean(), context.price.price_per_hour)
        figures = FIGURES.get(group.mode) if context.material.source == SOURCE else None
        rows.append(
            {
                "label": group.label,
                "mode": group.mode,
                "runs": len(group.runs),
                "hours": took.mean(),
                "sd": took.std(ddof=1) if len(took) > 1 else math.nan,
                "money": math.nan if cost is None else cost,
                "device": listed(sorted({run.run.device for run in group.runs})),
                "published": figures.hours if figures else math.nan,
            }
        )
    return pd.DataFrame(rows)


def cost_of(study: StudyMaterial) -> StudyCost | None:
    """Of a study whose trials were timed."""
    spent, seconds = study.trials[["cost", "seconds"]].to_numpy(float).sum(axis=0)
    if not spent or not seconds:
        return None
    return study_cost(float(seconds), float(spent), len(study.trials))


def study_table(context: Context) -> pd.DataFrame:
    """Hours, money and cost per point of each study that was timed."""
    lowest = context.groups[-1] if context.groups else None
    rows = []
    for study in context.material.studies:
        cost = cost_of(study)
        if cost is None:
            continue
        pair = searched(context.groups, str(study.folder))
        price, currency = context.price.price_per_hour, context.price.currency
        gain = pair.gain if pair else None
        winner = pair.second if pair else None
        over = winner.accuracy - lowest.accuracy if winner and lowest else None
        paid = money(cost.paid, price)
        hour_point, why = per_point(cost.paid, gain)
        rows.append(
            {
                "label": study.name,
                "mode": study.mode,
                "trials": cost.trials,
                "full_trainings": cost.full_trainings,
                "one": cost.one,
                "paid": cost.paid,
                "as_full": cost.as_full,
                "wall_clock": study.summary.seconds / 3600,
                "money_paid": _nan(paid),
                "money_as_full": _nan(money(cost.as_full, price)),
                "gain": _nan(gain),
                "hours_per_point": hours(hour_point) if hour_point is not None else why,
                "money_per_point": _money_per_point(paid, gain, currency),
                "money_per_point_over_lowest": _money_per_point(paid, over, currency),
                "lowest": lowest.label if lowest else "",
            }
        )
    return pd.DataFrame(rows)


def _money_per_point(paid: float | None, gain: float | None, currency: str) -> str:
    cost, why = per_point(paid, gain)
    return why if cost is None else written(cost, currency)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _study_table(context: Context, made: Section, studies: pd.DataFrame) -> None:
    turned = studies.set_index("label").T
    currency = context.price.currency
    lowest = studies["lowest"].iloc[0]
    rows = {
        "trials": ("trials", str),
        "full trainings' worth of epochs": ("full_trainings", lambda v: f"{v:.1f}"),
        "one full training": ("one", hours),
        "paid, device hours": ("paid", hours),
        "as many full trainings, device hours": ("as_full", hours),
        "wall-clock": ("wall_clock", hours),
        "paid, money": ("money_paid", lambda v: written(v, currency)),
        "as many full trainings, money": ("money_as_full", lambda v: written(v, currency)),
        "gain over the baseline, points": ("gain", points),
        "paid hours per point gained": ("hours_per_point", str),
        "paid money per point gained": ("money_per_point", str),
        f"paid money per point over {lowest}": ("money_per_point_over_lowest", str),
    }
    shown = pd.DataFrame(
        [
            {"figure": name, **{s: write(turned.loc[key, s]) for s in turned.columns}}
            for name, (key, write) in rows.items()
        ]
    )
    caption = "What each study cost, and what a point of accuracy cost (100 points: all photos)."
    show = {"": ("figure", str)} | {s: (s, str) for s in turned.columns}
    context.desk.table(made, "study_costs", shown, caption, show)


def _answer(trainings: pd.DataFrame, studies: pd.DataFrame, currency: str) -> str:
    said = []
    if len(trainings):
        by_mode: dict[str, list[float]] = {}
        for mode, took in zip(trainings["mode"], trainings["hours"], strict=True):
            by_mode.setdefault(mode, []).append(took)
        each = [f"{hours(float(np.mean(v)))} ({WORDS.get(m, m)})" for m, v in by_mode.items()]
        said.append(f"one training takes {listed(each)}")
    if len(studies):
        each = [
            f"{s['label']} paid {hours(s['paid'])}, where {s['trials']} full trainings would have "
            f"taken {hours(s['as_full'])}"
            for s in studies.to_dict("records")
        ]
        said.append(listed(each))
        if len(studies) == 2:
            low, high = sorted(studies["as_full"].tolist())
            share = 1 - low / high
            apart = high - low
            told = f"{apart:,.0f} h" if apart >= 10 else hours(apart)
            close = f", under {math.floor(100 * share) + 1} %" if share < 0.1 else ""
            said.append(f"the two differ by {told}{close}")
        for s in studies.to_dict("records"):
            costs = f"a point gained over the baseline cost {s['hours_per_point']}"
            free = f"the cost of a point is {s['hours_per_point']}"
            said.append(f"in {s['label']} " + (costs if s["gain"] > 0 else free))
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if text else "Nothing was timed."
