"""The prediction log as tables of SQLite or PostgreSQL; docs/serving.md tells what they hold."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    URL,
    Column,
    Connection,
    DateTime,
    Engine,
    Float,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    make_url,
)
from sqlalchemy import exc as errors
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import NullPool

from carsclf.errors import ConfigError
from carsclf.serving.spool import Record

EXPECTED = "expected an SQLite file, sqlite:///<file> or postgresql://<user>@<host>/<database>"
SCHEMA = MetaData()
MODELS = Table(
    "models",
    SCHEMA,
    Column("version", Text, primary_key=True),  # <run>@<first 16 digits of sha256>
    Column("run", Text, nullable=False),
    Column("sha256", Text, nullable=False),  # of model.safetensors
    Column("class_names", JSON, nullable=False),
    Column("time", DateTime(timezone=True), nullable=False),  # first served
)
PREDICTIONS = Table(
    "predictions",
    SCHEMA,
    Column("request_id", Text, primary_key=True),
    Column("image", Integer, primary_key=True, autoincrement=False),  # in its request, from 0
    Column("time", DateTime(timezone=True), nullable=False, index=True),
    Column("version", Text, nullable=False, index=True),
    Column("sha256", Text, nullable=False, index=True),  # of the picture's file
    Column("predicted", Text, nullable=False),
    Column("probability", Float, nullable=False),
    Column("top", JSON, nullable=False),  # [[class, probability], ...], five of them
    Column("openness", Float),
    Column("seconds", Float, nullable=False),  # from the request's arrival to its logging
    Column("client", Text),
    Column("photo", Text),  # below the folder of photos, where they are kept
)
EVALUATIONS = Table(
    "evaluations",
    SCHEMA,
    Column("request_id", Text, primary_key=True),
    Column("image", Integer, primary_key=True, autoincrement=False),
    Column("who", Text, primary_key=True),  # whose later word replaces the earlier
    Column("true_class", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("time", DateTime(timezone=True), nullable=False),
)
KINDS = {"model": MODELS, "prediction": PREDICTIONS}
PASSWORD = re.compile(r"((?:^(?!\w+:/)|//?)[^:@/\s]*):\S*@")
BAD_ROW = (errors.DataError, errors.IntegrityError)  # the row's fault, not the database's


def file_url(path: Path) -> str:
    """Of an SQLite file, whatever letters its path holds."""
    return URL.create("sqlite", database=str(path)).render_as_string()


class Database:
    """The tables behind a URL. All methods raise SQLAlchemyError where it cannot be reached."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._made = False
        self._models: dict[str, Record] = {}

    @property
    def shown(self) -> str:
        return shown_url(self.engine.url)

    @property
    def there(self) -> bool:
        """False for an SQLite file that would be made only now."""
        url = self.engine.url
        return url.get_backend_name() != "sqlite" or Path(str(url.database)).is_file()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction; the tables are made where there are none, with the models so far."""
        try:
            with self.engine.begin() as connection:
                if not self._made:
                    SCHEMA.create_all(connection)
                    self._insert(connection, [*self._models.values()])
                yield connection
            self._made = True
        except errors.SQLAlchemyError:
            self._made = False  # the file may have been removed, the server set up anew
            raise

    def write(self, records: Sequence[Record]) -> list[tuple[Record, str]]:
        """Records that are there already are passed over; returns those refused, and why."""
        try:
            with self.begin() as connection:
                self._insert(connection, records)
            models = {r["version"]: r for r in records if r["kind"] == "model"}
            self._models |= models  # for a database that replaces this one, as a moved file does
        except BAD_ROW as error:
            if len(records) == 1:
                return [(records[0], _said(error))]
            half = len(records) // 2
            return [*self.write(records[:half]), *self.write(records[half:])]
        return []

    def _insert(self, connection: Connection, records: Sequence[Record]) -> None:
        for kind, table in KINDS.items():
            rows = [_row(record, table) for record in records if record["kind"] == kind]
            if rows:
                connection.execute(self.insert(table).on_conflict_do_nothing(), rows)

    @property
    def insert(self) -> Callable[[Table], Any]:
        return postgresql.insert if self.engine.dialect.name == "postgresql" else sqlite.insert


def _row(record: Record, table: Table) -> Record:
    """Of a record that may be another version's."""
    row = {column.name: record.get(column.name) for column in table.columns}
    return row | {"time": datetime.fromtimestamp(record["time"], UTC)}


def _said(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]


def masked(text: str) -> str:
    """What is no URL may hold a password all the same."""
    return PASSWORD.sub(r"\1:***@", text).partition("?")[0]


def log_url(text: str) -> URL:
    """Of an SQLite file, or as it is; raises ConfigError for what is no address of a log."""
    if "://" not in text:
        if not text.strip() or re.match(r"\w+:/|.*:[^/]*@", text):  # a URL that was mistyped
            raise ConfigError(f"log={masked(text)}: {EXPECTED}")
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        url = make_url(text)
        kind = url.get_backend_name()
    except (errors.ArgumentError, ValueError):
        raise ConfigError(f"log={masked(text)}: {EXPECTED}") from None
    if kind not in ("sqlite", "postgresql", "postgres"):
        raise ConfigError(f"log={shown_url(url)}: {EXPECTED}")
    if kind != "sqlite" and "@" in f"{url.host}{url.database}":
        raise ConfigError(
            f"log={masked(text)}: in a password @ is written %40, / %2F and : %3A; {EXPECTED}"
        )
    if kind == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigError(f"log={masked(text)}: {EXPECTED}")
    return url


def shown_url(url: URL) -> str:
    """Without password, and without what follows `?`, where one may stand too."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def _engine(text: str) -> Engine:
    url = log_url(text)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": 10})
        event.listen(engine, "connect", _write_ahead)
        return engine
    url = url.set(drivername="postgresql+psycopg")
    return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})


def _write_ahead(connection: Any, _: Any) -> None:
    """Readers, such as a report, and the writer do not wait for each other."""
    connection.execute("PRAGMA journal_mode=WAL")
