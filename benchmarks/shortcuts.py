"""Does a shortcut cost accuracy? Each against the same training without it, paired by seed.

    python benchmarks/shortcuts.py <stanford cars> [--seeds 3] [--out <folder>]

A reduced protocol, sized for one core: all classes at 64 px, 50 % of the training photos, Lite0
from ImageNet weights, few epochs, 20 % of each label for validation (one split), top-1 of the last
epoch on it.
"""

import argparse
import os
import tempfile
import zlib
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pandas as pd
from hydra import compose, initialize_config_dir

from carsclf.records import Run
from carsclf.training.configuration import training_part
from carsclf.training.run import fit

CONF = Path(__file__).parents[1] / "conf"
COMMON = ["experiment=first_cars", "data.image_size=64", "data.split_seed=0", "reported=last"]
COMMON += [
    "data.fraction=0.5",
    "look=false",
    "data.workers=0",
    "trainer.precision=32-true",
    "model.channels_last=true",
]
FINETUNE = [*COMMON, "trainer.max_epochs=4"]
CROPS = [*FINETUNE, "data.transform=random_resized_crop", "augmentation=none"]
# a rate at which the loss falls from the first epoch on: above it, rounding decides what comes out
SGD = ["optimizer=sgd", "optimizer.lr=0.003", "optimizer.weight_decay=1e-3"]
FREEZE = [*COMMON, "mode=freeze", "trainer.max_epochs=6", *SGD]
PARTIAL = [*COMMON, "mode=partial", "mode.boundary=4", "trainer.max_epochs=4"]
PAIRS = {
    # name: (training, what it is without the shortcut, what it is with it)
    "packed photos, squash": (FINETUNE, ["data.packed=false"], []),
    "packed photos, random_resized_crop": (CROPS, ["data.packed=false"], []),
    "bfloat16 (fine-tuning)": (FINETUNE, [], ["trainer.precision=bf16-mixed"]),
    "cached features, head in chunks": (FREEZE, ["mode.cache=false"], []),
    "cached features, half of the stages": (PARTIAL, ["mode.cache=false"], []),
}


def top1(options: list[str], cars: Path, seed: int, folder: Path) -> tuple[float, float]:
    """Validation top-1 in percent and seconds of one training; each is run once."""
    path = folder / "run.json"
    if not path.is_file():
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", [*options, f"data.root={cars}", f"seed={seed}"])
        fit(training_part(config), folder, resume=True)
    run = Run.read(path)
    return 100 * run.metrics["val/top1"], run.seconds


def main() -> None:
    """Parses the command line, trains, prints and writes the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("cars", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, help="where runs are kept, to go on after a stop")
    parser.add_argument("--out", type=Path, help="folder for shortcuts.csv")
    args = parser.parse_args()
    runs = args.runs or Path(tempfile.mkdtemp())
    rows = []
    for name, (training, without, shortcut) in PAIRS.items():
        for seed in range(args.seeds):
            values = {}
            for label, extra in (("without", without), ("with", shortcut)):
                options = [*training, *extra]
                folder = runs / f"{zlib.crc32(repr(options).encode()):08x}-{seed}"
                values[label], values[f"{label}_s"] = top1(options, args.cars, seed, folder)
            rows.append({"shortcut": name, "seed": seed, **values})
            print(pd.DataFrame(rows[-1:]).round(2).to_string(index=False, header=False), flush=True)
    table = pd.DataFrame(rows)
    table["difference"] = table["with"] - table["without"]
    order = list(PAIRS)
    summary = table.groupby("shortcut")[["without", "with", "difference"]].agg(["mean", "std"])
    print(f"\nvalidation top-1, percent, {args.seeds} seeds\n{summary.loc[order].round(2)}")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out / "shortcuts.csv", index=False, float_format="%.3f")


if __name__ == "__main__":
    main()
