"""Which recipe is quick: looked for on a card, on photos that the answer leaves out. See README.md.

    python -m experiments.time_to_85.recipes <cars> <weights> <out.csv> [--jobs 6] [--seeds 0 1]

<weights> is a folder with the files of ImageNet weights. Trained on what is neither held out by
`measure.py` nor validation, judged on validation. One process each, several of them on one card,
so how long they take says nothing of two cores; rows that are there are not made again.
"""

from experiments.measuring import SHORTCUT, try_recipes
from experiments.time_to_85.measure import HALF, PROTOCOL

# test is what measure.py holds out, and is not looked at here
COMMON = [*PROTOCOL, "data.test_fraction=0.2"]
MOBILE = [*SHORTCUT, "model=mobilenetv2_100", "trainer.precision=bf16-mixed", "optimizer.lr=6e-4"]
RECIPES = {
    "lite0": HALF,
    "lite0, 5 epochs": [*HALF, "trainer.max_epochs=5"],
    "lite0, 4 epochs": [*HALF, "trainer.max_epochs=4"],
    "lite0, 4 epochs, lr 2e-3": [*HALF, "trainer.max_epochs=4", "optimizer.lr=2e-3"],
    "lite0, 176 px": [*HALF, "data.image_size=176"],
    "lite0, 4 epochs, 240 px": [*HALF, "trainer.max_epochs=4", "data.image_size=240"],
    "lite0, blocks.4": [*HALF, "mode.boundary=blocks.4"],
    "lite0, blocks.4, 240 px": [*HALF, "mode.boundary=blocks.4", "data.image_size=240"],
    "mobilenetv2": MOBILE,
    "mobilenetv2, lr 4e-4": [*MOBILE, "optimizer.lr=4e-4"],
    "mobilenetv2, lr 1e-3": [*MOBILE, "optimizer.lr=1e-3"],
    "mobilenetv2, lr 1.4e-3": [*MOBILE, "optimizer.lr=1.4e-3"],
    "mobilenetv2, batch 32, lr 1e-3": [*MOBILE, "data.batch_size=32", "optimizer.lr=1e-3"],
    "mobilenetv2, 5 epochs": [*MOBILE, "trainer.max_epochs=5"],
    "mobilenetv2, 4 epochs": [*MOBILE, "trainer.max_epochs=4"],
    "mobilenetv2, 8 epochs": [*MOBILE, "trainer.max_epochs=8"],
    "mobilenetv2, 176 px": [*MOBILE, "data.image_size=176"],
    "mobilenetv2, 240 px": [*MOBILE, "data.image_size=240"],
    "mobilenetv2, 5 epochs, 240 px": [*MOBILE, "trainer.max_epochs=5", "data.image_size=240"],
    "mobilenetv2, 288 px": [*MOBILE, "data.image_size=288"],
    "mobilenetv2, 4 epochs, 288 px": [*MOBILE, "trainer.max_epochs=4", "data.image_size=288"],
    "mobilenetv2, 3 views": [*MOBILE, "mode.views=3"],
    "mobilenetv2, blocks.4": [*MOBILE, "mode.boundary=blocks.4"],
    "mobilenetv2, blocks.4, 240 px": [*MOBILE, "mode.boundary=blocks.4", "data.image_size=240"],
    "mobilenetv2, blocks.2": [*MOBILE, "mode.boundary=blocks.2"],
}
COLUMNS = ("recipe", "seed", "val_top1", "images", "epochs", "device", "recorded_in")


if __name__ == "__main__":
    try_recipes(
        __doc__, RECIPES, COMMON, COLUMNS, lambda run, _: {"epochs": run.epochs}, seeds=(0, 1)
    )
