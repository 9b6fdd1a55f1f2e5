"""The cache's own promises: rows in order, nothing half written, one line where it cannot write."""

from pathlib import Path

import pytest
import torch

from carsclf.data.folder import folder
from carsclf.errors import CheckpointError
from carsclf.training.feature_cache import FeatureCache


def test_rows_come_in_the_samples_order_from_several_shards(pictures: Path, tmp_path: Path) -> None:
    samples = folder(pictures).samples
    place = {sample.id: float(i) for i, sample in enumerate(samples)}

    def compute(missing):
        return torch.tensor([[place[s.id]] for s in missing])

    cache = FeatureCache(tmp_path / "cache", "key")
    cache.rows(samples[10:20], compute)
    rows = cache.rows(samples[::-1], compute)
    assert rows.flatten().tolist() == [float(i) for i in range(len(samples))][::-1]
    assert len(list(cache.folder.glob("shard-*"))) == 2


def test_an_interrupted_writer_leaves_no_shard(pictures: Path, tmp_path: Path) -> None:
    samples = folder(pictures).samples
    cache = FeatureCache(tmp_path / "cache", "key")

    def interrupted(missing):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.rows(samples, interrupted)
    assert not list(cache.folder.glob("shard-*"))
    assert len(cache.rows(samples, lambda missing: torch.zeros(len(missing), 2))) == 60


def test_a_cache_that_cannot_be_written_says_what_to_do(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    cache = FeatureCache(tmp_path / "cache", "key")
    with pytest.raises(CheckpointError, match="do without it with mode.cache=false"):
        cache.rows(folder(pictures).samples, lambda missing: torch.zeros(len(missing), 2))
