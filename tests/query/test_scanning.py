"""A long session is searched without parsing all of it, and nothing else is found so."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from src.query.excerpts import excerpts, searched
from src.query.matching import pattern
from src.query.parser import parse
from src.query.prefilter import lone_words
from src.query.scanning import scan
from src.query.tree import Test
from src.record.conversation import conversation_of
from src.record.folder import Folder, TraceFile
from src.record.narrowing import narrowed
from src.record.row import row_of
from src.record.skeleton import loads
from src.record.texts import Texts, texts_of
from tests.query.trees import NOW_US
from tests.record.traces import Written, answer, chat
from tests.tracing.support import compact

WORDS = [f"word{n}" for n in range(400)]
FILL = "filling " * 400


def said(random: Random) -> str:
    return " ".join(random.choices(WORDS, k=4)) + " " + FILL[: random.choice((0, 90, 3000))]


def chat_body(random: Random) -> dict[str, Any]:
    roles = random.choices(["system", "developer", "user", "assistant", "tool"], k=40)
    messages: list[Any] = [{"role": role, "content": said(random)} for role in roles]
    messages[7]["content"] = [{"type": "text", "text": said(random)}]
    messages.insert(9, said(random))  # no message, but there
    tools = [{"type": "function", "function": {"name": said(random)}} for _ in range(3)]
    return {"model": "m", "tools": tools, "messages": messages, "stop": [said(random)]}


def messages_body(random: Random) -> dict[str, Any]:
    blocks = [{"type": "text", "text": said(random)} for _ in range(4)]
    use = {"type": "tool_use", "id": "t", "name": said(random), "input": {"a": [{}, said(random)]}}
    gave = {"type": "tool_result", "tool_use_id": "t", "content": [blocks[0], blocks[1]]}
    thought = {"type": "thinking", "thinking": said(random)}
    turns = [[use], [gave], [thought, blocks[2]], said(random), {"odd": [{"x": said(random)}]}]
    messages = [{"role": "user", "content": random.choice(turns)} for _ in range(40)]
    return {"system": blocks, "messages": messages, "metadata": {"a": [{"b": [said(random)]}]}}


def responses_body(random: Random) -> dict[str, Any]:
    kinds = ["message", "reasoning", "function_call", "function_call_output", "odd"]
    roles = ["system", "developer", "user"]
    items = [
        {
            "type": random.choice(kinds),
            "role": random.choice(roles),
            "content": [{"type": "input_text", "text": said(random)}],
            "summary": [{"type": "summary_text", "text": said(random)}],
            "arguments": said(random),
            "output": [{"type": "output_text", "text": said(random)}],
        }
        for _ in range(40)
    ]
    return {"instructions": said(random), "input": [*items, said(random), items[3]]}


def contents_body(random: Random) -> dict[str, Any]:
    contents = [
        {"role": "user", "parts": [{"text": said(random)}, {"functionCall": {"name": "f"}}]}
        for _ in range(40)
    ]
    return {"systemInstruction": {"parts": [{"text": said(random)}]}, "contents": contents}


def list_body(random: Random) -> list[Any]:
    return [[{"a": said(random)}, {"b": [{"c": said(random)}]}] for _ in range(20)]


def found_in(texts: Texts, word: str) -> list[int]:
    wanted = pattern(parsed(word))
    return [len(wanted.findall(text)) for text in texts]


def parsed(text: str) -> Test:
    node = parse(text, NOW_US)
    assert isinstance(node, Test)
    return node


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("body_of", "target"),
    [
        (chat_body, b"/v1/chat/completions"),
        (messages_body, b"/v1/messages"),
        (responses_body, b"/v1/responses"),
        (contents_body, b"/v1beta/models/m:generateContent"),
        (list_body, b"/v1/other"),
    ],
)
def test_a_word_is_said_as_often_in_what_is_left(
    tmp_path: Path, body_of: Any, target: bytes, seed: int
) -> None:
    written = Written(tmp_path)
    written.add(compact(body_of(Random(seed))), (answer("word1 word2"),), target=target)
    folder = Folder(tmp_path)
    (file,) = folder.files()
    data = folder.read(file)
    assert data is not None
    whole = texts_of(conversation_of(loads(data)))
    sizes = []
    for word in WORDS[:80]:
        left = narrowed(data, data.lower(), [word.encode()])
        sizes.append(len(left))
        assert row_of(loads(left), file.file) == row_of(loads(data), file.file)
        assert found_in(texts_of(conversation_of(loads(left))), word) == found_in(whole, word), word
    assert body_of is list_body or min(sizes) < len(data) / 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("foo", (b"foo",)),
        ("Foo* -bar model:m", (b"foo", b"bar")),
        ("answer:foo OR (bar since:1h)", (b"foo", b"bar")),
        ("model:m", ()),
        ('"foo bar"', None),
        ("foo -foo_bar", None),
        ("föö", None),
        ("12", None),
        ("image", None),
    ],
)
def test_it_is_done_for_single_plain_words(text: str, words: tuple[bytes, ...] | None) -> None:
    assert lone_words(parse(text, NOW_US)) == words


def test_a_search_over_a_session_shows_what_reading_all_of_it_shows(tmp_path: Path) -> None:
    random = Random(7)
    written = Written(tmp_path)
    talk = [said(random) for _ in range(60)]
    for turn in range(1, 60, 3):
        written.add(chat("m", *talk[:turn]), (answer(said(random)),))
    folder = Folder(tmp_path)
    for word in WORDS[::9]:
        node = parse(word, NOW_US)
        tests = searched(node)
        hits = {h.row.id: [e.found for e in excerpts(tests, h.said, 2)] for h in scan(folder, node)}
        whole = {}
        for file in folder.files():
            document = folder.document(file)
            assert document is not None
            texts = texts_of(conversation_of(document))
            if any(found_in(texts, word)):
                whole[file.id] = [e.found for e in excerpts(tests, texts, 2)]
        assert hits == whole


def test_a_look_ends_where_it_is_told_to(tmp_path: Path) -> None:
    written = Written(tmp_path)
    ids = [written.add(chat("m", "a")) for _ in range(3)][::-1]
    looked: list[str] = []

    def goes_on(file: TraceFile) -> bool:
        looked.append(file.id)
        return file.id != ids[1]

    assert [hit.row.id for hit in scan(Folder(tmp_path), parse("", NOW_US), goes_on)] == ids[:1]
    assert looked == ids[:2]


@pytest.mark.parametrize("far", [0, 4090, 4093, 4096, 9000])
def test_places_near_and_far_are_the_first_ones(far: int) -> None:
    text = "x" * far + " Foo foo-bar, foos FOO"
    texts = Texts(text, "", "", "", "", "")
    found = [(e.part, e.found) for e in excerpts((parsed("foo"),), texts, 3)]
    assert found == [("system", "Foo"), ("system", "foo"), ("system", "FOO")]
    (phrase,) = excerpts((parsed('"foo bar"'),), texts, 2)
    assert phrase.found == "foo-bar"
