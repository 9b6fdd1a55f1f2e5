"""What the published split error is worth: see README.md.

    python experiments/augmentation_leak/measure.py <cars> <weights> <out.csv> [--seeds 0 1 2]

Three trainings of as many pictures each, judged on the same validation photos, and on a test part
that was drawn before. Rows that are there are not made again.
"""

import argparse
import csv
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from carsclf.data.stanford_cars import stanford_cars
from carsclf.inference.split import How, open_run, predict_split
from carsclf.records import Run
from carsclf.training.configuration import training_part
from carsclf.training.run import fit

ROOT = Path(__file__).parents[2]
PROTOCOL = [
    *("experiment=augmentation_leak", "data.image_size=64", "data.workers=0", "look=false"),
    *("model.channels_last=true", "trainer.precision=32-true", "trainer.accelerator=cpu"),
]
EVERY = 8  # of the classes, in their order
WAYS = {  # of N photos, training has 0.6 N, 1.2 N and 1.6 N pictures: 9.6 N each
    "no augmentation": ["data.leak=none", "augmentation=none", "~augmentation.share",
                        "trainer.max_epochs=16"],
    "copies of training photos": ["data.leak=none", "trainer.max_epochs=8"],
    "copies of all photos (leak)": ["data.leak=published", "trainer.max_epochs=6"],
}  # fmt: skip
COLUMNS = (
    *("way", "seed", "leak", "train", "val", "test", "epochs", "val_top1", "test_top1"),
    *("cpu_seconds", "recorded_in"),
)


def measure(way: str, seed: int, given: list[str], folder: Path) -> dict[str, Any]:
    """One training, judged twice, as a row."""
    told = [*PROTOCOL, *given, *WAYS[way], f"seed={seed}"]
    told.append("+trainer.check_val_every_n_epoch=${trainer.max_epochs}")  # the last is reported
    config = training_part(compose("train", told))
    began = time.process_time()
    run = fit(config, folder)
    seconds = time.process_time() - began
    return {
        "way": way,
        "seed": seed,
        "leak": run.leak or "none",
        **run.split_sizes,
        "epochs": run.epochs,
        **{f"{split}_top1": round(judged(run, folder, split), 4) for split in ("val", "test")},
        "cpu_seconds": round(seconds),
        "recorded_in": str(run.git_commit)[:7],
    }


def judged(run: Run, folder: Path, split: str) -> float:
    """Accuracy of the last epoch's network, as the follow-up reported it."""
    if split == "val":
        return run.metrics["val/top1"]
    how = How(split, workers=0)
    return float(predict_split(open_run(folder, how), how).right.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("cars", "weights", "out"):
        parser.add_argument(name, type=lambda text: Path(text).resolve())
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args()
    done = set()
    if asked.out.is_file():
        with asked.out.open() as lines:
            done = {(row["way"], int(row["seed"])) for row in csv.DictReader(lines)}
    some = [f"'{name}'" for name in stanford_cars(asked.cars).class_names[::EVERY]]
    given = [f"data.root={asked.cars}", f"model.weights={asked.weights}", "reported=last"]
    given.append(f"data.classes=[{','.join(some)}]")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for seed, way in product(asked.seeds, WAYS):
            if (way, seed) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                row = measure(way, seed, given, Path(folder) / "run")
            with asked.out.open("a", newline="") as out:
                table = csv.DictWriter(out, COLUMNS)
                if not out.tell():
                    table.writeheader()
                table.writerow(row)
            print(row, flush=True)


if __name__ == "__main__":
    main()
