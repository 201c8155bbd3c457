"""SQLite's full-text index merges its segments half as often, and takes in a batch before it sorts
it: a quarter of what a row costs was spent there (https://www.sqlite.org/fts5.html, 6)."""

from alembic import op

revision = "0004"
down_revision = "0003"

_AUTOMERGE = 8  # segments of a level; else 4
_HASH_BYTES = 8 << 20  # else 1 MB


def upgrade() -> None:
    """Tell the index."""
    if op.get_bind().dialect.name != "sqlite":
        return
    for name, value in (("automerge", _AUTOMERGE), ("hashsize", _HASH_BYTES)):
        op.execute(f"INSERT INTO said (said, rank) VALUES ('{name}', {value})")  # noqa: S608  ours
