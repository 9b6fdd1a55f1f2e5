"""Photos as tensors, why some cannot be read, and how a file is known again."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from carsclf.data.decoding import A_RAW, RAW, decode, to_rgb
from carsclf.data.samples import Sample
from carsclf.errors import ConfigError, DataError

MAX_BYTES = 1 << 30  # of a file: what is larger is a film, say, and would take the memory


class Unreadable(DataError):
    """A photo that cannot be read, and why. `lasting`: the next try will fare no better."""

    def __init__(self, said: str, reason: str = "", *, lasting: bool = True) -> None:
        super().__init__(said)
        self.reason, self.lasting = reason or said, lasting


def read_picture(
    sample: Sample, *, crop: str = "none", margin: float = 0.0, content: bytes | None = None
) -> torch.Tensor:
    """Pixels of one photo, (3, height, width) uint8, upright, maybe cropped to its box, and turned.

    See carsclf.data.decoding for what becomes of other than 8-bit colours. `margin` widens the box
    by that share of its sides; a made picture has none, and is taken whole; `content`: the file's,
    if it was read already. Raises Unreadable, which names the photo.
    """
    try:
        picture = decode(read_file(sample) if content is None else content)
        if crop == "box" and sample.box is not None:
            picture = picture.crop(_widened(sample, margin, picture.size))
        return _tensor(turned(picture, sample.turn))
    except Unreadable:
        raise
    except DataError as error:
        raise _unreadable(sample, str(error)) from None
    except MemoryError:
        raise _unreadable(sample, "no memory is left for it", lasting=False) from None


def pixels(image: Image.Image) -> torch.Tensor:
    """What `read_picture` gives for a file, of an image in memory. Raises DataError."""
    return _tensor(to_rgb(image))


def read_file(sample: Sample) -> bytes:
    """A photo's file; raises Unreadable where that cannot be."""
    path = sample.path
    if path.suffix.lower() in RAW:
        raise _unreadable(sample, A_RAW)
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise _unreadable(sample, f"a file of {size / 2**30:.1f} GiB: at most 1 is read")
        return path.read_bytes()
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or "no memory is left for it"
        if path.is_symlink() and not path.exists():
            reason = f"a link to {path.readlink()}, where nothing is"
        raise _unreadable(sample, reason, lasting=False) from None


def file_identity(path: Path) -> list[int]:
    """Changes whenever the path may lead to another content; empty where it leads to no file.

    Size and time of the last change are not enough: renaming, links and copies that keep times
    exchange files of equal ones. Inode and time of the status change (ctime) tell these.
    """
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns]


def unreadable(samples: Sequence[Sample], *, workers: int) -> dict[str, Unreadable]:
    """Ids of photos that cannot be read; every photo is decoded once, in parallel.

    Threads are enough: Pillow lets go of the interpreter while it decodes.
    """
    with ThreadPoolExecutor(workers) as pool:
        errors = list(pool.map(_error, samples))
    return {s.id: error for s, error in zip(samples, errors, strict=True) if error}


def check_crop(samples: Sequence[Sample], crop: str, margin: float) -> None:
    """Refuses a crop that the samples have no boxes for."""
    if crop not in ("none", "box"):
        raise ConfigError(f"data.crop={crop}: expected none or box")
    if margin < 0:
        raise ConfigError(f"data.margin={margin}: expected a share of the box's side, 0 or more")
    if crop == "box" and any(sample.box is None for sample in samples):
        raise ConfigError("data.crop=box: these photos have no boxes; use data.crop=none")


def turned(picture: Image.Image, degrees: int) -> Image.Image:
    """Turned clockwise by 0, 90, 180 or 270 degrees; every pixel stays what it is."""
    turn = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180,
            270: Image.Transpose.ROTATE_90}.get(degrees)  # fmt: skip
    return picture if turn is None else picture.transpose(turn)


def _error(sample: Sample) -> Unreadable | None:
    try:
        read_picture(sample)
    except Unreadable as error:
        return error
    return None


def _tensor(picture: Image.Image) -> torch.Tensor:
    # the colours of a pixel stay side by side: torch resizes that in half the time, to the same
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def _unreadable(sample: Sample, reason: str, *, lasting: bool = True) -> Unreadable:
    return Unreadable(
        f"{sample.path} cannot be read as a picture ({reason}): replace it, or leave unreadable "
        "ones out with data.skip_unreadable=true",
        reason,
        lasting=lasting,
    )


def _widened(sample: Sample, margin: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    assert sample.box is not None  # check_crop
    left, top, right, bottom = sample.box
    dx, dy = round((right - left) * margin), round((bottom - top) * margin)
    left, top = max(0, left - dx), max(0, top - dy)
    right, bottom = min(size[0], right + dx), min(size[1], bottom + dy)
    if right <= left or bottom <= top:
        raise DataError(f"its box {sample.box} lies outside the {size} picture")
    return left, top, right, bottom
