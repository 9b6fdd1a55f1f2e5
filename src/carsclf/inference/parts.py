"""A table of many pictures that is written part by part: what is done stays done after a kill.

Parts lie in a folder beside the table, a parquet file each, with the settings they belong to. When
all are there they become the row groups of one parquet file and the rows of one CSV, so that these
are the same bytes however often the work was interrupted.
"""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from carsclf.data.images import file_identity
from carsclf.errors import CheckpointError, ConfigError
from carsclf.files import atomic_write

NOT_IN_CSV = "embedding"
FILES = b"files"  # in a part's metadata: of which files it is


@dataclass(frozen=True)
class Parts:
    """The parts of one table. settings: what all of them have in common."""

    folder: Path
    settings: Mapping[str, Any]

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Holds the folder. Raises ConfigError for parts of other settings, or in other hands."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / "lock", timeout=0):
                self._check()
                try:
                    yield
                except BaseException:
                    if not any(self.folder.glob("part-*")):
                        shutil.rmtree(self.folder, ignore_errors=True)  # nothing to go on with
                    raise
        except Timeout:
            raise ConfigError(
                f"another process writes to {self.folder}: wait for it, or give another csv=<file>"
            ) from None

    def _check(self) -> None:
        plan, mine = self.folder / "plan.json", json.loads(json.dumps(dict(self.settings)))
        if plan.is_file():
            try:
                held = json.loads(plan.read_text())
            except ValueError:
                held = {}
            if other := sorted(k for k in held.keys() | mine if held.get(k) != mine.get(k)):
                raise ConfigError(
                    f"{self.folder} holds an unfinished table with another {', '.join(other)}: "
                    "repeat the command that began it, give another csv=<file>, or remove that "
                    "folder to begin anew"
                )
        with atomic_write(plan) as temporary:
            temporary.write_text(json.dumps(mine, indent=2))

    def has(self, number: int, files: Sequence[Path]) -> bool:
        """Whether a part of just these files, as they are now, is done."""
        try:
            told = pq.read_schema(self.path(number)).metadata or {}
        except (OSError, pa.ArrowException):  # missing, or cut off with the power
            return False
        return told.get(FILES) == _digest(files)

    def write(self, number: int, files: Sequence[Path], rows: pa.Table) -> None:
        rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), FILES: _digest(files)})
        with atomic_write(self.path(number)) as temporary:
            pq.write_table(rows, temporary, use_dictionary=_shown(rows.schema))

    def read(self, count: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The first `count` parts, one in memory at a time."""
        for number in range(count):
            yield pq.read_table(self.path(number), columns=columns)

    def path(self, number: int) -> Path:
        return self.folder / f"part-{number:06}.parquet"

    def finish(self, count: int, table: Path, rows_as: Path, schema: pa.Schema) -> None:
        """Writes the parquet `table` and the CSV `rows_as`, and removes the parts."""
        shown = _shown(schema)
        with (
            atomic_write(table) as whole,
            atomic_write(rows_as) as lines,
            pq.ParquetWriter(whole, schema, use_dictionary=shown) as groups,
            lines.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(shown)
            for part in self.read(count):
                part = part.replace_schema_metadata(schema.metadata)
                groups.write_table(part, row_group_size=max(1, len(part)))
                writer.writerows(zip(*(part[name].to_pylist() for name in shown), strict=True))
        shutil.rmtree(self.folder)


def _shown(schema: pa.Schema) -> Any:  # a list of names: pyarrow's stubs know only bool
    """Names of the columns that the CSV has; only these repeat values, for parquet to pack."""
    return [name for name in schema.names if name != NOT_IN_CSV]


def _digest(files: Sequence[Path]) -> bytes:
    """Of paths and of what tells that a file became another one."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(f"{file}|{file_identity(file)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest().encode()


def read_table(path: Path, columns: Sequence[str]) -> pa.Table:
    """The named columns, as far as the table has them. Raises CheckpointError for what is none."""
    try:
        have = pq.read_schema(path).names
        return pq.read_table(path, columns=[name for name in columns if name in have])
    except FileNotFoundError:
        raise CheckpointError(
            f"table={path} is not there: predict.py run=... images=... writes it"
        ) from None
    except (OSError, pa.ArrowException) as error:
        raise CheckpointError(f"table={path} is no parquet file ({error})") from None
