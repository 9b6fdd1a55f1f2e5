"""The pictures that `predict.py images=` names: walked each time they are asked for."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from carsclf.data.listing import Listing, walk_pictures
from carsclf.errors import DataError


@dataclass
class Pictures:
    """Files, all pictures below folders, and what matches patterns, in the order of `given`.

    Iterating walks the folders anew, so that memory does not grow with their number; the order is
    that of names. What is given twice, or lies in a folder given before, is taken once. `left_out`,
    why -> names of what is no picture, is as of the last `count`.
    """

    given: Sequence[str]
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Path]:
        """Absolute paths."""
        for _, _, new in self._walks():
            yield from new

    def count(self) -> int:
        """How many there are. Raises DataError where one of `given` leads to none."""
        total, self.left_out = 0, {}
        for name, listing, new in self._walks():
            found = sum(1 for _ in new)
            if not found and next(_found(name, Listing()), None) is None:
                what = "holds no pictures" if _absolute(name).is_dir() else "is not there"
                raise DataError(f"images={name} {what}: expected a picture or a folder of pictures")
            for why, names in listing.left_out.items():
                kept = self.left_out.setdefault(why, [])
                kept += [one for one in names if one not in kept]
            total += found
        return total

    def _walks(self) -> Iterator[tuple[str, Listing, Iterator[Path]]]:
        """Of each of `given`: its name, what its walk left out, and what no earlier one led to."""
        folders, files = list[Path](), set[Path]()
        for name in self.given:
            listing, whole = Listing(), _absolute(name)
            found = _found(name, listing)
            if not whole.is_dir():
                found = list(found)
            yield (
                name,
                listing,
                (p for p in found if p not in files and not any(map(p.is_relative_to, folders))),
            )
            if isinstance(found, list):
                files.update(found)
            else:
                folders.append(whole)


def _found(name: str, listing: Listing) -> Iterator[Path]:
    path = _absolute(name)
    if path.is_dir():
        inside = walk_pictures(path, listing, all_of_them=False)
        yield from (path.joinpath(*parts) for parts in inside)
    elif path.exists():
        yield path
    else:
        matching = map(Path, sorted(glob.glob(str(path), recursive=True)))
        yield from (match for match in matching if match.is_file())


def _absolute(name: str) -> Path:
    return Path(os.path.abspath(Path(name).expanduser()))
