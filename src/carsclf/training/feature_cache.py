"""Outputs of a frozen prefix, computed once per photo and found again by later runs."""

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from rich.progress import Progress
from torch import nn
from torch.utils.data import DataLoader

from carsclf.data.datamodule import Item
from carsclf.data.samples import Sample
from carsclf.errors import CheckpointError


def content_key(prefix: nn.Module, **settings: Any) -> str:
    """A key of the prefix's weights and of everything that shapes the pictures entering it."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(prefix.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def photo_key(sample: Sample) -> str:
    """A key of one photo's content (and box), so that a changed photo is computed anew."""
    stat = sample.path.stat()
    digest = hashlib.blake2b(
        _file_digest(sample.path, stat.st_size, stat.st_mtime_ns), digest_size=16
    )
    digest.update(repr(sample.box).encode())
    return digest.hexdigest()


@cache
def _file_digest(path: Path, size: int, changed: int) -> bytes:
    """A file's content, read again only when its size or time changes: trials share a process."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()


class FeatureCache:
    """A folder of shards, each an array of features and the photo keys of its rows.

    Whoever computes holds the lock, so that others wait and then find the result; a shard appears
    by renaming a finished folder, so that a killed writer leaves none half done.
    """

    def __init__(self, root: Path, key: str) -> None:
        self.folder = root / "features" / key

    def rows(
        self,
        samples: Sequence[Sample],
        compute: Callable[[Sequence[Sample]], torch.Tensor],
    ) -> torch.Tensor:
        """Features of the samples in their order; `compute` is asked for the missing ones only."""
        keys = [photo_key(sample) for sample in samples]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / "lock"):
                missing = self._missing(samples, keys)
                if missing:
                    self._add(list(missing), compute(list(missing.values())))
        except OSError as error:
            raise CheckpointError(
                f"the feature cache {self.folder} cannot be written ({error.strerror or error}): "
                "free some space, choose another place with CARSCLF_CACHE=<folder>, or do without "
                "it with mode.cache=false"
            ) from error
        return self._gather(keys)

    def _missing(self, samples: Sequence[Sample], keys: list[str]) -> dict[str, Sample]:
        known = {key for shard in self._shards() for key in _names(shard)}
        return {k: s for k, s in zip(keys, samples, strict=True) if k not in known}

    def _add(self, keys: list[str], features: torch.Tensor) -> None:
        temporary = self.folder / f"tmp-{uuid.uuid4().hex}"
        temporary.mkdir()
        try:
            np.save(temporary / "features.npy", features.numpy())
            (temporary / "photos.json").write_text(json.dumps(keys))
            temporary.rename(self.folder / f"shard-{uuid.uuid4().hex}")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _gather(self, keys: list[str]) -> torch.Tensor:
        places: dict[str, tuple[np.ndarray, int]] = {}
        for shard in self._shards():
            array = np.load(shard / "features.npy", mmap_mode="r")
            places |= {key: (array, row) for row, key in enumerate(_names(shard))}
        first = places[keys[0]][0]
        out = np.empty((len(keys), *first.shape[1:]), dtype=first.dtype)
        for i, key in enumerate(keys):
            array, row = places[key]
            out[i] = array[row]
        return torch.from_numpy(out)

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("shard-*"))


def _names(shard: Path) -> list[str]:
    return json.loads((shard / "photos.json").read_text())


@torch.inference_mode()
def run_prefix(
    prefix: nn.Module, normalise: nn.Module, loader: DataLoader[Item], device: torch.device
) -> torch.Tensor:
    """(n, ...) float32 activations at the boundary, for a loader in the samples' order."""
    prefix, normalise = prefix.to(device), normalise.to(device)
    outputs = []
    with Progress(transient=True) as bar:
        for batch in bar.track(loader, description="features of the frozen part"):
            pictures = batch["pictures"].to(device, non_blocking=True)
            outputs.append(prefix(normalise(pictures)).float().cpu())
    return torch.cat(outputs).contiguous()
