"""Style pictures by their style's name, and which photo is shown in which style."""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torchvision.transforms.v2.functional import resize

from carsclf.data.images import Unreadable, read_picture
from carsclf.data.listing import list_pictures
from carsclf.data.samples import Sample, check_names, data_root, list_some, shown, told_left_out
from carsclf.data.transforms import Stored
from carsclf.errors import DataError
from carsclf.files import cache_root
from carsclf.options.kinds import LONGEST
from carsclf.styles.drawing import SIZE, VERSION, draw_styles

DRAWN = "drawn"  # styles=drawn: by the project itself
SMALLEST = 64  # pixels of a style picture: what a decoder is trained on
EXPECTED = "expected a folder with a picture or a folder of pictures for each style"
Styles = dict[str, list[torch.Tensor]]
"""Pictures (3, height, width) uint8 by the name of their style, in alphabetical order."""


@dataclass(frozen=True)
class Planned:
    """One picture to be made: of which photo, in the style of which picture, and where."""

    sample: Sample
    style: str
    number: int  # of the style's pictures
    name: str  # POSIX path below the folder


def read_styles(root: str) -> Styles:
    """All style pictures below a folder, their shorter side at most SIZE; `drawn`: our own.

    A sub-folder is a style with all pictures below it, a picture beside it a style of its own.
    Raises DataError where there are none, or one cannot be read or is too small.
    """
    place = draw_styles(cache_root() / f"styles-{VERSION}") if root == DRAWN else _folder(root)
    listing = list_pictures(place)
    if not listing.pictures:
        raise DataError(
            f"styles={root} holds no pictures{told_left_out(listing.left_out)}: {EXPECTED}"
        )
    check_names(["/".join(parts) for parts in listing.pictures])
    styles, stored = defaultdict(list), Stored("at_most", SIZE, "bicubic")
    for parts in listing.pictures:
        path = place.joinpath(*parts)
        try:
            picture = read_picture(Sample("/".join(parts), path, 0))
        except Unreadable as error:
            raise DataError(
                f"styles={root}: {shown(str(path))} cannot be read as a picture ({error.reason}): "
                "replace or remove it"
            ) from None
        if min(picture.shape[1:]) < SMALLEST:
            raise DataError(
                f"styles={root}: {shown(str(path))} has {tuple(picture.shape[1:])} pixels: "
                f"expected at least {SMALLEST} on each side"
            )
        first = "".join(parts[:1])
        styles[first if len(parts) > 1 else Path(first).stem].append(stored(picture))
    return dict(sorted(styles.items()))


def _folder(root: str) -> Path:
    try:
        return data_root(root, EXPECTED)
    except DataError as error:
        raise DataError(str(error).replace("data.root=", "styles=")) from None


def key_of_styles(styles: Styles) -> str:
    """A key of names and pixels."""
    digest = hashlib.blake2b(digest_size=8)
    for name, pictures in styles.items():
        digest.update(name.encode())
        for picture in pictures:
            digest.update(repr(tuple(picture.shape)).encode() + picture.numpy().tobytes())
    return digest.hexdigest()


def plan(
    samples: Sequence[Sample],
    class_names: Sequence[str],
    styles: Mapping[str, Sequence[object]],
    *,
    per_image: int,
    seed: int,
) -> list[Planned]:
    """`per_image` pictures of each photo, no style twice before each came once.

    Which ones the seed and the photo's id decide alone. Raises DataError for a class that cannot be
    a folder.
    """
    folders = {s.target: class_folder(class_names[s.target]) for s in samples}
    names, planned = list(styles), []
    for sample in {sample.id: sample for sample in samples}.values():  # a bootstrap repeats some
        digest = hashlib.blake2b(f"style/{seed}/{sample.id}".encode(), digest_size=16)
        rng = np.random.default_rng(int(digest.hexdigest(), 16))
        order, first = rng.permutation(len(names)), rng.integers(1 << 30)
        for k in range(per_image):
            style = names[order[k % len(names)]]
            number = int(first + k // len(names)) % len(styles[style])
            plain = re.sub(r"[^\w-]+", "_", style, flags=re.ASCII)[:40]
            name = f"{folders[sample.target]}/{_short(sample.id)}-{k}-{plain}.jpg"
            planned.append(Planned(sample, style, number, name))
    return planned


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()


def class_folder(name: str) -> str:
    """A class's folder, its name; one with a slash is a folder in a folder.

    Raises DataError for a name that leads elsewhere, is hidden, or that no folder can have.
    """
    parts = name.split("/")
    wrong = [
        p for p in parts if not p or p.startswith(".") or "\0" in p or len(os.fsencode(p)) > LONGEST
    ]
    if wrong:
        raise DataError(
            f"the class {shown(name)[:80]!r} cannot be the name of a folder: expected no empty "
            "part, none that begins with a dot, and none of more than 255 bytes; rename it"
        )
    return name


def fitted(sample: Sample, size: int, *, crop: str, margin: float) -> torch.Tensor:
    """A photo whose longer side is at most `size` pixels, (3, height, width) uint8."""
    picture = read_picture(sample, crop=crop, margin=margin)
    height, width = picture.shape[1:]
    scale = min(1.0, size / max(height, width))
    if scale == 1:
        return picture
    return resize(picture, [max(1, round(height * scale)), max(1, round(width * scale))])


def told_styles(styles: Styles) -> str:
    """How many of each, for a line."""
    return list_some([f"{name} ({len(found)})" for name, found in styles.items()])
