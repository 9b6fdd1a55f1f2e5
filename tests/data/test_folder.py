"""A folder has one reading, or is refused with what was found and what to type."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from carsclf.data import listing
from carsclf.data.folder import folder
from carsclf.data.samples import Source, split_of, told_left_out
from carsclf.errors import CarsclfError, ConfigError, DataError

Maker = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Maker:
    """A tree of pictures (or empty folders, where a name ends in a slash)."""

    def make(*names: str, root: str = "data") -> Path:
        for name in names:
            path = tmp_path / root / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(path, "PNG")
        return tmp_path / root

    return make


def read(root: Path, **options: Any) -> dict[str, tuple[str, str | None]]:
    source = folder(root, **options)
    return {s.id: (source.class_names[s.target], s.given) for s in source.samples}


def refused(root: Path, **options: Any) -> str:
    with pytest.raises(CarsclfError) as caught:
        folder(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(
            (name, "train")
            for name in ("train", "Training", "seg_train", "TRAIN-SET", "train data")
        ),
        *((name, "val") for name in ("val", "Valid", "validation", "dev", "valset", "images_val")),
        *((name, "test") for name in ("test", "Testing", "seg_test", "test_images")),
        *((name, None) for name in ("pred", "trainer", "images", "train_test", "", "_", "devices")),
    ],
)
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize("train", ["train", "Training", "seg_train/seg_train"])
@pytest.mark.parametrize("val", ["val", "VALID", "dev"])
def test_given_parts_are_kept(train: str, val: str, made: Maker) -> None:
    root = made(*(f"{part}/{name}/1.png" for part in (train, val) for name in ("sea", "city")))
    assert read(root) == {
        f"{part}/{name}/1.png": (name, given)
        for part, given in ((train, "train"), (val, "val"))
        for name in ("sea", "city")
    }
    assert folder(root).own_protocol == "official"


def test_train_alone_is_divided_by_us(made: Maker) -> None:
    source = folder(made("train/sea/1.png", "train/city/1.png"))
    assert source.own_protocol == "fractions"


def test_splits_below_each_class(made: Maker) -> None:
    root = made(*(f"{name}/{part}/1.png" for name in ("a", "b") for part in ("train", "test")))
    assert read(root)["a/test/1.png"] == ("a", "test")


def test_a_class_may_be_called_train(made: Maker) -> None:
    assert read(made("train/1.png", "boat/1.png"))["train/1.png"] == ("train", None)
    divided = made("train/train/1.png", "train/boat/1.png", "test/train/1.png", root="divided")
    assert read(divided)["test/train/1.png"] == ("train", "test")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train/a/1.png", "train/b/1.png", "pred/1.png"],
         ["pred/ with 1 pictures", "'data.ignore=[pred]'"]),
        (["train/a/1.png", "train/b/1.png", "more/a/1.png"], ["more/ with 1 pictures"]),
        (["train/a/1.png", "train/b/1.png", "test/1.png"],
         ["test/ with 1 pictures", "'data.ignore=[test]'"]),
        (["train/a/1.png", "train/b/1.png", "sheet.png"], ["'data.ignore=[sheet.png]'"]),
        (["train/a/1.png", "train/b/1.png", "my [new] pred/1.png"],
         ["""'data.ignore=["my [new] pred"]'"""]),
        (["train/a/1.png", "Train/a/1.png", "val/a/1.png"],
         ["Train/, train/, which are the same split"]),
        (["val/a/1.png", "test/a/1.png"], ["no train/"]),
        (["train/1.png", "test/1.png"], ["no class folders in them", "data=table"]),
        (["scenes/a/1.png", "scenes/b/1.png"], ["type data.root=", "data/scenes"]),
        (["up/scenes/train/a/1.png", "up/scenes/val/a/1.png"], ["data/up/scenes"]),
        (["a/1.png", "a/2.png"], ["are of one class, a"]),
        (["1.png", "2.png"], ["no class folders", "type data.root="]),
        (["bmw/x5/1.png", "bmw/x6/1.png", "audi/a4/1.png"],
         ["data.class_depth=1 for 2 classes (audi, bmw)",
          "data.class_depth=2 for 3 classes (audi/a4, bmw/x5, bmw/x6)"]),
        (["a/1.png", "b/more/1.png"], ["b/more/1.png does", "data.class_depth=1 for 2 classes"]),
        (["train/a/1.png", "train/b/1.png", "test/c/1.png"],
         ["1 classes", "c (test/c/1.png)", "data.ignore"]),
        (["train/Sea/1.png", "train/b/1.png", "val/sea/1.png"], ["did you mean Sea?"]),
        (["a/1.png", "b/1.png", "c/"], ["1 class folders", "hold no pictures: c", "[c]"]),
        (["a/", ".hidden/1.png"], ["no pictures below", "1 hidden or housekeeping (.hidden)"]),
    ],
)  # fmt: skip
def test_whatever_has_no_one_reading_is_refused(
    names: list[str], said: list[str], made: Maker
) -> None:
    message = refused(made(*names))
    for part in said:
        assert part in message


def test_ignored_is_passed_over_and_must_be_there(made: Maker) -> None:
    root = made(
        "train/a/1.png", "train/b/1.png", "train/b/mask/1.png", "pred/1.png", "my [x]/1.png"
    )
    read_ = read(root, ignore=["pred/", "*/mask", "my [x]"])
    assert sorted(read_) == ["train/a/1.png", "train/b/1.png"]
    assert "did you mean 'pred'" in refused(root, ignore="predd")


def test_class_depth(made: Maker) -> None:
    root = made("bmw/x5/1.png", "bmw/x5/front/1.png", "audi/a4/1.png")
    assert {name for name, _ in read(root, class_depth=2).values()} == {"bmw/x5", "audi/a4"}
    assert {name for name, _ in read(root, class_depth=1).values()} == {"bmw", "audi"}
    assert "2 of 3 pictures" in refused(root, class_depth=3)
    for depth in (0, 1.5, True, "two"):
        with pytest.raises(ConfigError, match="expected a number of folders"):
            folder(root, class_depth=depth)  # type: ignore[arg-type]


def left_out(source: Source) -> dict[str, list[str]]:
    return {why: list(names) for why, names in source.left_out.items()}


def test_what_is_no_photo_is_left_out_and_told(
    made: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = ["a/.ipynb_checkpoints/1.png", "a/._1.png", "__MACOSX/a/1.png", "b/@eaDir/1.png"]
    root = made("a/1.png", "b/1", "stray.png", *hidden)
    (root / "a" / "labels.txt").write_text("1.png: a")
    (root / "b" / "old.heif").write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\1")
    (root / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    os.mkfifo(root / "a" / "pipe.png")
    with socket.socket(socket.AF_UNIX) as plug:
        monkeypatch.chdir(root)  # a socket's path must be short
        plug.bind("b/plug.png")
        source = folder(root)
    assert sorted(s.id for s in source.samples if "old" not in s.id) == ["a/1.png", "b/1"]
    assert left_out(source)["hidden or housekeeping"] == [
        "Thumbs.db", "__MACOSX", "a/._1.png", "a/.ipynb_checkpoints", "b/@eaDir"
    ]  # fmt: skip
    assert left_out(source)["neither file nor folder"] == ["a/pipe.png", "b/plug.png"]
    assert left_out(source)["not pictures"] == ["a/labels.txt"]
    assert left_out(source)["pictures in no class folder"] == ["stray.png"]
    assert "1 not pictures (a/labels.txt)" in told_left_out(source.left_out)


def test_what_cannot_be_decoded_here_is_told_with_the_package(made: Maker) -> None:
    root = made("a/1.png", "b/1.png")
    (root / "a" / "x.jxl").write_bytes(b"\xff\x0a\x7f\0")
    (root / "a" / "x.dng").write_bytes(b"II*\0")
    (root / "a" / "x.svg").write_text("<svg></svg>")
    assert sorted(left_out(folder(root))) == [
        "of another kind (JPEG XL: pip install pillow-jxl-plugin decodes it)",
        "of another kind (SVG, a drawing: convert it, with cairosvg for instance)",
        "of another kind (a camera raw: develop it, with rawpy for instance)",
    ]


def test_links_are_followed_but_not_in_circles(made: Maker) -> None:
    other = made("1.png", "2.png", root="elsewhere")
    root = made("a/1.png")
    (root / "b").symlink_to(other)
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self.png").symlink_to("self.png")
    (root / "a" / "gone.png").symlink_to("/nowhere/x.png")
    source = folder(root)
    ids = [s.id for s in source.samples]
    assert ids == ["a/1.png", "a/gone.png", "a/self.png", "b/1.png", "b/2.png"]
    assert left_out(source) == {"links back to a folder above": ["a/up"]}


@pytest.mark.parametrize(
    "name", ["a b", "a'b", 'a"b', "a,b", "[a]", "{a}", "a=b", "ü🚗", "a\nb", "$a"]
)
def test_names_are_only_names(name: str, made: Maker) -> None:
    assert read(made(f"{name}/{name}.png", "other/1.png")) == {
        f"{name}/{name}.png": (name, None),
        "other/1.png": ("other", None),
    }
    assert "\n" not in refused(made(f"{name}/x/1.png", "b/1.png", root="deep"))


def test_names_that_look_the_same_are(made: Maker) -> None:
    root = made("train/caf\u00e9/1.png", "train/b/1.png", "test/cafe\u0301/1.png")
    assert folder(root).class_names == ["b", "caf\u00e9"]


def test_names_that_are_not_utf8_are_refused(made: Maker) -> None:
    root = made("a/1.png", "b/1.png")
    os.rename(root / "a" / "1.png", os.fsencode(root / "a") + b"/caf\xe9.png")
    assert "a/caf\\udce9.png; rename" in refused(root)


def test_a_folder_without_permission_is_one_line(
    made: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def scanning(path: Path) -> Any:  # root may look into everything
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(listing.os, "scandir", scanning)
    message = refused(made("a/1.png", "b/1.png"))
    assert "data/b cannot be looked into (Permission denied)" in message


def test_the_root_may_be_relative_or_at_home(made: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made("a/1.png", "b/1.png")
    monkeypatch.chdir(root.parent)
    monkeypatch.setenv("HOME", str(root.parent))
    for name in ("data", "./data", "~/data", str(root)):
        assert folder(name).samples[0].path == root / "a" / "1.png"
    (root.parent / "photos.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="unpack it first"):
        folder("photos.zip")
    with pytest.raises(DataError, match="is no folder: expected root/<class>"):
        folder("nowhere")
