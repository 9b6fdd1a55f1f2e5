"""All searches over recorded learning curves: what they cost against random search.

    python -m benchmarks.search_replay <table.npz> ... [--seeds 20] [--out <folder>]

As in a real study, every search first runs the incumbent at full length: the recorded training
nearest to the values that conf/objective/replay.yaml names. The yardstick (blank) is random search
that knows of nothing. Proposals are answered with the nearest recorded training not yet handed
out, of which the search is told (distinct), or with the nearest one, whoever had it before
(nearest). Writes results.csv, curves.png and prints: budget to reach blank's median after 20 full
trainings, regret on the way, and regret at equal simulated wall-clock with 20 workers.
"""

import argparse
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from carsclf.figures.study import draw_replay
from carsclf.tuning.study.replay import Curve, replay
from carsclf.tuning.study.start import recorded_start
from carsclf.tuning.workers.recorded import Table

YARDSTICK = "blank"
PROTOCOLS = ("distinct", "nearest")
SEARCHES = ("random", "asha", "bohb", "multitask", "freeze_thaw")
CONF = Path(__file__).parents[1] / "conf"
BUDGETS, CLOCKS = (1, 2, 4, 8, 20), (1, 2, 4)
GRID = np.arange(0.05, 20.001, 0.05)
TOP = 0.99


def study(search: str, path: str, seed: int, budget: float, workers: int, distinct: bool) -> Curve:
    """One replayed study with the search's own defaults, without a final."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    name = "random" if search == YARDSTICK else search
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("tune", [f"search={name}", "objective=replay"])
    options = {"budget": budget, "trials": 10_000, "seed": seed, "final": 0.0}
    made = instantiate(config.search, **options, _convert_="all")
    table = Table.read(Path(path))
    starts = [] if search == YARDSTICK else [recorded_start(table, config.objective.known)]
    return replay(made, table, workers=workers, starts=starts, distinct=distinct)[1]


def best_at(x: np.ndarray, best: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Best accuracy seen by each point of the grid; 0 before the first result."""
    index = np.searchsorted(x, grid + 1e-9, side="right") - 1
    return np.where(index >= 0, best[np.maximum(index, 0)], 0.0)


def first(reached: np.ndarray, grid: np.ndarray) -> float:
    """The first point of the grid where the condition holds; inf: none."""
    return float(grid[reached.argmax()]) if reached.any() else float("inf")


def serial_rows(table: Table, name: str, curves: dict[str, list[Curve]]) -> list[dict[str, object]]:
    """One worker: speed-up to the yardstick's median, cost to the top 1 %, regret on the way."""
    optimum = float(table.accuracy.max())
    top = float(np.quantile(table.accuracy.max(axis=1), TOP))
    goal = float(np.median([c.best[-1] for c in curves[YARDSTICK]]))
    rows = []
    for search, runs in curves.items():
        seen = np.stack([best_at(c.spent, c.best, GRID) for c in runs])
        paid = np.stack([best_at(c.time, c.best, GRID) for c in runs])
        reach = first(np.median(seen, axis=0) >= goal - 1e-12, GRID)
        row: dict[str, object] = {
            "table": name,
            "search": search,
            "workers": 1,
            "seeds": len(runs),
            "goal": goal,
            "budget_to_goal": reach,
            "speedup": 20 / reach,
            "speedup_by_table_cost": 20 / first(np.median(paid, axis=0) >= goal - 1e-12, GRID),
            "cost_to_top1": float(np.median([first(s >= top, GRID) for s in seen])),
            "share_to_top1": float(np.mean(seen[:, -1] >= top)),
        }
        rows.append(row | _regrets(optimum, [(c.spent, c.best) for c in runs], BUDGETS))
    return rows


def parallel_rows(
    table: Table, name: str, curves: dict[str, list[Curve]]
) -> list[dict[str, object]]:
    """20 workers: regret at equal simulated wall-clock."""
    optimum = float(table.accuracy.max())
    return [
        {"table": name, "search": search, "workers": 20, "seeds": len(runs)}
        | _regrets(optimum, [(c.time, c.best) for c in runs], CLOCKS)
        for search, runs in curves.items()
    ]


def _regrets(
    optimum: float, runs: list[tuple[np.ndarray, np.ndarray]], points: tuple[int, ...]
) -> dict[str, object]:
    """Median regret and its quartiles at each point."""
    values = optimum - np.stack([best_at(x, best, np.array(points, float)) for x, best in runs])
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    named = zip(points, low, middle, high, strict=True)
    return {
        f"regret_{p}{suffix}": float(v)
        for p, a, b, c in named
        for suffix, v in (("", b), ("_q1", a), ("_q3", c))
    }


