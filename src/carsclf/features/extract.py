"""Which rows a training needs of the feature cache, and how those it lacks are computed."""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from rich.progress import Progress

from carsclf.data.datamodule import CarsDataModule, Loader
from carsclf.data.samples import Sample
from carsclf.errors import ConfigError
from carsclf.features.cache import FeatureCache, content_key, photo_key
from carsclf.files import cache_root
from carsclf.machine.precision import FULL, autocast
from carsclf.terminal import terminal
from carsclf.training.modules import FreezeModule

View = tuple[Sample, int]  # a photo and the number of one of its augmented views


def check_views(views: Any, *, cached: bool, random: bool) -> None:
    """Refuses views that do not go with the augmentation asked for."""
    if not isinstance(views, int) or views < 1:
        raise ConfigError(f"mode.views={views}: expected a number of views, 1 or more")
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
            "part's outputs cannot be kept: keep several views of each picture with mode.views=8, "
            "compute them in every epoch with mode.cache=false, or take augmentation=none and "
            "data.transform=squash"
        )


def fill_features(
    module: FreezeModule,
    data: CarsDataModule,
    device: torch.device,
    *,
    boundary: str,
    views: int,
    precision: str,
) -> None:
    """Replaces training pictures, or `views` of each, and validation pictures by cached rows."""
    bf16 = "bf16" in precision  # as a training without cache would run the prefix
    run_in = precision if bf16 else FULL

    def cache_of(transform: Any) -> FeatureCache:
        key = content_key(
            weights=module.prefix_key,
            boundary=boundary,
            transform=transform,
            pixels=[module.normalise.mean.tolist(), module.normalise.std.tolist()],
            read=data.read,
            precision="bf16" if bf16 else "float32",
        )
        return FeatureCache(cache_root(), key)

    def plain(samples: list[Sample]) -> Iterator[torch.Tensor]:
        return run_prefix(module, data.loader_of(samples), device, run_in)

    def changed(wanted: list[View]) -> Iterator[torch.Tensor]:
        loader = data.views_of([s for s, _ in wanted], [view_seed(*view) for view in wanted])
        return run_prefix(module, loader, device, run_in)

    train, val = data.splits["train"], data.splits["val"]
    keys = {sample.id: photo_key(sample) for sample in (*train, *val)}
    cache = cache_of(data.eval_transform.to_dict())
    cache.fill({keys[s.id]: s for s in ((*train, *val) if views == 1 else val)}, plain)
    data.features = {"val": cache.rows([keys[s.id] for s in val])}
    rows = [keys[s.id] for s in train]
    if views > 1:
        cache = cache_of(data.train_transform.to_dict())
        pairs = [(s, view) for s in train for view in range(views)]
        rows = [photo_key(*pair) for pair in pairs]
        cache.fill(dict(zip(rows, pairs, strict=True)), changed)
    data.features["train"], data.views = cache.rows(rows), views


def view_seed(sample: Sample, view: int) -> int:
    """The seed of a view: of the photo and its number alone, so that all runs share it."""
    return int.from_bytes(hashlib.blake2b(photo_key(sample, view).encode(), digest_size=7).digest())


def run_prefix(
    module: FreezeModule, loader: Loader, device: torch.device, precision: str
) -> Iterator[torch.Tensor]:
    """Activations at the boundary in float32, a batch at a time, in the loader's order."""
    prefix, normalise = module.prefix.to(device), module.normalise.to(device)
    with Progress(console=terminal(stderr=True), transient=True) as bar:
        for batch in bar.track(loader, description="features of the frozen part"):
            pictures = batch["pictures"].to(device, non_blocking=True)
            with torch.inference_mode(), autocast(precision, device):
                rows = prefix(normalise(pictures))
            yield rows.float().cpu()
