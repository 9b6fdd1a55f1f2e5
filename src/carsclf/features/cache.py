"""Outputs of a frozen prefix, computed once per photo and found again by later runs.

A cache is a folder of shards: `features.npy`, the rows in half precision, and `rows.json`, their
keys. Readers map the files, so processes share their pages.
"""

import hashlib
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from filelock import FileLock

from carsclf.data.images import file_identity
from carsclf.data.samples import Sample
from carsclf.errors import CheckpointError
from carsclf.terminal import terminal

SHARD_ROWS, SHARD_BYTES = 1024, 32 << 20  # whichever is less: what a kill loses at most
IN_MEMORY = 128 << 20  # bytes of float32 rows up to which every process has its own
HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}
T = TypeVar("T")


def content_key(**settings: Any) -> str:
    """A key of all that shapes the rows besides the photos."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def photo_key(sample: Sample, view: int = 0) -> str:
    """A key of one photo's content, box, turn and view: a changed photo is computed anew."""
    identity = tuple(file_identity(sample.path))
    digest = hashlib.blake2b(_file_digest(sample.path, identity), digest_size=16)
    turn = (sample.turn,) if sample.turn else ()
    digest.update(repr((sample.box, view, *turn)).encode())
    return digest.hexdigest()


@cache
def _file_digest(path: Path, identity: tuple[int, ...]) -> bytes:
    """A file's content, read again only when it is another one: trials share a process."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()


class MappedRows:
    """Rows of several shards in the order of some keys; picked by a tensor of positions."""

    def __init__(self, shards: list[torch.Tensor], shard: np.ndarray, row: np.ndarray) -> None:
        self.shards = shards
        self.places = torch.from_numpy(shard), torch.from_numpy(row)
        kinds = {part.dtype for part in shards}
        self.dtype = kinds.pop() if len(kinds) == 1 else torch.float32
        self.shape = (len(row), *shards[0].shape[1:])

    def __getitem__(self, positions: torch.Tensor) -> torch.Tensor:
        shard, row = (place[positions] for place in self.places)
        if len(self.shards) == 1:
            return _unfolded(self.shards[0][row])
        out = torch.empty(len(positions), *self.shape[1:], dtype=self.dtype)
        for number in shard.unique().tolist():
            here = (shard == number).nonzero()[:, 0]
            out[here] = self.shards[number][row[here]].to(self.dtype)
        return _unfolded(out)

    def whole(self) -> torch.Tensor:
        """All rows as float32, in memory."""
        return self[torch.arange(len(self.places[0]))].float()


class FeatureCache:
    """Rows under keys. Whoever computes holds the lock, so that others wait and then find them;
    a shard appears by renaming a finished folder, so that a killed writer leaves none half done.
    """

    def __init__(self, root: Path, key: str) -> None:
        self.folder = root / "features" / key

    def fill(
        self, wanted: Mapping[str, T], compute: Callable[[list[T]], Iterable[torch.Tensor]]
    ) -> None:
        """Makes rows for the keys that have none: `compute` yields them in batches, in order.

        Raises CheckpointError where they cannot be kept.
        """
        if not self._missing(wanted):
            return  # without the lock: a read-only cache can be used
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / "lock"):
                missing = self._missing(wanted)
                if missing:
                    self._tidy()
                    self._compute(list(missing), compute(list(missing.values())))
        except OSError as error:
            raise CheckpointError(
                f"the feature cache {self.folder} cannot be written ({error.strerror or error}): "
                f"{REMEDIES}"
            ) from error

    def rows(self, keys: list[str]) -> torch.Tensor | MappedRows:
        """Rows in the order of the keys: in memory where they are small, else mapped."""
        numbers: dict[str, tuple[int, int]] = {}
        shards = []
        for names, tensor in self._shards():
            numbers |= {name: (len(shards), row) for row, name in enumerate(names)}
            shards.append(tensor)
        places = np.array([numbers[key] for key in keys])
        mapped = MappedRows(shards, places[:, 0], places[:, 1])
        return mapped.whole() if 4 * np.prod(mapped.shape) <= IN_MEMORY else mapped

    def _missing(self, wanted: Mapping[str, T]) -> dict[str, T]:
        known = {name for names, _ in self._shards() for name in names}
        return {key: value for key, value in wanted.items() if key not in known}

    def _compute(self, keys: list[str], batches: Iterable[torch.Tensor]) -> None:
        """Writes a shard as soon as there are rows for one: memory does not grow with the data."""
        waiting: list[torch.Tensor] = []
        done = 0
        for batch in batches:
            if not done and not waiting:
                self._announce(len(keys), batch[0])
            waiting.append(_folded(batch))
            rows = sum(map(len, waiting))
            if rows >= SHARD_ROWS or rows * batch[0].numel() * 2 >= SHARD_BYTES:
                self._write(keys[done : done + rows], torch.cat(waiting))
                done, waiting = done + rows, []
        if waiting:
            self._write(keys[done:], torch.cat(waiting))

    def _announce(self, rows: int, row: torch.Tensor) -> None:
        """Says the size before most is computed; refuses where the disk has no room for it."""
        size, free = rows * row.numel() * 2, shutil.disk_usage(self.folder).free
        what = f"{rows:,} x {' x '.join(map(str, row.shape))} in half precision = {_gb(size)}"
        if size > free:
            raise CheckpointError(
                f"the feature cache needs {what} in {self.folder}, which has {_gb(free)} free: "
                f"{REMEDIES}"
            )
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        terminal(stderr=True, soft_wrap=True).print(
            f"features of the frozen part: {what}, kept in {self.folder}"
        )
        if size > memory:
            warnings.warn(
                f"carsclf: this feature cache ({_gb(size)}) is larger than the memory "
                f"({_gb(memory)}), so every epoch reads it from disk: a later mode.boundary or a "
                "smaller data.image_size makes it smaller",
                stacklevel=2,
            )

    def _write(self, keys: list[str], features: torch.Tensor) -> None:
        kind = "float16" if features.abs().max() <= torch.finfo(torch.float16).max else "bfloat16"
        temporary = self.folder / f"tmp-{uuid.uuid4().hex}"
        temporary.mkdir()
        try:
            with (temporary / "features.npy").open("wb") as file:
                np.save(file, features.to(HALF[kind]).view(torch.int16).numpy())
                file.flush()
                os.fsync(file.fileno())
            text = json.dumps({"kind": kind, "keys": keys})
            (temporary / "rows.json").write_text(text)
            temporary.rename(self.folder / f"shard-{uuid.uuid4().hex}")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _shards(self) -> Iterator[tuple[list[str], torch.Tensor]]:
        for folder in sorted(self.folder.glob("shard-*")):
            if (shard := _read(folder)) is not None:
                yield shard

    def _tidy(self) -> None:
        """Under the lock: leftovers of killed writers go; what is no shard of ours steps aside."""
        for folder in self.folder.glob("tmp-*"):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in self.folder.glob("shard-*"):
            if _read(folder) is None:
                aside = folder.with_name(folder.name.replace("shard", "damaged", 1))
                folder.rename(aside)
                warnings.warn(
                    f"carsclf: {aside} is damaged or no feature cache of ours: its rows are "
                    "computed again, and it may be deleted",
                    stacklevel=2,
                )


REMEDIES = (
    "free some space, choose another place with CARSCLF_CACHE=<folder>, or do without it with "
    "mode.cache=false"
)


def _read(folder: Path) -> tuple[list[str], torch.Tensor] | None:
    """Keys and mapped rows of a shard; None for anything else."""
    try:
        record = json.loads((folder / "rows.json").read_text())
        # copy-on-write, as torch wants memory it could write to; nobody does
        array = np.load(folder / "features.npy", mmap_mode="c")
        keys, kind = record["keys"], HALF[record["kind"]]
        if array.dtype != np.int16 or len(array) != len(keys):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return keys, torch.from_numpy(array).view(kind)


def _folded(batch: torch.Tensor) -> torch.Tensor:
    """Maps with their channels last: the layout convolutions are quickest in."""
    return batch.movedim(1, -1).contiguous() if batch.ndim == 4 else batch


def _unfolded(rows: torch.Tensor) -> torch.Tensor:
    return rows.movedim(-1, 1) if rows.ndim == 4 else rows


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
