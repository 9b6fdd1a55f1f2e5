"""Any folder of labelled pictures: root/<class>/* or root/{train,val,test}/<class>/*."""

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from carsclf.data.listing import Parts, ignoring, list_pictures
from carsclf.data.samples import (
    Sample,
    Source,
    check_classes,
    check_names,
    data_root,
    list_some,
    shown,
    split_of,
    told_left_out,
)
from carsclf.errors import ConfigError, DataError

EXPECTED = "expected root/<class>/*.jpg or root/{train,val,test}/<class>/*.jpg"


class Place(NamedTuple):
    """Where something lies: in which split, and in which folders below that."""

    given: str | None
    folders: Parts

    def named(self, depth: int) -> str:
        """The class that the first `depth` folders name."""
        # archives of a Mac write é as two letters: the same to the eye, so the same class
        return unicodedata.normalize("NFC", "/".join(self.folders[:depth]))


class Layout(NamedTuple):
    """Which folders stand for a split: some of the first, those below each class, or none."""

    splits: Mapping[str, tuple[str, int]] = {}  # first folder -> its split, how many levels it has
    class_first: bool = False

    def place(self, folders: Parts) -> Place | None:
        """Where the pictures of a folder belong; None above the classes."""
        if self.class_first:
            inside = len(folders) > 1
            return Place(split_of(folders[1]), (folders[0], *folders[2:])) if inside else None
        if not self.splits:
            return Place(None, folders)
        if folders[0] not in self.splits:
            return None
        given, levels = self.splits[folders[0]]
        return Place(given, folders[levels:])


def folder(
    root: str | Path, *, class_depth: int | None = None, ignore: str | Sequence[str] = ()
) -> Source:
    """A class per folder; split folders are known by their usual names, in any case.

    class_depth: how many folders, one in the other, name a class; None: one, and deeper pictures
    are refused. ignore: names or patterns, relative to the root, of what is passed over. Raises
    DataError, which says what was found and what to type, for anything that has no one reading.
    """
    if class_depth is not None and (type(class_depth) is not int or class_depth < 1):
        raise ConfigError(
            f"data.class_depth={class_depth}: expected a number of folders, 1 or more"
        )
    root, depth = data_root(root, EXPECTED), class_depth or 1
    listing = list_pictures(root, ignore)
    if not listing.pictures:
        raise DataError(
            f"no pictures below {root}{told_left_out(listing.left_out)}: {EXPECTED}; is data.root "
            "right?"
        )
    layout = _layout(root, listing.pictures)
    if not layout.splits and class_depth is None:
        _check_height(root, listing.pictures)
    places = {parts: layout.place(parts[:-1]) for parts in listing.pictures}
    inside = {parts: place for parts, place in places.items() if place and place.folders}
    if stray := ["/".join(parts) for parts in places.keys() - inside.keys()]:
        listing.left_out["pictures in no class folder"] = sorted(stray)
    _check_depth(root, inside, class_depth)
    class_names = sorted({place.named(depth) for place in inside.values()})
    index = {name: i for i, name in enumerate(class_names)}
    samples = [
        Sample("/".join(parts), root.joinpath(*parts), index[place.named(depth)], place.given)
        for parts, place in inside.items()
    ]
    check_names([sample.id for sample in samples])
    without = {
        place.named(depth): "/".join(parts)
        for parts in listing.folders
        if (place := layout.place(parts)) and len(place.folders) == depth
    }
    if empty := sorted(without[name] for name in without.keys() - index.keys()):
        raise DataError(
            f"{len(empty)} class folders below {root} hold no pictures: {list_some(empty)}"
            f"{told_left_out(listing.left_out)}; add pictures, remove the folders, or pass over "
            f"them with {ignoring(empty)}"
        )
    check_classes(root, class_names, samples)
    parts_given = {sample.given for sample in samples}
    official = None if parts_given & {"val", "test"} else "needs val/ or test/ beside train/"
    return Source("folder", root, class_names, samples, {"official": official}, listing.left_out)


