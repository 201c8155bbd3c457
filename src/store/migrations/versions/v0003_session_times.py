"""Sessions get histograms, and sums as a whole beside those of each key; what is in them is made
anew from the rows afterwards, see `schema`. Postgres: rows that have said nothing have texts too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

PARTS = "system, messages, tool_calls, tool_results, thinking, answer"
LONG = "length(durations) + length(ttfts) > 16384"


def upgrade() -> None:
    """Empty them: of what is there, no histogram is known."""
    op.execute("DELETE FROM sessions")
    for name in ("durations", "ttfts"):
        op.add_column("sessions", sa.Column(name, sa.LargeBinary, nullable=False))
    op.drop_index("sessions_by_last", "sessions")
    op.execute("CREATE INDEX sessions_by_last ON sessions (last_seq) WHERE owner <> '*'")
    op.execute(f"CREATE INDEX sessions_long ON sessions (session_id, owner) WHERE {LONG}")
    if op.get_bind().dialect.name != "sqlite":
        op.execute(
            f"INSERT INTO texts (seq, {PARTS}) SELECT seq, '', '', '', '', '', '' FROM records AS r"  # noqa: S608  ours
            " WHERE NOT EXISTS (SELECT 1 FROM texts AS t WHERE t.seq = r.seq)"
        )
