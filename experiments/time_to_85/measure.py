"""The time to 85 % of held-out photos, by several ways to fine-tune: see README.md.

    python -m experiments.time_to_85.measure <cars> <weights> <out.csv> [--seeds 0]
        [--ways ...] [--untimed] [--figure minutes.png]

<weights> is a folder with the files of ImageNet weights. One training at a time, with two threads,
in a process of its own; the machine should do nothing else. Each row is an epoch: wall-clock
seconds since its process began, validation included, and how many of the held-out photos were right
then. Epochs of one way take the same time whatever the seed, so further seeds may run --untimed,
with one thread and whatever beside them: their seconds stay empty. Trainings that are there are not
made again. fastai's row needs `pip install -e '.[bench]'`.
"""

import csv
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from carsclf.figures.style import GRID, INK, MODE_COLOURS, PALE, label_ends, look, save, shade
from carsclf.training.finish import git_commit
from experiments.measuring import (
    SHORTCUT,
    Row,
    Rows,
    commit_of,
    epochs_of,
    parser_of,
    trained,
    used_by,
    weights_of,
)

HERE = Path(__file__).parent
PROTOCOL = [
    *("data=stanford_cars", "data.protocol=fractions", "data.val_fraction=0.2"),
    *("data.split_seed=0", "data.workers=0", "reported=last"),
    *("model.channels_last=true", "trainer.precision=32-true", "look=false"),
]
LITE0 = ["model=tf_efficientnet_lite0"]
HALF = [*LITE0, *SHORTCUT]
WAYS = {
    "plain": [*LITE0, "data.image_size=160", "trainer.max_epochs=12"],
    "shortcut": HALF,
    "shortcut, 3 views, 8 epochs": [*HALF, "mode.views=3", "trainer.max_epochs=8"],
    "shortcut of a MobileNetV2": [
        *("model=mobilenetv2_100", "trainer.precision=bf16-mixed", *SHORTCUT),
        *("data.image_size=240", "data.batch_size=32", "optimizer.lr=1e-3"),
    ],
}
FASTAI = {"fastai": ("2e-3", "100"), "fastai, the rates of plain": ("2e-2", "5")}
"""`base_lr` and `lr_mult` of its `fine_tune`: its defaults, and what plain trains at."""
GOAL = 0.85
COLOURS = {
    **dict.fromkeys(WAYS, MODE_COLOURS["partial"]),
    "plain": PALE,
    "shortcut, 3 views, 8 epochs": shade("partial", "baseline"),
    "shortcut of a MobileNetV2": MODE_COLOURS["freeze"],
    **dict.fromkeys(FASTAI, MODE_COLOURS["finetune"]),
}
COLUMNS: Sequence[str] = ("way", "seed", "epoch", "seconds", "top1", "recorded_in")


def ours(
    way: str, seed: int, folder: Path, cars: Path, weights: Path, threads: int
) -> Iterator[Row]:
    """Epochs of a run."""
    file = weights_of(WAYS[way], weights)
    given = [f"data.root={cars}", f"model.weights={file}", f"seed={seed}"]
    run, used = trained(folder, *PROTOCOL, *WAYS[way], *given, threads=threads)
    for epoch, seconds, top1 in epochs_of(folder, used):
        yield {"way": way, "seed": seed, "epoch": epoch, "recorded_in": commit_of(run)} | {
            "seconds": seconds, "top1": top1
        }  # fmt: skip


def fastai(
    way: str, seed: int, folder: Path, cars: Path, weights: Path, threads: int
) -> Iterator[Row]:
    """Epochs of fastai's `fine_tune`, as its own script wrote them."""
    out = folder.with_suffix(".csv")
    script = str(HERE / "fine_tune.py")
    given = map(str, (cars, weights_of(LITE0, weights), seed, out))
    used_by(script, *given, *FASTAI[way], threads=threads)
    commit = str(git_commit())[:7]
    with out.open() as lines:
        for row in csv.DictReader(lines):
            yield {"way": way, "seed": seed, "recorded_in": commit, **row}


def draw(out: Path, path: Path) -> None:
    """Accuracy over the minutes that each way took, with the first seed that was timed."""
    table: Any = pd.read_csv(out).dropna(subset=["seconds"])
    table = table[table["seed"] == table["seed"].min()]
    with look():
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        axis, ends = figure.subplots(), []
        for way in dict.fromkeys(table["way"]):
            rows = table[table["way"] == way].to_dict("records")
            colour = COLOURS[way]
            minutes, percent = zip(
                *((r["seconds"] / 60, 100 * r["top1"]) for r in rows), strict=True
            )
            axis.plot(minutes, percent, color=colour, linewidth=2, marker=".")
            ends.append((minutes[-1], percent[-1], way, colour))
        axis.axhline(100 * GOAL, color=INK, linewidth=0.8, linestyle="--")
        label_ends(axis, ends, gap=5)
        axis.set(xlabel="minutes, from the command on", ylim=(0, 100), xlim=(0, None))
        axis.set_title("top-1 on the held-out photos (%)")
        axis.grid(axis="y", color=GRID)
        save(figure, path)


def main() -> None:
    parser = parser_of(__doc__, "cars", "weights", "out")
    parser.add_argument("--ways", nargs="+", default=[*WAYS, *FASTAI])
    parser.add_argument("--untimed", action="store_true")
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    rows = Rows(asked.out, COLUMNS, 2)
    for seed, way in product(asked.seeds, asked.ways):
        if rows.has(way, seed):
            continue
        folder = asked.out.parent / "runs" / f"{way}-{seed}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        make = fastai if way in FASTAI else ours
        made = make(way, seed, folder, asked.cars, asked.weights, 1 if asked.untimed else 2)
        rows.add(*(row | ({"seconds": None} if asked.untimed else {}) for row in made))
    if asked.figure:
        draw(asked.out, asked.figure)


if __name__ == "__main__":
    main()
