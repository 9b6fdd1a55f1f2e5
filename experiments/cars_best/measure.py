"""The best classifiers of Stanford Cars that two cores train in a night: see README.md.

    python -m experiments.cars_best.measure <cars> <weights> <out.csv> [--members lite0 lite2_half]

<weights> is a folder with the three files of ImageNet weights. A training that was stopped goes on,
one that is finished is not repeated; `--jobs` of them side by side share the cores. Then each
member and each mean of members that are there is looked at on validation and on test, plain and
with flips; what is reported on test is what validation prefers.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from carsclf.analysis.comparison import wilson
from carsclf.machine.devices import available_cores
from carsclf.records import Predictions, Run, RunFolder
from experiments.measuring import (
    SHORTCUT,
    Row,
    Rows,
    commit_of,
    parser_of,
    used_by,
    weights_of,
)

COMMON = ["model.channels_last=true", "data.workers=0", "look=false"]
PROTOCOL = [
    *("data=stanford_cars", "data.protocol=fractions", "data.split_seed=0"),
    *("data.val_fraction=0.1", "data.test_fraction=0.1", "trainer.precision=32-true"),
]
HALF = [
    *PROTOCOL,
    *SHORTCUT,
    *("data.image_size=288", "mode.views=3", "trainer.max_epochs=10", "reported=last"),
]
"""In an ensemble beside one that was trained whole: a third of its time, other mistakes."""
FROZEN = [*PROTOCOL, "data.image_size=320", "mode=freeze"]
MEMBERS = {
    "lite0": ["experiment=cars_best", "optimizer.lr=2e-3"],
    "lite2_half": [*HALF, "model=tf_efficientnet_lite2", "optimizer.lr=1e-3"],
    "mobilenetv2_half": [
        *HALF,
        *("model=mobilenetv2_100", "optimizer.lr=4e-4"),
        "trainer.precision=bf16-mixed",  # the quicker for it, on cores that have it
    ],
    "frozen_lite0": [*FROZEN, "model=tf_efficientnet_lite0"],
    "frozen_lite2": [*FROZEN, "model=tf_efficientnet_lite2"],
    "frozen_mobilenetv2": [*FROZEN, "model=mobilenetv2_100"],
}
MEANS = {
    "mean of two": ["lite0", "lite2_half"],
    "mean of three": ["lite0", "lite2_half", "mobilenetv2_half"],
    "mean of the frozen": ["frozen_lite0", "frozen_lite2", "frozen_mobilenetv2"],
}
COLUMNS = ("entry", "views", "split", "images", "top1", "low", "high", "seconds", "recorded_in")


def trained_on_and_on(folder: Path, overrides: Sequence[str], files: Path, threads: int) -> None:
    """Trains, or goes on with what was stopped."""
    if (folder / "run.json").is_file() and Run.read(folder / "run.json").finished:
        return
    if folder.is_dir():
        used_by("train.py", f"resume={folder}", threads=threads)
        return
    own = [f"runs={folder.parent}", f"name={folder.name}"]
    own.append(f"model.weights={weights_of(overrides, files)}")
    used_by("train.py", *COMMON, *overrides, *own, threads=threads)


def judged(entry: str, folder: Path, views: str, split: str, told: Sequence[str]) -> Row:
    """One row, by `evaluate.py`."""
    part = split if views == "plain" else f"{split}_{views}"
    tta = [] if views == "plain" else [f"tta={views}"]
    used = used_by("evaluate.py", *told, f"split={split}", *tta, "worst=0")
    right = Predictions.read(RunFolder(folder).predictions(part)).right
    share = wilson(int(right.sum()), len(right))
    return {
        "entry": entry,
        "views": views,
        "split": split,
        "images": len(right),
        "top1": round(float(right.mean()), 4),
        "low": round(share.low, 4),
        "high": round(share.high, 4),
        "seconds": round(used.wall, 1),
    }


def main() -> None:
    parser = parser_of(__doc__, "cars", "weights", "out")
    parser.add_argument("--members", nargs="+", default=list(MEMBERS))
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    runs = asked.out.parent / "runs"
    threads = max(1, available_cores() // asked.jobs)

    def train(name: str) -> None:
        told = [f"data.root={asked.cars}", *MEMBERS[name]]
        trained_on_and_on(runs / name, told, asked.weights, threads)

    with ThreadPoolExecutor(asked.jobs) as pool:
        list(pool.map(train, asked.members))
    entries = {name: (runs / name, runs / name, [f"run={runs / name}"]) for name in asked.members}
    for name, of in MEANS.items():
        if set(of) <= set(asked.members):
            members = ",".join(os.fspath(runs / member) for member in of)
            folder = runs / name.replace(" ", "-")
            entries[name] = (folder, runs / of[-1], [f"runs=[{members}]", f"folder={folder}"])
    table = Rows(asked.out, COLUMNS, 3)
    for split in ("val", "test"):
        for entry, (folder, trained, told) in entries.items():
            commit = commit_of(Run.read(RunFolder(trained).run))
            for views in ("plain", "flip"):
                if not table.has(entry, views, split):
                    table.add(judged(entry, folder, views, split, told) | {"recorded_in": commit})


if __name__ == "__main__":
    main()
