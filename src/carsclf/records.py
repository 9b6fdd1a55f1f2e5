"""What stages hand each other on disk: frozen dataclasses, their reading and their writing."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from carsclf.errors import CheckpointError, ConfigError, DataError
from carsclf.files import AnyPath, Folder, JsonRecord, atomic_write

UNKNOWN = "unknown"
RANDOM_WEIGHTS = "WARNING: trained from RANDOM weights, as no ImageNet weights could be had"
LEAKED = (
    "WARNING: trained with a LEAK (data.leak): copies of its validation photos were in training, "
    "so its accuracy on validation is no result"
)


def refuse_leaked(leak: str | None, what: str) -> None:
    """Raises ConfigError for what must not be made of a leaked run; leak: as in its records."""
    if leak:
        raise ConfigError(leak_told(leak, what))


def leak_told(leak: str, what: object) -> str:
    """Why nothing is made of a leaked run, in one line."""
    return (
        f"{what} was trained with data.leak={leak}, on copies of its validation photos: it is "
        "there to be measured, and for nothing else; take a run without a leak"
    )


@dataclass(frozen=True)
class Run(JsonRecord):
    """One training, as told by `run.json`. Seconds are wall-clock; metrics name their split."""

    model: str
    weights: str  # where the initial weights came from; "random" where there were none
    mode: str
    boundary: str | None
    source: str
    protocol: str
    split_sizes: dict[str, int]
    classes: int
    seed: int
    device: str
    precision: str
    versions: dict[str, str]
    git_commit: str | None
    epochs: int  # epochs trained
    horizon: int  # epochs of the full schedule
    seconds: float
    images_trained: int
    reported: str  # "best" or "last"
    reported_epoch: int
    metrics: dict[str, float]  # of the reported epoch, e.g. {"val/top1": 0.87}
    finished: bool
    unreadable: list[str] = field(default_factory=list)  # photos left out
    channels_last: bool | None = None  # memory layout of pictures and weights
    cost: dict[str, float] = field(default_factory=dict)  # see carsclf.training.cost_meter
    weights_license: str | None = UNKNOWN  # as stated of the initial weights; None: there were none
    weights_source: dict[str, str] = field(default_factory=dict)  # see carsclf.models.provenance
    chosen: dict[str, float] = field(default_factory=dict)  # of a grid: weight_decay, vector
    parameters: dict[str, int] = field(default_factory=dict)  # of the network, and those trained
    suggested: dict[str, float] = field(default_factory=dict)  # optimizer.lr, by a finder's rules
    head: dict[str, Any] = field(default_factory=dict)  # see carsclf.models.known_rows
    too_few: int = 0  # classes that lacked photos to be trained: too_few.csv
    deployable: bool = True  # False: a throw-away run
    leak: str | None = None  # data.leak where there is one: its validation is no result
    excluded: dict[str, Any] = field(default_factory=dict)  # see carsclf.data.exclude.Exclusion
    decided: dict[str, Any] = field(default_factory=dict)  # see carsclf.data.decided.Decided
    references: dict[str, Any] = field(default_factory=dict)  # see carsclf.data.withhold.Withheld
    seen: dict[str, int] = field(default_factory=dict)  # photos of a split that weights trained on
    extra: dict[str, int] = field(default_factory=dict)  # made pictures trained on, by their kind

    @classmethod
    def read(cls, path: AnyPath) -> Self:
        RunFolder(Path(path).expanduser().parent).refuse_gan()
        return super().read(path)


@dataclass(frozen=True)
class ModelCard(JsonRecord):
    """All that is needed to use `model.safetensors`: `model.json`."""

    name: str  # timm's
    class_names: list[str]
    eval_transform: dict[str, Any]  # see carsclf.data.transforms.EvalTransform
    mean: list[float]
    std: list[float]
    weights: str  # where the initial weights came from
    model_args: dict[str, Any] = field(default_factory=dict)
    crop: str = "none"  # "box" where it was trained on what the annotated boxes hold
    pool: str = "default"  # see carsclf.models.pooling
    embedding: int | None = None  # width of CLIP's embedding, where the head stands on one
    weights_license: str | None = UNKNOWN  # as in Run
    weights_source: dict[str, str] = field(default_factory=dict)
    leak: str | None = None  # as in Run
    parts: dict[str, str] = field(default_factory=dict)  # see carsclf.data.wholes; {}: none
    deployable: bool = True  # False: of a throw-away run

    @property
    def rows(self) -> list[str]:
        """The classes of the head's rows in order: the parts, where some are told as one."""
        return [*self.parts] or self.class_names


@dataclass(frozen=True)
class Ensemble(JsonRecord):
    """Several runs as one model, as told by `ensemble.json`."""

    rule: str  # mean, vote, weighted or soup
    members: list[str]  # run folders, as they were given
    weights: list[float]  # of each member, of sum 1
    tta: str | None = None  # the views of each picture whose mean a member said
    seed: int | None = None  # of votes that are tied


