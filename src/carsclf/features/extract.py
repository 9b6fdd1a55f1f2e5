"""Which rows a training needs of the feature cache, and how those it lacks are computed."""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from rich.progress import Progress
from torch.utils.data import DataLoader

from carsclf.data.datamodule import CarsDataModule
from carsclf.data.decoding import RULES
from carsclf.data.loaders import Item
from carsclf.data.samples import Sample
from carsclf.errors import ConfigError
from carsclf.features.cache import FeatureCache, content_key, photo_key
from carsclf.features.datamodule import Features
from carsclf.files import cache_root
from carsclf.machine.precision import FULL, autocast
from carsclf.models.boundary import Prefix
from carsclf.models.pixels import Normalise
from carsclf.terminal import terminal

View = tuple[Sample, int]  # a photo and the number of one of its augmented views


def check_views(views: int, *, cached: bool, random: bool) -> None:
    """Refuses views that do not go with the augmentation asked for."""
    if views > 1 and not cached:
        raise ConfigError(
            f"mode.views={views} needs the cache: mode.cache=true, or mode.views=1 to compute new "
            "ones in every epoch"
        )
    if views > 1 and not random:
        raise ConfigError(
            f"mode.views={views}: training pictures do not change at random, so all views would "
            "be the same: mode.views=1, or augmentation=light"
        )
    if cached and random and views == 1:
        raise ConfigError(
            "training pictures change at random (augmentation, data.transform), so the frozen "
            "part's outputs cannot be kept: keep several views of each picture with mode.views=8 "
            "optimizer=adamw, compute them in every epoch with mode.cache=false optimizer=adamw, "
            "or take augmentation=none data.transform=squash"
        )


def extract(
    pictures: CarsDataModule,
    prefix: Prefix,
    normalise: Normalise,
    *,
    boundary: str,
    views: int,
    precision: str,
    device: torch.device,
) -> dict[str, Features]:
    """Rows of the prefix's outputs per split, in the samples' order; kept in the feature cache.

    Of each picture to train on, made ones last, there are `views` rows. What the cache lacks is computed in `precision`
    where that is bfloat16, as a training without cache would run the prefix, else in float32.
    """
    bf16 = "bf16" in precision
    run_in = precision if bf16 else FULL
    prefix, normalise = prefix.to(device), normalise.to(device)

    def cache_of(transform: Any) -> FeatureCache:
        key = content_key(
            weights=prefix.key,
            boundary=boundary,
            transform=transform,
            pixels=[normalise.mean.tolist(), normalise.std.tolist()],
            read=pictures.read | {"decoding": RULES},
            precision="bf16" if bf16 else "float32",
        )
        return FeatureCache(cache_root(), key)

    def plain(samples: list[Sample]) -> Iterator[torch.Tensor]:
        return run_prefix(prefix, normalise, pictures.loader_of(samples), device, run_in)

    def changed(wanted: list[View]) -> Iterator[torch.Tensor]:
        loader = pictures.views_of([s for s, _ in wanted], [view_seed(*view) for view in wanted])
        return run_prefix(prefix, normalise, loader, device, run_in)

    train, val = pictures.to_train, pictures.splits["val"]
    keys = {sample.id: photo_key(sample) for sample in (*train, *val)}
    cache = cache_of(pictures.eval_transform.to_dict())
    cache.fill({keys[s.id]: s for s in ((*train, *val) if views == 1 else val)}, plain)
    rows = {"val": cache.rows([keys[s.id] for s in val])}
    if views == 1:
        return {"train": cache.rows([keys[s.id] for s in train]), **rows}
    cache = cache_of(pictures.train_transform.to_dict())
    pairs = [(s, view) for s in train for view in range(views)]
    views_of = [photo_key(*pair) for pair in pairs]
    cache.fill(dict(zip(views_of, pairs, strict=True)), changed)
    return {"train": cache.rows(views_of), **rows}


def view_seed(sample: Sample, view: int) -> int:
    """The seed of a view: of the photo and its number alone, so that all runs share it."""
    return int.from_bytes(hashlib.blake2b(photo_key(sample, view).encode(), digest_size=7).digest())


def run_prefix(
    prefix: Prefix,
    normalise: Normalise,
    loader: DataLoader[Item],
    device: torch.device,
    precision: str,
) -> Iterator[torch.Tensor]:
    """Activations at the boundary in float32, a batch at a time, in the loader's order."""
    with Progress(console=terminal(stderr=True), transient=True) as bar:
        for batch in bar.track(loader, description="features of the frozen part"):
            pictures = batch["pictures"].to(device, non_blocking=True)
            with torch.inference_mode(), autocast(precision, device):
                rows = prefix(normalise(pictures))
            yield rows.float().cpu()
