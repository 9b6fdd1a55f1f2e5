"""All findings about the photos of a run; what takes long is made once and kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from carsclf.analysis.calibration import expected_calibration_error
from carsclf.analysis.duplicates import unit_rows
from carsclf.analysis.label_errors import expected_by_chance
from carsclf.curation import classes, labels, pictures, turned, twins
from carsclf.curation.findings import Library, Rows, as_table
from carsclf.curation.frozen import Backbone, FrozenFolds, features_of, make_backbone
from carsclf.curation.kept import kept
from carsclf.curation.out_of_fold import OutOfFold, cross_predict, deal
from carsclf.curation.photos import measure
from carsclf.curation.trained import TrainedFolds
from carsclf.data.build import make_data, make_source
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.follow_up import FOLLOW_UP
from carsclf.data.photos_of_run import as_in_run
from carsclf.data.samples import Sample, Source
from carsclf.features.cache import content_key, photo_key
from carsclf.machine.devices import pick_device
from carsclf.records import RunFolder

Folds = FrozenFolds | TrainedFolds
UNCHANGED = {
    "_target_": "carsclf.data.augment.Augmentation",
    "flip": 0.0,
    "rotation": 0.0,
    "zoom": 0.0,
}


@dataclass(frozen=True)
class Found:
    """The findings, and the photos they are about."""

    table: pd.DataFrame
    library: Library
    calibration: float  # error of the probabilities that the rules saw
    by_chance: float  # photos that the first rule would name where all labels are right
    leak: dict[str, int]
    weights: str
    photos: Mapping[str, Path]  # where all of the data set lie, those left out too


@dataclass(frozen=True)
class Judged:
    """The photos that the folds divide, who judges them, and the key of all that hangs on."""

    samples: Sequence[Sample]
    folds: np.ndarray
    by: Folds
    key: str

    def fold_of(self, ids: Sequence[str]) -> list[int]:
        """Of photos that train in no fold or in all, the first: there any will do."""
        known = dict(zip([s.id for s in self.samples], self.folds.tolist(), strict=True))
        return [max(0, known.get(id, 0)) for id in ids]


def find(config: DictConfig, trained: DictConfig, folder: Path) -> Found:
    """All findings; config: of `curate.py`, trained: of the run."""
    source, _ = make_source(trained)
    read = trained.copy()
    read.data.workers = config.workers  # which a fold's training must not hang on
    if read.data.get("protocol") == FOLLOW_UP:  # of which training has changed copies as well
        read.augmentation = UNCHANGED
    data, _ = make_data(read)
    if (photos := RunFolder(config.run).photos).is_file():  # the library may have grown
        data.splits = as_in_run(data.splits, photos)
        data.to_train = data.splits["train"]
    backbone = make_backbone(trained, data, pick_device(config.device))
    rows = features_of(backbone, data)
    samples = [sample for part in data.splits.values() for sample in part]
    splits = [name for name, part in data.splits.items() for _ in part]
    x = torch.cat([rows[name] for name in data.splits])
    everything = measure(source.samples, folder / "photos.parquet")
    measures = everything.set_index("id", drop=False).loc[[s.id for s in samples]]
    measures = measures.reset_index(drop=True)
    why = zip(everything["id"], everything["unreadable"], strict=True)
    gone = {str(id) for id, reason in why if isinstance(reason, str)}
    gone |= data.exclusion.ids if data.exclusion else set()
    gone |= {*data.decided.out} if data.decided else set()
    chosen = [i for i, split in enumerate(splits) if config.folds.test or split != "test"]
    judged = divide(config, trained, data, backbone, source, [samples[i] for i in chosen],
                    x[chosen], folder)  # fmt: skip
    said = out_of_fold(config, judged, data.class_names, backbone, folder)
    library = Library(samples, splits, data.class_names, unit_rows(x.numpy()), measures, said)
    table = as_table(
        [
            *about_labels(config, library, judged, backbone, data, folder),
            *about_twins(config, library, judged.key, folder),
            *classes.lookalikes(library, config.classes.lookalikes),
            *classes.few_photos(
                source.without_ids(gone), data.splits, config.classes.min_images, data.class_names
            ),
            *pictures.unreadable(source, everything),
            *about_pictures(config, library, trained.data.image_size),
        ]
    )
    told = said.predictions
    return Found(
        table,
        library,
        expected_calibration_error(told.right, told.probabilities.max(1)),
        expected_by_chance(told.probabilities, config.confusing.wrong_above),
        twins.leak(table),
        backbone.weights.origin,
        {sample.id: sample.path for sample in source.samples},
    )


def divide(
    config: DictConfig,
    trained: DictConfig,
    data: CarsDataModule,
    backbone: Backbone,
    source: Source,
    samples: list[Sample],
    x: torch.Tensor,
    folder: Path,
) -> Judged:
    """Deals out the folds; nothing is fitted before it is asked for."""
    asked = config.folds
    folds = deal(samples, asked.count, asked.seed)
    names = data.class_names
    whole = asked.mode == "run"
    key = content_key(
        photos=[
            [s.id, photo_key(s), s.target, int(f)] for s, f in zip(samples, folds, strict=True)
        ],
        weights=backbone.prefix.key,
        transform=backbone.transform.to_dict(),
        read=data.read,
        mode=asked.mode,
        run=OmegaConf.to_yaml(trained, resolve=True) if whole else None,
    )
    by: Folds
    if whole:
        by = TrainedFolds(trained, source.root, samples, folds, names, folder / "folds")
    else:
        by = FrozenFolds(backbone, x, [s.target for s in samples], folds, len(names))
    return Judged(samples, folds, by, key)


def out_of_fold(
    config: DictConfig, judged: Judged, names: list[str], backbone: Backbone, folder: Path
) -> OutOfFold:
    """The probabilities in oof.parquet, made where it lacks them; calibrated where asked for.

    What is kept is what the models said: a temperature is found in no time.
    """
    place, asked = folder / "oof.parquet", config.folds
    said = OutOfFold.read(place, key=judged.key)
    if said is None:
        told = cross_predict(judged.samples, names, judged.folds, judged.by.judge)
        penalty = judged.by.heads.penalty if isinstance(judged.by, FrozenFolds) else None
        how = {k: asked[k] for k in ("mode", "count", "seed", "test")}
        facts = {"key": judged.key, "run": str(config.run), "weights": backbone.weights.origin}
        said = OutOfFold(
            told, judged.folds[judged.folds >= 0], {**facts, **how, "penalty": penalty}
        )
        said.write(place)
    return said.calibrated() if asked.calibrate else said


def about_labels(
    config: DictConfig,
    library: Library,
    judged: Judged,
    backbone: Backbone,
    data: CarsDataModule,
    folder: Path,
) -> Rows:
    """Confusing images, label errors, and photos that lie on their side."""
    doubts = labels.label_errors(library, config.label_errors.filter_by)
    photos = turned.suspects(library, [row["id"] for row in doubts])
    heat = library.said.said.get("temperature", 1.0)
    ids = [library.samples[i].id for i in photos]

    def turn() -> pd.DataFrame:
        fold, judge = judged.fold_of(ids), judged.by.probabilities
        return turned.turn(library, photos, fold, judge, backbone.transform, heat, **data.read)

    key = content_key(key=judged.key, photos=ids, temperature=heat)
    four = kept(folder / "turned.parquet", key, turn)
    rules = config.confusing
    return [
        *labels.confusing(library, rules.wrong_above, list(rules.several)),
        *doubts,
        *turned.on_their_side(library, four, config.pictures.turned_gain),
    ]


def about_twins(config: DictConfig, library: Library, key: str, folder: Path) -> Rows:
    """Exact and near duplicates; the comparison of pixels is kept."""
    asked: dict[str, Any] = dict(config.duplicates)
    least = asked.pop("likeness")
    contents = library.measures["content"].fillna("").tolist()
    place = folder / "pairs.parquet"
    key = content_key(key=key, contents=contents, least=least, **asked)
    pairs = kept(place, key, lambda: twins.compare(library, least=least, **asked))
    return [*twins.exact(library), *twins.near(library, pairs, least)]


def about_pictures(config: DictConfig, library: Library, image_size: int) -> Rows:
    """Size, light, sharpness and shape, and how much of the picture the subject fills."""
    asked = config.pictures
    short = image_size // 2 if asked.short_side is None else asked.short_side
    return [
        *pictures.poor(library, short, asked.dark, asked.bright, asked.deviations),
        *pictures.small_subjects(library, asked.subject),
    ]
