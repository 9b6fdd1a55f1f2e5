"""`partial`, by default at ResNet-18's last stage: seconds per epoch with and without the cache.

    python -m benchmarks.partial_cache [--model vit_small_patch16_224 --boundary blocks.5]
        [--pictures 256] [--size 224] [--repeat 5]

What arithmetic allows: an uncached epoch costs the frozen part's forward and three times the
rest's (its backward is twice its forward), a cached one the latter alone. Noise for pictures,
random weights, batch 32, float32 both, channels last: the arithmetic is that of a real training.
Without cache, the decoded pictures wait in memory. An epoch is train.py's, without validation and
checkpoints; the two take turns, and each one's first epoch is left out. Both see the same pictures
in the same order from the same weights, so their losses differ by what half precision keeps.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.head_training import timed_epochs
from carsclf.data.build import make_data
from carsclf.data.datamodule import Item, PictureDataset
from carsclf.models.boundary import cut
from carsclf.models.networks import create
from carsclf.training.build import cut_network, make_inputs, make_module, make_network
from carsclf.training.configuration import training_part
from carsclf.training.run import quiet
from carsclf.training.trainer import make_trainer

CONF = Path(__file__).parents[1] / "conf"


def draw(root: Path, pictures: int, size: int) -> None:
    rng = np.random.default_rng(0)
    for i in range(pictures):
        path = root / f"class {i % 8}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path, compress_level=0)


class InMemory(PictureDataset):
    """Pictures decoded once, so that loading does not count."""

    def __init__(self, dataset: PictureDataset) -> None:
        super().__init__(dataset.samples, dataset.transform)
        self.whole = dataset.__getitems__([(i, 0) for i in range(len(dataset))])

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Item:
        chosen = torch.tensor([index for index, _ in keys])
        return {name: tensor[chosen] for name, tensor in self.whole.items()}


def epochs(
    folder: Path, pictures: Path, asked: argparse.Namespace, repeat: int, *, cached: bool
) -> tuple[list[float], float]:
    """Seconds of `repeat` epochs, after one that warms up; the last one's training loss."""
    options = [
        *("data=folder", f"data.root={pictures}", "data.protocol=fractions", "data.workers=0"),
        *(f"data.image_size={asked.size}", "model.weights=none", "schedule=constant"),
        *(f"model.name={asked.model}", f"mode.cache={cached}"),
        *("mode=partial", f"mode.boundary={asked.boundary}"),
        *("trainer.precision=32-true", "model.channels_last=true", "trainer.accelerator=cpu"),
    ]
    with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        config = training_part(compose("train", options))
    data, _ = make_data(config)
    halves = cut_network(config, make_network(config, len(data.class_names))[0], data)
    trainer = make_trainer(config, folder, [])
    inputs = make_inputs(config, halves, data, trainer)
    module = make_module(config, halves, inputs, trainer)
    if not cached:
        kept = InMemory(data.pictures(data.splits["train"], data.train_transform))
        data.pictures = lambda *_: kept  # type: ignore[method-assign, assignment]
    taken = timed_epochs(module, inputs, repeat + 1)[1:]
    return taken, module.epoch_metrics["train/loss"]


def most(model: str, boundary: str, size: int) -> float:
    """How many times faster the cache could be, counted in multiplications."""
    prefix, rest = cut(create(model, num_classes=8, image_size=size), boundary, size)
    pictures = torch.rand(1, 3, size, size)
    with torch.no_grad(), FlopCounterMode(display=False) as front:
        features = prefix(pictures)
    with torch.no_grad(), FlopCounterMode(display=False) as back:
        rest(features)
    trained = 3 * back.get_total_flops()
    return (front.get_total_flops() + trained) / trained


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--boundary", default="layer3")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    quiet()
    torch.set_num_threads(1)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    losses: dict[bool, float] = {}
    with tempfile.TemporaryDirectory() as work:
        os.environ["CARSCLF_CACHE"] = f"{work}/cache"
        draw(Path(work) / "pictures", options.pictures, options.size)
        for _ in range(options.repeat):
            for cached, taken in seconds.items():
                where = Path(work), Path(work) / "pictures"
                more, losses[cached] = epochs(*where, options, 1, cached=cached)
                taken += more
    print(
        f"{options.model}, {options.pictures * 4 // 5} training pictures at {options.size} px, "
        f"frozen up to {options.boundary}, float32, one thread"
    )
    print("| features | median seconds per epoch | pictures/s | faster | training loss |")
    print("|---|---|---|---|---|")
    base = statistics.median(seconds[False])
    for cached, taken in seconds.items():
        middle = statistics.median(taken)
        name = "cached" if cached else "recomputed from pictures in memory"
        rate = options.pictures * 4 // 5 / middle
        spread = f"{middle:.2f} ({min(taken):.2f} to {max(taken):.2f})"
        print(f"| {name} | {spread} | {rate:.1f} | {base / middle:.2f} | {losses[cached]:.5f} |")
    limit = most(options.model, options.boundary, options.size)
    reached = base / statistics.median(seconds[True])
    print(f"arithmetic allows {limit:.2f}: {reached / limit:.2f} of it reached")


if __name__ == "__main__":
    main()
