"""From the `data` settings to a DataModule: source, classes, split, transforms."""

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from lightning_fabric.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from carsclf.data.augment import Augmentation
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.exclude import keep_classes, leave_out, named_in, read_exclusion
from carsclf.data.extra import Extra, chosen, read_extra
from carsclf.data.follow_up import FOLLOW_UP, NO_LEAK
from carsclf.data.mapping import ClassMapping
from carsclf.data.reading import readable_photos
from carsclf.data.samples import Source, list_some, shown, told_left_out
from carsclf.data.splits import resampled, split
from carsclf.data.transforms import Pair, build_transforms
from carsclf.data.wholes import Wholes
from carsclf.data.withhold import hold_back
from carsclf.errors import ConfigError
from carsclf.files import cache_root
from carsclf.machine.devices import own_cores

log = logging.getLogger(__name__)


def make_data(config: DictConfig) -> tuple[CarsDataModule, list[str]]:
    """The DataModule of a training's configuration, and the ids of photos left out."""
    source, settings = make_source(config)
    augmentation = instantiate(config.augmentation)
    return build_data(source, augmentation, cache=cache_root(), seed=config.seed, **settings)


def make_source(config: DictConfig) -> tuple[Source, dict[str, Any]]:
    """The source of a training's configuration, and the settings that are not the source's."""
    settings: dict[str, Any] = OmegaConf.to_container(config.data, resolve=True)  # type: ignore[assignment]
    settings.pop("name")  # for people
    settings["min_images_per_class"] = cutoff(config)
    own = settings.keys() - signature(build_data).parameters.keys() - {"source"}
    source = instantiate(settings.pop("source"), **{key: settings.pop(key) for key in own})
    return source, settings


def transforms_of(config: DictConfig) -> Pair:
    """Of training and of evaluation, without reading any photo."""
    data = config.data
    augmentation = instantiate(config.augmentation)
    return build_transforms(data.transform, data.image_size, data.interpolation, augmentation)


def cutoff(config: DictConfig) -> int:
    """The fewest photos of a class that is trained: `data.min_images_per_class`, or a throw-away
    run's share of it, rounded up."""
    asked, share = config.data.min_images_per_class, 1.0
    if config.get("throw_away"):
        share = config.throw_away.cutoff_share
    return math.ceil(asked * share - 1e-9)  # 0.7 * 10 is 7


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
    bootstrap: int | None = None,
    packed: bool = True,
    sampling: str = "natural",
    extra: Sequence[str] | None = None,
    exclude: str | None = None,
    decisions: str | None = None,
    references: str | Sequence[str] | None = None,
    leak: str = NO_LEAK,
    mapping: Mapping[str, Any] | None = None,
) -> tuple[CarsDataModule, list[str]]:
    """The DataModule, and the ids of unreadable photos that were left out."""
    train, evaluation = build_transforms(transform, image_size, interpolation, augmentation)
    named = ClassMapping(**(mapping or {}))
    made = read_extra(extra or (), source.class_names, named, crop=crop)
    known = {sample.id for sample in source.samples}
    exclusion = None if exclude is None else read_exclusion(exclude, known)
    photos = readable_photos(
        source,
        cache,
        {train.stored, evaluation.stored} if packed else set(),
        crop=crop,
        margin=margin,
        decisions=decisions,
        skip=skip_unreadable,
        made=made,
    )
    whole = source = photos.source
    decided = photos.decided
    if mapping:
        rank_zero_only(log.info)("%s", named.told(source.class_names))
        whole = source = named.applied(source)
    labelled = source
    whole = source = decided.relabelled(source, named) if decided else source
    lists = {"data.exclude": exclusion and exclusion.ids, "data.decisions": decided and decided.out}
    by = " and ".join(name for name, ids in lists.items() if ids is not None)
    out = {id for ids in lists.values() for id in ids or ()}
    if by:
        source = keep_classes(source, out, classes, min_images_per_class, by)
    elif classes or min_images_per_class:
        source = source.select(classes, min_images_per_class)
    below = whole.without_ids(out).below(min_images_per_class, classes)
    if len(source.class_names) == 1:
        raise ConfigError(
            f"one class is left, {source.class_names[0]!r}, and nothing to tell it from: see "
            "data.classes, data.min_images_per_class and the files of data.mapping, data.exclude "
            "and data.decisions"
        )
    if protocol == "auto":
        protocol = source.own_protocol
    splits = split(
        decided.to_divide(labelled, source) if decided else source,
        protocol,
        seed=seed if split_seed is None else split_seed,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        fraction=fraction,
        copies=augmentation.random,
        leak=leak,
    )
    if decided is not None:
        decided, splits = decided.applied(splits, source)
        rank_zero_only(log.info)("%s", decided.told())
    divided = {sample.id for part in splits.values() for sample in part}
    if exclusion is not None:
        exclusion = replace(exclusion, parts=named_in(splits, exclusion))
        splits = leave_out(splits, exclusion, source.class_names)
    splits, withheld = hold_back(splits, references, source.class_names)
    if bootstrap is not None:
        splits["train"] = resampled(splits["train"], bootstrap)
    to_make = decided.as_labelled(splits) if decided else splits
    added = chosen(photos.made, whole, source.class_names, to_make)
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
        packs=photos.packs,
        noted=source.noted,
        sampling=sampling,
        extra=added.samples,
        exclusion=exclusion,
        decided=decided,
        withheld=withheld,
        wholes=Wholes.of(source.class_names, named.report),
        below=below,
    )
    # of several processes, one
    rank_zero_only(log.info)("%s", what_was_read(whole, module, divided, added))
    return module, photos.left_out