def run_all(
    tables: list[str], searches: list[str], seeds: int, budget: float, workers: int, *,
    distinct: bool, processes: int,
) -> dict[str, dict[str, list[Curve]]]:  # fmt: skip
    """Curves by table and search, the seeds in order."""
    jobs = list(product(tables, searches, range(seeds)))
    with ProcessPoolExecutor(processes) as pool:
        made = [pool.submit(study, s, t, seed, budget, workers, distinct) for t, s, seed in jobs]
        curves: dict[str, dict[str, list[Curve]]] = {}
        for (t, s, _), future in zip(jobs, made, strict=True):
            curves.setdefault(t, {}).setdefault(s, []).append(future.result())
    return curves


def main() -> None:
    """Parses the command line, runs, writes and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--searches", nargs="+", default=SEARCHES)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--parallel-seeds", type=int, default=20, help="20 workers; 0: not run")
    parser.add_argument("--protocols", nargs="+", default=PROTOCOLS, choices=PROTOCOLS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("experiments/search_replay"))
    args = parser.parse_args()
    start, rows, drawn = time.perf_counter(), [], []
    searches = [YARDSTICK, *args.searches]
    for protocol in args.protocols:
        how = {"distinct": protocol == "distinct", "processes": args.processes}
        serial = run_all(args.tables, searches, args.seeds, 20, 1, **how)
        parallel = run_all(args.tables, args.searches, args.parallel_seeds, 80, 20, **how)
        drawn.append(_medians(serial))
        for path in args.tables:
            table, name = Table.read(Path(path)), Path(path).stem
            made = [*serial_rows(table, name, serial[path])]
            made += parallel_rows(table, name, parallel.get(path, {}))
            rows += [{"protocol": protocol, **row} for row in made]
        _print(pd.DataFrame(row for row in rows if row["protocol"] == protocol), searches)
    args.out.mkdir(parents=True, exist_ok=True)
    results = pd.DataFrame(rows)
    results.to_csv(args.out / "results.csv", index=False, float_format="%.5g")
    draw_replay(drawn[0], args.out / "curves.png")
    print(f"\n{time.perf_counter() - start:.0f} s in {args.processes} processes")


def _medians(serial: dict[str, dict[str, list[Curve]]]) -> pd.DataFrame:
    """Median and quartiles of the regret over budget, one row per table, search and budget."""
    frames = []
    for path, searches in serial.items():
        optimum = float(Table.read(Path(path)).accuracy.max())
        for search, runs in searches.items():
            regret = optimum - np.stack([best_at(c.spent, c.best, GRID) for c in runs])
            low, middle, high = np.quantile(regret, [0.25, 0.5, 0.75], axis=0)
            frames.append(
                pd.DataFrame(
                    {
                        "table": Path(path).stem,
                        "search": search,
                        "budget": GRID,
                        "regret": middle,
                        "low": low,
                        "high": high,
                    }
                )
            )
    return pd.concat(frames)


def _print(results: pd.DataFrame, searches: list[str]) -> None:
    one, many = results[results.workers == 1], results[results.workers == 20]
    print(f"\nproposals answered by the nearest recorded training: {results.protocol.iloc[0]}")
    with pd.option_context("display.width", 200, "display.max_columns", 30):
        speedup: Any = one.pivot(index="table", columns="search", values="speedup")[searches]
        _table("20 / budget to reach blank's median after 20 full trainings", speedup, "min")
        if {"freeze_thaw", "asha"} <= set(searches):
            asha = speedup["asha"].replace(0, np.nan)
            print(f"freeze_thaw over asha, median: {(speedup.freeze_thaw / asha).median():.2f}")
        top: Any = one.pivot(index="table", columns="search", values="cost_to_top1")[searches]
        _table("full trainings until the top 1 % (median over seeds)", top, "max")
        for title, frame, points in (
            ("regret at budget (1 worker), median over tables", one, BUDGETS),
            ("regret at wall-clock (20 workers), median over tables", many, CLOCKS),
        ):
            columns = [f"regret_{p}" for p in points]
            if len(frame):
                print(f"\n{title}\n{frame.groupby('search')[columns].median().round(4)}")
        for p in CLOCKS if len(many) else ():
            pivot = many.pivot(index="table", columns="search", values=f"regret_{p}")
            worse = (pivot.drop(columns="random").sub(pivot["random"], axis=0) > 1e-9).sum()
            print(f"tables where worse than random at wall-clock {p}: {worse.to_dict()}")


def _table(title: str, pivot: pd.DataFrame, worst: str) -> None:
    rows = {"median over tables": pivot.median(), "worst table": pivot.agg(worst)}
    print(f"\n{title}\n{pd.concat([pivot, pd.DataFrame(rows).T]).round(2)}")


if __name__ == "__main__":
    main()
