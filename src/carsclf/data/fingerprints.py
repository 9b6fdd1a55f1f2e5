"""By what a photo is known again: its content, and a perceptual hash with a small grey picture."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from rich.progress import track

from carsclf.data.decoding import RULES, decode
from carsclf.data.images import file_identity, read_file
from carsclf.data.samples import Sample
from carsclf.errors import ConfigError, DataError
from carsclf.files import atomic_write, cache_root
from carsclf.machine.devices import available_cores
from carsclf.terminal import terminal

SIDE = 32  # of the grey thumbnail that pairs are compared by
VERSION = [1, RULES]
COLUMNS = ("content", "hash", "mirrored", "thumb")


def fingerprints(samples: Sequence[Sample], kept: Path) -> pd.DataFrame:
    """A row per sample, in order; those of files that are the same as before come from `kept`.

    Columns: id, identity (of the file), content (SHA-256, hexadecimal), hash, mirrored and thumb
    (see `looks`). What cannot be read has none of them, what cannot be decoded the content only.
    """
    rows = _remembered(kept, {s.id: s for s in samples}, VERSION, _measured, check_hashes)
    return pd.DataFrame([rows[s.id] for s in samples], columns=["id", "identity", *COLUMNS])


def check_hashes() -> None:
    """Refuses to begin without the package of perceptual hashes."""
    if find_spec("imagehash") is None:
        raise ConfigError("reference sets need imagehash: pip install 'carsclf[gate]'")


def content_hash(content: bytes) -> str:
    """SHA-256, as `sha256sum` prints it."""
    return hashlib.sha256(content).hexdigest()


def contents(samples: Sequence[Sample]) -> dict[str, str]:
    """SHA-256 of each sample's file, by id, of those that can be read.

    Those of files that are the same as before come from the cache folder.
    """
    places = {str(s.path): s for s in samples}
    if not places:
        return {}
    root = content_hash(os.path.commonpath(places).encode())
    kept = cache_root() / "contents" / f"{root}.parquet"
    rows = _remembered(kept, places, [], lambda sample: {"content": content_of(sample)})
    found = {s.id: rows[place]["content"] for place, s in places.items()}
    return {id: content for id, content in found.items() if isinstance(content, str)}


def content_of(sample: Sample) -> str | None:
    """The hash of what lies there now; None where that cannot be read."""
    try:
        return content_hash(read_file(sample))
    except DataError:
        return None


def looks(grey: Image.Image) -> dict[str, bytes]:
    """hash and mirrored: 64 bits each, of the photo and its mirror image (Zauner 2010); thumb:
    SIDE x SIDE grey bytes."""
    import imagehash

    hashes = [imagehash.phash(g).hash for g in (grey, ImageOps.mirror(grey))]
    one, two = (np.packbits(h.ravel()).tobytes() for h in hashes)
    thumb = grey.resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0).tobytes()
    return {"hash": one, "mirrored": two, "thumb": thumb}


def thumbs_of(table: pd.DataFrame) -> np.ndarray:
    """(n, SIDE, SIDE) float32; black everywhere where a photo could not be read."""
    blank = bytes(SIDE * SIDE)
    flat = b"".join(t if isinstance(t, bytes) else blank for t in table["thumb"])
    return np.frombuffer(flat, np.uint8).reshape(-1, SIDE, SIDE).astype(np.float32)


def hashes_of(table: pd.DataFrame, column: str) -> np.ndarray:
    """(n, 64) of -1 and 1; zeros where a photo could not be read."""
    rows = np.zeros((len(table), 64), np.float32)
    for row, value in zip(rows, table[column], strict=True):
        if isinstance(value, bytes):
            row[:] = 2.0 * np.unpackbits(np.frombuffer(value, np.uint8)) - 1
    return rows


def _remembered(
    kept: Path,
    samples: Mapping[str, Sample],
    version: Sequence[Any],
    measure: Callable[[Sample], dict[str, Any]],
    check: Callable[[], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """A row per sample, by its key: measured, or from `kept` where the file is the same as before.

    version: of what is measured; check: what has to be there before any is.
    """
    known = _known(kept)
    identities = {k: json.dumps([*version, *file_identity(s.path)]) for k, s in samples.items()}
    new = {k: s for k, s in samples.items() if known.get(k, {}).get("identity") != identities[k]}
    if new:
        if check is not None:
            check()
        with ThreadPoolExecutor(available_cores()) as pool:
            bar = terminal(stderr=True)
            watched = track(pool.map(measure, new.values()), "fingerprints", len(new), console=bar,
                            transient=True, disable=not bar.is_terminal)  # fmt: skip
            for key, row in zip(new, watched, strict=True):
                known[key] = {"id": key, "identity": identities[key], **row}
        with atomic_write(kept) as temporary:
            pd.DataFrame(list(known.values())).to_parquet(temporary)
    return known


def _known(kept: Path) -> dict[str, dict[str, Any]]:
    try:
        rows = pd.read_parquet(kept).to_dict("records")
        return {str(row["id"]): {str(k): v for k, v in row.items()} for row in rows}
    except Exception:  # not there, or damaged: measured anew
        return {}


def _measured(sample: Sample) -> dict[str, Any]:
    """One photo's row, without id and identity."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    try:
        content = read_file(sample)
        row["content"] = content_hash(content)
        return row | looks(decode(content).convert("L"))
    except (DataError, OSError, MemoryError):
        return row
