"""Files that stages read and write: where caches lie, and writing that leaves nothing half done."""

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from carsclf.errors import CheckpointError


def cache_root() -> Path:
    """Where what can be computed again is kept: `$CARSCLF_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("CARSCLF_CACHE", "~/.cache/carsclf")).expanduser()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it only when the block ends well.

    Raises CheckpointError in one line where the disk is full or the folder read-only; what stood
    at `path` before is then untouched.
    """
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


class JsonRecord:
    """A dataclass written as JSON; unknown keys of later versions are passed over in reading."""

    def write(self, path: Path) -> None:
        try:
            text = json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False)  # type: ignore[call-overload]
        except ValueError as error:  # NaN is no JSON, and no result
            raise CheckpointError(f"{path}: a value to be written is no number ({error})") from None
        with atomic_write(path) as temporary:
            temporary.write_text(text + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            values = json.loads(path.read_text())
        except FileNotFoundError:
            raise CheckpointError(f"{path} is missing: is {path.parent} a finished run?") from None
        except json.JSONDecodeError as error:
            raise CheckpointError(f"{path} is not readable JSON ({error})") from None
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{k: v for k, v in values.items() if k in known})
