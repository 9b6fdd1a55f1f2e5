"""What Pillow decodes is read and is never black; what is damaged is named, and only that photo."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from carsclf.data.decoding import decode, foreign, is_picture
from carsclf.data.images import Unreadable, read_picture
from carsclf.data.samples import Sample
from carsclf.errors import DataError
from carsclf.report.gallery import thumbnail

GREYS = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOURS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def decoded(path: Path, image: Image.Image, **options: Any) -> np.ndarray:
    image.save(path, **options)
    return np.asarray(decode(path))


def greys(path: Path, values: np.ndarray) -> np.ndarray:
    return decoded(path, Image.fromarray(values))[..., 0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (GREYS.astype(np.uint16) * 257, GREYS),  # 16 bits
        (GREYS.astype(np.uint16) * 16, GREYS * (4080 / 4095)),  # 12 bits in 16
        (GREYS.astype(np.uint16) * 4, GREYS * (1020 / 1023)),  # 10 bits
        (GREYS.astype(np.uint16), GREYS),  # 8 bits in 16
        (GREYS.astype(np.int32), GREYS),
        (GREYS.astype(np.int32) * 257, GREYS),
        (GREYS.astype(np.int32) * 8_000_000, GREYS),  # from its least to its largest
        (GREYS.astype(np.int32) - 100, GREYS),
        (GREYS.astype(np.float32) / 255, GREYS),
        (GREYS.astype(np.float32) / 2550, GREYS / 10),  # a dark one stays so
        (GREYS.astype(np.float32), GREYS),
        (GREYS.astype(np.float32) * 257, GREYS),
        (GREYS.astype(np.float32) * 1.1 / 255, GREYS),  # just above 1
        (GREYS.astype(np.float32) / 128 - 1, GREYS),
    ],
)
def test_other_than_8_bit_greys_are_scaled(
    values: np.ndarray, expected: np.ndarray, tmp_path: Path
) -> None:
    assert np.abs(greys(tmp_path / "a.tif", values) - expected.astype(float)).max() <= 1


def tiff(values: np.ndarray, sample_format: int = 1) -> bytes:
    """Written by hand: Pillow writes no unsigned 32-bit integers and no 16-bit colours."""
    height, width, *colours = values.shape
    samples = colours[0] if colours else 1
    header = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, 1, 8 * values.itemsize)),
        *((259, 3, 1, 1), (262, 3, 1, 2 if colours else 1), (273, 4, 1, 200)),
        *((277, 3, 1, samples), (278, 3, 1, height), (279, 4, 1, values.nbytes)),
        (339, 3, 1, sample_format),
    ]
    tags = b"".join(struct.pack("<HHII", *tag) for tag in header)
    start = b"II*\0\x08\0\0\0" + struct.pack("<H", len(header)) + tags + b"\0\0\0\0"
    return start.ljust(200, b"\0") + values.tobytes()


def test_unsigned_32_bit_integers_keep_their_order() -> None:
    got = np.asarray(decode(tiff(GREYS.astype("<u4") * 16_000_000)))[..., 0]
    assert np.abs(got - GREYS.astype(float)).max() <= 1


def test_what_is_no_number_is_the_darkest_and_alone_no_picture(tmp_path: Path) -> None:
    values = GREYS.astype(np.float32) / 255
    values[0, 5], values[0, 6], values[0, 7] = np.nan, np.inf, -np.inf
    got = greys(tmp_path / "a.tif", values)
    assert got[0, 5:8].tolist() == [0, 255, 0]
    assert (got[1:] == GREYS[1:]).all()
    with pytest.raises(DataError, match="holds no number"):
        greys(tmp_path / "b.tif", np.full((4, 4), np.nan, np.float32))


def test_colours_of_12_bits_in_16_are_refused() -> None:
    assert (np.asarray(decode(tiff(np.full((2, 2, 3), 65535, "<u2")))) == 255).all()
    with pytest.raises(DataError, match="lowest 12 bits"):
        decode(tiff(np.full((2, 2, 3), 4095, "<u2")))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_modes(mode: str, tmp_path: Path) -> None:
    grey = 255 if mode == "1" else 200
    image = Image.new("RGB", (4, 4), (grey, grey, grey))
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(
            image, ImageCms.createProfile("sRGB"), lab, outputMode="LAB"
        )
        assert image is not None
    else:
        image = image.convert(mode)
    got = decoded(tmp_path / ("a.jpg" if mode == "YCbCr" else "a.tif"), image)
    assert abs(int(got.mean()) - grey) <= 4  # P: the nearest of a palette's colours


def test_palette_with_transparency_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    got = decoded(tmp_path / "a.png", image, transparency=0)
    assert got.tolist() == [[[255, 255, 255], [0, 0, 255]]]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_of_many_frames_the_first(suffix: str, tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    got = decoded(
        tmp_path / f"a{suffix}", first, save_all=True, append_images=[second], duration=50
    )
    assert (np.abs(got.astype(int) - [255, 0, 0]) < 8).all()


@pytest.mark.parametrize("orientation", range(10))
def test_orientation_is_that_of_pillow(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(COLOURS)
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        path = tmp_path / f"a{suffix}"
        got = decoded(path, image, exif=exif)
        with Image.open(path) as again:
            assert (got == np.asarray(ImageOps.exif_transpose(again).convert("RGB"))).all()


def exif_of(*entries: tuple[int, int, int, int], more: bytes = b"") -> bytes:
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4) + more


DAMAGED_EXIF = {
    "a rational of -1/0": exif_of(
        (0x112, 3, 1, 6), (0x11A, 10, 1, 38), more=struct.pack("<ii", -1, 0)
    ),
    "an offset beyond the end": exif_of((0x112, 3, 1, 6), (0x11A, 5, 1, 1 << 30)),
    "a kind that is none": exif_of((0x112, 3, 1, 6), (0x11A, 99, 1, 0)),
    "a directory that is itself": exif_of((0x112, 3, 1, 6), (0x8769, 4, 1, 8)),
    "a thousand orientations": exif_of((0x112, 3, 1000, 8)),
    "text for orientation": exif_of((0x112, 2, 4, 0x41414141)),
    "nothing": b"Exif\0\0",
    "noise": b"Exif\0\0" + bytes(range(256)) * 200,
}


@pytest.mark.parametrize("damage", DAMAGED_EXIF)
def test_damaged_exif_is_passed_over(damage: str, tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS)
    plain = decoded(tmp_path / "plain.jpg", image)
    got = decoded(tmp_path / "a.jpg", image, exif=DAMAGED_EXIF[damage])
    turned = np.rot90(plain, -1)  # what orientation 6 asks for
    assert any(g.shape == got.shape and (g == got).all() for g in (plain, turned))


def test_orientation_beside_a_damaged_tag_is_kept(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS)
    exif = DAMAGED_EXIF["a rational of -1/0"]
    assert decoded(tmp_path / "a.jpg", image, exif=exif).shape == (30, 20, 3)


def bomb(path: Path, width: int = 771_751_954) -> Path:
    Image.fromarray(COLOURS).save(path)
    content = bytearray(path.read_bytes())
    entry = content.find(struct.pack("<HHI", 256, 4, 1))
    entry = entry if entry >= 0 else content.find(struct.pack("<HHI", 256, 3, 1))
    content[entry : entry + 12] = struct.pack("<HHII", 256, 4, 1, width)
    path.write_bytes(content)
    return path


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


def test_a_header_that_claims_too_much_is_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exceeds limit"):
        decode(bomb(tmp_path / "a.tif"))
    with pytest.raises(DataError, match="exceeds limit"):
        decode(png_of(40_000, 40_000))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp", ".webp", ".avif", ".gif"])
def test_whatever_is_cut_or_scribbled_into_gives_a_picture_or_a_reason(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(COLOURS).save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole[: int(rng.integers(1, len(whole)))])
        for place in rng.integers(0, min(len(damaged), 120), 4):
            damaged[place] = rng.integers(256)
        said = "a picture"
        try:
            assert decode(bytes(damaged)).mode == "RGB"
        except DataError as error:
            said = str(error)
        assert said
        assert "\n" not in said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (bytes(3000), "an empty file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg width='3'></svg>", "SVG, a drawing"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC: pip install"),
        (b"\xff\x0a\x7f\0", "JPEG XL: pip install"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a camera raw"),
        (b"hello", "of no kind that Pillow knows"),
    ],
)
def test_what_poses_as_a_photo_is_told(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(Unreadable) as caught:
        read_picture(Sample("a.jpg", path, 0))
    if "HEIC" in reason:  # whose decoder may be here, and then finds no picture in it
        assert foreign(path) == "HEIC: pip install 'carsclf[heic]' decodes it"
    else:
        assert caught.value.reason.startswith(reason)
    assert str(path) in str(caught.value)


def test_pictures_are_known_by_content(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS)
    for name in ("a.jfif", "b.jpe", "c", "d.photo"):
        image.save(tmp_path / name, "JPEG")
        assert is_picture(tmp_path / name)
    image.save(tmp_path / "e", "AVIF")
    image.save(tmp_path / "f.nef", "TIFF")  # as a camera raw begins; its thumbnail is no photo
    (tmp_path / "labels.txt").write_text("P1 is a class")
    assert [is_picture(tmp_path / name) for name in ("e", "f.nef", "labels.txt")] == [1, 0, 0]
    with pytest.raises(Unreadable, match="a camera raw"):
        read_picture(Sample("f.nef", tmp_path / "f.nef", 0))


def test_heic(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    path = tmp_path / "a.heic"
    got = decoded(path, Image.new("RGB", (64, 48), (200, 30, 60)), quality=100)
    assert is_picture(path)
    assert np.abs(got.reshape(-1, 3).astype(int) - [200, 30, 60]).max() < 6


@pytest.mark.parametrize(
    ("name", "reason", "lasting"),
    [
        ("large.png", "a file of 2.0 GiB", True),
        ("linked.png", "a link to nowhere.png, where nothing is", False),
        ("absent.png", "No such file", False),
        ("folder.png", "Is a directory", False),
        ("secret.png", "Permission denied", False),
    ],
)
def test_files_that_cannot_be_read_are_told(
    name: str, reason: str, lasting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "large.png").open("wb") as out:
        out.truncate(2 << 30)  # takes no space
    (tmp_path / "linked.png").symlink_to("nowhere.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "secret.png").touch()
    read = Path.read_bytes

    def reading(path: Path) -> bytes:  # root may read everything
        if path.name == "secret.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", reading)
    with pytest.raises(Unreadable) as caught:
        read_picture(Sample(name, tmp_path / name, 0))
    assert caught.value.reason.startswith(reason)
    assert caught.value.lasting == lasting


def test_the_report_shows_photos_as_they_were_read(tmp_path: Path) -> None:
    grey = np.full((40, 60), 0.5, np.float32)
    Image.fromarray(grey).save(tmp_path / "grey.tif")
    exif = DAMAGED_EXIF["a rational of -1/0"]
    Image.fromarray(COLOURS).save(tmp_path / "turned.jpg", exif=exif)
    shown = thumbnail(tmp_path / "grey.tif")
    assert shown is not None
    assert abs(np.asarray(Image.open(BytesIO(shown))).mean() - 127.5) < 2
    shown = thumbnail(tmp_path / "turned.jpg")
    assert shown is not None
    assert Image.open(BytesIO(shown)).size == (20, 30)
    assert thumbnail(bomb(tmp_path / "bomb.tif")) is None
    assert thumbnail(tmp_path / "absent.jpg") is None
