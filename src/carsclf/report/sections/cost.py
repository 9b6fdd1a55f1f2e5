"""3. What do they cost?"""

import math
from typing import Any

import numpy as np
import pandas as pd

from carsclf.analysis.cost import StudyCost, money, per_point, study_cost
from carsclf.figures.cost import draw_costs
from carsclf.report.context import Context
from carsclf.report.groups import best_by_mode
from carsclf.report.page import Section
from carsclf.report.pairs import adopted
from carsclf.report.published import TRIALS, published
from carsclf.report.repeat import to_get_a_study
from carsclf.report.studies import StudyMaterial
from carsclf.report.words import hours, listed, points
from carsclf.report.words import money as written


def section(context: Context) -> Section:
    """Hours per training, hours and money per study, and what a point costs."""
    made = Section("cost", "What do they cost?")
    if not context.groups and not context.material.studies:
        made.answer = "Neither runs nor studies were given, so no hours were measured."
        return made
    trainings, studies = training_table(context), study_table(context)
    made.answer = _answer(context, studies)
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
        if bool(trainings["published"].notna().to_numpy().any()):
            show["published (K80)"] = ("published", lambda v: "–" if math.isnan(v) else hours(v))
        context.desk.table(made, "trainings", trainings, caption, show)
    if studies.empty:
        made.commands(to_get_a_study(context), "No study was given; to see what a search costs:")
        return made
    caption = "Device hours of each study: paid, and had every trial run at full length."
    if not np.allclose(studies["paid"], studies["as_full"]):  # else nothing was shortened
        context.desk.figure(made, "cost", caption, lambda path: draw_costs(studies, path))
    _study_table(context, made, studies)
    made.note(f"Price: {context.price.told}.")
    beside = {f.model: f for g in context.groups if (f := published(context.material, g))}
    if beside:
        counted = [f"{hours(TRIALS * f.hours)} ({f.model})" for f in beside.values()]
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
        cost = money(group.training, context.price.price_per_hour)
        figures = published(context.material, group)
        rows.append(
            {
                "label": group.label,
                "mode": group.mode,
                "runs": len(group.runs),
                "hours": group.training,
                "sd": took.std(ddof=1) if len(took) > 1 else math.nan,
                "money": math.nan if cost is None else cost,
                "device": listed(sorted({run.run.device for run in group.runs})),
                "published": figures.hours if figures else math.nan,
            }
        )
    return pd.DataFrame(rows)


def cost_of(study: StudyMaterial) -> StudyCost | None:
    """Of a study whose trials were timed, its final included."""
    spent, seconds = study.trials[["cost", "seconds"]].to_numpy(float).sum(axis=0)
    final = study.final_trainings
    spent += final["epochs"].sum() / study.summary.horizon
    seconds += final["seconds"].sum()
    if not spent or not seconds:
        return None
    return study_cost(float(seconds), float(spent), len(study.trials) + len(final))


def study_table(context: Context) -> pd.DataFrame:
    """Hours, money and cost per point of each study that was timed."""
    rows = []
    for study in context.material.studies:
        cost = cost_of(study)
        if cost is None:
            continue
        pair = adopted(context.groups, str(study.folder))
        price, currency = context.price.price_per_hour, context.price.currency
        gain = pair.gain if pair else None
        paid = money(cost.paid, price)
        hour_point, why = per_point(cost.paid, gain)
        rows.append(
            {
                "label": study.name,
                "mode": study.mode,
                "trials": cost.trials,
                "final": len(final := study.final_trainings),
                "final_paid": final["seconds"].sum() / 3600,
                "full_trainings": cost.full_trainings,
                "one": cost.one,
                "paid": cost.paid,
                "as_full": cost.as_full,
                "wall_clock": study.summary.seconds / 3600,
                "money_paid": _nan(paid),
                "money_as_full": _nan(money(cost.as_full, price)),
                "known": pair.first.label if pair else "–",
                "gain": _nan(gain),
                "hours_per_point": hours(hour_point) if hour_point is not None else why,
                "money_per_point": _money_per_point(paid, gain, currency),
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
    final = bool(studies["final"].to_numpy().any())
    rows = {
        "trials": ("trials", str),
        **({"of which trainings of the final": ("final", str)} if final else {}),
        "full trainings' worth of epochs": ("full_trainings", lambda v: f"{v:.1f}"),
        "device hours per full training's worth": ("one", hours),
        "paid, device hours": ("paid", hours),
        **({"of which the final": ("final_paid", hours)} if final else {}),
        "as many full trainings, device hours": ("as_full", hours),
        "wall-clock": ("wall_clock", hours),
        "paid, money": ("money_paid", lambda v: written(v, currency)),
        "as many full trainings, money": ("money_as_full", lambda v: written(v, currency)),
        "best known without it": ("known", str),
        "gain over that of what it keeps, points": ("gain", points),
        "paid hours per point gained": ("hours_per_point", str),
        "paid money per point gained": ("money_per_point", str),
    }
    shown = pd.DataFrame(
        [
            {"figure": name, **{s: write(turned.loc[key, s]) for s in turned.columns}}
            for name, (key, write) in rows.items()
        ]
    )
    caption = (
        "What each study cost, and what a point of accuracy cost (100 points: all photos). Device "
        "hours are those of the trials' epochs, as many at once as the study ran; one training, "
        "above, is timed from start to end."
    )
    show = {"": ("figure", str)} | {s: (s, str) for s in turned.columns}
    context.desk.table(made, "study_costs", shown, caption, show)


def _for_final(study: dict[Any, Any]) -> str:
    return f" ({hours(study['final_paid'])} of it for its final)" if study["final"] else ""


def _answer(context: Context, studies: pd.DataFrame) -> str:
    said = []
    best = best_by_mode(g for g in context.groups if g.runs)
    if best:
        each = [f"{hours(g.training)} ({g.label}{g.uncounted})" for g in best.values()]
        said.append(f"from start to end, one training takes {listed(each)}")
    if len(studies):
        each = [
            f"{s['label']} paid {hours(s['paid'])}{_for_final(s)}, where {s['trials']} full "
            f"trainings would have taken {hours(s['as_full'])}"
            for s in studies.to_dict("records")
        ]
        said.append(f"of epochs alone, as timed in the study, {listed(each)}")
        if len(studies) == 2:
            low, high = sorted(studies["as_full"].tolist())
            share = 1 - low / high
            apart = high - low
            told = f"{apart:,.0f} h" if apart >= 10 else hours(apart)
            close = f", under {math.floor(100 * share) + 1} %" if share < 0.1 else ""
            said.append(f"the two differ by {told}{close}")
        for s in studies.to_dict("records"):
            costs = f"a point gained over {s['known']} cost {s['hours_per_point']}"
            free = f"the cost of a point is {s['hours_per_point']}"
            said.append(f"in {s['label']} " + (costs if s["gain"] > 0 else free))
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if text else "Nothing was timed."
