"""What the scripts of this folder share: rows that are not made twice, and what a process used.

They are started from the repository's root: python -m experiments.<question>.measure ...
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from carsclf.records import Predictions, Run, RunFolder

ROOT = Path(__file__).parents[1]
Row = dict[str, Any]
SHORTCUT = ["experiment=half_frozen"]
"""The quickest good fine-tuning of a Lite0 on Stanford Cars (experiments/time_to_85)."""
WATCHED = """
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
status = os.waitstatus_to_exitcode(status)
print(json.dumps([status, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""
"""A small process between: the system counts the memory of the one that starts a process to it."""


class Rows:
    """A results file that grows by rows, each known by its values in the first `keys` columns."""

    def __init__(self, path: Path, columns: Sequence[str], keys: int) -> None:
        self.path, self.columns, self.keys = path, columns, keys
        self.writing = threading.Lock()

    def has(self, *key: object) -> bool:
        """Whether a row of this key is there; numbers and their texts are the same."""
        if not self.path.is_file():
            return False
        with self.path.open(newline="") as lines:
            names = self.columns[: self.keys]
            wanted = [str(value) for value in key]
            return any([row[name] for name in names] == wanted for row in csv.DictReader(lines))

    def add(self, *rows: Mapping[str, Any]) -> None:
        with self.writing, self.path.open("a", newline="") as out:
            table = csv.DictWriter(out, self.columns, lineterminator="\n")
            if not out.tell():
                table.writeheader()
            table.writerows(rows)
        print(rows[-1], flush=True)

    def fill(
        self, keys: Iterable[tuple[Any, ...]], make: Callable[..., Row], jobs: int = 1
    ) -> None:
        """Makes and adds the row of each key that is not there, `jobs` of them side by side.

        One that fails is told, and those after it are made all the same.
        """
        failed: list[str] = []

        def one(key: tuple[Any, ...]) -> None:
            try:
                self.add(make(*key))
            except (Exception, SystemExit) as error:
                print(f"{key}: {error}", flush=True)
                failed.append(str(key))

        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, [key for key in keys if not self.has(*key)]))
        if failed:
            raise SystemExit(f"not made: {', '.join(failed)}; the same command tries them again")


@dataclass(frozen=True)
class Used:
    """What a process used: seconds of processors, seconds on the clock, most resident MiB."""

    cpu: float
    wall: float
    peak_mib: float


def used_by(*arguments: str, threads: int = 1) -> Used:
    """Runs a command of the project in a process of its own, and tells what the system says."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        check=True,
    )
    wall = time.perf_counter() - began
    status, cpu, peak = json.loads(done.stdout)
    if status:
        raise SystemExit(f"{' '.join(arguments)[:500]}: exit status {status}")
    return Used(cpu, wall, peak / 1024)


def trained(folder: Path, *overrides: str, threads: int = 1) -> tuple[Run, Used]:
    """Trains into that run folder; what a killed script left there is trained anew, to be timed."""
    shutil.rmtree(folder, ignore_errors=True)
    own = [f"runs={folder.parent}", f"name={folder.name}"]
    used = used_by("train.py", *overrides, *own, threads=threads)
    return Run.read(RunFolder(folder).run), used


def tested(folder: Path) -> tuple[float, Used]:
    """Its accuracy on test, by `evaluate.py`."""
    used = used_by("evaluate.py", f"run={folder}", "split=test", "worst=0")
    return float(Predictions.read(RunFolder(folder).predictions("test")).right.mean()), used


def weights_of(overrides: Sequence[str], files: Path) -> Path:
    """The file of ImageNet weights of the network that was chosen."""
    network = next((o[6:] for o in overrides if o.startswith("model=")), "tf_efficientnet_lite0")
    return files / f"{network}.timm.safetensors"


def epochs_of(folder: Path, used: Used) -> list[tuple[int, float, float]]:
    """Of each epoch its number, the second of the process in which it ended, and its accuracy.

    What the process takes beside its epochs (start, libraries) counts before them.
    """
    epochs: Any = pd.read_csv(RunFolder(folder).metrics)
    ends = used.wall - epochs["seconds"].sum() + epochs["seconds"].cumsum()
    rows = zip(epochs["epoch"], ends, epochs["val/top1"], strict=True)
    return [(epoch, round(end, 1), round(top1, 4)) for epoch, end, top1 in rows]


def commit_of(run: Run) -> str:
    return str(run.git_commit)[:7]


def parser_of(doc: str | None, *paths: str, seeds: Sequence[int] = (0, 1, 2)) -> Any:
    """Of a script: the paths that it needs, and --seeds."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    for name in paths:
        parser.add_argument(name, type=lambda text: Path(text).resolve())
    parser.add_argument("--seeds", type=int, nargs="*", default=list(seeds))
    return parser


def try_recipes(
    doc: str | None,
    recipes: Mapping[str, Sequence[str]],
    more: Sequence[str],
    columns: Sequence[str],
    look: Callable[[Run, Path], Row],
    *,
    seeds: Sequence[int],
) -> None:
    """The script that trains each recipe with each seed, several side by side on one card.

    Validation alone is looked at. look: what else a row tells of a run and its folder.
    """
    parser = parser_of(doc, "cars", "weights", "out", seeds=seeds)
    parser.add_argument("--recipes", nargs="+", default=list(recipes))
    parser.add_argument("--jobs", type=int, default=6)
    asked = parser.parse_args()

    def one(recipe: str, seed: int) -> Row:
        folder = asked.out.parent / "runs" / f"{recipe.replace(', ', '-').replace(' ', '_')}-{seed}"
        told = [*more, *recipes[recipe], f"data.root={asked.cars}", f"seed={seed}"]
        weights = weights_of(recipes[recipe], asked.weights)
        run, _ = trained(folder, *told, f"model.weights={weights}")
        return {
            "recipe": recipe,
            "seed": seed,
            "val_top1": round(run.metrics["val/top1"], 4),
            "images": run.split_sizes["val"],
            "device": run.device,
            "recorded_in": commit_of(run),
            **look(run, folder),
        }

    keys = ((recipe, seed) for seed in asked.seeds for recipe in asked.recipes)
    Rows(asked.out, columns, 2).fill(keys, one, asked.jobs)
