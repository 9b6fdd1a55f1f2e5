"""What the published split error is worth: see README.md.

    python -m experiments.augmentation_leak.measure <cars> <weights> <out.csv> [--seeds 0 1 2]

Three trainings of as many pictures each, judged on the same validation photos, and on a test part
that was drawn before. Rows that are there are not made again.
"""

import tempfile
import time
from itertools import product
from pathlib import Path

from hydra import compose, initialize_config_dir

from carsclf.data.stanford_cars import stanford_cars
from carsclf.inference.split import How, open_run, predict_split
from carsclf.records import Run
from carsclf.training.configuration import training_part
from carsclf.training.run import fit
from experiments.measuring import ROOT, Row, Rows, commit_of, parser_of

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


def measure(way: str, seed: int, given: list[str], folder: Path) -> Row:
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
        "recorded_in": commit_of(run),
    }


def judged(run: Run, folder: Path, split: str) -> float:
    """Accuracy of the last epoch's network, as the follow-up reported it."""
    if split == "val":
        return run.metrics["val/top1"]
    how = How(split, workers=0)
    return float(predict_split(open_run(folder, how), how).right.mean())


def main() -> None:
    asked = parser_of(__doc__, "cars", "weights", "out").parse_args()
    some = [f"'{name}'" for name in stanford_cars(asked.cars).class_names[::EVERY]]
    given = [f"data.root={asked.cars}", f"model.weights={asked.weights}", "reported=last"]
    given.append(f"data.classes=[{','.join(some)}]")

    def one(way: str, seed: int) -> Row:
        with tempfile.TemporaryDirectory() as folder:
            return measure(way, seed, given, Path(folder) / "run")

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        Rows(asked.out, COLUMNS, 2).fill(((w, s) for s, w in product(asked.seeds, WAYS)), one)


if __name__ == "__main__":
    main()
