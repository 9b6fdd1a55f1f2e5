"""What made pictures add to few photos: rows without and with `data.extra`.

    python experiments/generated/measure.py <weights> <out.csv> [--fractions 0.1 0.25 1]
        [--seeds 0 1 2] [--epochs 12] [--steps 6000] [--jobs 1]

Drawn cars (`data=rendered_cars`), their official test split, 64 px, one split for all. For each
share of the training photos a GAN is trained on that share alone, for as many steps whatever the
share; then a network without its pictures, without them for as many steps as with them, and with
them. Each is one `train.py`, the networks' accuracy one `evaluate.py split=test`. GANs and rows
that are there are not made again. <weights>: of tf_efficientnet_lite0, with a head of any width.
"""

import argparse
import csv
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

from carsclf.records import Predictions, Run, RunFolder
from carsclf.training.gan_record import GanRun

ROOT = Path(__file__).parents[2]
DATA = [
    *("data=rendered_cars", "data.image_size=64", "data.split_seed=0", "data.workers=0"),
    "look=false",
]
NETWORK = [
    *("model=tf_efficientnet_lite0", "model.channels_last=true", "trainer.precision=32-true"),
    *("mode=finetune", "optimizer.lr=0.0005", "optimizer.head_lr_factor=10"),
]
PHOTOS, LONGER, MADE = "photos", "photos, as many steps", "photos and made pictures"
COLUMNS = (
    *("way", "fraction", "seed", "photos", "made", "epochs", "val_top1", "test_top1"),
    *("seconds", "gan_seconds", "recorded_in"),
)


def run(*arguments: str) -> None:
    """A command of the project, in a process of its own with one thread."""
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    subprocess.run(command, cwd=ROOT, env=one_thread, stdout=subprocess.DEVNULL, check=True)


def train_gan(fraction: float, steps: int, runs: Path) -> Path:
    """The run folder of a GAN that saw this share of the training photos, for so many batches."""
    folder = runs / f"gan-{fraction}"
    files = RunFolder(folder)
    own = ["+experiment=wgan", *DATA, f"data.fraction={fraction}", f"runs={runs}"]
    if not files.config.is_file():
        # one epoch tells how many batches there are, and is thrown away
        run("train.py", *own, "trainer.max_epochs=1", f"name={folder.name}-length")
        photos = GanRun.read(RunFolder(f"{folder}-length").run).split_sizes["train"]
        epochs = max(1, round(steps / -(-photos // 32)))
        run("train.py", *own, f"trainer.max_epochs={epochs}", f"name={folder.name}")
    elif not files.run.is_file() or not GanRun.read(files.run).finished:
        run("train.py", f"resume={folder}")
    return folder


def measure(
    way: str, fraction: float, seed: int, epochs: int, gan: Path, weights: Path
) -> dict[str, Any]:
    """One training and its evaluation, as a row."""
    saw = GanRun.read(RunFolder(gan).run)
    photos = saw.split_sizes["train"]
    if way == LONGER:
        epochs = round(epochs * (photos + saw.images_made) / photos)
    folder = gan.parent / f"{way.replace(',', '').replace(' ', '-')}-{fraction}-{seed}"
    extra = [f"data.extra=[{RunFolder(gan).synthetic}]"] if way == MADE else []
    files = RunFolder(folder)
    if files.config.is_file():
        run("train.py", f"resume={folder}")
    else:
        own = [f"data.fraction={fraction}", f"seed={seed}", f"trainer.max_epochs={epochs}"]
        named = [f"model.weights={weights}", f"runs={folder.parent}", f"name={folder.name}"]
        run("train.py", *DATA, *NETWORK, *own, *extra, *named)
    run("evaluate.py", f"run={folder}", "split=test")
    done, said = Run.read(files.run), Predictions.read(files.predictions("test"))
    return {
        "way": way,
        "fraction": fraction,
        "seed": seed,
        "photos": done.split_sizes["train"],
        "made": sum(done.extra.values()),
        "epochs": done.epochs,
        "val_top1": round(done.metrics["val/top1"], 4),
        "test_top1": round(float(said.right.mean()), 4),
        "seconds": round(done.seconds, 1),
        "gan_seconds": round(saw.seconds, 1) if way == MADE else 0,
        "recorded_in": str(done.git_commit)[:7],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("weights", "out"):
        parser.add_argument(name, type=lambda text: Path(text).resolve())
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1, 0.25, 1.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    runs = asked.out.parent / "runs"
    done = set()
    if asked.out.is_file():
        with asked.out.open() as lines:
            done = {
                (row["way"], float(row["fraction"]), int(row["seed"]))
                for row in csv.DictReader(lines)
            }
    writing = threading.Lock()

    def one(way: str, fraction: float, seed: int) -> None:
        row = measure(way, fraction, seed, asked.epochs, runs / f"gan-{fraction}", asked.weights)
        with writing, asked.out.open("a", newline="") as out:
            table = csv.DictWriter(out, COLUMNS)
            if not out.tell():
                table.writeheader()
            table.writerow(row)
        print(row, flush=True)

    every = product(asked.fractions, asked.seeds, (PHOTOS, LONGER, MADE))
    left = [(way, f, seed) for f, seed, way in every if (way, f, seed) not in done]
    with ThreadPoolExecutor(asked.jobs) as pool:
        gans = [pool.submit(train_gan, f, asked.steps, runs) for f in {f for _, f, _ in left}]
        for gan in gans:
            gan.result()
        for task in [pool.submit(one, *row) for row in left]:
            task.result()


if __name__ == "__main__":
    main()
