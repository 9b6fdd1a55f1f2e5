"""Files that stages read and write: where caches lie, and writing that leaves nothing half done."""

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from carsclf.errors import CheckpointError

AnyPath = str | os.PathLike[str]


def cache_root() -> Path:
    """Where what can be computed again is kept: `$CARSCLF_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("CARSCLF_CACHE", "~/.cache/carsclf")).expanduser()


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
            "free some space (or mend the permissions) and go on with resume=<folder>"
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
