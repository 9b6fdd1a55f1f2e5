"""What made pictures add to few photos: rows without and with `data.extra`.

    python -m experiments.generated.measure <weights> <out.csv> [--fractions 0.1 0.25 1]
        [--seeds 0 1 2] [--epochs 12] [--steps 6000] [--jobs 1]

Drawn cars (`data=rendered_cars`), their official test split, 64 px, one split for all. For each
share of the training photos a GAN is trained on that share alone, for as many steps whatever the
share; then a network without its pictures, without them for as many steps as with them, and with
them. Each is one `train.py`, the networks' accuracy one `evaluate.py split=test`. GANs and rows
that are there are not made again. A GAN takes all cores, the networks one each. <weights>: of
tf_efficientnet_lite0, with a head of any width.
"""

from itertools import product
from pathlib import Path

from carsclf.machine.devices import available_cores
from carsclf.records import RunFolder
from carsclf.training.gan_record import GanRun
from experiments.measuring import Row, Rows, commit_of, parser_of, tested, trained, used_by

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


def train_gan(fraction: float, steps: int, runs: Path) -> Path:
    """The run folder of a GAN that saw this share of the training photos, for so many batches."""
    folder = runs / f"gan-{fraction}"
    files = RunFolder(folder)
    own = ["+experiment=wgan", *DATA, f"data.fraction={fraction}", f"runs={runs}"]
    if not files.config.is_file():
        # one epoch tells how many batches there are, and is thrown away
        used_by("train.py", *own, "trainer.max_epochs=1", f"name={folder.name}-length")
        photos = GanRun.read(RunFolder(f"{folder}-length").run).split_sizes["train"]
        epochs = max(1, round(steps / -(-photos // 32)))
        length = f"trainer.max_epochs={epochs}"
        used_by("train.py", *own, length, f"name={folder.name}", threads=available_cores())
    elif not files.run.is_file() or not GanRun.read(files.run).finished:
        used_by("train.py", f"resume={folder}", threads=available_cores())
    return folder


def measure(way: str, fraction: float, seed: int, epochs: int, gan: Path, weights: Path) -> Row:
    """One training and its evaluation, as a row."""
    saw = GanRun.read(RunFolder(gan).run)
    photos = saw.split_sizes["train"]
    if way == LONGER:
        epochs = round(epochs * (photos + saw.images_made) / photos)
    folder = gan.parent / f"{way.replace(',', '').replace(' ', '-')}-{fraction}-{seed}"
    extra = [f"data.extra=[{RunFolder(gan).synthetic}]"] if way == MADE else []
    own = [f"data.fraction={fraction}", f"seed={seed}", f"trainer.max_epochs={epochs}"]
    run, _ = trained(folder, *DATA, *NETWORK, *own, *extra, f"model.weights={weights}")
    return {
        "way": way,
        "fraction": fraction,
        "seed": seed,
        "photos": run.split_sizes["train"],
        "made": sum(run.extra.values()),
        "epochs": run.epochs,
        "val_top1": round(run.metrics["val/top1"], 4),
        "test_top1": round(tested(folder)[0], 4),
        "seconds": round(run.seconds, 1),
        "gan_seconds": round(saw.seconds, 1) if way == MADE else 0,
        "recorded_in": commit_of(run),
    }


def main() -> None:
    parser = parser_of(__doc__, "weights", "out")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1, 0.25, 1.0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    runs = asked.out.parent / "runs"
    rows = Rows(asked.out, COLUMNS, 3)
    every = product(asked.fractions, asked.seeds, (PHOTOS, LONGER, MADE))
    left = [key for fraction, seed, way in every if not rows.has(*(key := (way, fraction, seed)))]
    gans = {f: train_gan(f, asked.steps, runs) for f in dict.fromkeys(f for _, f, _ in left)}

    def one(way: str, fraction: float, seed: int) -> Row:
        return measure(way, fraction, seed, asked.epochs, gans[fraction], asked.weights)

    rows.fill(left, one, asked.jobs)


if __name__ == "__main__":
    main()
