"""From the `data` settings to a DataModule: source, classes, split, transforms."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from carsclf.data.augment import Augmentation
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.images import check_crop, unreadable
from carsclf.data.packed import open_pack
from carsclf.data.samples import Sample, Source, list_some
from carsclf.data.splits import split
from carsclf.data.transforms import build_transforms
from carsclf.errors import DataError
from carsclf.files import atomic_write, cache_root
from carsclf.machine.devices import available_cores

log = logging.getLogger(__name__)


def make_data(config: DictConfig) -> tuple[CarsDataModule, list[str]]:
    """The DataModule of a training's configuration, and the ids of photos left out."""
    settings: dict[str, Any] = OmegaConf.to_container(config.data, resolve=True)  # type: ignore[assignment]
    settings.pop("name")  # for people
    source = instantiate(settings.pop("source"), root=settings.pop("root"))
    augmentation = instantiate(config.augmentation)
    return build_data(source, augmentation, cache=cache_root(), seed=config.seed, **settings)


def build_data(
    source: Source,
    augmentation: Augmentation,
    *,
    cache: Path,
    seed: int,
    protocol: str,
    val_fraction: float,
    test_fraction: float,
    fraction: float,
    min_images_per_class: int,
    classes: Sequence[str] | None,
    transform: str,
    image_size: int,
    interpolation: str,
    crop: str,
    margin: float,
    batch_size: int,
    workers: int | str,
    skip_unreadable: bool,
    split_seed: int | None = None,
    packed: bool = True,
) -> tuple[CarsDataModule, list[str]]:
    """The DataModule, and the ids of unreadable photos that were left out."""
    train, evaluation = build_transforms(transform, image_size, interpolation, augmentation)
    check_crop(source.samples, crop, margin)
    rules = {train.stored, evaluation.stored} if packed else set()
    packs = {rule: open_pack(cache, source, rule, crop=crop, margin=margin) for rule in rules}
    left_out = packs[train.stored].unreadable if packs else unreadable_ids(source.samples, cache)
    if left_out and not skip_unreadable:
        raise DataError(
            f"{len(left_out)} of {len(source.samples)} photos below {source.root} cannot be read: "
            f"{list_some(left_out)}; replace them, or leave them out with data.skip_unreadable=true"
        )
    if left_out:
        log.warning("%d unreadable photos left out: %s", len(left_out), list_some(left_out))
        source = source.without(set(left_out))
    if classes or min_images_per_class:
        source = source.select(classes, min_images_per_class)
    if protocol == "auto":
        protocol = source.own_protocol
    splits = split(
        source,
        protocol,
        seed=seed if split_seed is None else split_seed,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        fraction=fraction,
    )
    module = CarsDataModule(
        splits,
        source.class_names,
        train,
        evaluation,
        batch_size=batch_size,
        seed=seed,
        workers=pick_workers(workers, packed=packed),
        crop=crop,
        margin=margin,
        protocol=protocol,
        packs=packs,
    )
    return module, left_out


def pick_workers(workers: int | str, *, packed: bool) -> int:
    """Loader processes: `auto` is up to 8, leaving small machines their cores.

    A core cuts packed pictures faster than a few cores train on them, so that up to four cores do
    better without a process whose batches must be copied over.
    """
    if workers != "auto":
        return int(workers)
    cores = available_cores()
    if packed:
        return 0 if cores <= 4 else min(8, cores // 2)
    return min(8, cores // 2)


def unreadable_ids(samples: Sequence[Sample], cache: Path) -> list[str]:
    """Ids of photos that cannot be decoded; remembered until a file's size or time changes."""
    digest = hashlib.blake2b(digest_size=16)
    for sample in samples:
        stat = sample.path.stat()
        digest.update(f"{sample.path}|{stat.st_size}|{stat.st_mtime_ns}".encode())
    note = cache / "unreadable" / f"{digest.hexdigest()}.json"
    if note.is_file():
        return json.loads(note.read_text())
    bad = unreadable(samples, workers=available_cores())
    with atomic_write(note) as temporary:
        temporary.write_text(json.dumps(bad))
    return bad


def class_counts(module: CarsDataModule) -> list[dict[str, object]]:
    """Pictures per class and split, a row per class."""
    counts = {
        name: np.bincount([s.target for s in part], minlength=len(module.class_names))
        for name, part in module.splits.items()
    }
    return [
        {"class": name, **{split: int(counts[split][i]) for split in counts}}
        for i, name in enumerate(module.class_names)
    ]
