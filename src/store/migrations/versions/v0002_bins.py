"""Columns of as many values as rows are indexed by bins: an index of the values themselves is
written all over for every row that comes. Of addresses, the port is left out."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BINNED = "duration_ms ttft_ms overhead_ms cost_usd input_tokens output_tokens cache_read_tokens"
BINNED += " reasoning_tokens"
HOST = "rtrim(lower(client_address), '0123456789')"
_AT_ONCE = 5000


def upgrade() -> None:
    """Add the bins, fill them for the rows that are there, index them instead of the values."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    names = BINNED.split()
    for name in names:
        op.drop_index(f"records_by_{name}", "records")
        op.add_column("records", sa.Column(f"{name}_bin", sa.SmallInteger))
    _fill(names)
    for name in names:
        columns = [f"{name}_bin"] if sqlite else [f"{name}_bin", "seq"]
        op.create_index(f"records_by_{name}_bin", "records", columns)
    op.drop_index("records_by_client_address", "records")
    op.execute(f"CREATE INDEX records_by_host ON records ({HOST}{'' if sqlite else ', seq'})")


def _fill(names: list[str]) -> None:
    connection = op.get_bind()
    config = op.get_context().config
    assert config is not None  # noqa: S101  see schema._upgrade
    bin_of = config.attributes["bin_of"]
    table = sa.table("records", *map(sa.column, ("seq", *names, *(f"{n}_bin" for n in names))))
    put = sa.update(table).where(table.c.seq == sa.bindparam("at"))
    put = put.values({f"{name}_bin": sa.bindparam(f"to_{name}") for name in names})
    last = -1
    while True:
        query = sa.select(table.c.seq, *(table.c[name] for name in names))
        query = query.where(table.c.seq > last).order_by(table.c.seq).limit(_AT_ONCE)
        rows = connection.execute(query).all()
        if not rows:
            return
        last = rows[-1].seq
        connection.execute(
            put,
            [{"at": r.seq, **{f"to_{n}": bin_of(getattr(r, n)) for n in names}} for r in rows],
        )
