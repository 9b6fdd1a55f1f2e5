"""What each trick is worth alone, at equal training budget: see README.md.

    python -m experiments.tricks.measure <cars> <scenes> <weights> <out.csv> [--seeds 0 1]
        [--tricks ...] [--figure effects.png]

Each row is one `train.py` and one `evaluate.py split=test` of its run, in processes of their own,
whose processor time the system tells (one thread each, so that other jobs beside it hardly
count). Rows that are there are not made again.
"""

from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from carsclf.figures.style import BAD, GOOD, GRID, INK, look, save
from experiments.measuring import SHORTCUT, Row, Rows, commit_of, parser_of, tested, trained

COMMON = [
    *("model=tf_efficientnet_lite0", "data.image_size=72", "data.split_seed=0", "data.workers=0"),
    *("model.channels_last=true", "trainer.precision=32-true", "look=false"),
]
DATA = {
    "cars": [
        *("data=stanford_cars", "data.protocol=fractions", "data.test_fraction=0.2"),
        "trainer.max_epochs=8",
    ],
    "scenes": ["data=folder", "trainer.max_epochs=4"],
}
HALF = [*SHORTCUT, "data.image_size=144", "trainer.max_epochs=6"]
TRICKS = {
    "none": [],
    "mixup": ["mixing=mixup", "mixing.alpha=0.1"],
    "cutmix": ["mixing=cutmix"],
    "trivial": ["augmentation=trivial"],
    "rand": ["augmentation=rand"],
    "erasing": ["augmentation=erasing"],
    "recoloured": ["augmentation=recoloured"],
    "no augmentation": ["augmentation=none"],
    "ema": ["averaging=ema", "averaging.decay=0.99"],
    "swa": ["averaging=swa"],
    "restarts": ["schedule=restarts", "schedule.cycle_epochs=1", "schedule.multiplier=1"],
    "cyclical": ["schedule=cyclical", "schedule.cycle_epochs=4"],
    "stable_decay": ["schedule=stable_decay"],
    "lr_finder": ["callbacks=lr_finder", "lr_finder.use=valley", "lr_finder.steps=400"],
    "gem": ["mode.pool=gem"],
    "balanced": ["data.sampling=balanced"],
    "effective": ["class_weights=effective"],
    "schedule_free": ["optimizer=schedule_free"],
    "layer_decay": ["optimizer.layer_decay=0.75"],
    "unfreezing": ["unfreezing=gradual"],
    "resizing": ["resizing=progressive", "resizing.sizes=[48,60]"],
    # of several together: what may cost up to twice the time of none
    "grown to 112 px": ["data.image_size=112", "resizing=progressive", "resizing.sizes=[72,96]"],
    "half frozen, 144 px": HALF,
    "half frozen, 144 px, rand": [*HALF, "augmentation=rand"],
    "half frozen, 144 px, ema": [*HALF, "averaging=ema", "averaging.decay=0.99"],
}
COLUMNS = (
    *("data", "trick", "seed", "val_top1", "test_top1", "seconds", "cpu_seconds"),
    "recorded_in",
)


def measure(data: str, trick: str, seed: int, runs: Path, given: list[str]) -> Row:
    """One training and its evaluation, as a row."""
    folder = runs / f"{data}-{trick.replace(' ', '-')}-{seed}"
    run, used = trained(folder, *COMMON, *DATA[data], *given, *TRICKS[trick], f"seed={seed}")
    return {
        "data": data,
        "trick": trick,
        "seed": seed,
        "val_top1": round(run.metrics["val/top1"], 4),
        "test_top1": round(tested(folder)[0], 4),
        "seconds": round(run.seconds, 1),
        "cpu_seconds": round(used.cpu),
        "recorded_in": commit_of(run),
    }


def effects(table: pd.DataFrame) -> pd.DataFrame:
    """Points on test beside the same seed of none, by (data, trick) and seed."""
    shares: Any = 100 * table.set_index(["data", "trick", "seed"])["test_top1"].unstack()
    beside = [shares.loc[(data, "none")] for data, _ in shares.index]
    return shares - pd.DataFrame(beside, index=shares.index)


def draw(out: Path, path: Path) -> None:
    """Each seed's effect as a dot and their mean as a line, best on cars first."""
    points = effects(pd.read_csv(out)).drop("none", level="trick")
    order = points.loc["cars"].mean(axis=1).sort_values().index
    with look():
        figure = Figure(figsize=(7.2, 6.4), layout="constrained")
        for axis, data in zip(figure.subplots(1, 2, sharey=True), DATA, strict=True):
            for place, trick in enumerate(order):
                own = points.loc[(data, trick)].dropna()
                colour = GOOD if own.min() > 0 else BAD if own.max() < 0 else INK
                axis.plot(own, [place] * len(own), "o", color=colour, markersize=3, alpha=0.5)
                axis.plot([own.mean()] * 2, [place - 0.35, place + 0.35], color=colour, lw=2)
            axis.axvline(0, color=INK, linewidth=0.8)
            axis.set_yticks(range(len(order)), order)
            axis.set_title(f"{data}: points beside none, same seed")
            axis.grid(axis="x", color=GRID)
        save(figure, path)


def main() -> None:
    parser = parser_of(__doc__, "cars", "scenes", "weights", "out", seeds=(0, 1))
    parser.add_argument("--tricks", nargs="+", default=list(TRICKS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()

    def one(data: str, trick: str, seed: int) -> Row:
        given = [f"data.root={getattr(asked, data)}", f"model.weights={asked.weights}"]
        return measure(data, trick, seed, asked.out.parent / "runs", given)

    every = product(asked.seeds, DATA, asked.tricks)
    keys = ((data, trick, seed) for seed, data, trick in every)
    Rows(asked.out, COLUMNS, 3).fill(keys, one, asked.jobs)
    if asked.figure:
        draw(asked.out, asked.figure)


if __name__ == "__main__":
    main()
