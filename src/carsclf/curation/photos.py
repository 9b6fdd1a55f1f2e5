"""What is measured of each photo's own pixels, once: content, size, light, sharpness, hashes."""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from rich.progress import track

from carsclf.data.decoding import ORIENTATION, RULES, decode
from carsclf.data.fingerprints import looks
from carsclf.data.images import Unreadable, file_identity, read_file
from carsclf.data.samples import Sample
from carsclf.errors import ConfigError, DataError
from carsclf.files import atomic_write
from carsclf.machine.devices import available_cores
from carsclf.terminal import terminal

LONGEST = 256  # pixels of the longer side at which sharpness is measured: a zoom is no blur
VERSION = [1, RULES]
EXTRA = "pip install 'carsclf[curation]'"


def measure(samples: Sequence[Sample], kept: Path) -> pd.DataFrame:
    """A row per sample, in order; those of files that are the same as before come from `kept`.

    Columns: id, identity, content (hash of the file), width, height (upright, pixels), orientation
    (EXIF's; 1: upright), brightness (mean, 0..255), sharpness (variance of the Laplacian), hash and
    mirrored (64 bits each, as bytes; of the photo and its mirror image), thumb (grey bytes; see
    carsclf.data.fingerprints), unreadable (why, or None; then the numbers are missing).
    """
    check_extra()
    known = _known(kept)
    identities = {s.id: json.dumps([*VERSION, *file_identity(s.path)]) for s in samples}
    new = [s for s in samples if known.get(s.id, {}).get("identity") != identities[s.id]]
    with ThreadPoolExecutor(available_cores()) as pool:
        bar = terminal(stderr=True)
        rows = pool.map(_measured, new)
        watched = track(rows, "photos", len(new), console=bar, transient=True,
                        disable=not bar.is_terminal)  # fmt: skip
        for sample, row in zip(new, watched, strict=True):
            known[sample.id] = {"id": sample.id, "identity": identities[sample.id], **row}
    table = pd.DataFrame([known[s.id] for s in samples])
    if new:
        with atomic_write(kept) as temporary:
            pd.DataFrame(list(known.values())).to_parquet(temporary)
    return table


def check_extra() -> None:
    """Refuses to begin without the packages that only curation needs."""
    from importlib.util import find_spec

    if lacking := [name for name in ("cleanlab", "imagehash") if find_spec(name) is None]:
        raise ConfigError(f"curate.py needs {' and '.join(lacking)}: {EXTRA}")


def sharpness(grey: Image.Image) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) of a grey picture, at most LONGEST."""
    grey = grey.copy()
    grey.thumbnail((LONGEST, LONGEST))
    x = np.asarray(grey, np.float32)
    if min(x.shape) < 3:
        return 0.0
    middle = x[1:-1, 1:-1]
    around = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return float((around - 4 * middle).var())


def _known(kept: Path) -> dict[str, dict[str, Any]]:
    try:
        rows = pd.read_parquet(kept).to_dict("records")
        return {str(row["id"]): {str(k): v for k, v in row.items()} for row in rows}
    except Exception:  # not there, or damaged: measured anew
        return {}


def _measured(sample: Sample) -> dict[str, Any]:
    """One photo's row, without id and identity."""
    row: dict[str, Any] = dict.fromkeys(
        ("content", "width", "height", "orientation", "brightness", "sharpness", "hash"),
    )
    row |= {"mirrored": None, "thumb": None, "unreadable": None}
    try:
        content = read_file(sample)
        row["content"] = hashlib.blake2b(content, digest_size=16).hexdigest()
        picture = decode(content)
    except (DataError, OSError, MemoryError) as error:
        reason = error.reason if isinstance(error, Unreadable) else str(error)
        return row | {"unreadable": reason or type(error).__name__}
    grey = picture.convert("L")
    return row | {
        "width": picture.width,
        "height": picture.height,
        "orientation": _orientation(content),
        "brightness": float(np.asarray(grey, np.float32).mean()),
        "sharpness": sharpness(grey),
        **looks(grey),
    }


def _orientation(content: bytes) -> int:
    try:
        with Image.open(BytesIO(content)) as image:
            return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF, which decoding passes over too
        return 1
