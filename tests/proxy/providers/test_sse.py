from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from src.proxy.providers.sse import SSEParser

from .streams import parsed, values


def feed(*chunks: bytes) -> list[tuple[bytes, bytes, bool]]:
    events = parsed(SSEParser(), chunks)
    assert b"".join(event.raw for event in events) == b"".join(chunks)
    return [(event.name, event.data, event.complete) for event in events]


def test_data_block_is_an_event_without_a_name():
    assert feed(b'data: {"a":1}\n\n') == [(b"", b'{"a":1}', True)]


def test_event_line_names_the_event():
    assert feed(b"event: ping\ndata: {}\n\n") == [(b"ping", b"{}", True)]


def test_field_order_does_not_matter():
    assert feed(b"data: x\nid: 7\nevent: e\nretry: 3\n\n") == [(b"e", b"x", True)]


def test_data_lines_join_with_lf():
    assert feed(b"data: a\ndata: b\ndata\ndata:\n\n") == [(b"", b"a\nb\n\n", True)]


def test_only_one_space_after_the_colon_is_dropped():
    assert feed(b"data:  x\n\n", b"data:y\n\n") == [(b"", b" x", True), (b"", b"y", True)]


def test_comment_is_an_event_without_data():
    events = feed(b": OPENROUTER PROCESSING\n\ndata: x\n\n")
    assert events == [(b"", b"", True), (b"", b"x", True)]


def test_comment_inside_a_block_belongs_to_it():
    assert feed(b": wait\ndata: x\n\n") == [(b"", b"x", True)]


def test_lines_end_with_cr_lf_or_crlf():
    for end in (b"\n", b"\r", b"\r\n"):
        stream = b"event: e" + end + b"data: x" + end + end + b"data: y" + end + end
        assert feed(stream) == [(b"e", b"x", True), (b"", b"y", True)]


def test_mixed_line_ends_in_one_block():
    assert feed(b"event: e\rdata: x\r\ndata: y\n\r\n") == [(b"e", b"x\ny", True)]


def test_line_separators_of_unicode_are_data():
    data = "a\u2028b\u2029c\u0085d\x0be\x0cf".encode()
    assert feed(b"data: " + data + b"\n\n") == [(b"", data, True)]


def test_bom_at_the_start_is_kept_raw_and_skipped_in_the_field():
    assert feed(b"\xef\xbb\xbfdata: x\n\n") == [(b"", b"x", True)]
    assert feed(b"\xef", b"\xbb", b"\xbfdata: x\n\n") == [(b"", b"x", True)]


def test_bom_later_is_part_of_the_field_name():
    assert feed(b"data: x\n\n\xef\xbb\xbfdata: y\n\n")[1] == (b"", b"", True)


def test_block_without_its_blank_line_is_kept_but_not_complete():
    assert feed(b"data: x\n\ndata: y\n") == [(b"", b"x", True), (b"", b"y", False)]


def test_block_that_ends_with_cr_waits_for_its_lf():
    parser = SSEParser()
    assert parser.feed(b"data: x\r\n\r") == []
    assert [event.raw for event in parser.feed(b"\n")] == [b"data: x\r\n\r\n"]


def test_block_that_ended_with_cr_is_complete_at_the_end():
    assert feed(b"data: x\r\r") == [(b"", b"x", True)]


def test_blank_lines_between_blocks_are_kept_with_the_next():
    assert feed(b"data: x\n\n\ndata: y\n\n") == [(b"", b"x", True), (b"", b"y", True)]
    assert feed(b"data: x\n\n\n\ndata: y\n\n")[1:] == [(b"", b"", True), (b"", b"y", True)]


def test_colon_in_the_data_stays():
    assert feed(b"data: a: b\n\n") == [(b"", b"a: b", True)]


def test_empty_stream_has_no_events():
    assert feed() == []
    assert feed(b"") == []


def test_event_arrives_with_the_byte_that_ends_it():
    parser = SSEParser()
    assert parser.feed(b"data: x\n") == []
    assert len(parser.feed(b"\ndata: y")) == 1
    assert len(parser.feed(b"\n\n")) == 1


def test_block_over_the_cap_passes_on_unparsed_and_says_so():
    parser = SSEParser(max_event_bytes=100)
    stream = b"data: 1\n\ndata: " + b"x" * 500 + b"\n\ndata: 2\n\n"
    events = parsed(parser, [stream[i : i + 10] for i in range(0, len(stream), 10)])
    assert parser.overflowed
    assert b"".join(event.raw for event in events) == stream
    assert [event.data for event in events if event.complete] == [b"1", b"2"]
    assert all(event.data == b"" for event in events if not event.complete)
    assert max(len(event.raw) for event in events) <= 110


def test_block_over_the_cap_in_one_chunk_is_an_event():
    parser = SSEParser(max_event_bytes=100)
    assert len(parser.feed(b"data: " + b"x" * 500 + b"\n\n")[0].data) == 500
    assert not parser.overflowed


def test_stream_without_any_line_end_stays_bounded():
    parser = SSEParser(max_event_bytes=1000)
    for _ in range(100):
        parser.feed(b"x" * 100)
        assert len(parser._pending) <= 1000
    assert parser.overflowed


PIECES = st.sampled_from(
    [
        *(b"data: x", b"data", b"event: e", b": c", b"id: 1", b":", b"\n", b"\r", b"\r\n", b"\n\n"),
        *(b"\xef\xbb\xbf", "data: \u2028é".encode(), b"\r\n\r\n", b"data: y\n\n", b"\x00\xff"),
    ]
)


@given(st.lists(PIECES, max_size=25).map(b"".join), st.lists(st.integers(1, 9), max_size=40))
def test_events_do_not_depend_on_the_cuts(stream: bytes, sizes: list[int]):
    chunks, at = [], 0
    for size in sizes:
        chunks.append(stream[at : at + size])
        at += size
    chunks.append(stream[at:])
    whole = parsed(SSEParser(), [stream])
    assert values(parsed(SSEParser(), chunks)) == values(whole)
    assert b"".join(event.raw for event in whole) == stream


@given(st.lists(st.tuples(st.sampled_from(["\n", "\r", "\r\n"]), st.text(max_size=8))))
def test_data_of_complete_blocks_is_what_the_standard_gives(blocks: list[tuple[str, str]]):
    """Against a line by line reading of the standard's rules."""
    stream = "".join(f"data: {text}{end}{end}" for end, text in blocks)
    lines = stream.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    expected, data = [], []
    for line in lines[:-1]:
        field, _, value = line.partition(":")
        if line == "" and data:
            expected.append("\n".join(data))
            data = []
        elif field == "data":
            data.append(value.removeprefix(" "))
    events = parsed(SSEParser(), [stream.encode()])
    dispatched = [e.data.decode() for e in events if e.complete and b"data" in e.raw]
    assert dispatched == expected


def test_long_events_in_small_pieces_take_linear_time():
    parser = SSEParser()
    parser.feed(b": start\n\n")
    for _ in range(200_000):
        parser.feed(b"0123456789")
    assert len(parser.feed(b"\n\n")[0].raw) == 2_000_002
