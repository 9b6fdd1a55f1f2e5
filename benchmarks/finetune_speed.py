"""Fine-tuning ResNet-18 from random weights on real photos: ours, its limit, and peers.

    python benchmarks/finetune_speed.py <cars> [--threads 2]

Images per second of whole training steps, loading included, start-up and validation not: medians
over 5 repetitions of 3 consecutive steps of batch 32 at 224 px, after 2 steps of warm-up. All rows
read the same photos, as many as that takes. The limit is forward, backward and update on a batch
in memory. Peers, as their users would write it:
torchvision's reference recipe (references/classification: presets and train_one_epoch) and
fastai's vision_learner (pip install -e '.[bench]').
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
import torchvision
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import InterpolationMode, v2

from carsclf.data.build import make_data
from carsclf.data.splits import shuffled
from carsclf.data.stanford_cars import stanford_cars
from carsclf.machine.devices import bf16_instructions, device_name
from carsclf.machine.precision import FULL
from carsclf.training.build import cut_network, make_module, make_network
from carsclf.training.configuration import training_part
from carsclf.training.run import quiet
from carsclf.training.timed_steps import settle_training, timed_steps
from carsclf.training.trainer import device_of, make_trainer

BATCH, SIZE, WARM_UP, STEPS, REPETITIONS = 32, 224, 2, 3, 5
PHOTOS = BATCH * (WARM_UP + STEPS * REPETITIONS)
CLASSES = 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class Row:
    """Images per second, one value per repetition."""

    name: str
    numerics: str
    rates: list[float]

    @property
    def rate(self) -> float:
        return median(self.rates)


def rates(ends: list[float]) -> list[float]:
    """Images per second of each repetition, from the times at which steps ended."""
    marks = ends[WARM_UP - 1 :: STEPS]
    return [STEPS * BATCH / (b - a) for a, b in pairwise(marks)]


class Ends(pl.Callback):
    """When each training step ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.times.append(now())


