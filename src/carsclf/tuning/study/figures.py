"""The figures of one study, from its tables."""

from pathlib import Path

from carsclf.analysis.boundary import KEY, by_boundary, told
from carsclf.analysis.importance import ENOUGH, importances
from carsclf.figures.boundary import draw_boundaries
from carsclf.figures.study import (
    draw_curves,
    draw_fidelities,
    draw_importance,
    draw_parallel,
    draw_progress,
)
from carsclf.tuning.study.study import Study
from carsclf.tuning.study.tables import curve_table, trial_table

RATES = ("lr", "learning_rate")


def draw_study(study: Study, folder: Path) -> None:
    """Draws what there is to draw; a study without results gets no figures."""
    best, curves, trials = study.controller.best, curve_table(study), trial_table(study)
    if best is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    draw_progress(curves, study.metric, study.sign, folder / "progress.png")
    draw_curves(curves, study.metric, best.number, folder / "curves.png")
    space = study.controller.space
    scored = trials.dropna(subset="best")
    rate = next((p for p in space if p.key.split(".")[-1] in RATES), None)
    if rate is not None:
        path = folder / "learning_rates.png"
        placed = scored.assign(value=scored[f"values.{rate.key}"]).dropna(subset="value")
        draw_fidelities(placed, rate.key, rate.log, study.metric, path)
    if f"values.{KEY}" in scored and len(placed := told(scored)):
        horizon, path = study.controller.horizon, folder / "boundaries.png"
        table = by_boundary(placed, horizon, study.sign)
        draw_boundaries(placed, table, study.metric, horizon, path)
    keys = [p.name for p in space]
    units = space.to_unit([study.controller.trials[number].raw for number in scored["trial"]])
    draw_parallel(scored, units, keys, study.metric, folder / "parallel.png")
    if len(scored) >= ENOUGH:
        values = scored["best"].to_numpy(dtype=float)
        table = importances(units, scored["epochs"].to_numpy(), values, keys)
        draw_importance(table, len(scored), folder / "importance.png")
