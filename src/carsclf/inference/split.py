"""One split through one trained model: of a run that is evaluated, or of an ensemble's member."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from carsclf.analysis.metrics import metrics, per_class
from carsclf.data.build import make_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.exclude import changed
from carsclf.data.photos_of_run import data_of_run
from carsclf.data.reference import NOTE, check_same
from carsclf.data.samples import Sample
from carsclf.data.views import Views
from carsclf.errors import CheckpointError, ConfigError, DataError
from carsclf.files import atomic_write
from carsclf.inference.predict import Batch, TrainedModel, load_model, predict
from carsclf.records import Predictions, RunFolder


@dataclass(frozen=True)
class How:
    """Which split is predicted, and how; as `evaluate.py`'s options of these names."""

    split: str
    tta: str | None = None
    root: str | None = None
    batch_size: int = 64
    workers: int | str = "auto"
    device: str = "auto"

    @property
    def part(self) -> str:
        """What its files are named after: those of several views stand beside the plain ones."""
        return f"{self.split}_{self.tta}" if self.tta else self.split


@dataclass(frozen=True)
class OpenRun:
    """A trained model, and the pictures it was trained on; `views` where there are several."""

    files: RunFolder
    model: TrainedModel
    data: CarsDataModule
    views: Views | None


def open_run(folder: Path, how: How) -> OpenRun:
    """Reads a run folder; raises in one line where it, its photos, split or views do not fit."""
    files = RunFolder(folder)
    if not files.config.is_file():
        raise CheckpointError(f"run={folder}: no config.yaml there; is it a run folder?")
    files.refuse_gan()
    trained = OmegaConf.load(files.config)
    trained.data.root = how.root or trained.data.root
    trained.data.workers = how.workers
    if files.decisions.is_file():  # the file that they were copied from may have grown
        trained.data.decisions = str(files.decisions)
    trained.data.extra = []  # no accuracy is judged on made pictures
    model = load_model(folder, device=how.device, channels_last=trained.model.channels_last)
    views = Views(model.transform, how.tta) if how.tta else None
    if files.photos.is_file():
        data = data_of_run(trained, files.photos, model.card.rows)  # type: ignore[arg-type]
    else:  # of an earlier version
        data = drawn_anew(trained, files, model)  # type: ignore[arg-type]
    if how.split not in data.splits:
        raise ConfigError(
            f"split={how.split}: {folder}, of protocol {data.protocol}, has "
            f"{', '.join(data.splits)}"
        )
    return OpenRun(files, model, data, views)


def drawn_anew(trained: DictConfig, files: RunFolder, model: TrainedModel) -> CarsDataModule:
    """The splits of a run without a list of its photos, which are the same if its data are."""
    data, _ = make_data(trained)
    if data.class_names != model.card.rows:
        raise DataError(
            f"the photos below {trained.data.root} have {len(data.class_names)} classes that are "
            f"not the model's {len(model.card.rows)}: is root= right?"
        )
    if data.exclusion and changed(data.exclusion, files.excluded):
        raise DataError(
            f"data.exclude={data.exclusion.file} is not what it was when {files.root} was trained, "
            "so its splits are others: put the old list back"
        )
    if data.withheld:
        check_same(data.withheld.sets, files.root / NOTE, files.root)
    return data


def predict_split(run: OpenRun, how: How) -> Predictions:
    """What the model says of each photo of the split; of several views, their mean."""
    samples = run.data.splits[how.split]
    loader = run.data.loader_of(samples, batch_size=how.batch_size, transform=run.views)
    wholes = run.data.wholes
    said = predict_photos(run.model, run.views, loader, wholes.samples(samples), wholes.names)
    return replace(said, leak=run.model.card.leak)


def predict_photos(
    model: TrainedModel,
    views: Views | None,
    loader: Iterable[Batch],
    samples: Sequence[Sample],
    names: list[str],
) -> Predictions:
    """What the model says of a loader's pictures; of several views the mean, and what they cost."""
    began = time.perf_counter()
    said = predict(mean_of_views(model) if views else model, loader, samples, names, title="photos")
    if views:
        print(views.cost(time.perf_counter() - began))
    return said


def mean_of_views(model: Callable[[Batch], torch.Tensor]) -> Callable[[Batch], torch.Tensor]:
    """From `pictures` (n, views, 3, h, w) to logits (n, classes) of the mean of probabilities.

    These are its logarithms, whose softmax it is.
    """

    def forward(batch: Batch) -> torch.Tensor:
        views = batch["pictures"].unbind(1)
        said = [model({"pictures": view}).float().softmax(1) for view in views]
        return torch.stack(said).mean(0).log()

    return forward


def write(predictions: Predictions, files: RunFolder, part: str) -> dict[str, float]:
    """Predictions as parquet, accuracy per class as CSV; returns the metrics."""
    predictions.write(files.predictions(part))
    table = per_class(predictions.targets, predictions.predicted, predictions.class_names)
    if predictions.leak:
        table = table.assign(leak=predictions.leak)
    with atomic_write(files.per_class(part)) as temporary:
        table.to_csv(temporary, index=False)
    return metrics(predictions.targets, predictions.probabilities)
