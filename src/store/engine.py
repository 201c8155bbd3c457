"""Connections to the store: SQLite with one writer and a log ahead, or Postgres."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.engine import Connection
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

SQLITE_NAME = "records.sqlite"
STORE_FOLDER = ".store"
_BUSY_S = 5.0
_CONNECT_S = 5.0
# A writer's pages go back into the database after 64 MB: most have changed several times by then.
_WRITERS = ("cache_size=-262144", "wal_autocheckpoint=16384", "journal_size_limit=67108864")
_READERS = ("cache_size=-65536", "mmap_size=2147418112")
_WRITER_LOCK = 0x6C6C6D746170  # "llmtap": Postgres's advisory lock of whoever writes
_STEPS = 50_000  # of SQLite's machine, a few milliseconds, between two looks at the clock
# Options of libpq that addresses from hosters carry: asyncpg reads them in an address, and takes
# none of them as arguments; of these it has no use for at all.
_LIBPQ = (
    *("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "passfile"),
    *("application_name", "options"),
)
_UNUSED = ("channel_binding", "connect_timeout", "gssencmode")
_ARGUMENTS = (
    *("host", "ssl", "target_session_attrs", "command_timeout"),
    *("statement_cache_size", "prepared_statement_cache_size"),
)
_CANCELED = "57014"  # Postgres: query_canceled, as statement_timeout does
_OF_VALUES = ("22", "23", "54")  # its classes data exception, constraint violation, limit exceeded


class StoreError(Exception):
    """The store cannot be used; the message says why and what to do, on one line."""


def store_url(database_url: str | None, trace_dir: Path) -> URL:
    """The address of the store: as given, else SQLite beside the traces. Raises StoreError.

    `postgresql://` is taken as `postgresql+asyncpg://`, `sqlite:///file` as aiosqlite's.
    """
    if database_url is None:
        path = trace_dir.resolve() / STORE_FOLDER / SQLITE_NAME
        return URL.create("sqlite+aiosqlite", database=str(path))
    try:
        url = make_url(database_url)
    except ArgumentError:
        raise StoreError("database_url is no address; write postgresql://host/name") from None
    base = url.drivername.partition("+")[0]
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    drivers["postgres"] = drivers["postgresql"]
    if base not in drivers:
        raise StoreError(f"database_url is of {base}; postgresql:// and sqlite:/// are served")
    known = (*_LIBPQ, *_UNUSED, *_ARGUMENTS)
    if base != "sqlite" and (unknown := sorted(url.query.keys() - set(known))):
        raise StoreError(f"database_url has an option that is not known: {unknown[0]}")
    return url.set(drivername=drivers[base])


def open_engine(
    url: URL, *, writes: bool, busy_s: float = _BUSY_S, query_s: float | None = None
) -> AsyncEngine:
    """An engine for one writer, or for readers. Nothing is connected yet.

    `query_s`: after so long the database itself ends what is asked, and the connection is free
    again; see `was_too_long`. SQLite counts a transaction, Postgres each statement of it. A
    writer's transactions begin by taking the write lock: an upgrade from reading to writing
    would fail at once, whatever the time-out (reliability 98).
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, writes, busy_s, query_s)
    libpq = {name: value for name, value in url.query.items() if name in _LIBPQ}
    address = URL.create("postgresql", query=libpq).render_as_string()
    engine = create_async_engine(
        url.difference_update_query([*_LIBPQ, *_UNUSED]),
        pool_size=1 if writes else 4,
        max_overflow=0 if writes else 4,
        pool_pre_ping=True,
        hide_parameters=True,  # what was said belongs in no message
        connect_args={
            "timeout": _CONNECT_S,
            "server_settings": (
                {} if "application_name" in libpq else {"application_name": "llmtap"}
            ),
            **({"dsn": address} if libpq else {}),
        },
    )
    if writes:
        event.listen(engine.sync_engine, "begin", _lock_postgres)
    else:
        _tell_postgres(engine, query_s)
    return engine


