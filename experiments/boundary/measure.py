"""Where to freeze: what each boundary reaches and costs: see README.md.

    python -m experiments.boundary.measure <cars> <weights> <out.csv> [--seeds 0 1 2] [--figure F]

Each row is one training with what lies below the boundary frozen and kept, from an empty feature
cache, and its judgement on test. Rows that are there are not made again.
"""

import os
import shutil
import tempfile
import time
from itertools import product
from pathlib import Path

import pandas as pd
from hydra import compose, initialize_config_dir

from carsclf.analysis.boundary import by_boundary
from carsclf.data.build import make_data
from carsclf.data.stanford_cars import stanford_cars
from carsclf.figures.boundary import draw_boundaries
from carsclf.files import cache_root
from carsclf.inference.split import How, open_run, predict_split
from carsclf.training.configuration import training_part
from carsclf.training.run import fit
from experiments.measuring import ROOT, Row, Rows, commit_of, parser_of

EPOCHS = 4
PROTOCOL = [
    *("data=stanford_cars", "data.protocol=fractions", "data.test_fraction=0.2"),
    *("data.split_seed=0", "data.image_size=96", "data.workers=0", "model=tf_efficientnet_lite0"),
    *("model.channels_last=true", "trainer.precision=32-true", "trainer.accelerator=cpu"),
    *("look=false", "reported=last", "data.batch_size=16", f"trainer.max_epochs={EPOCHS}"),
    "+trainer.check_val_every_n_epoch=${trainer.max_epochs}",
]
ALIKE = ["augmentation=none", "optimizer=adamw", "schedule=one_cycle", "mode.label_smoothing=0.1"]
EVERY = 8  # of the classes, in their order
BOUNDARIES = {
    "0": ["mode=finetune", *ALIKE],
    **{str(n): ["mode=partial", f"mode.boundary={n}", *ALIKE] for n in range(1, 6)},
    "head": ["mode=freeze", *ALIKE],
}
COLUMNS = (
    *("boundary", "seed", "module", "trained", "val_top1", "test_top1", "cpu_seconds"),
    "recorded_in",
)


def measure(boundary: str, seed: int, given: list[str], folder: Path) -> Row:
    """One training with an empty cache of features, as a row."""
    told = [*PROTOCOL, *given, *BOUNDARIES[boundary], f"seed={seed}"]
    config = training_part(compose("train", told))
    make_data(config)  # packs the photos, the first time
    began = time.process_time()
    run = fit(config, folder)
    seconds = time.process_time() - began
    said = predict_split(open_run(folder, How("test", workers=0)), How("test", workers=0))
    return {
        "boundary": boundary,
        "seed": seed,
        "module": run.boundary or "none",
        "trained": run.parameters["trained"],
        "val_top1": round(run.metrics["val/top1"], 4),
        "test_top1": round(float(said.right.mean()), 4),
        "cpu_seconds": round(seconds, 1),
        "recorded_in": commit_of(run),
    }


def draw(out: Path, figure: Path) -> None:
    """The figure of the README: test accuracy and processor seconds by boundary."""
    rows = pd.read_csv(out, dtype={"boundary": str})
    trials = rows.rename(columns={"cpu_seconds": "seconds"})
    trials = trials.assign(best=100 * trials["test_top1"], epochs=EPOCHS)
    metric, cost = "top-1 on test (%)", "processor seconds"
    table = by_boundary(trials, EPOCHS)
    table = table.assign(best=table["mean"])  # these are seeds, not trials
    draw_boundaries(trials, table, metric, EPOCHS, figure, cost=cost)


def main() -> None:
    parser = parser_of(__doc__, "cars", "weights", "out")
    parser.add_argument("--boundaries", nargs="+", choices=BOUNDARIES, default=list(BOUNDARIES))
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    some = [f"'{name}'" for name in stanford_cars(asked.cars).class_names[::EVERY]]
    given = [f"data.root={asked.cars}", f"model.weights={asked.weights}"]
    given.append(f"data.classes=[{','.join(some)}]")

    def one(boundary: str, seed: int) -> Row:
        shutil.rmtree(cache_root() / "features", ignore_errors=True)
        with tempfile.TemporaryDirectory() as folder:
            return measure(boundary, seed, given, Path(folder) / "run")

    with (
        initialize_config_dir(str(ROOT / "conf"), version_base="1.3"),
        tempfile.TemporaryDirectory() as cache,
    ):
        packed = cache_root() / "packed"
        packed.mkdir(parents=True, exist_ok=True)
        (Path(cache) / "packed").symlink_to(packed.resolve())
        os.environ["CARSCLF_CACHE"] = cache  # features of one's own stay as they are
        keys = ((boundary, seed) for seed, boundary in product(asked.seeds, asked.boundaries))
        Rows(asked.out, COLUMNS, 2).fill(keys, one)
    if asked.figure:
        draw(asked.out, asked.figure)


if __name__ == "__main__":
    main()
