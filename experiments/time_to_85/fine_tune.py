"""fastai's `fine_tune` on the same photos, split and network: started by measure.py.

    python experiments/time_to_85/fine_tune.py <cars> <weights> <seed> <out.csv> <base_lr> <lr_mult>

As its users would write it: Learner, squashed pictures, flips, a slight turn and zoom, one epoch of
the head alone, then EPOCHS of all, the head at half of base_lr and the rest at a share of that.
"""

import csv
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()
SIZE, BATCH, EPOCHS = 160, 32, 10


def network(weights: Path, classes: int) -> Any:
    """timm's Lite0 with those weights, in fastai's two parts: body and head."""
    import timm
    import torch

    made = timm.create_model(
        "tf_efficientnet_lite0",
        pretrained=True,
        pretrained_cfg_overlay={"file": str(weights)},
        num_classes=classes,
    )
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def main(cars: Path, weights: Path, seed: int, out: Path, base_lr: float, lr_mult: float) -> None:
    vision: Any = import_module("fastai.vision.all")
    callback: Any = import_module("fastai.callback.core").Callback

    from carsclf.data.splits import split
    from carsclf.data.stanford_cars import stanford_cars

    source = stanford_cars(root=cars)
    parts = split(source, "fractions", seed=0, val_fraction=0.2)
    held = {sample.path for sample in parts["val"]}
    names = {s.path: source.class_names[s.target] for part in parts.values() for s in part}
    rows: list[dict[str, float]] = []

    class Times(callback):
        def after_epoch(self) -> None:
            told: Any = self.learn.recorder.log
            seconds = round(time.perf_counter() - BEGAN, 1)
            rows.append({"epoch": len(rows) + 1, "seconds": seconds, "top1": round(told[-1], 4)})
            print(rows[-1], flush=True)

    vision.set_seed(seed, reproducible=True)
    changes = vision.aug_transforms(max_rotate=5.0, max_zoom=1.1, max_lighting=0, max_warp=0)
    block = vision.DataBlock(
        blocks=(vision.ImageBlock, vision.CategoryBlock(vocab=source.class_names)),
        get_items=lambda _: list(names),
        get_y=lambda path: names[path],
        splitter=vision.FuncSplitter(lambda path: path in held),
        item_tfms=vision.Resize(SIZE, method="squish"),
        batch_tfms=[*changes, vision.Normalize.from_stats(*vision.imagenet_stats)],
    )
    loaders = block.dataloaders(cars, bs=BATCH, num_workers=0)
    model = network(weights, len(source.class_names))

    def halves(made: Any) -> list[Any]:
        body = [p for name, p in made.named_parameters() if not name.startswith("classifier")]
        return [body, list(made.classifier.parameters())]

    learner = vision.Learner(
        loaders,
        model,
        loss_func=vision.LabelSmoothingCrossEntropyFlat(),
        splitter=halves,
        metrics=vision.accuracy,
        cbs=[Times()],
    )
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(EPOCHS, base_lr=base_lr, lr_mult=lr_mult)
    with out.open("w", newline="") as file:
        table = csv.DictWriter(file, ["epoch", "seconds", "top1"])
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    cars, weights, seed, out, base_lr, lr_mult = sys.argv[1:]
    main(Path(cars), Path(weights), int(seed), Path(out), float(base_lr), float(lr_mult))
