"""What `advise.py` keeps of what it promises: see README.md.

    python -m experiments.advise.measure <root> <weights> <folder> [--data cars]
        [--minutes 60 15 5] [--kills 3] [--plain 36]

<weights> is a folder of files of ImageNet weights. Nothing else should run meanwhile; each budget
begins with an empty cache below <folder>, where the runs lie too. Without --kills: results.csv and
tries.csv, rows of what is there are not made again. With --kills: killed.csv instead, of a run
that is killed so often, at moments drawn at random, and gone on with; it ends with an error where
what had been there at a kill is not there, the same, in the end. With --plain: plain.csv, a Lite0
trained at 160 px for so many epochs on the same photos by our defaults.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

from carsclf.advising.carry_out import Judged, Outcome
from carsclf.advising.ledger import Ledger
from carsclf.analysis.comparison import wilson
from carsclf.records import Predictions, Run, RunFolder
from carsclf.training.finish import git_commit
from experiments.measuring import ROOT, Row, Rows, commit_of, parser_of, tested, trained

DATA = {
    "cars": [
        *("data=stanford_cars", "data.protocol=fractions", "data.test_fraction=0.2"),
        "data.split_seed=0",
    ],
    "scenes": ["data=folder"],
}
PLAIN = [
    *("model=tf_efficientnet_lite0", "data.image_size=160", "data.workers=0", "reported=last"),
    *("model.channels_last=true", "trainer.precision=32-true", "look=false"),
]
GAP = ("difference", "difference_low", "difference_high")
EXPECTED = ("expected", "expected_low", "expected_high")
RESULTS = (
    *("data", "minutes", "model", "mode", "image_size", "epochs", "val", "test", "low", "high"),
    *("used_seconds", *GAP, *EXPECTED, "recorded_in"),
)
TRIES = (
    *("data", "minutes", "network", "mode", "image_size", "rate", "epochs", "top1", "images"),
    *("seconds", "pace", "beside", "recorded_in"),
)
KILLED = (
    *("data", "minutes", "kill", "at_second", "in_stage", "stages_ended", "rows", "epochs"),
    "recorded_in",
)
PLAINS = ("data", "image_size", "epochs", "seconds", "val", "test", "low", "high", "recorded_in")
TABLES = ("candidates.csv", "probe.csv", "growth.csv", "curve.csv")


def command_of(data: str, minutes: float, root: Path, weights: Path, folder: Path) -> list[str]:
    return [
        *(sys.executable, "advise.py", *DATA[data], f"data.root={root}", f"weights={weights}"),
        *(f"hours={minutes / 60:.6g}", f"runs={folder.parent}", f"name={folder.name}"),
    ]


def started(command: list[str], cache: Path) -> "subprocess.Popen[bytes]":
    """In a group of its own, so that what it starts is killed with it."""
    told = os.environ | {"CARSCLF_CACHE": str(cache)}
    return subprocess.Popen(command, cwd=ROOT, env=told, start_new_session=True)


def told_rows(data: str, minutes: float, folder: Path) -> tuple[list[Row], list[Row]]:
    """What it came to, a row for each model that was judged; and its short trainings."""
    outcome = Outcome.read(folder / "outcome.json")
    models = [Judged(**m) for m in (outcome.winner, outcome.training, outcome.probe) if m]
    commit = {"recorded_in": commit_of(Run.read(RunFolder(folder / models[0].folder).run))}
    gap = dict(zip(GAP, outcome.difference or [None] * 3, strict=True))
    expected = dict(zip(EXPECTED, outcome.expected or [None] * 3, strict=True))
    common = {"data": data, "minutes": f"{minutes:g}"} | commit
    rows = [
        common | _rounded(gap | expected | {
            "model": m.network, "mode": m.mode, "image_size": m.image_size, "epochs": m.epochs,
            "val": m.val, "test": m.top1, "low": m.low, "high": m.high,
        }) | {"used_seconds": round(outcome.used_seconds, 1)}
        for m in {m.folder: m for m in models}.values()
    ]  # fmt: skip
    curve = folder / "curve.csv"
    tries: Any = pd.read_csv(curve).to_dict("records") if curve.is_file() else []
    return rows, [common | t | {"top1": round(t["top1"], 4)} for t in tries]


def _rounded(row: Row) -> Row:
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}


def kept(folder: Path) -> dict[str, str]:
    """What a kill must not undo: stages that ended, rows of tables, epochs of trainings."""
    there: dict[str, str] = {}
    for path in [folder / name for name in TABLES] + sorted(folder.glob("*/*/metrics.csv")):
        if path.is_file():
            whole = path.read_text().rpartition("\n")[0]  # a line may be cut off
            there[str(path.relative_to(folder))] = whole
    stages = folder / "stages.json"
    for name, one in json.loads(stages.read_text()).items() if stages.is_file() else ():
        there[name] = json.dumps(one)
    return there


def killed(data: str, minutes: float, kills: int, root: Path, weights: Path, out: Path) -> None:
    """One run, killed at moments drawn over its budget, held against what was there each time."""
    folder = out / "runs" / f"{data}-{minutes:g}-killed"
    for old in (folder, out / "cache"):
        shutil.rmtree(old, ignore_errors=True)
    draw = random.Random(0)
    moments = sorted(draw.uniform(0.02, 0.85) for _ in range(kills))  # most budgets are used so far
    command, seen = command_of(data, minutes, root, weights, folder), []
    table = Rows(out / "killed.csv", KILLED, 3)
    commit = str(git_commit())[:7]
    for number, moment in enumerate(moments):
        process = started(command, out / "cache")
        while process.poll() is None and _spent(folder) < 60 * minutes * moment:
            time.sleep(0.2)
        if process.poll() is not None:
            raise SystemExit(f"it ended before kill {number}")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        there = kept(folder)
        seen.append(there)
        stages = [name for name in there if not name.endswith(".csv")]
        lines = {name: text.count("\n") for name, text in there.items() if name.endswith(".csv")}
        beats = (folder / "time.jsonl").read_text().splitlines()
        table.add({
            "data": data, "minutes": f"{minutes:g}", "kill": number,
            "at_second": round(_spent(folder), 1), "in_stage": json.loads(beats[-1])["stage"],
            "stages_ended": len(stages), "rows": sum(lines.get(name, 0) for name in TABLES),
            "epochs": sum(n for name, n in lines.items() if name not in TABLES),
            "recorded_in": commit,
        })  # fmt: skip
    if started(command, out / "cache").wait():
        raise SystemExit("it did not end well")
    whole = kept(folder)
    for number, there in enumerate(seen):
        for name, text in there.items():
            if not whole.get(name, "").startswith(text):
                raise SystemExit(f"kill {number}: {name} is not what it was\n{text}")
    results, _ = told_rows(data, minutes, folder)
    Rows(out / "killed_results.csv", RESULTS, 4).add(*results)


def _spent(folder: Path) -> float:
    """Seconds over all sittings."""
    path = folder / "time.jsonl"
    return Ledger(path, 1).spent() if path.is_file() else 0.0


def plain(data: str, epochs: int, root: Path, weights: Path, out: Path) -> None:
    """The training that somebody who knows our defaults would start for that hour."""
    given = [f"data.root={root}", f"model.weights={next(weights.glob('tf_efficientnet_lite0*'))}"]
    folder = out / "runs" / f"{data}-plain-{epochs}"
    told = [*DATA[data], *PLAIN, *given, f"trainer.max_epochs={epochs}"]
    run, used = trained(folder, *told, threads=2)
    _, judging = tested(folder)
    right = Predictions.read(RunFolder(folder).predictions("test")).right
    share = wilson(int(right.sum()), len(right))
    row = {"data": data, "image_size": 160, "epochs": epochs, "recorded_in": commit_of(run)}
    shares = {"test": share.value, "low": share.low, "high": share.high}
    row |= _rounded({"val": run.metrics["val/top1"]} | shares) | {
        "seconds": round(used.wall + judging.wall, 1)
    }
    Rows(out / "plain.csv", PLAINS, 3).add(row)


def main() -> None:
    parser = parser_of(__doc__, "root", "weights", "folder")
    parser.add_argument("--data", choices=list(DATA), default="cars")
    parser.add_argument("--minutes", type=float, nargs="*", default=[])
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--plain", type=int, metavar="EPOCHS")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    results, tries = (
        Rows(asked.folder / f"{name}.csv", columns, 2)
        for name, columns in (("results", RESULTS), ("tries", TRIES))
    )
    for minutes in asked.minutes:
        if asked.kills:
            killed(asked.data, minutes, asked.kills, asked.root, asked.weights, asked.folder)
        elif not results.has(asked.data, f"{minutes:g}"):
            run, cache = asked.folder / "runs" / f"{asked.data}-{minutes:g}", asked.folder / "cache"
            for old in (run, cache):
                shutil.rmtree(old, ignore_errors=True)
            command = command_of(asked.data, minutes, asked.root, asked.weights, run)
            if started(command, cache).wait():
                raise SystemExit("it did not end well")
            rows, short = told_rows(asked.data, minutes, run)
            results.add(*rows)
            if short:
                tries.add(*short)
    if asked.plain:
        plain(asked.data, asked.plain, asked.root, asked.weights, asked.folder)


if __name__ == "__main__":
    main()
