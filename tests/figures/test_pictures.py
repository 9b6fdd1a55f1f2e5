"""Figures are the same file twice, and nobody reads of epoch 2.5."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from carsclf.analysis.boundary import by_boundary
from carsclf.figures import learning_curves, mistakes, rates, study
from carsclf.figures.boundary import draw_boundaries
from carsclf.figures.learning_curves import draw_learning_curves
from carsclf.figures.mistakes import draw_fates
from carsclf.figures.rates import draw_range_test, draw_schedule

CURVES = pd.DataFrame(
    {
        "trial": [0, 0, 1, 1],
        "epoch": [1, 2, 1, 2],
        "val/top1": [0.1, 0.2, 0.15, 0.3],
        "spent": [0.5, 1.0, 1.5, 2.0],
    }
)
TRIALS = pd.DataFrame({"epochs": [1, 2], "best": [0.2, 0.3], "value": [0.1, 0.01]})
IMPORTANCE = pd.DataFrame({"key": ["lr", "decay"], "mean": [0.5, 0.1], "deviation": [0.1, 0.1]})
REPLAYED = pd.DataFrame(
    {"table": "a", "search": "asha", "budget": [1, 2], "regret": [0.2, 0.1], "low": 0.05,
     "high": 0.3}
)  # fmt: skip
FINAL = pd.DataFrame(
    {"label": ["a", "b", "a", "b"], "seed": [1, 1, 2, 2], "score": [0.1, 0.3, 0.2, 0.3]}
)
PLACED = pd.DataFrame(
    {"boundary": ["0", "2", "head"], "best": [0.3, 0.2, 0.1], "epochs": [2, 1, 2],
     "seconds": [9.0, 3.0, 1.0]}
)  # fmt: skip
DRAWN: dict[str, Callable[[Path], None]] = {
    "progress": lambda path: study.draw_progress(CURVES, "val/top1", 1, path),
    "curves": lambda path: study.draw_curves(CURVES, "val/top1", 1, path),
    "fidelities": lambda path: study.draw_fidelities(TRIALS, "lr", True, "val/top1", path),
    "parallel": lambda path: study.draw_parallel(TRIALS, np.eye(2), ["a", "b"], "top-1", path),
    "importance": lambda path: study.draw_importance(IMPORTANCE, 9, path),
    "final": lambda path: study.draw_final(FINAL, "val/top1", path, colour="#333333"),
    "boundaries": lambda path: draw_boundaries(PLACED, by_boundary(PLACED, 2), "top-1", 2, path),
    "replay": lambda path: study.draw_replay(REPLAYED, path),
    "range test": lambda path: draw_range_test(
        pd.DataFrame({"lr": [0.1, 1.0], "loss": [2.0, 1.0], "smoothed": [2.0, 1.5]}),
        {"valley": 0.3},
        path,
    ),
    "schedule": lambda path: draw_schedule(
        pd.DataFrame({"epoch": [0.0, 0.5], "group": "head", "lr": [0.1, 1.0]}), "one", path
    ),
    "learning curves": lambda path: draw_learning_curves({"a": ("freeze", "", CURVES)}, path),
}


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_figure_is_the_same_file(name: str, suffix: str, tmp_path: Path) -> None:
    one, two = (tmp_path / f"{n}{suffix}" for n in ("one", "two"))
    for path in (one, two):
        DRAWN[name](path)
    assert one.read_bytes() == two.read_bytes()
    assert b"dc:date" not in one.read_bytes()


def test_ticks_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    for module in (learning_curves, mistakes):
        monkeypatch.setattr(module, "save", lambda figure, path: drawn.append(figure))
    draw_learning_curves({"a": ("freeze", "", CURVES)}, tmp_path / "a.svg")
    few = pd.DataFrame([{"label": "a → b", "vanish": 1, "stay": 1, "appear": 0}])
    draw_fates(few, tmp_path / "b.svg")
    for figure in drawn:
        low, high = figure.axes[0].get_xlim()
        ticks = [t for t in figure.axes[0].get_xticks() if low <= t <= high]
        assert len(ticks) >= 2
        assert all(tick == round(tick) for tick in ticks)


def test_of_many_layers_the_first_the_last_and_the_head_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each at its own rates: from the lowest layer up, as optimizer.layer_decay=0.5 has them."""
    drawn: list[Figure] = []
    monkeypatch.setattr(rates, "save", lambda figure, path: drawn.append(figure))
    shares = {f"backbone-{n}": 0.5**n for n in range(6, 0, -1)} | {"head": 1.0}
    rows = [(epoch, name, share) for epoch in (0.0, 0.5) for name, share in shares.items()]
    table = pd.DataFrame(rows, columns=["epoch", "group", "lr"])
    draw_schedule(table, "by depth", tmp_path / "a.svg")
    lines = {str(line.get_label()): line for line in drawn[0].axes[0].get_lines()}
    assert {"backbone-6", "backbone-1", "head"} <= lines.keys()
    assert len({line.get_color() for line in lines.values()}) == len(lines) == 4
    for name, line in lines.items():
        assert list(np.asarray(line.get_ydata())) == [shares[name]] * 2
