"""A pack holds what the files hold, whatever happened to its builder, its folder or its photos."""

import multiprocessing
import os
import pickle
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from carsclf.data import packed
from carsclf.data.augment import Augmentation
from carsclf.data.build import build_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.folder import folder
from carsclf.data.images import read_picture
from carsclf.data.packed import Pack, open_pack
from carsclf.data.transforms import Stored
from carsclf.errors import DataError
from tests.conftest import draw

RULE = Stored("short", 16, "bilinear")
FORK = multiprocessing.get_context("fork")
SETTINGS: dict[str, Any] = {
    "protocol": "fractions",
    "val_fraction": 0.2,
    "test_fraction": 0.0,
    "fraction": 1.0,
    "min_images_per_class": 0,
    "classes": None,
    "interpolation": "bicubic",
    "crop": "none",
    "margin": 0.0,
    "batch_size": 10,
    "skip_unreadable": False,
    "seed": 0,
}


def opened(root: Path, cache: Path) -> Pack:
    return open_pack(cache, folder(root), RULE, crop="none", margin=0.0)


def is_right(pack: Pack, root: Path) -> bool:
    expected = {s: RULE(read_picture(s)).permute(1, 2, 0) for s in folder(root).samples}
    return all(torch.equal(pack[s], picture) for s, picture in expected.items())


