"""All pictures below a folder, and what else lies there and is passed over, with the reason."""

import json
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from carsclf.data.decoding import foreign, is_picture
from carsclf.data.samples import shown
from carsclf.errors import ConfigError, DataError, nearest

Parts = tuple[str, ...]  # of a path below the root
HOUSEKEEPING = {
    *("__MACOSX", "@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information"),
    *("lost+found", "Thumbs.db", "desktop.ini", "__pycache__"),
}
"""Of operating systems, servers and programs; hidden ones begin with a dot."""


@dataclass
class Listing:
    """Pictures and folders in the order of their names. `left_out`: why -> what."""

    pictures: list[Parts] = field(default_factory=list)
    folders: list[Parts] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def list_pictures(root: Path, ignore: str | Sequence[str] = ()) -> Listing:
    """Looks into every folder, linked ones too, except hidden ones and what `ignore` names.

    ignore: paths below the root, or patterns of them such as */masks. Links to nowhere count as
    pictures, which cannot be read. Raises DataError for a folder that may not be looked into, and
    ConfigError for an `ignore` that names nothing.
    """
    patterns = [ignore] if isinstance(ignore, str) else [str(pattern) for pattern in ignore]
    listing, unused = Listing(), {pattern.rstrip("/") for pattern in patterns}
    listing.pictures.extend(walk_pictures(root, listing, unused))
    if unused:
        names = ["/".join(parts) for parts in (*listing.folders, *listing.pictures)]
        wrong = min(unused)
        raise ConfigError(
            f"data.ignore={wrong} names nothing below {root}: {nearest(wrong, names)}"
        )
    return listing


def walk_pictures(
    root: Path,
    listing: Listing,
    unused: set[str] | frozenset[str] = frozenset(),
    *,
    all_of_them: bool = True,
) -> Iterator[Parts]:
    """The pictures of `list_pictures` one by one, a folder of them in memory at a time.

    Folders and what is left out are noted in `listing`. unused: what is to be ignored, from which
    goes what named something. Raises DataError for a folder that may not be looked into, which
    without `all_of_them` is left out as well, unless it is the root.
    """
    patterns = sorted(unused)
    # open folders from the root down: what is left of each, where it lies, and the folders that it
    # lies in, so that a link back to one of them is noticed
    ways: list[tuple[Iterator[str], Parts, frozenset[tuple[int, int]]]] = [
        (iter(_entries(root, ())), (), frozenset([_id(root)]))
    ]
    while ways:
        entries, above, seen = ways[-1]
        if (entry := next(entries, None)) is None:
            ways.pop()
            continue
        parts, path = (*above, entry), root.joinpath(*above, entry)
        name = "/".join(parts)
        if hit := {
            pattern for pattern in patterns if pattern == name or fnmatchcase(name, pattern)
        }:
            unused -= hit
            listing.left_out["named by data.ignore"].append(name)
        elif entry.startswith(".") or entry in HOUSEKEEPING:
            listing.left_out["hidden or housekeeping"].append(name)
        elif path.is_dir():
            if (identity := _id(path)) in seen:
                listing.left_out["links back to a folder above"].append(name)
                continue
            try:
                inside = _entries(path, parts)
            except DataError:
                if all_of_them:
                    raise
                listing.left_out["folders that may not be looked into"].append(name)
                continue
            listing.folders.append(parts)
            ways.append((iter(inside), parts, seen | {identity}))
        elif reason := _no_picture(path):
            listing.left_out[reason].append(name)
        else:
            yield parts


def _entries(folder: Path, parts: Parts) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        raise DataError(
            f"{shown(str(folder))} cannot be looked into ({error.strerror}): mend its permissions, "
            f"or leave it out with data.ignore=[{shown('/'.join(parts))}]"
        ) from None


def _no_picture(path: Path) -> str | None:
    """Why a file is none of the pictures; None where it is one."""
    if path.is_symlink() and not path.exists():
        return None
    if not path.is_file():
        return "neither file nor folder"  # a pipe would be waited for
    if is_picture(path):
        return None
    kind = foreign(path)
    return f"of another kind ({kind})" if kind and ":" in kind else "not pictures"


def _id(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def ignoring(names: Sequence[str]) -> str:
    """What to type to have some names passed over."""
    said = [n if re.fullmatch(r"[\w./-]+", n) else json.dumps(n) for n in map(shown, names[:5])]
    return shlex.quote(f"data.ignore=[{','.join([*said, *['...'] * (len(names) > 5)])}]")