class RunFolder(Folder):
    """Where things lie in `runs/train/<name>/`."""

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def overrides(self) -> Path:
        """What `train.py` was told, as a list that `train.py overrides=<this file>` takes."""
        return self.root / "overrides.yaml"

    @property
    def run(self) -> Path:
        return self.root / "run.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.csv"

    @property
    def heads(self) -> Path:
        """Of a grid of heads: the penalty of each, and what it came to on validation."""
        return self.root / "heads.csv"

    @property
    def rates(self) -> Path:
        """Of a learning-rate finder: the loss at each rate tried, and smoothed."""
        return self.root / "lr_finder.csv"

    @property
    def rates_figure(self) -> Path:
        return self.root / "lr_finder.png"

    @property
    def last(self) -> Path:
        return self.root / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        return self.root / "checkpoints" / "best.ckpt"

    @property
    def excluded(self) -> Path:
        """What data.exclude left out as the run began: it must be the same where it goes on."""
        return self.root / "excluded.json"

    @property
    def decisions(self) -> Path:
        """A copy of data.decisions as the run began: the file may grow, this run's photos not."""
        return self.root / "decisions.csv"

    @property
    def causes(self) -> Path:
        """What was noted of each photo besides its class; its column `id` names the sample."""
        return self.root / "causes.csv"

    @property
    def photos(self) -> Path:
        """Which photos it was trained, validated and tested on."""
        return self.root / "photos.parquet"

    @property
    def too_few(self) -> Path:
        """Of a cutoff: the classes below it, with what each lacks."""
        return self.root / "too_few.csv"

    @property
    def weights(self) -> Path:
        return self.root / "model.safetensors"

    @property
    def card(self) -> Path:
        return self.root / "model.json"

    @property
    def generator(self) -> Path:
        """Of a GAN: what makes its pictures."""
        return self.root / "generator.safetensors"

    @property
    def generator_card(self) -> Path:
        return self.root / "generator.json"

    @property
    def synthetic(self) -> Path:
        """Of a GAN: pictures of each class that it made."""
        return self.root / "synthetic"

    def refuse_gan(self) -> None:
        """Raises CheckpointError where a GAN was trained, by whoever wants a classifier."""
        try:
            told = json.loads(self.run.read_text())
        except (OSError, ValueError):
            return  # who reads it next says so
        if isinstance(told, dict) and told.get("kind") == "gan":
            raise CheckpointError(
                f"{self.root} is the run of a GAN, which says nothing of pictures but makes them: "
                f"train a classifier with data.extra=[{self.synthetic}]"
            )

    @property
    def openness(self) -> Path:
        """How far a picture lies from what was trained on: see carsclf.inference.openness."""
        return self.root / "openness.safetensors"

    @property
    def library(self) -> Path:
        """Photos and synthetic pictures of each class, as the training's data had them."""
        return self.root / "library.csv"

    @property
    def ensemble(self) -> Path:
        """Of an ensemble, whose folder has its predictions where a run's has them."""
        return self.root / "ensemble.json"

    def predictions(self, split: str) -> Path:
        return self.root / "predictions" / f"{split}.parquet"

    def per_class(self, split: str) -> Path:
        return self.root / "predictions" / f"{split}_per_class.csv"


@dataclass(frozen=True)
class Predictions:
    """What a model said of each picture of one split.

    ids, paths: n strings; targets: (n,) class indices, -1 where unknown; probabilities: (n, k)
    float32, rows sum to 1; class_names: k names in the order of the columns; leak: the run's.
    """

    ids: list[str]
    paths: list[str]
    targets: np.ndarray
    probabilities: np.ndarray
    class_names: list[str]
    leak: str | None = None

    @property
    def predicted(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> np.ndarray:
        """(n,) bool: right or not."""
        return self.predicted == self.targets

    def write(self, path: AnyPath) -> None:
        """One row per image, as parquet; its metadata names the columns of `probabilities`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        def names(indices: np.ndarray) -> list[str | None]:
            return [self.class_names[i] if i >= 0 else None for i in indices]

        flat = pa.array(self.probabilities.astype(np.float32).ravel())
        table = pa.table(
            {
                "id": self.ids,
                "path": self.paths,
                "class": names(self.targets),
                "predicted": names(self.predicted),
                "probability": self.probabilities.max(axis=1).astype(np.float32),
                "probabilities": pa.FixedSizeListArray.from_arrays(flat, len(self.class_names)),
            }
        )
        told = {"class_names": json.dumps(self.class_names)}
        table = table.replace_schema_metadata(told | ({"leak": self.leak} if self.leak else {}))
        with atomic_write(path) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def read(cls, path: AnyPath) -> Self:
        import pyarrow.parquet as pq

        path = Path(path).expanduser()
        if not path.is_file():
            raise DataError(f"{path} is missing: evaluate.py run=<run folder> split=... writes it")
        table = pq.read_table(path)
        told = table.schema.metadata or {}
        class_names = json.loads(told.get(b"class_names", b"[]"))
        if "probabilities" not in table.column_names or not class_names:
            raise DataError(f"{path} holds no probabilities: write it anew with evaluate.py")
        index = {name: i for i, name in enumerate(class_names)}
        flat = table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return cls(
            ids=table["id"].to_pylist(),
            paths=table["path"].to_pylist(),
            targets=np.array([index.get(c, -1) for c in table["class"].to_pylist()], dtype=int),
            probabilities=flat.reshape(-1, len(class_names)),
            class_names=class_names,
            leak=told[b"leak"].decode() if b"leak" in told else None,
        )
