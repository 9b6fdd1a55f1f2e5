"""What a model says of pictures as rows: the columns of `predict.py`'s table."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from carsclf.inference.openness import Openness
from carsclf.inference.predict import Said, TrainedModel

LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Columns:
    """A row per picture: `path`, `error` (or null) and what the model says.

    predicted, probability, predicted_2, ... down to `top`; with an openness also `openness` and
    `distance` (see Openness.score and remoteness); embedding: float16, the pooled features that
    enter the classifier. Of a picture that cannot be read all but the first two are null.
    """

    model: TrainedModel
    top: int
    openness: Openness | None

    @cached_property
    def ranks(self) -> list[tuple[str, str]]:
        """Names of the columns of a class and its probability, the most probable first."""
        most = min(self.top, len(self.model.card.class_names))
        ends = ["", *(f"_{i}" for i in range(2, most + 1))]
        return [(f"predicted{end}", f"probability{end}") for end in ends]

    @cached_property
    def width(self) -> int:
        """Numbers of an embedding."""
        size = self.model.card.eval_transform["size"]
        blank = torch.zeros(1, 3, size, size, dtype=torch.uint8)
        return self.model.see(blank)[0].shape[1]

    @cached_property
    def schema(self) -> pa.Schema:
        fields = [("path", pa.string()), ("error", pa.string())]
        for said, share in self.ranks:
            fields += [(said, pa.string()), (share, pa.float32())]
        if self.openness:
            fields += [("openness", pa.float32()), ("distance", pa.float32())]
        # of one size, but not by type: pyarrow before 26 neither writes nor reads such with nulls
        fields.append(("embedding", pa.list_(pa.float16())))
        names = json.dumps(self.model.card.class_names)
        return pa.schema(fields, metadata={"class_names": names})

    def table(self, files: Sequence[Path], batches: Sequence[Said]) -> pa.Table:
        """The rows of some files, of which batch after batch was said."""
        errors = [error for said in batches for error in said.errors]
        bad = np.array([error is not None for error in errors])
        said = [batch for batch in batches if len(batch.logits)]
        columns: dict[str, pa.Array] = {
            "path": pa.array(map(printable, files), pa.string()),
            "error": pa.array([error and str(error) for error in errors], pa.string()),
        }
        rows = {
            field.name: np.zeros(len(files), object if pa.types.is_string(field.type) else "f4")
            for field in list(self.schema)[2:-1]
        }
        names = np.array(self.model.card.class_names, dtype=object)
        embeddings = np.zeros((len(files), self.width), np.float32)
        if said:
            shares = np.concatenate([batch.probabilities for batch in said])
            logits = np.concatenate([batch.logits for batch in said])
            embeddings[~bad] = np.concatenate([batch.embeddings for batch in said])
            order = np.argsort(-shares, axis=1, kind="stable")
            for rank, (said_as, share) in enumerate(self.ranks):
                rows[said_as][~bad] = names[order[:, rank]]
                rows[share][~bad] = np.take_along_axis(shares, order[:, [rank]], 1)[:, 0]
            if self.openness:
                rows["openness"][~bad] = self.openness.score(embeddings[~bad], logits)
                rows["distance"][~bad] = self.openness.remoteness(embeddings[~bad])
        for name, values in rows.items():
            columns[name] = pa.array(values, self.schema.field(name).type, mask=bad)
        half = embeddings[~bad].clip(-LARGEST_HALF, LARGEST_HALF).astype(np.float16).ravel()
        ends = np.concatenate([[0], np.cumsum(self.width * ~bad)]).astype(np.int32)
        columns["embedding"] = pa.ListArray.from_arrays(
            pa.array(ends), pa.array(half), mask=pa.array(bad)
        )
        return pa.table(columns, schema=self.schema)


def printable(path: Path) -> str:
    """A path as text, whatever bytes its name is made of."""
    return os.fsencode(path).decode(errors="backslashreplace")
