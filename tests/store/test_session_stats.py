"""Stats by session: from sums where sessions lie within the span, the same as from all rows."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from src.store.figures import Figures
from src.store.items import Drop, Put
from src.store.reader import Reader
from src.store.row_sums import Key
from src.store.session_stats import Sessions
from src.store.stats import Bucket
from src.store.tables import SUMS, sessions
from src.store.writing import Writer
from tests.store.making import START_US, many, put, with_values

HOUR = 3_600_000_000
DAY = 24 * HOUR
IDS = (None, None, "", "s-1", "S-1", "é", "É", "s_1", *(f"run-{n}" for n in range(40)))


def sessions_of_all_kinds(count: int, rng: random.Random) -> Iterator[Put]:
    """Most within an hour or a day, some all along; several keys in one, one key's alone."""
    begins = {name: START_US + rng.randrange(28 * DAY) for name in IDS}
    lasts = {name: rng.choice((1, HOUR, 3 * HOUR, DAY, 30 * DAY)) for name in IDS}
    for item in many(count, seed=rng.randrange(1 << 32)):
        name = rng.choice(IDS)
        at = begins[name] + rng.randrange(lasts[name])
        key = rng.choice((None, "alice", "Alice", "bob")) if rng.random() < 0.2 else "alice"
        yield with_values(item, session_id=name, received_us=at, key_label=key)


def any_span(rng: random.Random) -> dict[str, int | str | None]:
    since = rng.choice((None, START_US + rng.randrange(30 * DAY)))
    length = rng.choice((HOUR // 2, 2 * HOUR, 3 * DAY, 20 * DAY))
    until = rng.choice((None, (since or START_US) + length))
    bucket = rng.choice((None, None, HOUR, DAY, 7 * DAY))
    key = rng.choice((None, None, "alice", "Alice"))
    return {"since_us": since, "until_us": until, "bucket_us": bucket, "only_key": key}


@pytest.fixture
def by_sums(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each question was answered from sums, which are always worth it here; to be empty
    again: from rows."""
    told: list[bool] = []
    add_up = Sessions.add_up

    async def watched(self: Sessions, every: Mapping[Key, Figures]) -> dict[Key, Figures] | None:
        found = await add_up(self, every) if told[-1:] != [False] else None
        told.append(found is not None)
        return found

    monkeypatch.setattr(Sessions, "add_up", watched)
    monkeypatch.setattr("src.store.session_stats._WORTH", 2)
    return told


async def same_as_from_rows(
    reader: Reader, by_sums: list[bool], span: dict[str, int | str | None]
) -> list[Bucket]:
    by_sums[:] = [True]
    found = await reader.stats(by="session_id", **span)  # type: ignore[arg-type]  # by name
    assert by_sums == [True, True]
    by_sums[:] = [False]
    from_rows = await reader.stats(by="session_id", **span)  # type: ignore[arg-type]  # by name
    assert by_sums == [False, False]
    assert found == from_rows, span
    return found


async def test_any_span_gives_what_the_rows_give(
    writer: Writer, reader: Reader, by_sums: list[bool]
) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    items = list(sessions_of_all_kinds(600, rng))
    for at in range(0, len(items), 100):
        await writer.apply(items[at : at + 100])
    for _ in range(25):
        await same_as_from_rows(reader, by_sums, any_span(rng))
    await writer.apply(Drop(item.id, item.row.file) for item in rng.sample(items, 200))
    changed = rng.sample(items, 100)
    await writer.apply(with_values(i, session_id=rng.choice(IDS), duration_ms=7.5) for i in changed)
    for _ in range(25):
        await same_as_from_rows(reader, by_sums, any_span(rng))


async def test_what_has_no_session_is_a_group_too(
    writer: Writer, reader: Reader, by_sums: list[bool]
) -> None:
    slow = [put(n, duration_ms=9000.0, session_id="slow") for n in range(50)]
    quick = [put(n, duration_ms=10.0, session_id=None) for n in range(50, 60)]
    await writer.apply([*slow, *quick])
    found = {bucket.group: bucket for bucket in await same_as_from_rows(reader, by_sums, {})}
    assert {name: bucket.requests for name, bucket in found.items()} == {"slow": 50, None: 10}
    assert found[None].duration_ms.p99 == pytest.approx(10, rel=0.021)
    assert found["slow"].duration_ms.p50 == pytest.approx(9000, rel=0.021)


async def test_where_all_sessions_cross_a_border_the_rows_are_read(
    writer: Writer, reader: Reader
) -> None:
    await writer.apply(
        put(n, received_us=START_US + n * HOUR, session_id=f"s{n % 3}") for n in range(90)
    )
    found = await reader.stats(by="session_id", bucket_us=HOUR)
    assert len(found) == 90
    assert {bucket.requests for bucket in found} == {1}


async def test_a_histogram_that_has_become_long_is_put_in_order(
    engine: AsyncEngine, writer: Writer, reader: Reader, by_sums: list[bool]
) -> None:
    await writer.apply(put(n, duration_ms=1.0 + n, session_id="s") for n in range(50))
    before = await reader.stats(by="session_id")
    more, less = 400 << 18 | 1, 400 << 18 | 0x3FFFF
    async with engine.begin() as connection:
        columns = select(sessions.c.owner, sessions.c.durations)
        for owner, durations in (await connection.execute(columns)).all():
            long = durations + array("i", [more, less] * 2500).tobytes()
            put_in = update(sessions).where(sessions.c.owner == owner).values(durations=long)
            await connection.execute(put_in)
    assert await same_as_from_rows(reader, by_sums, {}) == before
    await writer.apply([put(50, duration_ms=51.0, session_id="s")])
    async with engine.connect() as connection:
        sizes = select(func.length(sessions.c.durations))
        assert all(size < 1000 for size in await connection.scalars(sizes))
    (bucket,) = await same_as_from_rows(reader, by_sums, {})
    assert bucket.requests == 51


@pytest.mark.parametrize("count", [1, -1, 131_071, 131_072, -131_072, 1_000_000, -1_000_000])
def test_a_piece_may_count_any_number_of_rows(count: int) -> None:
    counted, piece, stored = Figures(), Figures(), Figures()
    counted.durations = {0: 2_000_000, 7: 5}
    piece.durations = {0: count}
    for each in (counted, piece):
        stored.merge_pieces([0] * len(SUMS), each.piece()[-2], b"")
    counted.merge(piece)
    assert stored.percentiles() == counted.percentiles()
    assert stored.stored() == counted.stored()
