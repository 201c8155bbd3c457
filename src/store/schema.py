"""The store's schema: brought up to date by the feeder, checked by everybody else."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from .binning import bin_of
from .engine import StoreError
from .summing import add_up_anew, add_up_sessions_anew

_ANEW = {"0001": add_up_anew, "0002": add_up_sessions_anew}
"""Revisions whose sums are not those of today."""
_FOLDER = Path(__file__).with_name("migrations")


async def upgrade(engine: AsyncEngine) -> None:
    """Make or update the tables; a writer's engine. Raises StoreError for a newer schema."""
    if engine.url.get_backend_name() == "sqlite" and engine.url.database:
        Path(engine.url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with engine.begin() as connection:
        found = await connection.run_sync(_upgrade)
        if found in _ANEW:
            await _ANEW[found](connection)


async def check(engine: AsyncEngine) -> None:
    """Raises StoreError unless the schema is the one this program knows."""
    async with engine.connect() as connection:
        await connection.run_sync(_check)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: Connection) -> str | None:
    """The revision that was found."""
    config = _config()
    found = _refuse_newer(connection, config)
    if found == ScriptDirectory.from_config(config).get_current_head():
        return found
    # Migrations are no part of the package, which goes by more than one name.
    config.attributes.update(connection=connection, bin_of=bin_of)
    command.upgrade(config, "head")
    return found


def _check(connection: Connection) -> None:
    config = _config()
    revision = _refuse_newer(connection, config)
    if revision is None:
        raise StoreError("the store is empty; start llmtap with it, or run llmtap index")
    head = ScriptDirectory.from_config(config).get_current_head()
    if revision != head:
        raise StoreError(
            f"the store has schema {revision}, this llmtap knows {head}; run llmtap index"
        )


def _refuse_newer(connection: Connection, config: Config) -> str | None:
    """The store's revision, None for an empty one."""
    revision = MigrationContext.configure(connection).get_current_revision()
    script = ScriptDirectory.from_config(config)
    known = {step.revision for step in script.walk_revisions()}
    if revision is not None and revision not in known:
        raise StoreError(
            f"the store has schema {revision}, which is newer than this llmtap knows"
            f" ({script.get_current_head()}); update llmtap, or give it another database"
        )
    return revision
