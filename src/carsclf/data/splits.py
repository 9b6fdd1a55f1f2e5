"""How samples are divided: the protocols. A result without its protocol's name says nothing."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from carsclf.data.follow_up import FOLLOW_UP, NO_LEAK, divide
from carsclf.data.samples import Sample, Source, list_some
from carsclf.errors import ConfigError, DataError, nearest

Splits = dict[str, list[Sample]]  # "train", "val" and, where there is one, "test"


def split(
    source: Source,
    protocol: str,
    *,
    seed: int,
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
    fraction: float = 1.0,
    copies: bool = False,
    leak: str = NO_LEAK,
) -> Splits:
    """Divides a source; depends on the seed and the sample ids only, never on listing order.

    official: the source's own validation and test photos; where it has none, `val_fraction` and
    `test_fraction` of each label of its training photos. published: 20 % of each label of all
    photos for validation, no test (the study's protocol). fractions: `val_fraction` and
    `test_fraction` of each label. follow_up: `test_fraction` of each label, and the rest as
    `carsclf.data.follow_up.divide` does, which takes `copies` and `leak`.
    `fraction` keeps that share of each label of the training photos (at least one).
    """
    _check(source, protocol, val_fraction, test_fraction, fraction)
    samples = source.samples
    if protocol == "published":
        parts = _cut(samples, seed, val=0.2)
    elif protocol == "fractions":
        parts = _cut(samples, seed, val=val_fraction, test=test_fraction)
    elif protocol == FOLLOW_UP:
        parts = _cut(samples, seed, val=0, test=test_fraction)
        halves = [divide(g, copies=copies, leak=leak) for g in _by_label(parts["train"]).values()]
        for name, of in (("train", 0), ("val", 1)):
            parts[name] = [sample for half in halves for sample in half[of]]
    else:
        given = {name: [s for s in samples if s.given == name] for name in ("train", "val", "test")}
        if given["test"] and test_fraction:
            raise ConfigError(
                f"data.test_fraction={test_fraction}: these photos have a test part of their own, "
                "which protocol official keeps; data.protocol=fractions draws all parts anew"
            )
        val = 0 if given["val"] else val_fraction
        parts = _cut(given["train"], seed, val=val, test=test_fraction)
        parts = {name: part or given[name] for name, part in parts.items()}
    if fraction < 1:
        order = shuffled(parts["train"], seed, "fraction")
        parts["train"] = share_of(parts["train"], order, fraction)
    _check_parts(source, parts)
    return {name: sorted(part, key=lambda s: s.id) for name, part in parts.items() if part}


def resampled(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """As many samples, drawn from them with replacement; in the order of their ids.

    About 63 % occur, the others do not. Breiman, Machine Learning 24 (1996), but drawn within each
    label, so that none vanishes. Depends on the seed, the ids and the classes only.
    """
    drawn: list[Sample] = []
    for target, group in _by_label(samples).items():
        places = np.random.default_rng((seed, target)).integers(len(group), size=len(group))
        group = sorted(group, key=lambda s: s.id)
        drawn += [group[place] for place in places]
    return sorted(drawn, key=lambda s: s.id)


def shuffled(samples: Iterable[Sample], seed: int, purpose: str) -> list[Sample]:
    """An order that each sample's own id decides, so that adding photos reorders no others."""

    def key(sample: Sample) -> bytes:
        return hashlib.blake2b(f"{purpose}/{seed}/{sample.id}".encode()).digest()

    return sorted(samples, key=key)


def share_of(samples: Sequence[Sample], order: Iterable[Sample], share: float) -> list[Sample]:
    """The first `share` of each label in an order, at least one; as they stand in `samples`."""
    most = {
        target: max(1, math.floor(len(group) * share + 1e-9))
        for target, group in _by_label(samples).items()
    }
    kept = {s for target, group in _by_label(order).items() for s in group[: most[target]]}
    return [sample for sample in samples if sample in kept]


def _by_label(samples: Iterable[Sample]) -> dict[int, list[Sample]]:
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.target].append(sample)
    return groups


def _cut(samples: list[Sample], seed: int, *, val: float, test: float = 0.0) -> Splits:
    parts: Splits = {"train": [], "val": [], "test": []}
    for group in _by_label(samples).values():
        order = shuffled(group, seed, "split")
        # floor, as published; 1e-9 because 0.2 * 45 must be 9
        n_test, n_val = (math.floor(len(order) * share + 1e-9) for share in (test, val))
        parts["test"] += order[:n_test]
        parts["val"] += order[n_test : n_test + n_val]
        parts["train"] += order[n_test + n_val :]
    return parts


def _check(source: Source, protocol: str, val: float, test: float, fraction: float) -> None:
    known = ["auto", "fractions", FOLLOW_UP, *source.protocols]
    if protocol not in known:
        raise ConfigError(f"data.protocol={protocol} is unknown here: {nearest(protocol, known)}")
    why_not = source.protocols.get(protocol)
    if why_not:
        raise DataError(
            f"protocol {protocol} {why_not} below {source.root}: data.protocol=fractions works"
        )
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise ConfigError(
            f"data.val_fraction={val} and data.test_fraction={test}: expected both in [0, 1) and "
            "their sum below 1"
        )
    if not 0 < fraction <= 1:
        raise ConfigError(f"data.fraction={fraction}: expected a share in (0, 1]")


def untrained(train: Iterable[Sample], class_names: Sequence[str]) -> list[str]:
    """The classes of which there is no training picture."""
    trained = {s.target for s in train}
    return [name for target, name in enumerate(class_names) if target not in trained]


def _check_parts(source: Source, parts: Splits) -> None:
    if without := untrained(parts["train"], source.class_names):
        raise DataError(
            f"{len(without)} classes have no training picture: {list_some(without)}; add pictures, "
            "or leave small classes out with data.min_images_per_class"
        )
    if not parts["val"]:
        raise DataError(
            "no picture is left for validation (each label's share is rounded down): raise "
            "data.val_fraction, or add pictures"
        )
