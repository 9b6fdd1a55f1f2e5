"""Files that stages read and write: where caches lie, and writing that leaves nothing half done."""

import csv
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self

from carsclf.errors import CheckpointError, DataError

AnyPath = str | os.PathLike[str]


def cache_root() -> Path:
    """Where what can be computed again is kept: `$CARSCLF_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("CARSCLF_CACHE", "~/.cache/carsclf")).expanduser()


def table_of(lines: Iterable[str], what: str, **dialect: Any) -> "csv.DictReader[str]":
    """The rows of a CSV that somebody wrote, in which a slip is no value.

    Columns are separated as the first line does it: by commas, semicolons or tabs. Raises DataError
    for a column that stands there twice, and csv.Error, while it is read, for a quote that is not
    closed, which would swallow all rows below it.
    """
    rest = iter(lines)
    head = next(rest, "")
    lines = chain([head], rest)
    table = csv.DictReader(lines, strict=True, delimiter=separator_of(head), **dialect)
    table.fieldnames = [name.strip() for name in table.fieldnames or ()]
    check_columns(table.fieldnames, what)
    return table


def separator_of(head: str) -> str:
    """What separates the columns of a table with this first line; it hangs on the country."""
    return max(",;\t", key=head.count)


def check_columns(names: Sequence[str], what: str) -> None:
    """Raises DataError where two columns have one name, of which only one would be read."""
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise DataError(f"{what}: the column {twice[0]} stands there twice")


@contextmanager
def atomic_write(path: AnyPath) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it only when the block ends well.

    Raises CheckpointError in one line where the disk is full or the folder read-only; what stood
    at `path` before is then untouched.
    """
    path = Path(path).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        temporary.chmod(0o644)  # mkstemp makes it private
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"could not write {path}: {error.strerror or error}; earlier files are untouched: "
            "free some space or mend the permissions, and run the command again (a training or "
            "study with resume=<its folder>)"
        ) from error


@dataclass(frozen=True)
class Folder:
    """A folder whose files are known by name: what derives from it says where they lie."""

    root: Path

    def __init__(self, root: AnyPath) -> None:
        object.__setattr__(self, "root", Path(root).expanduser())


def write_json(path: AnyPath, values: object) -> None:
    """Raises CheckpointError for NaN, which is no JSON, and no result."""
    try:
        text = json.dumps(values, indent=2, allow_nan=False)
    except ValueError as error:
        raise CheckpointError(f"{path}: a value to be written is no number ({error})") from None
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n")


class JsonRecord:
    """A dataclass written as JSON; unknown keys of later versions are passed over in reading."""

    def write(self, path: AnyPath) -> None:
        write_json(path, dataclasses.asdict(self))  # type: ignore[call-overload]

    @classmethod
    def read(cls, path: AnyPath) -> Self:
        path = Path(path).expanduser()
        try:
            values = json.loads(path.read_text())
        except FileNotFoundError:
            raise CheckpointError(f"{path} is missing: is {path.parent} a finished run?") from None
        except ValueError as error:  # no JSON, or no UTF-8
            raise CheckpointError(f"{path} is not readable JSON ({error})") from None
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        try:
            return cls(**{k: v for k, v in values.items() if k in known})
        except (AttributeError, TypeError) as error:  # a list, or entries that are missing
            raise CheckpointError(f"{path} lacks what a {cls.__name__} needs ({error})") from None