def was_too_long(error: DBAPIError) -> bool:
    """Whether `query_s` has ended it."""
    name = getattr(error.orig, "sqlite_errorname", None)
    return name == "SQLITE_INTERRUPT" or getattr(error.orig, "sqlstate", None) == _CANCELED


def is_about_values(error: Exception) -> bool:
    """Whether a value was the reason, and not the database's state: tried again, it is the same."""
    if not isinstance(error, SQLAlchemyError):  # from adding up, or a driver that converts
        return isinstance(
            error, ArithmeticError | AttributeError | LookupError | TypeError | ValueError
        )
    if getattr(error, "connection_invalidated", False):  # closed, which is an InterfaceError too
        return False
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    if state is not None:
        return str(state).startswith(_OF_VALUES)
    return isinstance(error, DataError | IntegrityError | InterfaceError | ProgrammingError)


def _sqlite(url: URL, writes: bool, busy_s: float, query_s: float | None) -> AsyncEngine:
    engine = create_async_engine(
        url,
        connect_args={"timeout": busy_s},
        pool_size=1 if writes else 4,
        hide_parameters=True,  # what was said belongs in no message
    )

    _notice_removal(engine, url.database, writes=writes)
    if query_s is not None:
        _limit_sqlite(engine, query_s)

    @event.listens_for(engine.sync_engine, "connect")
    def connected(dbapi: Any, _: object) -> None:  # noqa: ANN401  the driver's connection, adapted
        dbapi.isolation_level = None  # transactions are begun by us, below
        cursor = dbapi.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        for pragma in _WRITERS if writes else _READERS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _notice_removal(engine: AsyncEngine, database: str | None, *, writes: bool) -> None:
    """A file that was deleted can still be written, and all of it is lost: connections to it are
    given up for new ones. A new file is nobody else's to read, wherever it lies."""
    if not database:
        return

    if writes:

        @event.listens_for(engine.sync_engine, "do_connect")
        def connecting(*_: object) -> None:
            os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    @event.listens_for(engine.sync_engine, "connect")
    def connected(_: object, record: Any) -> None:  # noqa: ANN401  the pool's
        record.info["file"] = _identity(database)

    @event.listens_for(engine.sync_engine, "checkout")
    def taken(_: object, record: Any, __: object) -> None:  # noqa: ANN401  the pool's
        if record.info.get("file") != _identity(database):
            raise DisconnectionError("the database was removed")


def _identity(database: str) -> tuple[int, int] | None:
    try:
        found = Path(database).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class _Deadline:
    """Of the transaction on one connection of SQLite's."""

    def __init__(self) -> None:
        self.at = float("inf")

    def is_over(self) -> bool:
        """Asked in the connection's thread; true ends what runs."""
        return time.monotonic() > self.at


def _limit_sqlite(engine: AsyncEngine, query_s: float) -> None:
    """A cancelled task would wait for its thread to come back: nobody but SQLite can end it."""

    @event.listens_for(engine.sync_engine, "connect")
    def connected(dbapi: Any, record: Any) -> None:  # noqa: ANN401  the driver's and the pool's
        deadline = record.info["deadline"] = _Deadline()
        dbapi.run_async(lambda driver: driver.set_progress_handler(deadline.is_over, _STEPS))

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        connection.info["deadline"].at = time.monotonic() + query_s


def _tell_postgres(engine: AsyncEngine, query_s: float | None) -> None:
    """How to read. By a statement: what is said when connecting, poolers between us and Postgres
    refuse. Each plan is made for its values: one for whatever values, which Postgres goes over to
    after five times, reads all rows for a word that is rare."""
    told = ["set_config('plan_cache_mode', 'force_custom_plan', true)"]
    if query_s is not None:
        told.append(f"set_config('statement_timeout', '{max(round(query_s * 1000), 1)}', true)")
    tell = f"SELECT {', '.join(told)}"

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(tell)


def _lock_postgres(connection: Connection) -> None:
    """One writer at a time, as in SQLite: what it reads stays true until it commits."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")
