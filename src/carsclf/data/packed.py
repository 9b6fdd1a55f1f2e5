"""Photos decoded and resized once, kept as uint8 in one memory map per source and rule.

A pack only ever grows: pictures are appended to `pictures-*.u8`, and the index, replaced in one
step, says which of them count. So a killed builder leaves a pack that the next one continues,
readers are never disturbed, and a changed photo (size or time) is simply appended anew.
"""

import hashlib
import json
import logging
import os
import shutil
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image
from rich.progress import Progress

from carsclf.data.images import read_picture
from carsclf.data.pack_index import Index, Row, map_pixels
from carsclf.data.samples import Sample, Source
from carsclf.data.transforms import Stored
from carsclf.errors import DataError
from carsclf.machine.devices import available_cores

log = logging.getLogger(__name__)

VERSION = 1  # of the folder's content
SAVE_EVERY = 5.0  # seconds of work that a kill may cost
RESERVE = 64 << 20  # bytes left free beside the pack
REMEDY = (
    "free some space, choose another place with CARSCLF_CACHE=<folder>, or do without with "
    "data.packed=false"
)


class Pack:
    """Read-only pictures of some samples; processes share the pages, forked or spawned.

    unreadable: ids of the photos that could not be decoded.
    """

    def __init__(self, path: Path, rows: Sequence[tuple[Sample, Row]]) -> None:
        self.path = path
        self.places = {(s.path, s.box): row[:3] for s, row in rows if row[1]}
        self.unreadable = [s.id for s, row in rows if not row[1]]
        self.pixels = map_pixels(path)

    def __contains__(self, sample: Sample) -> bool:
        return (sample.path, sample.box) in self.places

    def __getitem__(self, sample: Sample) -> np.ndarray:
        """(height, width, 3) uint8, a read-only view of the map."""
        offset, height, width = self.places[sample.path, sample.box]
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
    rule = {**asdict(stored), "crop": crop, "margin": margin, "version": VERSION}
    digest = _digest(json.dumps(rule, sort_keys=True), str(source.root))[:12]
    folder = cache / "packed" / f"{source.name}-{stored.rule}-{stored.size}-{digest}"
    photos = {_photo_key(sample): sample for sample in source.samples}

    def decode(sample: Sample) -> np.ndarray | DataError:
        try:
            return stored.array(read_picture(sample, crop=crop, margin=margin))
        except DataError as error:
            return error

    try:
        index = Index.read(folder)
        if index is None or not index.untouched or not index.rows.keys() >= photos.keys():
            with _alone(folder):
                index = Index.read(folder) or Index.new(folder)
                index.mend()
                lacking = {k: s for k, s in photos.items() if k not in index.rows}
                if lacking or not index.untouched:
                    _check_space(folder, list(lacking.values()), stored, crop)
                    _add(index, lacking, decode)
        return Pack(index.pictures, [(s, index.rows[key]) for key, s in photos.items()])
    except OSError as error:
        raise DataError(
            f"the packed photos in {folder} cannot be written or read ({error.strerror or error}): "
            f"{REMEDY}"
        ) from error


def _add(
    index: Index,
    samples: dict[str, Sample],
    decode: Callable[[Sample], np.ndarray | DataError],
) -> None:
    """Decodes with all cores, appends in order; at most a few pictures per core are in memory."""
    began, saved = time.perf_counter(), time.monotonic()
    with open(index.pictures, "ab") as out, Progress(transient=True) as bar:
        out.truncate(index.end)
        offset = index.end
        done = _in_order(decode, samples.values())
        for key, picture in bar.track(
            zip(samples, done, strict=True), len(samples), description="packing photos"
        ):
            if isinstance(picture, DataError):
                log.warning("%s", picture)
                index.rows[key] = (offset, 0, 0, 0)
                continue
            out.write(picture.data)
            height, width, _ = picture.shape
            index.rows[key] = (offset, height, width, zlib.crc32(picture.data))
            offset += picture.nbytes
            if time.monotonic() - saved > SAVE_EVERY:
                _save(index, out)
                saved = time.monotonic()
        _save(index, out)
    if samples:
        seconds = time.perf_counter() - began
        where = (_size(offset), index.folder)
        log.info("packed %d photos in %.1f s: %s in %s", len(samples), seconds, *where)


def _save(index: Index, out: Any) -> None:
    out.flush()
    os.fsync(out.fileno())  # the index must not know of pictures that a power cut would lose
    index.write()


def _in_order(
    work: Callable[[Sample], np.ndarray | DataError], samples: Iterable[Sample]
) -> Iterator[np.ndarray | DataError]:
    """Results in the samples' order. Threads: Pillow and torch let go of the interpreter."""
    cores = available_cores()
    pool, waiting = ThreadPoolExecutor(cores), deque[Future[np.ndarray | DataError]]()
    try:
        for sample in samples:
            waiting.append(pool.submit(work, sample))
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
        except (OSError, SyntaxError, ValueError, ZeroDivisionError):
            continue  # the decoder will name it
    return 3 * pixels * len(samples) // len(chosen)


def _photo_key(sample: Sample) -> str:
    """Changes with the file's place, size or time, and with the box."""
    stat = sample.path.stat()
    return _digest(str(sample.path), str(stat.st_size), str(stat.st_mtime_ns), repr(sample.box))


def _digest(*parts: str) -> str:
    return hashlib.blake2b("|".join(parts).encode(), digest_size=16).hexdigest()


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
