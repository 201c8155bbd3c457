"""Records, their texts and labels, the rollups for stats, sessions, and where feeding stands."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0001"
down_revision = None

TEXTS = "id state provider model operation upstream method path cause phase error_type key_label"
TEXTS += " session_id parent_id client_address user_agent"
PLAIN = "file error_message usage_source cost_source key_fingerprint tags tools"
WHOLE = "status input_tokens output_tokens cache_read_tokens cache_write_tokens reasoning_tokens"
WHOLE += " attempts request_bytes response_bytes"
FLOATS = "duration_ms ttft_ms overhead_ms cost_usd"
NOT_INDEXED = {"request_bytes", "response_bytes", "cache_write_tokens"}
PARTS = ["system", "messages", "tool_calls", "tool_results", "thinking", "answer"]
SUMS = "requests errors input_tokens output_tokens cache_read_tokens cache_write_tokens"
SUMS += " reasoning_tokens cost_pico_usd priced"

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")
EXACT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
FOLDED = EXACT.with_variant(sa.String(collation="NOCASE"), "sqlite")


def upgrade() -> None:
    """Make everything."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    _records()
    _indexes(sqlite)
    op.create_table(
        "labels",
        sa.Column("kind", EXACT, primary_key=True),
        sa.Column("value", FOLDED, primary_key=True),
        sa.Column("seq", BIG, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("labels_by_seq", "labels", ["seq"])
    if not sqlite:
        op.create_index("labels_by_value", "labels", ["kind", sa.text("lower(value)"), "seq"])
    if sqlite:
        _texts_of_sqlite()
    else:
        _texts_of_postgres()
    _sums()
    op.create_table(
        "names",
        sa.Column("column", EXACT, primary_key=True),
        sa.Column("value", EXACT, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "spools",
        sa.Column("name", EXACT, primary_key=True),
        sa.Column("offset", sa.BigInteger, nullable=False),
    )


def _records() -> None:
    op.create_table(
        "records",
        sa.Column("seq", BIG, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        *(sa.Column(name, FOLDED) for name in TEXTS.split()),
        *(sa.Column(name, EXACT) for name in PLAIN.split()),
        *(sa.Column(name, sa.BigInteger) for name in WHOLE.split()),
        *(sa.Column(name, sa.Float) for name in FLOATS.split()),
        sa.Column("streamed", sa.Boolean),
    )


def _indexes(sqlite: bool) -> None:
    """Each by (column, time): SQLite adds the rowid, which is the time, by itself."""
    op.create_index("records_id", "records", ["id"], unique=True)
    for name in (*TEXTS.split(), *WHOLE.split(), *FLOATS.split(), "streamed"):
        if name in NOT_INDEXED or (sqlite and name == "id"):
            continue
        column = name if sqlite or name not in TEXTS.split() else sa.text(f"lower({name})")
        op.create_index(f"records_by_{name}", "records", [column] if sqlite else [column, "seq"])


def _texts_of_sqlite() -> None:
    op.create_table(
        "texts",
        sa.Column("seq", BIG, primary_key=True, autoincrement=False),
        sa.Column("squeezed", sa.LargeBinary, nullable=False),
    )
    # Contentless: the texts stand in `texts`, squeezed, where only forgetting them needs them.
    op.execute(f"CREATE VIRTUAL TABLE said USING fts5({', '.join(PARTS)}, content='')")


def _texts_of_postgres() -> None:
    op.create_table(
        "texts",
        sa.Column("seq", BIG, primary_key=True, autoincrement=False),
        *(sa.Column(part, TSVECTOR) for part in PARTS),
    )
    op.create_index("texts_said", "texts", PARTS, postgresql_using="gin")


def _sums() -> None:
    op.create_table(
        "rollups",
        sa.Column("scope", EXACT, primary_key=True),
        sa.Column("dimension", EXACT, primary_key=True),
        sa.Column("hour", BIG, primary_key=True),
        sa.Column("value", EXACT, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in SUMS.split()),
        sa.Column("durations", sa.LargeBinary, nullable=False),
        sa.Column("ttfts", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", EXACT, primary_key=True),
        sa.Column("owner", EXACT, primary_key=True),
        sa.Column("first_seq", BIG, nullable=False),
        sa.Column("last_seq", BIG, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in SUMS.split()),
    )
    op.create_index("sessions_by_last", "sessions", ["last_seq"])
    op.create_index("sessions_by_owner", "sessions", ["owner", "last_seq"])
