"""Which recipe for the best classifier: looked for on a card, on validation. See README.md.

    python -m experiments.cars_best.recipes <cars> <weights> <out.csv> [--jobs 6] [--seeds 0]

<weights> is a folder with the three files of ImageNet weights. One process each, several of them on
one card; rows that are there are not made again. Test photos are never looked at.
"""

from pathlib import Path

from carsclf.records import Predictions, Run, RunFolder
from experiments.cars_best.measure import HALF, MEMBERS
from experiments.measuring import Row, try_recipes, used_by

COMMON = ["look=false", "model.channels_last=true", "data.workers=1"]
LITE0 = [*MEMBERS["lite0"], "trainer.precision=bf16-mixed"]
"""Grown to 288 px, trivial, 24 epochs."""
LITE2 = [*LITE0, "optimizer.lr=1.5e-3", "model=tf_efficientnet_lite2"]
MOBILE = [*LITE0, "optimizer.lr=5e-4", "model=mobilenetv2_100"]
LONGER = ["trainer.max_epochs=40"]
MOBILE_HALF = MEMBERS["mobilenetv2_half"]
LITE2_HALF = [*MEMBERS["lite2_half"], "trainer.precision=bf16-mixed"]
LARGER = ["data.image_size=320"]
RECIPES = {
    "lite0, grown to 256, trivial": [*LITE0, "data.image_size=256", "resizing.sizes=[144,200]"],
    "lite0, grown to 288, trivial": LITE0,
    "lite0, grown to 288, trivial, 40 epochs": [*LITE0, *LONGER],
    "lite2, grown to 288, trivial": LITE2,
    "lite0, grown to 288, trivial, mixup": [*LITE0, "mixing=mixup", "mixing.alpha=0.2"],
    "lite0, grown to 288, trivial, cutmix": [*LITE0, "mixing=cutmix"],
    "lite0, grown to 288, light": [*LITE0, "augmentation=light", "~augmentation.erasing"],
    "lite0, grown to 288, trivial, ema": [*LITE0, "averaging=ema", "averaging.decay=0.995"],
    "mobilenetv2, grown to 288, trivial": MOBILE,
    "lite0, grown to 288, trivial, lr 1e-3": [*LITE0, "optimizer.lr=1e-3"],
    "lite0, grown to 288, trivial, lr 4e-3": [*LITE0, "optimizer.lr=4e-3"],
    "lite2, grown to 288, trivial, 40 epochs": [*LITE2, *LONGER],
    "mobilenetv2, half frozen, 288": MOBILE_HALF,
    "mobilenetv2, half frozen, 320": [*MOBILE_HALF, *LARGER],
    "mobilenetv2, half frozen below blocks.2, 288": [*MOBILE_HALF, "mode.boundary=blocks.2"],
    "lite0, half frozen, 288": [*HALF, "model=tf_efficientnet_lite0"],
    "lite2, half frozen, 288": LITE2_HALF,
    "lite2, half frozen, 320": [*LITE2_HALF, *LARGER],
}
COLUMNS = (
    *("recipe", "seed", "val_top1", "val_top1_flip", "images", "seconds"),
    *("device", "recorded_in"),
)


def flipped(run: Run, folder: Path) -> Row:
    """What it is right on with flips, and its seconds."""
    used_by("evaluate.py", f"run={folder}", "split=val", "tta=flip", "worst=0")
    right = Predictions.read(RunFolder(folder).predictions("val_flip")).right
    return {"val_top1_flip": round(float(right.mean()), 4), "seconds": round(run.seconds, 1)}


if __name__ == "__main__":
    try_recipes(__doc__, RECIPES, COMMON, COLUMNS, flipped, seeds=(0,))
