"""All searches over recorded learning curves: what they cost against random search.

    python benchmarks/search_replay.py <table.npz> ... [--seeds 10] [--out <folder>]

Writes results.csv, curves.png and prints three tables: budget to reach random's median after 20
full trainings, regret on the way, and regret at equal simulated wall-clock with 20 workers.
"""

import argparse
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from carsclf.figures.study import draw_replay
from carsclf.tuning.study.replay import Curve, replay
from carsclf.tuning.workers.recorded import Table

SEARCHES = ("random", "asha", "bohb", "multitask")
CONF = Path(__file__).resolve().parents[1] / "conf"
BUDGETS, CLOCKS = (1, 2, 4, 8, 20), (1, 2, 4)
GRID = np.arange(0.05, 20.001, 0.05)
TOP = 0.99
Key = tuple[str, str, int]


def study(search: str, table: str, seed: int, budget: float, workers: int) -> Curve:
    """One replayed study with the search's own defaults."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("tune", [f"search={search}"]).search
    made = instantiate(config, budget=budget, trials=10_000, seed=seed, final=0.0, _convert_="all")
    return replay(made, Table.read(Path(table)), workers=workers)[1]


def best_at(x: np.ndarray, best: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Best accuracy seen by each point of the grid; 0 before the first result."""
    index = np.searchsorted(x, grid + 1e-9, side="right") - 1
    return np.where(index >= 0, best[np.maximum(index, 0)], 0.0)


def first(reached: np.ndarray, grid: np.ndarray) -> float:
    """The first point of the grid where the condition holds; inf: none."""
    return float(grid[reached.argmax()]) if reached.any() else float("inf")


def serial_rows(table: Table, name: str, curves: dict[str, list[Curve]]) -> list[dict[str, object]]:
    """One worker: speed-up to random's median, cost to the top 1 %, regret on the way."""
    optimum = float(table.accuracy.max())
    top = float(np.quantile(table.accuracy.max(axis=1), TOP))
    goal = float(np.median([c.best[-1] for c in curves["random"]]))
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
            "random_goal": goal,
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
    tables: list[str], seeds: int, budget: float, workers: int, processes: int
) -> dict[str, dict[str, list[Curve]]]:
    """Curves by table and search, the seeds in order."""
    jobs = list(product(tables, SEARCHES, range(seeds)))
    with ProcessPoolExecutor(processes) as pool:
        futures = [pool.submit(study, s, t, seed, budget, workers) for t, s, seed in jobs]
        curves: dict[str, dict[str, list[Curve]]] = {}
        for (t, s, _), future in zip(jobs, futures, strict=True):
            curves.setdefault(t, {}).setdefault(s, []).append(future.result())
    return curves


def main() -> None:
    """Parses the command line, runs, writes and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--parallel-seeds", type=int, help="with 20 workers; 0: not run")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("experiments/search_replay"))
    args = parser.parse_args()
    start = time.perf_counter()
    rows = []
    serial = run_all(args.tables, args.seeds, 20, 1, args.processes)
    seeds = args.seeds if args.parallel_seeds is None else args.parallel_seeds
    parallel = run_all(args.tables, seeds, 80, 20, args.processes) if seeds else {}
    for path in args.tables:
        table, name = Table.read(Path(path)), Path(path).stem
        rows += serial_rows(table, name, serial[path])
        rows += parallel_rows(table, name, parallel.get(path, {}))
    results = pd.DataFrame(rows)
    args.out.mkdir(parents=True, exist_ok=True)
    results.to_csv(args.out / "results.csv", index=False, float_format="%.5g")
    draw_replay(_medians(serial), args.out / "curves.png")
    _print(results)
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


def _print(results: pd.DataFrame) -> None:
    one, many = results[results.workers == 1], results[results.workers == 20]
    with pd.option_context("display.width", 200, "display.max_columns", 30):
        for title, value in (
            ("20 / budget to reach random's median after 20 full trainings", "speedup"),
            ("full trainings until the top 1 % (median over seeds)", "cost_to_top1"),
        ):
            pivot = one.pivot(index="table", columns="search", values=value)[list(SEARCHES)]
            pivot.loc["median over tables"] = pivot.median()
            pivot.loc["worst table"] = pivot.min() if value == "speedup" else pivot.max()
            print(f"\n{title}\n{pivot.round(2)}")
        for title, frame, points in (
            ("regret at budget (1 worker), median over tables", one, BUDGETS),
            ("regret at wall-clock (20 workers), median over tables", many, CLOCKS),
        ):
            if not len(frame):
                continue
            columns = [f"regret_{p}" for p in points]
            print(
                f"\n{title}\n{frame.groupby('search')[columns].median().loc[list(SEARCHES)].round(4)}"
            )
        for p in CLOCKS if len(many) else ():
            pivot = many.pivot(index="table", columns="search", values=f"regret_{p}")
            worse = (pivot.drop(columns="random").sub(pivot["random"], axis=0) > 1e-9).sum()
            print(f"tables where worse than random at wall-clock {p}: {worse.to_dict()}")


if __name__ == "__main__":
    main()
