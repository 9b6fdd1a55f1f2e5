"""What a graphics card changes: speed, accuracy, and trials that share one. See README.md.

    python -m experiments.gpu.measure <cars> <weights> <out folder> [--parts trainings trials]

<weights> is a file of ImageNet weights of a Lite0. Trainings one after another, each in a process
of its own; then one study of eight random trials, again for each share of the card that a trial
gets. The machine should do nothing else. Rows that are there are not made again.
"""

import json
import shutil
from typing import Any

from carsclf.training.finish import git_commit
from experiments.measuring import Row, Rows, commit_of, epochs_of, parser_of, trained, used_by
from experiments.time_to_85.measure import LITE0, WAYS

COMMON = [
    *("data=stanford_cars", "data.protocol=fractions", "data.val_fraction=0.2"),
    *("data.split_seed=0", "reported=last", "look=false"),
]
FLOAT32 = ["trainer.precision=32-true", "model.channels_last=true"]
SEVERAL = ("plain", "shortcut")
"""Those trained with every seed; of the others the first."""
SHORT = [*WAYS["plain"], "trainer.max_epochs=3"]
LARGE = [*SHORT, "data.batch_size=128"]
TRAININGS = {
    **{way: WAYS[way] for way in SEVERAL},
    # for their speed alone
    "float32": [*SHORT, *FLOAT32],
    "float32, no loader processes": [*SHORT, *FLOAT32, "data.workers=0"],
    "batch 128": LARGE,
    "batch 128, not deterministic": [*LARGE, "trainer.deterministic=false"],
    "batch 128, compiled": [*LARGE, "model.compile=true"],
}
TRAINING_COLUMNS = (
    *("training", "seed", "device", "precision", "channels_last", "top1", "epochs", "seconds"),
    *("data_seconds", "forward_seconds", "backward_seconds", "optimizer_seconds"),
    *("validation_seconds", "images_per_second", "share_waited", "recorded_in"),
)
EPOCH_COLUMNS = ("training", "seed", "epoch", "seconds", "top1")
SHARES = {8: 0.125, 4: 0.25, 1: 1.0}
"""Trials at once, and the share of the card that each gets."""
TRIALS = [
    *LITE0,
    *("search=random", "search.budget=8", "search.trials=8", "search.final=0"),
    *("data.image_size=96", "trainer.max_epochs=2", "data.workers=0", *FLOAT32),
    *("resources.cpu=2", "~space.data"),
]
TRIAL_COLUMNS = ("at_once", "share", "trials", "seconds", "trial_seconds", "best", "recorded_in")


def training(name: str, seed: int, out: Any, given: list[str]) -> tuple[Row, list[Row]]:
    """One training as a row, and its epochs: when each ended, and how many were right."""
    folder = out / "runs" / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
    run, used = trained(folder, *COMMON, *given, *TRAININGS[name], f"seed={seed}", threads=8)
    cost: Any = run.cost or {}
    row = {
        "training": name,
        "seed": seed,
        "device": run.device,
        "precision": run.precision,
        "channels_last": run.channels_last,
        "top1": round(run.metrics["val/top1"], 4),
        "epochs": run.epochs,
        "seconds": round(used.wall, 1),
        **{part: round(cost[part], 4) for part in TRAINING_COLUMNS if part in cost},
        "recorded_in": commit_of(run),
    }
    return row, [
        {"training": name, "seed": seed, "epoch": epoch, "seconds": end, "top1": top1}
        for epoch, end, top1 in epochs_of(folder, used)
    ]


def study(at_once: int, out: Any, given: list[str]) -> Row:
    """One study, from its command on, and from its first trial's start to its last event."""
    folder = out / "runs" / f"study-{at_once}"
    shutil.rmtree(folder, ignore_errors=True)
    own = [f"runs={folder.parent}", f"name={folder.name}", f"resources.gpu={SHARES[at_once]}"]
    workers = f"resources.workers={at_once}"
    used = used_by("tune.py", *COMMON, *given, *TRIALS, *own, workers, threads=2)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    started = next(e["time"] for e in events if e["kind"] == "start")
    told = json.loads((folder / "study.json").read_text())
    return {
        "at_once": at_once,
        "share": SHARES[at_once],
        "trials": told["trials"],
        "seconds": round(used.wall, 1),
        "trial_seconds": round(events[-1]["time"] - started, 1),
        "best": round(told["best"], 4),
        "recorded_in": str(git_commit())[:7],
    }


def main() -> None:
    parser = parser_of(__doc__, "cars", "weights", "out")
    parser.add_argument("--parts", nargs="+", default=["trainings", "trials"])
    parser.add_argument("--trainings", nargs="+", default=list(TRAININGS))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    given = [f"data.root={asked.cars}", f"model.weights={asked.weights}"]
    if "trainings" in asked.parts:
        rows = Rows(asked.out / "trainings.csv", TRAINING_COLUMNS, 2)
        epochs = Rows(asked.out / "epochs.csv", EPOCH_COLUMNS, 2)
        for name in asked.trainings:
            for seed in asked.seeds if name in SEVERAL else asked.seeds[:1]:
                if not rows.has(name, seed):
                    row, ends = training(name, seed, asked.out, given)
                    epochs.add(*ends)
                    rows.add(row)
    if "trials" in asked.parts:
        studies = Rows(asked.out / "trials.csv", TRIAL_COLUMNS, 1)
        for at_once in SHARES:
            if not studies.has(at_once):
                studies.add(study(at_once, asked.out, given))


if __name__ == "__main__":
    main()
