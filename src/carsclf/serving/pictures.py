"""From an upload's bytes to what the network sees, or the reason why not."""

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePath

import torch
from PIL import Image, UnidentifiedImageError

from carsclf.data.decoding import A_RAW, RAW, foreign
from carsclf.data.images import pixels
from carsclf.data.transforms import EvalTransform
from carsclf.errors import DataError
from carsclf.serving.refusal import Refusal
from carsclf.serving.settings import Limits

Image.init()
PHOTOS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "MPO", "JPEG2000", "PPM", "TGA"),
    *("HEIF", "JXL"),
)
FORMATS = tuple(name for name in PHOTOS if name in Image.OPEN)
"""What strangers may send: fewer decoders than a training reads, EPS and its interpreter not."""


@dataclass(frozen=True)
class Upload:
    """A file as it came; its name is what the client says."""

    content: bytes
    name: str = ""


@dataclass(frozen=True)
class Seen:
    """A picture as the network gets it in evaluation, (3, size, size) uint8."""

    picture: torch.Tensor
    sha256: str  # of the upload's bytes
    format: str  # Pillow's name


def see(upload: Upload, transform: EvalTransform, limits: Limits) -> Seen:
    """Decoded by the rules of training and evaluation; raises Refusal with the reason."""
    content = upload.content
    if not content:
        raise Refusal(400, "an empty file")
    if len(content) > limits.image_bytes:
        raise Refusal(413, f"{len(content):,} bytes: at most {limits.image_bytes:,} are read")
    if PurePath(upload.name).suffix.lower() in RAW:
        raise Refusal(415, A_RAW)
    decoded, kind = _decoded(content, limits.pixels)
    return Seen(transform(decoded), hashlib.sha256(content).hexdigest(), kind)


def _decoded(content: bytes, most: int) -> tuple[torch.Tensor, str]:
    """(3, height, width) uint8 and the format; the size is looked at before anything is decoded."""
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > most:
                raise Refusal(
                    413, f"{image.width} x {image.height} pixels: at most {most:,} are decoded"
                )
            return pixels(image), str(image.format)
    except Refusal:
        raise
    except UnidentifiedImageError:
        raise Refusal(415, foreign(content) or "of no kind of picture that is read here") from None
    except Image.DecompressionBombError:
        raise Refusal(413, f"at most {most:,} pixels are decoded") from None
    except MemoryError:
        raise Refusal(413, "no memory is left for it") from None
    except DataError as error:
        raise Refusal(422, f"a damaged picture ({error})") from None
    except Exception as error:  # a damaged header makes Pillow raise a dozen kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Refusal(422, f"a damaged picture ({reason})") from None
