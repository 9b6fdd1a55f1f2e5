"""Stage 1: what is there, and what it can support."""

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

import numpy as np
from PIL import Image

from carsclf.advising.advice import Advice, say
from carsclf.data.build import make_data
from carsclf.data.datamodule import CarsDataModule
from carsclf.data.images import read_file
from carsclf.data.samples import Sample, list_some
from carsclf.files import write_json
from carsclf.machine.devices import available_cores

FEW = 10  # training pictures of a class, below which it is told
SHOWN = 20  # duplicates that are named


def look(advice: Advice) -> None:
    """Writes look.json; raises DataError for what cannot be trained on."""
    data, unreadable = make_data(advice.training)
    found = looked(data, unreadable)
    write_json(advice.folder.look, found)
    for line in lines(found):
        say(line)


def looked(data: CarsDataModule, unreadable: Sequence[str]) -> dict[str, Any]:
    """Counts, sizes, what is unreadable or double, and how finely accuracy can be told."""
    splits = data.splits
    trained = Counter(sample.target for sample in splits["train"])
    per_class = {name: trained[i] for i, name in enumerate(data.class_names)}
    judged = "test" if "test" in splits else "val"
    samples = [sample for part in splits.values() for sample in part]
    with ThreadPoolExecutor(available_cores()) as pool:
        measured = list(pool.map(_measured, samples))
    sides = np.array([sorted(side) for _, side in measured if side[0]]).reshape(-1, 2)
    hashes = {s.id: key for s, (key, _) in zip(samples, measured, strict=True)}
    return {
        "classes": len(data.class_names),
        "protocol": data.protocol,
        "images": {name: len(part) for name, part in splits.items()},
        "per_class": _spread(np.array(list(per_class.values()))),
        "few_below": FEW,
        "few": {name: count for name, count in per_class.items() if count < FEW},
        "sizes": {name: _spread(sides[:, i]) for i, name in enumerate(("short", "long"))},
        "unreadable": list(unreadable),
        "duplicates": doubles(splits, hashes),
        "judged_on": judged,
        "standard_error": standard_errors(len(splits[judged])),
    }


def standard_errors(n: int) -> dict[str, float]:
    """sqrt(p (1 - p) / n) of an accuracy p that n pictures tell, for a few of them."""
    return {f"{p:g}": float(np.sqrt(p * (1 - p) / n)) for p in (0.5, 0.7, 0.9)}


def doubles(splits: Mapping[str, Sequence[Sample]], hashes: Mapping[str, str]) -> dict[str, Any]:
    """Files of the same content in two splits: how many of the later have one in the earlier."""
    counts, pairs = {}, []
    for one, two in combinations(splits, 2):
        first = {hashes[sample.id]: sample for sample in reversed(splits[one])}
        found = [(first[hashes[s.id]], s) for s in splits[two] if hashes[s.id] in first]
        counts[f"{one}, {two}"] = len(found)
        pairs += [
            {"id": a.id, "split": one, "other": b.id, "other_split": two,
             "same_class": a.target == b.target}
            for a, b in found
        ]  # fmt: skip
    return {"counts": counts, "pairs": pairs[:SHOWN]}


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What of it a person should know before anything is trained."""
    parts = ", ".join(f"{count:,} {split}" for split, count in found["images"].items())
    short, many = found["sizes"]["short"], found["per_class"]
    yield (
        f"{found['classes']} classes, {parts} pictures ({found['protocol']}), {many['min']:g} to "
        f"{many['max']:g} of a class in training; shorter sides {short['min']:g} to "
        f"{short['max']:g} pixels, median {short['median']:g}"
    )
    if found["few"]:
        few, below = list_some(list(found["few"])), found["few_below"]
        yield f"classes with fewer than {below} training pictures: {few}"
    if found["unreadable"]:
        yield f"{len(found['unreadable'])} unreadable, left out: {list_some(found['unreadable'])}"
    for pair, count in found["duplicates"]["counts"].items():
        if count:
            one, two = pair.split(", ")
            yield f"{count} of {two} lie in {one} too, byte for byte: leave them out (curate.py)"
    error = 100 * found["standard_error"]["0.5"]
    yield (
        f"{found['judged_on']} tells an accuracy to {error:.2g} points (standard error at 50 %), "
        f"and differences of less than about {2 * error * 2**0.5:.2g} not"
    )


def _spread(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {"min": 0.0, "median": 0.0, "max": 0.0}
    return {
        "min": float(values.min()),
        "median": float(np.median(values)),
        "max": float(values.max()),
    }


def _measured(sample: Sample) -> tuple[str, tuple[int, int]]:
    """A key of the file's content, and its sides as they are written in it."""
    content = read_file(sample)
    try:
        with Image.open(io.BytesIO(content)) as image:
            size = image.size
    except OSError:  # a kind that Pillow leaves to others, and which was read already
        size = (0, 0)
    return hashlib.blake2b(content, digest_size=16).hexdigest(), size