def _layout(root: Path, pictures: Sequence[Parts]) -> Layout:
    """Split folders hold class folders: pictures right in `train` make it a class of that name."""
    inside: dict[str, list[Parts]] = defaultdict(list)
    for parts in pictures:
        inside[parts[0] if len(parts) > 1 else ""].append(parts)
    files, folders = ["/".join(parts) for parts in inside.pop("", [])], sorted(inside)
    named = {name: split for name in folders if (split := split_of(name))}
    holding = {n: split for n, split in named.items() if any(len(p) > 2 for p in inside[n])}
    if named and not holding and len(named) == len(folders):
        raise DataError(
            f"{root} has {_named(named)} with pictures, but no class folders in them: {EXPECTED}, "
            "or a list of paths and classes with data=table"
        )
    others = [name for name in folders if name not in holding]
    if "train" not in holding.values():
        if holding and not others:
            raise DataError(f"{root} has {_named(holding)}, but no train/: {EXPECTED}")
        return Layout(class_first=all(len(p) > 2 and split_of(p[1]) for p in pictures))
    if others or files:
        found = [f"{name}/ with {len(inside[name])} pictures" for name in others] + files
        raise DataError(
            f"{root} has {_named(holding)} and, beside them, {list_some(found)}, of which no class "
            f"is known: pass over it with {ignoring([*others, *files])}, or move it"
        )
    if double := sorted(n for n, s in holding.items() if [*holding.values()].count(s) > 1):
        raise DataError(
            f"{root} has {_named(double)}, which are the same split: pass over the wrong one with "
            f"{ignoring(double[1:])}, for instance, or move it"
        )
    return Layout({name: (split, _levels(inside[name])) for name, split in holding.items()})


def _levels(pictures: Sequence[Parts]) -> int:
    """How many folders stand for one split: two in seg_train/seg_train/<class>, as archives do."""
    shared = _shared(pictures)
    same = [split_of(name) == split_of(shared[0]) for name in shared]
    return [*same, False].index(False)


def _shared(pictures: Sequence[Parts]) -> Parts:
    """The folders, one in the other, that all pictures lie in."""
    first, last = min(pictures)[:-1], max(pictures)[:-1]  # in order, so that all others agree
    same = [a == b for a, b in zip(first, last, strict=False)]
    return first[: [*same, False].index(False)]


def _check_height(root: Path, pictures: Sequence[Parts]) -> None:
    """Refuses a root that lies above, or below, the folder of class folders."""
    if all(len(parts) == 1 for parts in pictures):
        raise DataError(
            f"{root} holds {len(pictures)} pictures, but no class folders: {EXPECTED}; if it is "
            f"the folder of one class, type data.root={root.parent}"
        )
    shared = _shared(pictures)
    if shared and any(len(parts) - 1 > len(shared) for parts in pictures):
        raise DataError(
            f"all pictures below {root} lie in {shown('/'.join(shared))}/, which would be the only "
            f"class: type data.root={shown(str(root.joinpath(*shared)))}"
        )


def _check_depth(root: Path, places: Mapping[Parts, Place], class_depth: int | None) -> None:
    """Refuses pictures deeper than one folder where no depth was chosen, and too shallow ones."""
    depths = {parts: len(place.folders) for parts, place in places.items()}
    deep = [shown("/".join(parts)) for parts, depth in depths.items() if depth > 1]
    if class_depth is None and deep:
        ways = []
        for depth in range(1, min(depths.values()) + 1):
            names = sorted({place.named(depth) for place in places.values()})
            ways.append(
                f"data.class_depth={depth} for {len(names)} classes ({list_some(names, 3)})"
            )
        raise DataError(
            f"{len(deep)} of {len(places)} pictures below {root} lie deeper than one folder, as "
            f"{deep[0]} does: type {' or '.join(ways)}, or name a folder below it as data.root"
        )
    shallow = ["/".join(parts) for parts, depth in depths.items() if depth < (class_depth or 1)]
    if shallow:
        raise DataError(
            f"data.class_depth={class_depth}: {len(shallow)} of {len(places)} pictures below "
            f"{root} lie in fewer folders: {list_some(shallow, 3)}"
        )


def _named(folders: Sequence[str] | Mapping[str, str]) -> str:
    return list_some([f"{name}/" for name in folders])