def now() -> float:
    """Seconds, when what was asked of an accelerator is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def choose(cars: Path, place: Path) -> None:
    """Links to enough photos in place/all/<class>: PHOTOS to train on, and one per class beside."""
    samples = stanford_cars(cars).samples
    by_class: dict[int, list[Any]] = {}
    for sample in samples:
        by_class.setdefault(sample.target, []).append(sample)
    largest = sorted(by_class.values(), key=len, reverse=True)
    each = PHOTOS // CLASSES + 1
    for number, group in enumerate(largest[:CLASSES]):
        folder = place / "all" / f"{number:02}"
        folder.mkdir(parents=True)
        for sample in shuffled(group, 0, "benchmark")[:each]:
            (folder / sample.path.name).symlink_to(sample.path.resolve())


def link_split(place: Path, splits: dict[str, list[Any]]) -> None:
    """The same photos as our split has them, as peers want them: place/{train,val}/<class>."""
    for split in ("train", "val"):
        for sample in splits[split]:
            link = place / split / sample.path.parent.name / sample.path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(sample.path.resolve())


def ours(place: Path, *overrides: str) -> DictConfig:
    """A training as train.py composes it."""
    with initialize_config_dir(str(Path(__file__).parents[1] / "conf"), version_base="1.3"):
        return training_part(
            compose(
                "train",
                [
                    "data=folder",
                    f"data.root={place / 'all'}",
                    f"data.val_fraction={1 / (PHOTOS // CLASSES + 1)}",
                    f"data.batch_size={BATCH}",
                    f"data.image_size={SIZE}",
                    "data.transform=published",
                    "augmentation.flip=0.5",
                    "augmentation.rotation=0",
                    "augmentation.zoom=0",
                    "model=resnet18",
                    "model.weights=none",
                    "optimizer=sgd",
                    "trainer.max_epochs=1",
                    *overrides,
                ],
            )
        )


def settled(config: DictConfig) -> DictConfig:
    """With `auto` replaced."""
    network, _ = make_network(config, CLASSES)
    return settle_training(config, network, device_of(config))[0]


def numerics(config: DictConfig) -> str:
    """Precision and layout, for people."""
    layout = "channels_last" if config.model.channels_last else "contiguous"
    return f"{config.trainer.precision}, {layout}"


def run_ours(name: str, config: DictConfig, folder: Path) -> Row:
    """One epoch through the DataModule, the LightningModule and the Trainer."""
    pl.seed_everything(0, verbose=False)
    data, _ = make_data(config)
    network, _ = make_network(config, CLASSES)
    ends = Ends()
    trainer = make_trainer(config, folder, [ends])
    module = make_module(config, cut_network(config, network, data), data, trainer)
    trainer.fit(module, data)
    return Row(name, numerics(config), rates(ends.times))


def run_limit(name: str, config: DictConfig) -> Row:
    """Forward, backward and update of the same model on a batch that is in memory."""
    network, _ = make_network(config, CLASSES)
    device = device_of(config)
    _, choice = settle_training(config, network, device)
    (step,) = timed_steps(config, network, None, cached=False)([choice], device, BATCH).values()
    ends = []
    for _ in range(PHOTOS // BATCH):
        step()
        ends.append(now())
    return Row(name, numerics(config), rates(ends))


def run_torchvision(place: Path, device: torch.device, workers: int) -> Row:
    """references/classification: ClassificationPresetTrain, SGD, and train_one_epoch."""
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, interpolation=InterpolationMode.BILINEAR, antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.PILToTensor(),
            v2.ToDtype(torch.float, scale=True),
            v2.Normalize(mean=MEAN, std=STD),
            v2.ToPureTensor(),
        ]
    )
    dataset = torchvision.datasets.ImageFolder(str(place / "train"), transform)
    loader = DataLoader(
        dataset, batch_size=BATCH, shuffle=True, num_workers=workers, pin_memory=device != CPU
    )
    model = torchvision.models.resnet18(num_classes=CLASSES).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    model.train()
    ends = []
    for image, target in loader:
        image, target = image.to(device), target.to(device)
        output = model(image)
        loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        correct = output.topk(5).indices == target[:, None]
        _ = correct[:, :1].sum().item(), correct.sum().item(), loss.item()  # its metric logger
        ends.append(now())
    return Row("torchvision's reference recipe", "float32, contiguous", rates(ends))


def run_fastai(place: Path, device: torch.device, workers: int) -> Row | None:
    """vision_learner with its fit_one_cycle; None where fastai is not installed."""
    try:
        from fastai.callback.core import Callback  # type: ignore[import-not-found]
        from fastai.vision import all as fastai  # type: ignore[import-not-found]
    except ImportError as error:
        print(f"no row for fastai ({error}): pip install -e '.[bench]'")
        return None

    class Times(Callback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def after_batch(self) -> None:
            if self.learn.training:  # type: ignore[attr-defined]
                self.times.append(now())

    ends = Times()
    loaders = fastai.ImageDataLoaders.from_folder(
        place,
        train="train",
        valid="val",
        item_tfms=fastai.RandomResizedCrop(SIZE),
        batch_tfms=[fastai.Flip()],
        bs=BATCH,
        num_workers=workers,
        device=device,
    )
    learner = fastai.vision_learner(
        loaders, fastai.resnet18, pretrained=False, metrics=fastai.accuracy, cbs=[ends]
    )
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(1)
    return Row("fastai's vision_learner", "float32, contiguous", rates(ends.times))


CPU = torch.device("cpu")


def measure(place: Path) -> list[Row]:
    """All rows, one after the other."""
    best = settled(ours(place, "data.packed=true"))
    full = settled(ours(place, "data.packed=true", f"trainer.precision={FULL}"))
    plain = ours(
        place, "data.packed=false", f"trainer.precision={FULL}", "model.channels_last=false"
    )
    data, _ = make_data(plain)
    link_split(place, data.splits)
    device = device_of(best)
    jobs: list[Callable[[], Row | None]] = [
        lambda: run_limit("limit: a batch in memory", best),
        lambda: run_ours("ours", best, place),
        lambda: run_limit("limit at float32", full),
        lambda: run_ours("ours at float32", full, place),
        lambda: run_ours("ours, plain: float32, PIL", plain, place),
        lambda: run_torchvision(place, device, data.workers),
        lambda: run_fastai(place, device, data.workers),
    ]
    rows = []
    for job in jobs:
        if (row := job()) is not None:
            rows.append(row)
            print(f"{row.name}: {row.rate:.2f} images/s", flush=True)
    return rows


def show(rows: list[Row], photos: int) -> None:
    """The table, and the ratios that are claimed."""
    table = Table("", "numerics", "images/s", "lowest", "highest", f"s per {photos:,} photos")
    by_name = {row.name: row.rate for row in rows}
    for row in rows:
        low, high = min(row.rates), max(row.rates)
        cells = (f"{row.rate:.2f}", f"{low:.2f}", f"{high:.2f}", f"{photos / row.rate:.0f}")
        table.add_row(row.name, row.numerics, *cells)
    console = Console(width=120)
    console.print(table)
    best, full = by_name["ours"], by_name["ours at float32"]
    console.print(f"ours / its limit: {best / by_name['limit: a batch in memory']:.2f}")
    console.print(f"ours / its limit, both float32: {full / by_name['limit at float32']:.2f}")
    for name in [row.name for row in rows[4:]]:
        at_best, equal = best / by_name[name], full / by_name[name]
        console.print(f"ours / ({name}): {at_best:.2f}; at float32: {equal:.2f}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cars", type=Path)
    parser.add_argument("--threads", type=int, help="of torch; default: as torch chooses")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    quiet()
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = ", ".join(bf16_instructions()) or "no bfloat16 instructions"
    print(
        f"{device_name(device)} ({torch.backends.cpu.get_cpu_capability()}, {kind}), "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; ResNet-18, {SIZE} px, "
        f"batch {BATCH}; {REPETITIONS} repetitions of {STEPS} steps"
    )
    with tempfile.TemporaryDirectory() as place:
        choose(arguments.cars, Path(place))
        show(measure(Path(place)), len(stanford_cars(arguments.cars).samples))


if __name__ == "__main__":
    main()
