"""Photos on disk to normalised float batches: packed photos against ImageFolder + PIL + v2.

    python benchmarks/loader.py <cars> [--photos 512] [--size 224] [--cores 1]

Same photos, crop, flip, dtype and cores; float32 (n, 3, size, size). The peer is torchvision's
ImageFolder and v2 transforms in a DataLoader, with the order of its steps and the 0, 1 or 2
workers that are fastest here. Ratios are medians over repetitions that alternate between the two.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from carsclf.data.augment import GREY, Augmentation
from carsclf.data.build import build_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.folder import folder
from carsclf.data.samples import Sample
from carsclf.data.stanford_cars import stanford_cars
from carsclf.machine.devices import available_cores
from carsclf.models.pixels import Normalise

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
ENLARGED = 600  # pixels of the long side
BATCH = 32
TASKS = {  # transform, augmentation
    "crop + flip": ("published", Augmentation(flip=0.5)),
    "squash + flip + turn + zoom": ("squash", Augmentation(flip=0.5, rotation=5, zoom=0.1)),
}
Epoch = Callable[[], int]  # reads all photos once, returns how many


def peer_steps(transform: str, size: int, augmentation: Augmentation, tensor_first: bool) -> Any:
    """torchvision's v2 transforms; on PIL images, or on uint8 tensors from the start."""
    geometry: list[Any] = (
        [v2.Resize(size), v2.RandomCrop(size)]
        if transform == "published"
        else [v2.Resize([size, size])]
    )
    geometry.append(v2.RandomHorizontalFlip(augmentation.flip))
    if augmentation.rotation:
        turn, zoom = augmentation.rotation, augmentation.zoom
        bilinear, grey = v2.InterpolationMode.BILINEAR, list(GREY)
        geometry.append(
            v2.RandomAffine(
                [-turn, turn], scale=(1 - zoom, 1 + zoom), interpolation=bilinear, fill=grey
            )
        )
    image = [v2.ToImage()]
    steps = [*image, *geometry] if tensor_first else [*geometry, *image]
    return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def peer(root: Path, steps: Any, workers: int) -> Epoch:
    data = ImageFolder(root / "train", steps)
    loader = DataLoader(
        data, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda: sum(len(pictures) for pictures, _ in loader)


def ours(data: CarsDataModule) -> Epoch:
    normalise = Normalise(MEAN, STD, channels_last=True)

    def epoch() -> int:
        return sum(len(normalise(batch["pictures"])) for batch in data.train_dataloader())

    return epoch


def open_data(root: Path, cache: Path, task: str, size: int, packed: bool) -> CarsDataModule:
    """A DataModule whose training photos are the ones of the peer."""
    transform, augmentation = TASKS[task]
    return build_data(
        folder(root),
        augmentation,
        cache=cache,
        seed=0,
        protocol="official",
        val_fraction=0.0,
        test_fraction=0.0,
        fraction=1.0,
        min_images_per_class=0,
        classes=None,
        transform=transform,
        image_size=size,
        interpolation="bilinear",
        crop="none",
        margin=0.0,
        batch_size=BATCH,
        workers="auto",
        skip_unreadable=False,
        packed=packed,
    )[0]


def seconds_per_photo(epoch: Epoch) -> float:
    began = time.perf_counter()
    photos = epoch()
    return (time.perf_counter() - began) / photos


def best_peer(root: Path, task: str, size: int) -> tuple[str, Epoch]:
    """The fastest of the peer's variants, each tried once after a warm-up."""
    transform, augmentation = TASKS[task]
    tried: dict[str, tuple[float, Epoch]] = {}
    for tensor_first in (False, True):
        steps = peer_steps(transform, size, augmentation, tensor_first)
        for workers in (0, 1, 2):
            epoch = peer(root, steps, workers)
            name = f"{'tensor' if tensor_first else 'PIL'} steps, {workers} workers"
            epoch()
            tried[name] = seconds_per_photo(epoch), epoch
    best = min(tried, key=lambda name: tried[name][0])
    return best, tried[best][1]


def measure(root: Path, task: str, size: int, repetitions: int) -> Iterator[dict[str, object]]:
    """Rows for the peer, for ours reading files, and for ours packed."""
    with tempfile.TemporaryDirectory(dir=root.parent) as cache:
        began = time.perf_counter()
        data = open_data(root, Path(cache), task, size, packed=True)
        built = time.perf_counter() - began
        name, theirs = best_peer(root, task, size)
        epochs = {
            f"ImageFolder, {name}": theirs,
            "ours, packed=false": ours(open_data(root, Path(cache), task, size, packed=False)),
            f"ours, packed, {data.workers} workers": ours(data),
        }
        for epoch in epochs.values():
            epoch()
        times = [
            {name: seconds_per_photo(epoch) for name, epoch in epochs.items()}
            for _ in range(repetitions)
        ]
    for pipeline in epochs:
        yield {
            "pipeline": pipeline,
            "images/s": 1 / statistics.median(row[pipeline] for row in times),
            "ratio": statistics.median(
                row[f"ImageFolder, {name}"] / row[pipeline] for row in times
            ),
            "built in s": built if ", packed, " in pipeline else float("nan"),
        }


def lay_out(samples: list[Sample], root: Path, long_side: int | None) -> Path:
    """root/train/<class>/*.jpg: links to the photos, or enlarged copies."""
    for sample in samples:
        path = root / "train" / f"{sample.target:03}" / sample.path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if long_side is None:
            path.symlink_to(sample.path)
            continue
        with Image.open(sample.path) as image:
            scale = long_side / max(image.size)
            width, height = (round(side * scale) for side in image.size)
            image.convert("RGB").resize((width, height)).save(path, quality=90)
    for split in ("val", "test"):  # ours asks for them; the peer never looks there
        one = root / split / f"{samples[0].target:03}" / samples[0].path.name
        one.parent.mkdir(parents=True)
        one.symlink_to(samples[0].path)
    return root


def main() -> None:
    """Parses the command line, measures, prints one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("cars", type=Path)
    parser.add_argument("--photos", type=int, default=512)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=7)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-args.cores :])
    torch.set_num_threads(args.cores)
    samples = stanford_cars(args.cars).samples
    samples = samples[:: -(-len(samples) // args.photos)]
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for photos, long_side in (("as they are", None), (f"enlarged to {ENLARGED}", ENLARGED)):
            root = lay_out(samples, Path(place) / str(long_side) / "photos", long_side)
            for task in TASKS:
                measured = measure(root, task, args.size, args.repetitions)
                rows += [{"photos": photos, "task": task} | row for row in measured]
    print(
        f"{len(samples)} photos, {args.size} px, {available_cores()} core(s), batch {BATCH}, "
        f"medians of {args.repetitions}"
    )
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.1f", na_rep=""))


if __name__ == "__main__":
    main()
