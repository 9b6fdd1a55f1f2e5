"""What a study writes beside its journal: trials, curves, the winner, and a summary."""

import dataclasses
from collections import Counter
from typing import Any

import pandas as pd
import yaml

from carsclf.files import atomic_write
from carsclf.tuning.composition import Composition
from carsclf.tuning.records import StudySummary, TrialRow
from carsclf.tuning.study import Study
from carsclf.tuning.trial import FAILED, SCORE, Trial

STATUS = {"TERMINATED": "finished", "ERROR": "failed"}


def trial_rows(study: Study) -> list[TrialRow]:
    """One row per trial, in the order they were proposed."""
    loop = study.loop
    return [
        TrialRow(
            trial=t.number,
            overrides=t.overrides,
            values=loop.space.values(t.raw),
            status=status(t),
            epochs=t.epoch,
            length=t.length,
            cost=t.epoch / loop.horizon,
            best=study.value(t.best),
            seconds=t.seconds,
            failures=t.failures,
            error=t.error,
            folder=str(study.folder.trial(t.trial_id).relative_to(study.folder.root)),
        )
        for t in loop.trials
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
    for parameter in study.loop.space:
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
                "spent": spent / study.loop.horizon,
                "time": event["time"],
            }
        )
    return pd.DataFrame(rows)


def summary(study: Study, name: str, search: str, finished: bool) -> StudySummary:
    """study.json."""
    loop, best = study.loop, study.loop.best
    return StudySummary(
        name=name,
        search=search,
        metric=study.metric,
        mode="max" if study.sign > 0 else "min",
        horizon=loop.horizon,
        schedule=loop.search.schedule,
        budget=loop.search.budget,
        spent=loop.epochs / loop.horizon,
        seconds=round(study.journal.seconds, 1),
        trials=len(loop.trials),
        statuses=dict(Counter(status(t) for t in loop.trials)),
        finished=finished,
        best_trial=None if best is None else best.number,
        best=None if best is None else study.value(best.best),
        best_epochs=None if best is None else best.epoch,
        failures={t.trial_id: str(t.error) for t in loop.trials if t.status == FAILED},
    )


def write_tables(study: Study, composition: Composition | None) -> None:
    """trials.parquet, curves.parquet and best.yaml as things stand."""
    for table, path in (
        (trial_table(study), study.folder.trials),
        (curve_table(study), study.folder.curves),
    ):
        with atomic_write(path) as temporary:
            table.to_parquet(temporary, index=False)
    best = study.loop.best
    if best is None:
        return
    space = study.loop.space
    overrides = composition.winner(space, best.raw) if composition else space.overrides(best.raw)
    with atomic_write(study.folder.best) as temporary:
        temporary.write_text(
            "# The winner: python train.py overrides=<this file>\n"
            + yaml.safe_dump(overrides, width=1000, default_flow_style=False)
        )