def only(cache: Path, pattern: str) -> Path:
    (found,) = (cache / "packed").glob(f"*/{pattern}")
    return found


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the photos that were decoded for a pack."""
    names: list[str] = []

    def reading(sample: Any, **options: Any) -> torch.Tensor:
        names.append(sample.id)
        return read_picture(sample, **options)

    monkeypatch.setattr(packed, "read_picture", reading)
    return names


def data_of(root: Path, cache: Path, transform: str, **more: Any) -> CarsDataModule:
    light = Augmentation(flip=0.5, rotation=5, zoom=0.1)
    settings: dict[str, Any] = SETTINGS | {"image_size": 24, "workers": 0} | more
    return build_data(folder(root), light, cache=cache, transform=transform, **settings)[0]


def seen(data: CarsDataModule, split: str, epoch: int = 1) -> list[torch.Tensor]:
    loader = data.train_dataloader() if split == "train" else data.eval_loader(split)
    loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
    return [batch["pictures"] for batch in loader]


@pytest.mark.parametrize("transform", ["squash", "published", "random_resized_crop"])
def test_packed_and_unpacked_pictures_are_equal(
    transform: str, pictures: Path, tmp_path: Path
) -> None:
    draw(pictures / "class 0" / "tall.png", 0, 99, size=(20, 31))  # upright, and smaller
    files = data_of(pictures, tmp_path, transform, packed=False)
    alone, many = (data_of(pictures, tmp_path, transform, workers=n) for n in (0, 2))
    for split in ("train", "val"):
        expected = seen(files, split)
        for data in (alone, many):
            got = seen(data, split)
            assert all(map(torch.equal, expected, got))
            assert got[0].is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(seen(alone, "train", 2)[0], seen(alone, "train", 1)[0])


def test_random_resized_crop_keeps_large_photos_at_the_mean_crops_size(
    pictures: Path, tmp_path: Path
) -> None:
    data = data_of(pictures, tmp_path, "random_resized_crop", image_size=16)
    photo = data.splits["val"][0]  # 30 x 40
    shapes = [tuple(pack[photo].shape) for pack in data.packs.values()]
    assert sorted(shapes) == [(18, 24, 3), (22, 29, 3)]


def test_boxes_are_cut_before_packing(pictures: Path, tmp_path: Path) -> None:
    source = folder(pictures)
    boxed = [type(s)(s.id, s.path, s.target, s.given, (5, 5, 25, 15)) for s in source.samples]
    source = type(source)(source.name, source.root, source.class_names, boxed)
    whole = open_pack(tmp_path, source, RULE, crop="none", margin=0.0)
    cut = open_pack(tmp_path, source, RULE, crop="box", margin=0.0)
    assert whole[boxed[0]].shape == (16, 21, 3)
    assert cut[boxed[0]].shape == (16, 32, 3)


def _build(root: Path, cache: Path, after: Callable[[], Any] = lambda: None) -> None:
    after()
    try:
        opened(root, cache)
    except DataError as error:
        (cache / "error.txt").write_text(str(error))


def _slowly() -> None:
    def reading(sample: Any, **options: Any) -> torch.Tensor:
        time.sleep(0.05)
        return read_picture(sample, **options)

    packed.read_picture, packed.SAVE_EVERY = reading, 0.0  # type: ignore[attr-defined]


def test_a_killed_builder_is_continued(pictures: Path, tmp_path: Path, decoded: list[str]) -> None:
    builder = FORK.Process(target=_build, args=(pictures, tmp_path, _slowly))
    builder.start()
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("packed/*/index.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(builder.pid or 0, signal.SIGKILL)
    builder.join()
    with only(tmp_path, "pictures-*.u8").open("ab") as out:
        out.write(b"half a picture")
    assert is_right(opened(pictures, tmp_path), pictures)
    assert 0 < len(decoded) < 60
    assert only(tmp_path, "pictures-*.u8").stat().st_size == 60 * 16 * 21 * 3


def _counting() -> None:
    def reading(sample: Any, **options: Any) -> torch.Tensor:
        with open(os.environ["COUNT"], "a") as out:
            out.write(f"{sample.id}\n")
        return read_picture(sample, **options)

    packed.read_picture = reading  # type: ignore[attr-defined]


def test_of_several_processes_one_builds(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    arguments = (pictures, tmp_path, _counting)
    builders = [FORK.Process(target=_build, args=arguments) for _ in range(4)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)
        assert builder.exitcode == 0
    assert len((tmp_path / "count").read_text().splitlines()) == 60
    assert is_right(opened(pictures, tmp_path), pictures)


def test_only_changed_and_new_photos_are_decoded_again(
    pictures: Path, tmp_path: Path, decoded: list[str]
) -> None:
    before = opened(pictures, tmp_path)
    assert len(decoded) == 60
    decoded.clear()
    draw(pictures / "class 1" / "03.png", 2, 77)
    draw(pictures / "class 1" / "new.png", 1, 78)
    assert is_right(opened(pictures, tmp_path), pictures)
    assert decoded == ["class 1/03.png", "class 1/new.png"]
    assert before[folder(pictures).samples[0]].shape == (16, 21, 3)  # who had it open goes on


def _cut_map(cache: Path) -> None:
    path = only(cache, "pictures-*.u8")
    os.truncate(path, path.stat().st_size // 2)


def _scribble(cache: Path) -> None:
    with only(cache, "pictures-*.u8").open("r+b") as out:
        out.write(b"\0" * 2000)


def _lose_map(cache: Path) -> None:
    only(cache, "pictures-*.u8").unlink()


def _break_index(cache: Path) -> None:
    path = only(cache, "index.json")
    path.write_bytes(path.read_bytes()[:-100])


def _foreign_index(cache: Path) -> None:
    only(cache, "index.json").write_text('["not", "ours"]')


def _rows_outside(cache: Path) -> None:
    path = only(cache, "index.json")
    path.write_text(path.read_text().replace(", 16, 21, ", ", 16, 210, "))


@pytest.mark.parametrize(
    "damage", [_cut_map, _scribble, _lose_map, _break_index, _foreign_index, _rows_outside]
)
def test_damage_is_noticed_and_mended(
    damage: Callable[[Path], None], pictures: Path, tmp_path: Path, decoded: list[str]
) -> None:
    opened(pictures, tmp_path)
    decoded.clear()
    damage(tmp_path)
    assert is_right(opened(pictures, tmp_path), pictures)
    assert decoded
    decoded.clear()
    assert is_right(opened(pictures, tmp_path), pictures)
    assert not decoded


def test_a_whole_pack_is_read_without_writing(pictures: Path, tmp_path: Path) -> None:
    opened(pictures, tmp_path)
    place = only(tmp_path, "index.json").parent
    before = {p: p.stat().st_mtime_ns for p in (place, *place.iterdir())}
    again = pickle.dumps(opened(pictures, tmp_path))
    assert {p: p.stat().st_mtime_ns for p in (place, *place.iterdir())} == before
    assert len(again) < 20_000  # a spawned worker opens the map, it is not sent it
    assert is_right(pickle.loads(again), pictures)


def _little_space() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_full_disk_is_told_in_one_line_and_gone_on_from(pictures: Path, tmp_path: Path) -> None:
    builder = FORK.Process(target=_build, args=(pictures, tmp_path, _little_space))
    builder.start()
    builder.join(60)
    assert builder.exitcode == 0
    error = (tmp_path / "error.txt").read_text()
    assert "File too large" in error
    assert "data.packed=false" in error
    assert "\n" not in error
    assert is_right(opened(pictures, tmp_path), pictures)


def test_too_little_space_is_said_beforehand(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    monkeypatch.setattr(packed, "RESERVE", 1 << 60)
    with pytest.raises(DataError, match=r"60 photos needs about 0 MiB, and .* free: free some"):
        opened(pictures, tmp_path)
    assert not decoded


@pytest.mark.parametrize("place", ["/proc/carsclf", "file"])
def test_a_cache_that_cannot_be_written(place: str, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written or read .*CARSCLF_CACHE=<folder>"):
        opened(pictures, tmp_path / place)


def test_unreadable_photos_are_remembered_and_left_out(
    pictures: Path, tmp_path: Path, decoded: list[str]
) -> None:
    (pictures / "class 0" / "00.png").write_text("no picture")
    with pytest.raises(DataError, match=r"1 of 60 photos .* class 0/00.png"):
        data_of(pictures, tmp_path, "squash")
    decoded.clear()
    data = data_of(pictures, tmp_path, "squash", skip_unreadable=True)
    assert sum(map(len, data.splits.values())) == 59
    assert not decoded
