"""Photos decoded and resized once, kept as uint8 in one memory map per source and rule.

A pack only ever grows: pictures are appended to `pictures-*.u8`, and the index, replaced in one
step, says which of them count. So a killed builder leaves a pack that the next one continues,
readers are never disturbed, and a changed photo is simply appended anew. Pictures are kept by their
files' content, which is read again only where a file is not the one that was seen before.
"""

import hashlib
import json
import logging
import os
import shutil
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image
from rich.progress import Progress

from carsclf.data.decoding import RULES
from carsclf.data.images import Unreadable, file_identity, read_file, read_picture
from carsclf.data.pack_index import Index, Row, map_pixels
from carsclf.data.samples import Sample, Source
from carsclf.data.transforms import Stored
from carsclf.errors import DataError
from carsclf.machine.devices import available_cores

log = logging.getLogger(__name__)
T = TypeVar("T")

VERSION = 2  # of the folder's content
SAVE_EVERY = 5.0  # seconds of work that a kill may cost
RESERVE = 64 << 20  # bytes left free beside the pack
REMEDY = (
    "free some space, choose another place with CARSCLF_CACHE=<folder>, or do without with "
    "data.packed=false"
)


@dataclass(frozen=True)
class Photo:
    """A sample, where its pixels come from, and the identity of the file that was there."""

    sample: Sample
    place: str
    identity: list[int]


class Pack:
    """Read-only pictures of some samples; processes share the pages, forked or spawned.

    unreadable: why, of the ids of the photos that could not be decoded.
    """

    def __init__(self, path: Path, rows: Mapping[Sample, Row], unreadable: dict[str, str]) -> None:
        self.path, self.unreadable = path, unreadable
        self.places = {(s.path, s.box, s.turn): row[:3] for s, row in rows.items()}
        self.pixels = map_pixels(path)

    def __contains__(self, sample: Sample) -> bool:
        return (sample.path, sample.box, sample.turn) in self.places

    def __getitem__(self, sample: Sample) -> np.ndarray:
        """(height, width, 3) uint8, a read-only view of the map."""
        offset, height, width = self.places[sample.path, sample.box, sample.turn]
        return self.pixels[offset : offset + height * width * 3].reshape(height, width, 3)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"pixels": None}  # else a spawned worker is sent all pictures

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"pixels": map_pixels(state["path"])}


def open_pack(cache: Path, source: Source, stored: Stored, *, crop: str, margin: float) -> Pack:
    """The pack of a source's photos below `cache`/packed; what it lacks is added first.

    One process builds, others wait. Raises DataError, in one line, where the cache cannot be
    written or has too little space.
    """
    rule = {**asdict(stored), "crop": crop, "margin": margin, "version": [VERSION, RULES]}
    digest = _digest(json.dumps(rule, sort_keys=True), str(source.root))[:12]
    folder = cache / "packed" / f"{source.name}-{stored.rule}-{stored.size}-{digest}"
    boxed = crop == "box"
    photos = [
        Photo(s, f"{s.path}|{s.box if boxed else None}{_turn(s)}", file_identity(s.path))
        for s in source.samples
    ]
    failed: dict[str, str] = {}
    try:
        index = Index.read(folder)
        if index is None or not index.untouched or _lacking(index, photos):
            with _alone(folder):
                index = Index.read(folder) or Index.new(folder)
                index.mend()
                if (lacking := _lacking(index, photos)) or not index.untouched:
                    _check_space(folder, [photo.sample for photo in lacking], stored, crop)
                    failed = _add(index, lacking, _Decoder(index, stored, crop, margin))
        return _pack(index, photos, failed)
    except OSError as error:
        raise DataError(
            f"the packed photos in {folder} cannot be written or read ({error.strerror or error}): "
            f"{REMEDY}"
        ) from error


def _lacking(index: Index, photos: Sequence[Photo]) -> list[Photo]:
    return [photo for photo in photos if index.content(photo.place, photo.identity) is None]


def _pack(index: Index, photos: Sequence[Photo], failed: dict[str, str]) -> Pack:
    """failed: reasons that are not kept, since the next try may fare better."""
    rows, unreadable = {}, {}
    for photo in photos:
        content = index.content(photo.place, photo.identity)
        if content is None or content in index.unreadable:
            why = index.unreadable.get(content or "") or failed.get(photo.place)
            unreadable[photo.sample.id] = why or "it changed while it was read"
        else:
            rows[photo.sample] = index.rows[content]
    return Pack(index.pictures, rows, unreadable)


