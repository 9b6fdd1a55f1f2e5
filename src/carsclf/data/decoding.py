"""From a file to an upright RGB picture, whatever Pillow decodes here; without torch."""

import re
import warnings
from contextlib import suppress
from importlib import import_module
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from carsclf.errors import DataError

RULES = 2  # of how pixels become 8-bit RGB: part of the key of whatever is kept of them
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".avifs"),
    *(".bmp", ".dib", ".tif", ".tiff", ".gif", ".jp2", ".j2k", ".tga"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
}
"""What only a picture is called; files of other names or none are looked into."""
RAW = {
    *(".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".nef", ".nrw", ".orf", ".pef", ".raf"),
    *(".rw2", ".sr2", ".srw", ".x3f"),
}
"""Camera raws: most begin as a TIFF, of which Pillow would take the thumbnail."""
A_RAW = "a camera raw: develop it, with rawpy for instance"
NO_PHOTOS = ("BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF")  # opened, but not decoded here

# Pillow refuses a photo of twice as many pixels (268 million; the largest phones take 200): a
# damaged header may claim any size. Its warnings about lesser damage help nobody.
Image.MAX_IMAGE_PIXELS = 1 << 27
warnings.filterwarnings("ignore", module=r"PIL\.")

DECODERS = f"pillow {PIL.__version__}"
"""What decodes here: a photo that could not be read is tried again with others."""
for plugin, suffixes in {"pillow_heif": {".heic", ".heif", ".hif"}, "pillow_jxl": {".jxl"}}.items():
    with suppress(ImportError):  # extras
        module = import_module(plugin)
        getattr(module, "register_heif_opener", lambda: None)()
        DECODERS += f", {plugin} {getattr(module, '__version__', '')}"
        SUFFIXES |= suffixes

FOREIGN = {
    rb".{4}ftyp(hei|hev|mif1|msf1)": "HEIC: pip install 'carsclf[heic]' decodes it",
    rb"\xff\x0a|\0\0\0\x0cJXL ": "JPEG XL: pip install pillow-jxl-plugin decodes it",
    rb".{4}ftypcrx|FUJIFILMCCD|IIRO|IIU\0": A_RAW,
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype svg[^>]*>\s*)?<svg": "SVG, a drawing: "
    "convert it, with cairosvg for instance",
    rb"%!PS|\xc5\xd0\xd3\xc6": "PostScript, a drawing: convert it, with ghostscript for instance",
    rb"\s*(<!doctype html|<html|<\?xml)": "a web page, no picture",
    rb"[\s\0]*$": "an empty file",
}
"""How files begin that Pillow does not decode by itself, and what they are."""

ORIENTATION = 0x0112  # of EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(source: bytes | Path, *, at_least: int | None = None) -> Image.Image:
    """The first frame as upright RGB, transparent pixels on white.

    Integers deeper than 8 bits are scaled by the least of 1, 8, 10, 12, 14 and 16 bits that holds
    the photo's largest value, floats from 0..1; other numbers from the photo's own least to its
    largest, where NaN counts as the least. Damaged EXIF is passed over. `at_least`: a JPEG may be
    decoded at a fraction of its size, not below so many pixels. Raises DataError with the reason
    alone; OSError where the file is not there or may not be read, and MemoryError.
    """
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            if at_least:
                image.draft("RGB", (at_least, at_least))
            deep = ";16" in str(image.tile)
            image.load()
            return _upright(_rgb(image, deep), _orientation(image))
    except (DataError, MemoryError):
        raise
    except PIL.UnidentifiedImageError:
        raise DataError(foreign(source) or "of no kind that Pillow knows") from None
    except Exception as error:  # a damaged header makes Pillow raise a dozen kinds
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(" ".join(str(error).split()) or type(error).__name__) from None


def is_picture(path: Path) -> bool:
    """By name where only pictures are called so, else by content."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES or suffix in RAW:
        return suffix in SUFFIXES
    try:
        with Image.open(path) as image:
            return image.format not in NO_PHOTOS
    except Exception:  # as in decode
        return False


def foreign(source: bytes | Path) -> str | None:
    """What a file is that Pillow does not know, and what would decode it; None: no idea."""
    if isinstance(source, Path):
        if source.suffix.lower() in RAW:
            return A_RAW
        with suppress(OSError), source.open("rb") as file:
            source = file.read(1024)
    head = source if isinstance(source, bytes) else b"?"
    kinds = (said for begin, said in FOREIGN.items() if re.match(begin, head[:1024], re.S | re.I))
    return next(kinds, None)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # the pixels are fine; ImageOps.exif_transpose would fail on any damaged tag
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image, deep: bool) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(_numbers(image))).convert("RGB")
    if deep and image.mode in ("RGB", "RGBA") and max(h for _, h in image.getextrema()[:3]) < 16:  # type: ignore[index]
        # Pillow keeps the high byte of 16-bit colours, in which 12 bits leave next to nothing
        raise DataError("16-bit colours of which only the lowest 12 bits are used: scale them")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _numbers(image: Image.Image) -> np.ndarray:
    """A grey picture's values; Pillow reads unsigned 32-bit integers of a TIFF as signed ones."""
    values, tags = np.asarray(image), getattr(image, "tag_v2", None)
    signed = tags is None or tags.get(339, (1,))[0] != 1  # SampleFormat: 1 is unsigned
    return values if signed or values.dtype != np.int32 else values.view(np.uint32)


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Numbers of any range as uint8; see decode."""
    whole, finite = values.dtype.kind in "iu", np.isfinite(values)
    if not finite.any():
        raise DataError("holds no number")
    values = values.astype(np.float32)
    low, high = float(values[finite].min()), float(values[finite].max())
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    tops = [2**bits - 1 for bits in (1, 8, 10, 12, 14, 16)] if whole else [1 + 1e-6]
    top = next((top for top in tops if high <= top), None)
    if low < 0 or top is None:
        values, top = values - low, high - low
    return (values * (255 / (top or 1)) + 0.5).clip(0, 255).astype(np.uint8)
