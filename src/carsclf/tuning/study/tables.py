"""What a study writes beside its journal: trials, curves, best.yaml and a summary."""

import dataclasses
from collections import Counter
from typing import Any

import pandas as pd
import yaml

from carsclf.files import atomic_write
from carsclf.tuning.study.plan import Plan
from carsclf.tuning.study.records import StudySummary, TrialRow
from carsclf.tuning.study.study import Study
from carsclf.tuning.study.verdict import Verdict, reach_verdict
from carsclf.tuning.trial import FAILED, PAUSED, SCORE, Trial

STATUS = {"TERMINATED": "finished", "ERROR": "failed"}


def trial_rows(study: Study) -> list[TrialRow]:
    """One row per trial, in the order they were proposed."""
    assert study.folder is not None
    controller, scores = study.controller, _best_by_epoch(study)
    return [
        TrialRow(
            trial=t.number,
            overrides=t.overrides,
            values=t.values or controller.space.values(t.raw),
            status=status(t),
            epochs=t.epoch,
            length=t.length,
            cost=t.epoch / controller.horizon,
            best=study.value(t.best),
            seconds=t.seconds,
            failures=t.failures,
            error=t.error,
            folder=study.folder.relative(t),
            role=t.role,
            ended=t.ended or _open(t, scores),
        )
        for t in controller.trials
    ]


def status(trial: Trial) -> str:
    """pending, running, paused, finished or failed."""
    return STATUS.get(trial.status, trial.status.lower())


def trial_table(study: Study) -> pd.DataFrame:
    """trials.parquet: the rows, with a column `values.<key>` for each searched value."""
    rows = [dataclasses.asdict(row) for row in trial_rows(study)]
    for row in rows:
        row |= {f"values.{key}": value for key, value in row.pop("values").items()}
    table = pd.DataFrame(rows)
    for parameter in study.controller.space:
        column = f"values.{parameter.key}"
        if parameter.choices and column in table:  # choices of several types in one column
            table[column] = table[column].astype(str)
    return table


def curve_table(study: Study) -> pd.DataFrame:
    """curves.parquet: trial, epoch, metrics, seconds, and the full trainings spent by then."""
    rows, spent, epochs = [], 0, {}
    for event in study.journal.events:
        if event["kind"] != "result":
            continue
        trial, epoch = event["trial"], event["epoch"]
        spent += epoch - epochs.get(trial, 0)
        epochs[trial] = epoch
        metrics: dict[str, Any] = {k: v for k, v in event["metrics"].items() if k != SCORE}
        rows.append(
            {
                "trial": trial,
                "epoch": epoch,
                **metrics,
                "seconds": event["seconds"],
                "spent": spent / study.controller.horizon,
                "time": event["time"],
            }
        )
    return pd.DataFrame(rows)


def summarised(study: Study, plan: Plan, verdict: Verdict, finished: bool) -> StudySummary:
    """study.json."""
    controller, best = study.controller, study.controller.best
    known = controller.incumbent
    notes = list(plan.notes)
    if known is not None and known.status == FAILED:
        notes.insert(0, f"the incumbent (trial {known.trial_id}) failed: {known.error}")
    return StudySummary(
        name=plan.name,
        search=plan.search.name,
        metric=study.metric,
        mode="max" if study.sign > 0 else "min",
        horizon=controller.horizon,
        shortened=plan.search.shortened,
        budget=plan.search.budget,
        hours=plan.search.hours,
        spent=controller.epochs / controller.horizon,
        seconds=round(study.journal.seconds, 1),
        trials=len(controller.trials),
        statuses=dict(Counter(status(t) for t in controller.trials)),
        finished=finished,
        best_trial=None if best is None else best.number,
        best=None if best is None else study.value(best.best),
        best_epochs=None if best is None else best.epoch,
        failures={t.trial_id: str(t.error) for t in controller.everyone if t.status == FAILED},
        winner=None if verdict.winner is None else verdict.winner.number,
        verdict=verdict.words,
        final=[dataclasses.asdict(entry) for entry in verdict.finalists],
        notes=notes,
    )


def write_study(study: Study, plan: Plan, finished: bool = False) -> StudySummary:
    """trials.parquet, curves.parquet, best.yaml and study.json as things stand."""
    assert study.folder is not None
    for table, path in (
        (trial_table(study), study.folder.trials),
        (curve_table(study), study.folder.curves),
    ):
        with atomic_write(path) as temporary:
            table.to_parquet(temporary, index=False)
    verdict = reach_verdict(study, plan.outcome)
    made = summarised(study, plan, verdict, finished)
    made.write(study.folder.summary)
    if verdict.winner is not None:
        overrides = verdict.winner.overrides
        repeated = plan.composition.repeated(overrides) if plan.table is None else overrides
        with atomic_write(study.folder.best) as temporary:
            temporary.write_text(
                f"# {verdict.words}\n# python train.py overrides=<this file>\n"
                + yaml.safe_dump(repeated, width=1000, default_flow_style=False)
            )
    return made


def _open(trial: Trial, scores: dict[int, dict[int, float]]) -> str:
    """Why a trial that may still go on does not, as far as can be told."""
    if trial.status != PAUSED:
        return ""
    there = scores[trial.epoch]
    place = 1 + sum(score > there[trial.number] for score in there.values())
    return f"paused at epoch {trial.epoch}, number {place} of {len(there)} there"


def _best_by_epoch(study: Study) -> dict[int, dict[int, float]]:
    """By epoch, the best score so far of each trial that got there."""
    best: dict[int, float] = {}
    scores: dict[int, dict[int, float]] = {}
    for event in study.journal.events:
        if event["kind"] == "result":
            number, score = event["trial"], event["metrics"][SCORE]
            best[number] = max(score, best.get(number, score))
            scores.setdefault(event["epoch"], {})[number] = best[number]
    return scores