def pick_workers(workers: int | str, *, packed: bool) -> int:
    """Loader processes: `auto` is up to 8, leaving small machines their cores.

    A core cuts packed pictures faster than a few cores train on them, so that up to four cores do
    better without a process whose batches must be copied over.
    """
    if workers != "auto":
        return int(workers)
    cores = own_cores()
    if packed:
        return 0 if cores <= 4 else min(8, cores // 2)
    return min(8, cores // 2)


def what_was_read(
    source: Source, module: CarsDataModule, divided: Collection[str], added: Extra | None = None
) -> str:
    """One line: classes, photos per split and whence these, and what was left out and why.

    divided: ids of all splits before data.exclude, and before data.bootstrap drew from training.
    added: to training.
    """
    names, splits = module.class_names, module.splits
    used = {sample.id for part in splits.values() for sample in part}
    lacking = module.below
    gone = [name for name in source.class_names if name not in {*names}]
    others = [name for name in gone if name not in lacking]
    targets = {source.class_names.index(name) for name in gone}
    dropped = module.decided.dropped if module.decided else frozenset()
    seen = {*divided, *dropped}
    rest = [s.id for s in source.samples if s.id not in seen and s.target not in targets]
    short = [f"{name} lacks {count}" for name, count in lacking.items()]
    left_out = {**source.left_out, "classes with too few photos": short}
    left_out |= {"classes not asked for": others, "beyond data.fraction": rest}
    excluded = module.exclusion.ids if module.exclusion else frozenset()
    left_out["named by data.exclude"] = sorted(excluded & set(divided))
    held = module.withheld.ids if module.withheld else set()
    left_out["of reference sets, or near duplicates of theirs"] = sorted(held)
    left_out["named by data.decisions"] = sorted(dropped)
    left_out["not drawn by data.bootstrap"] = sorted(set(divided) - used - excluded - held)
    made = ""
    if added is not None and added.notes:
        left_out |= added.left_out
        made = f"; to be trained on only, {' and '.join(map(shown, added.notes))}"
    kinds = {sample.given for sample in source.samples}
    given = [name for name in ("train", "val", "test") if name in kinds]
    how = "drawn"
    if given:
        kept = module.protocol == "official"
        drawn = [name for name in splits if name not in given]
        how = f"{', '.join(given)} as given" if kept else f"drawn anew from {' + '.join(given)}"
        how += f", {' and '.join(drawn)} drawn from train" if kept and drawn else ""
    if module.protocol == FOLLOW_UP:
        copies = sum(sample.copy is True for sample in module.splits["train"])
        how = f"val the first of each class by name; {copies} of train are changed copies"
    parts = ", ".join(f"{len(part)} {name}" for name, part in splits.items())
    return (
        f"data: {len(names)} classes ({list_some(names, 4)}), {parts} photos ({module.protocol}: "
        f"{how}) below {shown(str(source.root))}{made}"
        f"{told_left_out({why: what for why, what in left_out.items() if what})}"
        f"{module.exclusion.told() if module.exclusion else ''}"
    )


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
