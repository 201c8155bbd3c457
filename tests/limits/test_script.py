"""The script at a real Redis decides as the memory does: the same moves under the same clock."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from src.limits import Claim, Grant, Limit, MemoryStore, Refusal
from src.limits.script import SOURCE, Call, Free, Hold, Operation, Settle, Take, read_answer
from tests.support.redis import RedisServer

LIMITS = {
    "minute": Limit(20, 60.0),
    "burst": Limit(30, 10.0, burst=4),
    "tokens": Limit(1000, 60.0, settles=True),
    "slots": Limit(3, 0.0),
}


class Scripted:
    """The script with a clock of the test's own."""

    def __init__(self, server: RedisServer) -> None:
        self.redis = Redis.from_url(server.url)
        self.script = self.redis.register_script(SOURCE.read_text())
        self.now_us = 1_700_000_000_000_000

    def run(self, *ops: Operation, lease_s: float = 1e6) -> list[list[int]]:
        call = Call(b"{t}:", ops, lease_s, self.now_us)
        answers: list[list[int]] = self.script(keys=call.keys, args=[call.argument])
        return answers

    def take(self, holder: str, claims: list[Claim]) -> Grant | Refusal:
        take = Take(holder, claims)
        return read_answer(take, self.run(take)[0])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 25_000_000),  # us until the move
            st.lists(st.sampled_from(sorted(LIMITS)), min_size=1, max_size=4, unique=True),
            st.integers(1, 400),  # tokens
            st.one_of(st.none(), st.integers(0, 700)),  # used
            st.booleans(),  # finish the oldest first
        ),
        max_size=30,
    )
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_move_is_answered_as_the_memory_answers_it(
    redis: RedisServer,
    moves: list[tuple[int, list[str], int, int | None, bool]],
) -> None:
    redis.command("FLUSHALL")
    scripted = Scripted(redis)
    memory = MemoryStore(lambda: scripted.now_us / 1e6)
    open_: list[tuple[Grant, Grant, int | None]] = []
    for number, (pause, names, tokens, used, finishes) in enumerate(moves):
        scripted.now_us += pause
        if finishes and open_:
            here, there, was_used = open_.pop(0)
            memory.finish(here, was_used)
            _finish(scripted, there, was_used)
        claims = [(name, LIMITS[name], tokens if name == "tokens" else 1) for name in names]
        mine, theirs = memory.take(claims), scripted.take(f"h{number}", claims)
        assert type(mine) is type(theirs)
        if isinstance(mine, Refusal) and isinstance(theirs, Refusal):
            assert abs(mine.retry_after_s - theirs.retry_after_s) < 0.001
            assert names[mine.index] == names[theirs.index]
        assert _near(names, mine, theirs)
        if isinstance(mine, Grant) and isinstance(theirs, Grant):
            open_.append((mine, theirs, used))
    scripted.redis.close()


def _near(names: list[str], mine: Grant | Refusal, theirs: Grant | Refusal) -> bool:
    """What is left: the memory forgets when it must, so it may tell a little less."""
    pairs = zip(names, mine.remaining, theirs.remaining, strict=True)
    return all(0 <= b - a <= LIMITS[name].amount for name, a, b in pairs)


def _finish(scripted: Scripted, grant: Grant, used: int | None) -> None:
    holder, taken = grant.marks  # type: ignore[misc]  # what read_answer puts there
    scripted.run(Free(holder, ["slots"]))
    estimates = [claim for claim in grant.claims if claim[1].settles]
    if used is not None and estimates:
        scripted.run(Settle(taken, estimates, used))


def test_takes_of_one_call_see_each_other(redis: RedisServer) -> None:
    scripted = Scripted(redis)
    takes = [Take(f"h{n}", [("k", Limit(100, 60.0), 1)]) for n in range(128)]
    answers = scripted.run(*takes)
    assert sum(isinstance(read_answer(takes[0], a), Grant) for a in answers) == 100
    scripted.redis.close()


def test_a_slot_that_is_not_renewed_comes_back_with_its_lease(redis: RedisServer) -> None:
    scripted = Scripted(redis)
    claims: list[Claim] = [("s", Limit(1, 0.0), 1)]
    assert isinstance(
        read_answer(Take("a", claims), scripted.run(Take("a", claims), lease_s=10)[0]), Grant
    )
    scripted.now_us += 9_000_000
    assert isinstance(scripted.take("b", claims), Refusal)
    scripted.run(Hold("a", ["s"]), lease_s=10)
    scripted.now_us += 9_000_000
    assert isinstance(scripted.take("b", claims), Refusal)
    scripted.now_us += 1_100_000
    assert isinstance(scripted.take("b", claims), Grant)
    scripted.redis.close()


def test_buckets_leave_the_redis_when_they_are_over(redis: RedisServer) -> None:
    scripted = Scripted(redis)
    scripted.now_us = 0  # the server's own clock
    claims: list[Claim] = [("k", Limit(10, 0.2), 1), ("b", Limit(10, 0.2, burst=2), 1)]
    assert isinstance(scripted.take("h", claims), Grant)
    lives = [scripted.redis.pttl(key) for key in scripted.redis.keys("*")]
    assert len(lives) == 2
    assert all(0 < life <= 205 for life in lives)
    scripted.redis.close()


def test_names_that_are_no_utf8_and_very_long_are_keys_like_others(redis: RedisServer) -> None:
    scripted = Scripted(redis)
    claims: list[Claim] = [("\ud800 \n" + "x" * 5000, Limit(1, 60.0), 1)]
    assert isinstance(scripted.take("h", claims), Grant)
    assert isinstance(scripted.take("h", claims), Refusal)
    scripted.redis.close()


def test_a_server_whose_clock_was_set_back_locks_nobody_out_for_as_long(redis: RedisServer) -> None:
    scripted, hour = Scripted(redis), 3_600_000_000
    rate: list[Claim] = [("r", Limit(2, 60.0), 1)]
    even: list[Claim] = [("e", Limit(60, 60.0, burst=2), 1)]
    slot: list[Claim] = [("s", Limit(1, 0.0), 1)]

    def take(holder: str, claims: list[Claim]) -> Grant | Refusal:
        asked = Take(holder, claims)
        return read_answer(asked, scripted.run(asked, lease_s=10)[0])

    for holder in ("a", "b"):
        assert isinstance(take(holder, rate), Grant)
        assert isinstance(take(holder, even), Grant)
        scripted.now_us += 500_000
    assert isinstance(take("killed", slot), Grant)
    scripted.now_us -= hour
    for turn in range(3):  # however often it is refused
        refused = take("c", rate)
        assert isinstance(refused, Refusal)
        assert refused.retry_after_s <= 60
        assert isinstance(take("c", even), Refusal if not turn else Grant)
        assert isinstance(take("c", slot), Refusal)
        scripted.now_us += 3_000_000
    scripted.now_us += 2_000_000
    assert isinstance(take("c", slot), Grant)
    scripted.now_us += 48_400_000
    assert isinstance(take("c", rate), Refusal), "nothing is forgotten too early"
    scripted.now_us += 700_000
    assert isinstance(take("c", rate), Grant)
    scripted.redis.close()
