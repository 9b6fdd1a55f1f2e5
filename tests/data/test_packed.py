"""A pack holds what the files hold, whatever happened to its builder, its folder or its photos."""

import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from carsclf.data import pack_index, packed
from carsclf.data.augment import Augmentation
from carsclf.data.build import build_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.folder import folder
from carsclf.data.images import read_picture
from carsclf.data.packed import Pack, open_pack
from carsclf.data.transforms import Stored
from carsclf.errors import DataError
from carsclf.features.cache import photo_key
from tests.conftest import draw
from tests.data.test_decoding import bomb

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
    expected = {s: RULE.array(read_picture(s)) for s in folder(root).samples}
    return all(np.array_equal(pack[s], picture) for s, picture in expected.items())


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
    assert sorted(decoded) == ["class 1/03.png", "class 1/new.png"]  # by several threads
    assert before[folder(pictures).samples[0]].shape == (16, 21, 3)  # who had it open goes on


def _swap_names(one: Path, two: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)


def _swap_folders(root: Path) -> None:
    _swap_names(root / "class 0", root / "class 1")


def _swap_files(root: Path) -> None:
    for number in range(20):
        _swap_names(root / f"class 0/{number:02}.png", root / f"class 1/{number:02}.png")


def _swap_contents(root: Path) -> None:
    """As cp -p does: the same inodes, sizes and times."""
    for number in range(20):
        one, two = (root / f"class {target}" / f"{number:02}.png" for target in (0, 1))
        contents = one.read_bytes(), two.read_bytes()
        two.write_bytes(contents[0])
        one.write_bytes(contents[1])
        os.utime(one, ns=(0, 0))
        os.utime(two, ns=(0, 0))


def _swap_links(root: Path) -> None:
    """Folders are links, and lead elsewhere now."""
    targets = [os.readlink(root / f"class {target}") for target in (0, 1)]
    for target in (0, 1):
        (root / f"class {target}").unlink()
        (root / f"class {target}").symlink_to(targets[1 - target])


@pytest.fixture
def equal_files(pictures: Path) -> Path:
    """All photos of one size and one time."""
    files = [*pictures.rglob("*.png")]
    size = max(path.stat().st_size for path in files)
    for path in files:
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
        os.utime(path, ns=(0, 0))
    return pictures


@pytest.mark.parametrize("swap", [_swap_folders, _swap_files, _swap_contents, _swap_links])
def test_exchanged_photos_are_never_taken_for_each_other(
    swap: Callable[[Path], None], equal_files: Path, tmp_path: Path, decoded: list[str]
) -> None:
    if swap is _swap_links:
        for target in (0, 1):
            place, kept = equal_files / f"class {target}", tmp_path / f"kept {target}"
            place.rename(kept)
            place.symlink_to(kept)
    first = opened(equal_files, tmp_path)
    before = {sample.id: first[sample] for sample in folder(equal_files).samples}
    keys = [photo_key(sample) for sample in folder(equal_files).samples]
    decoded.clear()
    swap(equal_files)
    again = opened(equal_files, tmp_path)
    assert is_right(again, equal_files)
    for sample in folder(equal_files).samples:
        same = np.array_equal(again[sample], before[sample.id])
        assert same == sample.id.startswith("class 2")
    assert not decoded  # both contents are packed already
    changed = [photo_key(sample) for sample in folder(equal_files).samples]
    assert sum(a != b for a, b in zip(keys, changed, strict=True)) == 40


def test_another_status_costs_no_decoding_and_no_space(
    pictures: Path, tmp_path: Path, decoded: list[str]
) -> None:
    opened(pictures, tmp_path)
    size = only(tmp_path, "pictures-*.u8").stat().st_size
    decoded.clear()
    for path in pictures.rglob("*.png"):
        path.chmod(0o600)
        os.utime(path, ns=(5, 5))
    assert is_right(opened(pictures, tmp_path), pictures)
    assert not decoded
    assert only(tmp_path, "pictures-*.u8").stat().st_size == size


