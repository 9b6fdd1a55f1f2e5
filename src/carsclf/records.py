"""What stages hand each other on disk: frozen dataclasses, their reading and their writing."""

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from carsclf.errors import CheckpointError, DataError

RANDOM_WEIGHTS = "WARNING: trained from RANDOM weights, as no ImageNet weights could be had"


def cache_root() -> Path:
    """Where what can be computed again is kept: `$CARSCLF_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("CARSCLF_CACHE", "~/.cache/carsclf")).expanduser()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it only when the block ends well.

    Raises CheckpointError in one line where the disk is full or the folder read-only; what stood
    at `path` before is then untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        temporary.chmod(0o644)  # mkstemp makes it private
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"could not write {path}: {error.strerror or error}; earlier files are untouched: "
            "free some space (or mend the permissions) and go on with resume=<folder>"
        ) from error


class JsonRecord:
    """A dataclass written as JSON; unknown keys of later versions are passed over in reading."""

    def write(self, path: Path) -> None:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")  # type: ignore[call-overload]

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            values = json.loads(path.read_text())
        except FileNotFoundError:
            raise CheckpointError(f"{path} is missing: is {path.parent} a finished run?") from None
        except json.JSONDecodeError as error:
            raise CheckpointError(f"{path} is not readable JSON ({error})") from None
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{k: v for k, v in values.items() if k in known})


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


@dataclass(frozen=True)
class RunFolder:
    """Where things lie in `runs/train/<name>/`."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def run(self) -> Path:
        return self.root / "run.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.csv"

    @property
    def last(self) -> Path:
        return self.root / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        return self.root / "checkpoints" / "best.ckpt"

    @property
    def weights(self) -> Path:
        return self.root / "model.safetensors"

    @property
    def card(self) -> Path:
        return self.root / "model.json"

    def predictions(self, split: str) -> Path:
        return self.root / "predictions" / f"{split}.parquet"

    def per_class(self, split: str) -> Path:
        return self.root / "predictions" / f"{split}_per_class.csv"


@dataclass(frozen=True)
class Predictions:
    """What a model said of each picture of one split.

    ids, paths: n strings; targets: (n,) class indices, -1 where unknown; probabilities: (n, k)
    float32, rows sum to 1; class_names: k names in the order of the columns.
    """

    ids: list[str]
    paths: list[str]
    targets: np.ndarray
    probabilities: np.ndarray
    class_names: list[str]

    @property
    def predicted(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)

    def write(self, path: Path) -> None:
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
        ).replace_schema_metadata({"class_names": json.dumps(self.class_names)})
        with atomic_write(path) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def read(cls, path: Path) -> Self:
        import pyarrow.parquet as pq

        if not path.is_file():
            raise DataError(f"{path} is missing: evaluate.py run=<run folder> split=... writes it")
        table = pq.read_table(path)
        class_names = json.loads((table.schema.metadata or {}).get(b"class_names", b"[]"))
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
        )


def write_metrics(path: Path, rows: list[dict[str, float]]) -> None:
    """One row per epoch; the whole file is replaced, so a resumed run leaves no row twice."""
    with atomic_write(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
