"""A prediction log that is only read: it may be written to meanwhile, and is never changed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, create_engine, inspect
from sqlalchemy import exc as errors
from sqlalchemy.pool import NullPool

from carsclf.errors import DataError
from carsclf.serving.database import SCHEMA, log_url, shown_url


@dataclass(frozen=True)
class OpenLog:
    """One state of the log, whatever is written meanwhile."""

    connection: Connection
    shown: str
    """Its address, without a password."""


@contextmanager
def open_log(text: str) -> Iterator[OpenLog]:
    """The log behind a path or URL. Raises ConfigError for what is no address, DataError for what
    cannot be read or is no prediction log."""
    url = log_url(text)
    shown = shown_url(url)
    engine = create_engine(_read_only(url), poolclass=NullPool, connect_args=_patience(url))
    try:
        with engine.connect() as connection:
            if url.get_backend_name() == "sqlite":
                connection.exec_driver_sql("BEGIN")  # else each query sees a state of its own
            else:
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            _check(connection, shown)
            yield OpenLog(connection, shown)
    except errors.SQLAlchemyError as error:
        raise DataError(f"log={shown} cannot be read: {_cause(error, url)}") from None
    finally:
        engine.dispose()


def _read_only(url: URL) -> URL:
    if url.get_backend_name() != "sqlite":
        return url.set(drivername="postgresql+psycopg")
    path = Path(str(url.database)).expanduser().absolute()
    if not path.is_file():
        raise DataError(
            f"log={shown_url(url)}: there is no such file; the service writes <folder>/log.sqlite, "
            "by default runs/serve/log.sqlite"
        )
    mode = {"mode": "ro", "uri": "true"}
    if not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists():
        mode["immutable"] = "1"  # nobody writes, and readers cannot lay their index beside it
    return URL.create("sqlite", database=f"file:{quote(str(path))}", query=mode)


def _patience(url: URL) -> dict[str, int]:
    return {"timeout": 10} if url.get_backend_name() == "sqlite" else {"connect_timeout": 10}


def _check(connection: Connection, shown: str) -> None:
    """Raises DataError where tables or columns are missing."""
    inspector = inspect(connection)
    there = set(inspector.get_table_names())
    if missing := sorted(set(SCHEMA.tables) - there):
        raise DataError(
            f"log={shown} is no prediction log: it has no table {', '.join(missing)} "
            "(serve.py makes them with its first prediction)"
        )
    for name, table in SCHEMA.tables.items():
        columns = {column["name"] for column in inspector.get_columns(name)}
        if missing := sorted(set(table.columns.keys()) - columns):
            raise DataError(f"log={shown}: its table {name} has no column {', '.join(missing)}")


def _cause(error: errors.SQLAlchemyError, url: URL) -> str:
    text = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
    secrets = [url.password, *(v for k, v in url.query.items() if "pass" in k)]
    for secret in filter(None, secrets):
        text = text.replace(str(secret), "***")
    return text