@dataclass(frozen=True)
class _Decoder:
    index: Index
    stored: Stored
    crop: str
    margin: float

    def __call__(self, photo: Photo) -> tuple[str, np.ndarray | Unreadable | None]:
        """A key of the content, and its picture, or why there is none; None: packed already."""
        key, sample = "", photo.sample
        try:
            content = read_file(sample)
            box = sample.box if self.crop == "box" else None
            key = _digest(
                hashlib.blake2b(content, digest_size=16).hexdigest(), repr(box) + _turn(sample)
            )
            if key in self.index.rows or key in self.index.unreadable:
                return key, None
            picture = read_picture(sample, crop=self.crop, margin=self.margin, content=content)
            return key, self.stored.array(picture)
        except Unreadable as error:
            return key, error
        except RuntimeError as error:  # torch has no memory for it
            return key, Unreadable(str(error), lasting=False)


def _add(index: Index, photos: Sequence[Photo], decode: _Decoder) -> dict[str, str]:
    """Decodes with all cores, appends in order; at most a few pictures per core are in memory.

    Returns, for each place, the reasons that are not kept.
    """
    began, saved, failed, new = time.perf_counter(), time.monotonic(), {}, 0
    with open(index.pictures, "ab") as out, Progress(transient=True) as bar:
        out.truncate(index.end)
        offset = index.end
        done = _in_order(decode, photos)
        for photo, (key, picture) in bar.track(
            zip(photos, done, strict=True), len(photos), description="packing photos"
        ):
            if isinstance(picture, Unreadable):
                if not picture.lasting:
                    failed[photo.place] = picture.reason
                    continue
                index.unreadable[key] = picture.reason
            elif picture is not None and key not in index.rows:  # of two with one content, one
                out.write(picture.data)
                height, width, _ = picture.shape
                index.rows[key] = (offset, height, width, zlib.crc32(picture.data))
                offset, new = offset + picture.nbytes, new + 1
            index.files[photo.place] = (photo.identity, key)
            if time.monotonic() - saved > SAVE_EVERY:
                _save(index, out)
                saved = time.monotonic()
        _save(index, out)
    if new:
        seconds = time.perf_counter() - began
        where = (_size(offset), index.folder)
        log.info("packed %d photos in %.1f s: %s in %s", new, seconds, *where)
    return failed


def _save(index: Index, out: Any) -> None:
    out.flush()
    os.fsync(out.fileno())  # the index must not know of pictures that a power cut would lose
    index.write()


def _in_order(work: Callable[[Photo], T], photos: Iterable[Photo]) -> Iterator[T]:
    """Results in the photos' order. Threads: Pillow and torch let go of the interpreter."""
    cores = available_cores()
    pool, waiting = ThreadPoolExecutor(cores), deque[Future[T]]()
    try:
        for photo in photos:
            waiting.append(pool.submit(work, photo))
            if len(waiting) >= 4 * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; the system lets go of it when a builder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another process is packing photos in %s: waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _check_space(folder: Path, samples: Sequence[Sample], stored: Stored, crop: str) -> None:
    if not samples:
        return
    need, free = _bytes_needed(samples, stored, crop), shutil.disk_usage(folder).free
    if need + RESERVE > free:
        raise DataError(
            f"packing {len(samples)} photos needs about {_size(need)}, and {folder} has "
            f"{_size(free)} free: {REMEDY}"
        )


def _bytes_needed(samples: Sequence[Sample], stored: Stored, crop: str) -> int:
    """An estimate from the sizes of at most 500 photos, of which only the headers are read."""
    chosen = samples[:: -(-len(samples) // 500)]
    pixels = 0
    for sample in chosen:
        try:
            if crop == "box" and sample.box:
                left, top, right, bottom = sample.box
                pixels += stored.pixels(right - left, bottom - top)
            else:
                with Image.open(sample.path) as image:
                    pixels += stored.pixels(*image.size)
        except Exception:  # as in carsclf.data.decoding
            continue  # the decoder will name it
    return 3 * pixels * len(samples) // len(chosen)


def _turn(sample: Sample) -> str:
    """What a turned photo's keys have more than one that is taken as it is."""
    return f"|{sample.turn}" if sample.turn else ""


def _digest(*parts: str) -> str:
    return hashlib.blake2b("|".join(parts).encode(), digest_size=16).hexdigest()


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
