"""The photos of a source that can be read, and the packs that hold their pixels."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from carsclf.data.decided import Decided, read_decisions
from carsclf.data.decoding import DECODERS
from carsclf.data.extra import Made, refuse_made
from carsclf.data.images import check_crop, file_identity, unreadable
from carsclf.data.packed import Pack, open_pack
from carsclf.data.samples import Sample, Source, list_some
from carsclf.data.transforms import Stored
from carsclf.errors import DataError
from carsclf.files import atomic_write
from carsclf.machine.devices import available_cores


@dataclass(frozen=True)
class Photos:
    """Photos, turned as decided, and made pictures, without the photos `left_out` (ids)."""

    source: Source
    made: list[Made]
    packs: dict[Stored, Pack]
    decided: Decided | None
    left_out: list[str]


def readable_photos(
    source: Source,
    cache: Path,
    rules: Collection[Stored],
    *,
    crop: str,
    margin: float,
    decisions: str | None,
    skip: bool,
    made: Sequence[Made] = (),
    needed: Collection[str] | None = None,
) -> Photos:
    """Decodes all once, for each of the `rules` into a pack, or to see that they can be.

    decisions: a file of them. skip: leave out what cannot be read, instead of raising DataError.
    needed: ids of photos; others may be unreadable (null: none may).
    """
    check_crop(source.samples, crop, margin)
    refuse_made(source)
    decided = None if decisions is None else read_decisions(decisions, source.samples)
    source = decided.turned(source) if decided else source
    everything = [*source.samples, *(s for each in made for s in each.source.samples)]
    together = replace(source, samples=everything)  # nothing else gets to see it
    packs = {rule: open_pack(cache, together, rule, crop=crop, margin=margin) for rule in rules}
    why = {id: reason for pack in packs.values() for id, reason in pack.unreadable.items()}
    why = why if packs else _why_unreadable(everything, cache)
    kept = [Made(each.record, _readable(each.source, why, skip=skip)) for each in made]
    photos = why.keys() & ({s.id for s in source.samples} if needed is None else {*needed})
    left_out = [id for id in why if id in photos]
    source = _readable(source, {id: why[id] for id in left_out}, skip=skip)
    return Photos(source, kept, packs, decided, left_out)


def _readable(source: Source, why: Mapping[str, str], *, skip: bool) -> Source:
    """The source without unreadable photos, or one line that names them."""
    own = {sample.id: why[sample.id] for sample in source.samples if sample.id in why}
    if own and not skip:
        said = [f"{id} ({reason})" for id, reason in own.items()]
        raise DataError(
            f"{len(own)} of {len(source.samples)} photos below {source.root} cannot be read: "
            f"{list_some(said)}; replace them, or leave them out with data.skip_unreadable=true"
        )
    return source.without(own) if own else source


def _why_unreadable(samples: Sequence[Sample], cache: Path) -> dict[str, str]:
    """Why, of the ids of photos that cannot be decoded; remembered until a file is another one."""
    digest = hashlib.blake2b(DECODERS.encode(), digest_size=16)
    for sample in samples:
        digest.update(f"|{sample.path}|{file_identity(sample.path)}".encode())
    note = cache / "unreadable" / f"{digest.hexdigest()}.json"
    if note.is_file():
        return json.loads(note.read_text())
    bad = unreadable(samples, workers=available_cores())
    reasons = {id: error.reason for id, error in bad.items()}
    if all(error.lasting for error in bad.values()):
        with atomic_write(note) as temporary:
            temporary.write_text(json.dumps(reasons))
    return reasons