def test_equal_photos_are_packed_once(pictures: Path, tmp_path: Path) -> None:
    for number in range(5):
        shutil.copy(pictures / "class 0/00.png", pictures / f"class 0/copy {number}.png")
    assert is_right(opened(pictures, tmp_path), pictures)
    assert only(tmp_path, "pictures-*.u8").stat().st_size == 60 * 16 * 21 * 3


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
    said = r"1 of 60 photos .* class 0/00.png \(of no kind that Pillow knows\)"
    for _ in range(2):  # the reason is remembered too
        with pytest.raises(DataError, match=said):
            data_of(pictures, tmp_path, "squash")
    with pytest.raises(DataError, match=said):
        data_of(pictures, tmp_path, "squash", packed=False)
    decoded.clear()
    data = data_of(pictures, tmp_path, "squash", skip_unreadable=True)
    assert sum(map(len, data.splits.values())) == 59
    assert not decoded


def test_other_decoders_try_unreadable_photos_again(
    pictures: Path, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "class 0" / "00.png").write_text("no picture")
    opened(pictures, tmp_path)
    decoded.clear()
    monkeypatch.setattr(pack_index, "DECODERS", "a newer one")
    assert opened(pictures, tmp_path).unreadable.keys() == {"class 0/00.png"}
    assert decoded == ["class 0/00.png"]


@pytest.mark.parametrize("packing", [True, False])
def test_what_may_change_is_tried_again(packing: bool, pictures: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.png"
    (pictures / "class 0" / "00.png").unlink()
    (pictures / "class 0" / "00.png").symlink_to(target)
    for _ in range(2):
        with pytest.raises(DataError, match=r"00.png \(a link to .*, where nothing is\)"):
            data_of(pictures, tmp_path, "squash", packed=packing)
    draw(target, 0, 5)
    data = data_of(pictures, tmp_path, "squash", packed=packing)
    assert sum(map(len, data.splits.values())) == 60


def test_a_thin_photo_takes_no_more_than_ten(pictures: Path, tmp_path: Path) -> None:
    draw(pictures / "class 0" / "thin.png", 0, 0, size=(6000, 1))
    draw(pictures / "class 1" / "tall.png", 0, 0, size=(2, 3000))
    for transform in ("published", "random_resized_crop"):
        data = data_of(pictures, tmp_path, transform, image_size=24)
        for pack in data.packs.values():
            shapes = {pack[s].shape for part in data.splits.values() for s in part}
            assert max(h * w for h, w, _ in shapes) <= 10 * 33 * 33
        assert seen(data, "train")[0].shape[2:] == (24, 24)


def test_a_claimed_size_does_not_count_as_space_needed(pictures: Path, tmp_path: Path) -> None:
    bomb(pictures / "class 0" / "bomb.tif")
    assert opened(pictures, tmp_path).unreadable.keys() == {"class 0/bomb.tif"}


def test_one_line_says_what_was_read(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (pictures / "class 0" / "00.png").write_text("no picture")
    (pictures / "class 1" / "._01.png").write_text("")
    (pictures / "class 2" / "notes.txt").write_text("rain")
    caplog.set_level("INFO", "carsclf")
    more = {"skip_unreadable": True, "classes": ["class 0", "class 1"], "fraction": 0.5}
    data_of(pictures, tmp_path, "squash", **more)
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("data: ")]
    assert line == (
        f"data: 2 classes (class 0, class 1), 16 train, 7 val photos (fractions: drawn) below "
        f"{pictures}; left out: 1 hidden or housekeeping (class 1/._01.png), 1 not pictures "
        "(class 2/notes.txt), 1 unreadable (class 0/00.png: of no kind that Pillow knows), "
        "1 classes not asked for (class 2), 16 beyond data.fraction (class 0/01.png, "
        "class 0/10.png, class 0/11.png and 13 more)"
    )
