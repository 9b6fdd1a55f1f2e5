"""The cache's own promises: rows in order, nothing half written, one line where it cannot write."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from carsclf.errors import CheckpointError
from carsclf.features import cache as module
from carsclf.features.cache import FeatureCache, MappedRows

KEYS = {f"photo {i}": i for i in range(40)}


def compute(numbers: list[int]) -> Iterator[torch.Tensor]:
    """Rows that tell their photo, in batches of eight."""
    for part in torch.tensor(numbers, dtype=torch.float32).split(8):
        yield part[:, None].repeat(1, 3)


def never(numbers: list[int]) -> Iterator[torch.Tensor]:
    raise AssertionError(f"computed again: {numbers}")
    yield


def values(cache: FeatureCache, keys: list[str]) -> list[float]:
    return cache.rows(keys)[torch.arange(len(keys))][:, 0].float().tolist()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureCache:
    """A cache that writes a shard every 16 rows."""
    monkeypatch.setattr(module, "SHARD_ROWS", 16)
    return FeatureCache(tmp_path / "cache", "key")


@pytest.mark.parametrize("mapped", [False, True])
def test_rows_come_in_the_order_asked_for_from_several_shards(
    mapped: bool, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mapped:
        monkeypatch.setattr(module, "IN_MEMORY", 0)
    cache.fill(dict(list(KEYS.items())[10:20]), compute)
    cache.fill(KEYS, compute)
    assert len(list(cache.folder.glob("shard-*"))) == 3
    assert isinstance(cache.rows(list(KEYS)), MappedRows) is mapped
    assert values(cache, list(KEYS)[::-1]) == [float(i) for i in range(40)][::-1]


def test_maps_come_back_as_they_went_in(cache: FeatureCache) -> None:
    maps = torch.rand(5, 4, 3, 2).half().float()
    cache.fill(dict.fromkeys("abcde"), lambda _: iter([maps]))
    rows = cache.rows(list("abcde"))
    assert torch.equal(rows[torch.tensor([3, 1])], maps[[3, 1]])
    assert rows.shape == maps.shape


def test_what_half_cannot_hold_is_kept_as_bfloat16(cache: FeatureCache) -> None:
    cache.fill({"large": 0}, lambda _: iter([torch.tensor([[1e5, -3e38]])]))
    rows = cache.rows(["large"])[torch.tensor([0])].float()
    assert torch.allclose(rows, torch.tensor([[1e5, -3e38]]), rtol=2**-8)


def test_a_killed_writer_leaves_what_it_finished_and_nothing_half(cache: FeatureCache) -> None:
    def deadly(numbers: list[int]) -> Iterator[torch.Tensor]:
        for i, batch in enumerate(compute(numbers)):
            if i == 3:  # one shard of two batches is written, the third waits
                (cache.folder / "tmp-half").mkdir()
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    child = os.fork()
    if child == 0:
        cache.fill(KEYS, deadly)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    asked: list[int] = []

    def rest(numbers: list[int]) -> Iterator[torch.Tensor]:
        asked.extend(numbers)
        return compute(numbers)

    cache.fill(KEYS, rest)
    assert asked == list(range(16, 40))
    assert values(cache, list(KEYS)) == list(range(40))
    assert not list(cache.folder.glob("tmp-*"))


def test_of_several_that_ask_at_once_one_computes(cache: FeatureCache, tmp_path: Path) -> None:
    def counted(numbers: list[int]) -> Iterator[torch.Tensor]:
        with (tmp_path / "computed").open("a") as file:
            file.write(f"{len(numbers)}\n")
        return compute(numbers)

    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            cache.fill(KEYS, counted)
            os._exit(0 if values(cache, list(KEYS)) == list(range(40)) else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert (tmp_path / "computed").read_text() == "40\n"


@pytest.mark.parametrize("harm", ["cut short", "no record", "foreign", "other array"])
def test_damaged_and_foreign_files_step_aside(harm: str, cache: FeatureCache) -> None:
    cache.fill(KEYS, compute)
    shard = next(cache.folder.glob("shard-*"))
    lost = json.loads((shard / "rows.json").read_text())["keys"]
    if harm == "cut short":
        with (shard / "features.npy").open("r+b") as file:
            file.truncate(150)
    elif harm == "no record":
        (shard / "rows.json").write_text("{")
    elif harm == "foreign":
        shutil.rmtree(shard)
        shard.write_text("something else")
    else:
        (shard / "features.npy").write_bytes(b"no array at all")
    asked: list[int] = []

    def again(numbers: list[int]) -> Iterator[torch.Tensor]:
        asked.extend(numbers)
        return compute(numbers)

    with pytest.warns(UserWarning, match="computed again, and it may be deleted"):
        cache.fill(KEYS, again)
    assert sorted(asked) == sorted(KEYS[key] for key in lost)
    assert values(cache, list(KEYS)) == list(range(40))
    cache.fill(KEYS, never)


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def test_a_full_disk_is_seen_beforehand(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(10**9, 10**9, 100))
    said = r"needs 40 x 3 in half precision = 0.00 GB in .* which has 0.00 GB free.*CARSCLF_CACHE="
    with pytest.raises(CheckpointError, match=said):
        cache.fill(KEYS, compute)
    assert not list(cache.folder.glob("shard-*"))


def test_the_size_is_said_beforehand(cache: FeatureCache, capfd) -> None:
    cache.fill(KEYS, compute)
    said = " ".join(capfd.readouterr().err.split())
    assert f"40 x 3 in half precision = 0.00 GB, kept in {cache.folder}" in said


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(CheckpointError, match="do without it with mode.cache=false"):
        FeatureCache(tmp_path / "cache", "key").fill(KEYS, compute)


def test_a_complete_cache_needs_no_lock(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.fill(KEYS, compute)

    def read_only(path: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module, "FileLock", read_only)
    cache.fill(KEYS, never)
    assert values(cache, list(KEYS)) == list(range(40))
    with pytest.raises(CheckpointError, match="Read-only file system"):
        cache.fill(KEYS | {"new": 40}, compute)
