"""What is made of a response, and that any other is no reply and no error."""

from __future__ import annotations

import json
import random
import tracemalloc
from itertools import pairwise
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessage

from m2mproxy.link import reply
from m2mproxy.link.reply import ReplyReader, render, secrets
from m2mproxy.proxy.room import Room

Messages = list[dict[str, Any]]


def read(pieces: list[bytes], events: bool = True) -> Messages:
    reader = ReplyReader(events)
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def sse(*events: object, end: str = "\n") -> bytes:
    lines = [f"data: {each if isinstance(each, str) else json.dumps(each)}" for each in events]
    return "".join(line + end + end for line in lines).encode()


def delta(index: int = 0, /, **what: object) -> dict[str, object]:
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": index, "delta": what, "finish_reason": None}],
    }


def detail(number: int, kind: str = "text", **what: object) -> dict[str, object]:
    return {"type": f"reasoning.{kind}", "index": number, **what}


def call(number: int, **what: object) -> dict[str, object]:
    return delta(tool_calls=[{"index": number, **what}])


USAGE = {"choices": [], "usage": {"total_tokens": 3}}
CHAT = sse(
    delta(role="assistant", content="", refusal=None),
    delta(content="Grüße, \n"),
    delta(content='"you"'),
    delta(),
    USAGE,
    "[DONE]",
)
CHAT_MESSAGE = {"role": "assistant", "content": 'Grüße, \n"you"'}
CALLS = sse(
    delta(role="assistant", content=None),
    call(0, id="call_a1b2c3d4", type="function", function={"name": "one", "arguments": ""}),
    call(0, function={"arguments": '{"x":'}),
    call(1, id="call_e5f6a7b8", type="function", function={"name": "two", "arguments": "{}"}),
    call(0, function={"arguments": "1}"}),
    "[DONE]",
)


def called(name: str, function: str, arguments: str) -> dict[str, Any]:
    return {
        "id": name,
        "type": "function",
        "function": {"name": function, "arguments": arguments},
    }


CALLS_MESSAGE = {
    "role": "assistant",
    "content": None,
    "tool_calls": [called("call_a1b2c3d4", "one", '{"x":1}'), called("call_e5f6a7b8", "two", "{}")],
}
ITEM = {"type": "function_call", "call_id": "call_a1b2c3d4", "name": "f", "arguments": "{}"}


def began(number: int, **block: object) -> dict[str, object]:
    return {"type": "content_block_start", "index": number, "content_block": block}


def went_on(number: int, kind: str, **more: object) -> dict[str, object]:
    delta = {"type": f"{kind}_delta", **more}
    return {"type": "content_block_delta", "index": number, "delta": delta}


BLOCKS = sse(
    {"type": "message_start", "message": {"role": "assistant", "content": [], "usage": {}}},
    began(0, type="thinking", thinking="", signature=""),
    went_on(0, "thinking", thinking="so "),
    went_on(0, "thinking", thinking="be it"),
    went_on(0, "signature", signature="c2ln"),
    {"type": "content_block_stop", "index": 0},
    began(1, type="text", text=""),
    {"type": "ping"},
    went_on(1, "text", text="Grüße, \n"),
    went_on(1, "text", text='"you"'),
    began(2, type="tool_use", id="toolu_01A2b3C4", name="one", input={}),
    went_on(2, "input_json", partial_json=""),
    went_on(2, "input_json", partial_json='{"x": ['),
    went_on(2, "input_json", partial_json="1.0]}"),
    began(3, type="tool_use", id="toolu_05D6e7F8", name="two", input={}),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}},
    {"type": "message_stop"},
)
BLOCKS_MESSAGE = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": "so be it", "signature": "c2ln"},
        {"type": "text", "text": 'Grüße, \n"you"'},
        {"type": "tool_use", "id": "toolu_01A2b3C4", "name": "one", "input": {"x": [1.0]}},
        {"type": "tool_use", "id": "toolu_05D6e7F8", "name": "two", "input": {}},
    ],
}


def part(number: int | None, *parts: dict[str, object], role: str = "model") -> dict[str, object]:
    """A response of Gemini's API; without a number it has none."""
    content = {"parts": list(parts), "role": role}
    index = {} if number is None else {"index": number}
    return {"candidates": [{"content": content, **index}], "usageMetadata": {"n": 1}}


def signed(*signatures: object) -> list[dict[str, object]]:
    return [{"thoughtSignature": each} for each in signatures]


SIGNED = "Ev+A/b" * 30
SIGNATURE = {"thoughtSignature": SIGNED}
IN_URLS = {"thoughtSignature": "Ev-A_b" * 30}
CONTENTS = sse(
    part(0, {"text": "so ", "thought": True}),
    part(0, {"text": "be it", "thought": True}),
    part(0, {"text": "Grüße, \n"}),
    part(0, {"text": ""}, {"text": '"you"'}),
    part(0, {"functionCall": {"name": "one", "args": {"x": 1}}, **SIGNATURE}, {"text": ""}),
    {"candidates": [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}]},
)
CONTENT = {
    "parts": [
        {"text": "so be it", "thought": True},
        {"text": 'Grüße, \n"you"'},
        {"functionCall": {"name": "one", "args": {"x": 1}}, **SIGNATURE},
    ],
    "role": "model",
}
SHAPES: list[tuple[str, bytes, Messages]] = [
    ("chat", CHAT, [CHAT_MESSAGE]),
    ("crlf", CHAT.replace(b"\n", b"\r\n"), [CHAT_MESSAGE]),
    (
        "comments",
        b": ping\n\n" + CHAT.replace(b"\n\n", b"\n\n: ping\nevent: x\n\n"),
        [CHAT_MESSAGE],
    ),
    ("no space", CHAT.replace(b"data: ", b"data:"), [CHAT_MESSAGE]),
    ("tool calls", CALLS, [CALLS_MESSAGE]),
    (
        "reasoning",
        sse(delta(reasoning_content="so "), delta(reasoning_content="be"), delta(content="it")),
        [{"role": "assistant", "content": "it", "reasoning_content": "so be"}],
    ),
    (
        "two choices",
        sse(delta(1, content="b"), delta(0, content="a"), delta(1, content="c")),
        [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "bc"}],
    ),
    (
        "legacy completions",
        sse({"choices": [{"index": 0, "text": "on"}]}, {"choices": [{"index": 0, "text": "ce"}]}),
        [{"role": "assistant", "content": "once"}],
    ),
    (
        "responses",
        sse(
            {"type": "response.output_text.delta", "delta": "x"},
            {"type": "response.output_item.done", "output_index": 0, "item": ITEM},
            {"type": "response.completed", "response": {"output": [ITEM]}},
        ),
        [ITEM],
    ),
    ("messages", BLOCKS, [BLOCKS_MESSAGE]),
    ("contents", CONTENTS, [CONTENT, IN_URLS]),
    (
        "contents of two candidates",
        sse(part(1, {"text": "b"}), part(None, {"text": "a"}), part(1, {"text": "c"})),
        [
            {"parts": [{"text": "a"}], "role": "model"},
            {"parts": [{"text": "bc"}], "role": "model"},
        ],
    ),
    (
        "texts of two kinds, and one that is signed",
        sse(
            part(0, {"text": "a", "thought": True}, {"text": "b", "thought": 1}, role="r"),
            part(0, {"text": "c"}, {"text": "d", "thoughtSignature": "s"}, {"text": "e"}),
        ),
        [
            {
                "parts": [
                    {"text": "a", "thought": True},
                    {"text": "b", "thought": 1},
                    {"text": "c"},
                    {"text": "d", "thoughtSignature": "s"},
                    {"text": "e"},
                ],
                "role": "r",
            }
        ],
    ),
    (
        "details of reasoning",
        sse(
            delta(reasoning="so ", reasoning_details=[detail(0, text="so ", format="f")]),
            delta(reasoning="be", reasoning_details=[detail(0, text="be", format="f")]),
            delta(reasoning_details=[detail(0, signature="c2ln")]),
            delta(reasoning_details=[detail(1, "encrypted", data="x")]),
            delta(reasoning_details=[detail(1, text="y"), 1], content="it"),
            delta(reasoning_details=[]),
        ),
        [
            {
                "role": "assistant",
                "content": "it",
                "reasoning": "so be",
                "reasoning_details": [
                    detail(0, text="so be", format="f", signature="c2ln"),
                    detail(1, "encrypted", data="x"),
                    detail(1, text="y"),
                ],
            }
        ],
    ),
    (
        "details that do not go on",
        sse(
            delta(d=[detail(0, text="a")]),
            delta(d=[{"type": "reasoning.text", "text": "b"}]),
            delta(d=[{"type": "reasoning.text", "text": "c"}, {"index": 0, "text": "d"}]),
            delta(d=[{"index": 0, "text": "e"}, {"type": 1, "index": 1.0}]),
            delta(d=[{"type": 1, "index": 1}]),
            delta(d=[detail(1, text="f"), detail(2, text="g"), detail(2, "x", text="h")]),
            delta(d=[{"type": "a", "index": 0.0}, {"type": "a", "index": 0, "text": "i"}]),
            delta(d=[{"type": "a", "index": 0, "text": "j", "id": "k"}, 1], none=[], ones=[1]),
            delta(d=[{"type": "a", "index": 0.0, "text": "l"}]),
        ),
        [
            {
                "role": "assistant",
                "content": None,
                "d": [
                    detail(0, text="a"),
                    {"type": "reasoning.text", "text": "b"},
                    {"type": "reasoning.text", "text": "c"},
                    {"index": 0, "text": "d"},
                    {"index": 0, "text": "e"},
                    {"type": 1, "index": 1.0},
                    {"type": 1, "index": 1},
                    detail(1, text="f"),
                    detail(2, text="g"),
                    detail(2, "x", text="h"),
                    {"type": "a", "index": 0.0},
                    {"type": "a", "index": 0, "text": "ij"},
                    {"type": "a", "index": 0.0, "text": "l"},
                ],
            }
        ],
    ),
    (
        "names of two kinds of values, of which the first counts",
        sse(
            delta(a="b", c={"d": 1}, e=[{"f": 1}]),
            delta(a={"b": 1}, c="d", e="f"),
            delta(a=[{"b": 1}], c=[{"d": 1}], e={"f": 1}),
        ),
        [{"role": "assistant", "content": None, "a": "b", "c": {"d": 1}, "e": [{"f": 1}]}],
    ),
    (
        "what else a choice and a call have",
        sse(
            delta(content=[{"type": "thinking"}], extra={"b": 1}, role={"c": 1}, empty={}),
            delta(extra={"d": 1}, content="a"),
            delta(extra="e", audio=None, logprobs=3),
            call(0, id="call_a1b2c3d4", function={"name": "f"}, extra={"g": {"s": "c2ln"}}),
            call(0, function={"arguments": "{}"}, extra={"h": 1}, more=[{"i": 1}]),
        ),
        [
            {
                "role": "assistant",
                "content": "a",
                "extra": {"b": 1},
                "empty": {},
                "tool_calls": [
                    called("call_a1b2c3d4", "f", "{}") | {"extra": {"g": {"s": "c2ln"}}},
                ],
            }
        ],
    ),
    ("nothing", sse("[DONE]"), []),
    (
        "an event that is not whole",
        CHAT + b'data: {"choices":[{"delta":{"content":"x"}}]}',
        [CHAT_MESSAGE],
    ),
]


@pytest.mark.parametrize(
    "stream, messages", [shape[1:] for shape in SHAPES], ids=[s[0] for s in SHAPES]
)
def test_a_stream_is_put_together_however_it_was_cut(stream: bytes, messages: Messages) -> None:
    assert read([stream]) == messages
    assert read([stream[at : at + 1] for at in range(len(stream))]) == messages
    rng = random.Random(1)
    for _ in range(20):
        cuts = sorted(rng.choices(range(len(stream) + 1), k=rng.randrange(1, 9)))
        ends = [0, *cuts, len(stream)]
        assert read([stream[a:b] for a, b in pairwise(ends)]) == messages


BODIES: list[tuple[object, Messages]] = [
    (
        {"choices": [{"message": {"role": "assistant", "content": "x", "refusal": None}}]},
        [{"role": "assistant", "content": "x"}],
    ),
    (
        {"choices": [{"message": {**CALLS_MESSAGE, "annotations": []}}]},
        [CALLS_MESSAGE],
    ),
    ({"choices": [{"text": "x"}]}, [{"content": "x"}]),
    ({"output": [ITEM, 1]}, [ITEM]),
    ({"type": "message", **BLOCKS_MESSAGE, "stop_reason": "tool_use"}, [BLOCKS_MESSAGE]),
    ({"type": "message", "role": "assistant", "content": []}, []),
    ({"candidates": [{"content": CONTENT}, {"content": 1}, {}, 1]}, [CONTENT, IN_URLS]),
    ({"candidates": [{"content": {"role": "model"}}]}, []),
    (
        {"candidates": [{"content": {"parts": signed("a", "+", "b/", 1)}}]},
        [{"parts": signed("a", "+", "b/", 1)}, *signed("-", "b_")],
    ),
    (
        {"choices": [{"text": "a"}], "candidates": [{"content": CONTENT}], "message": {"b": 1}},
        [{"content": "a"}],
    ),
    ({"candidates": [{"content": CONTENT}], "message": {"b": 1}}, [CONTENT, IN_URLS]),
    ({"message": {"b": 1}, "content": [{"c": 1}]}, [{"b": 1}]),
    ({"candidates": [{"content": {"parts": [{"text": "a"}, {"text": "b"}]}}]}, [
        {"parts": [{"text": "a"}, {"text": "b"}]}
    ]),
    ({"message": {"role": "assistant", "content": "x", "tool_calls": None}, "done": True}, [
        {"role": "assistant", "content": "x"}
    ]),
    ({"content": "x"}, []),
    ({"error": {"message": "x"}}, []),
    ([], []),
    (
        [
            {"candidates": [{"content": {"parts": [{"text": "a"}], "role": "model"}}]},
            1,
            {"candidates": [{"content": {"parts": [{"text": "b"}], "role": "model"}}]},
        ],
        [{"parts": [{"text": "ab"}], "role": "model"}],
    ),
    ([delta(content="a"), delta(content="b")], [{"role": "assistant", "content": "ab"}]),
]


@pytest.mark.parametrize("body, messages", BODIES)
def test_a_body_brings_its_messages_however_it_was_cut(body: object, messages: Messages) -> None:
    text = json.dumps(body).encode()
    assert read([text], events=False) == messages
    assert read([text[at : at + 1] for at in range(len(text))], events=False) == messages


def test_a_tool_call_is_the_same_from_a_stream_and_from_a_body() -> None:
    body = json.dumps({"choices": [{"message": CALLS_MESSAGE}]}).encode()
    assert read([CALLS]) == read([body], events=False)


# -- whatever comes ------------------------------------------------------------------------------

NAMES = ["choices", "index", "delta", "message", "content", "text", "tool_calls", "function"]
NAMES += ["id", "call_id", "name", "arguments", "type", "output", "item", "role", "user"]
NAMES += ["content_block", "partial_json", "input"]
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.sampled_from(["response.output_item.done", "function", "call_12ab34cd"])
    | st.sampled_from(["content_block_start", "content_block_delta", "tool_use"])
)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=25,
)
shaped = st.builds(
    lambda inner, more: {
        "choices": [{"delta": inner, "message": inner, **more}],
        **{name: inner for name in ("item", "content_block", "delta")},
        "index": 0,
        **more,
    },
    anything,
    st.dictionaries(st.sampled_from(NAMES), anything, max_size=3),
)


def use(messages: Messages) -> None:
    """All that is made of a reply."""
    for request in (
        b"",
        b'{"a":"b"}',
        b'{"a": "b"}',
        '{"a": "ü"}'.encode(),
        b'{"a":"\\u00fc\\u20ac"}',
    ):
        assert isinstance(render(messages, request), bytes)
    assert all(isinstance(each, bytes) for each in secrets(messages))


@given(st.lists(anything | shaped, max_size=4), st.booleans())
@settings(max_examples=300)
def test_any_json_is_read_without_an_error(values: list[object], ascii_only: bool) -> None:
    texts = [
        json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace") for value in values
    ]
    use(read([b"data: " + text + b"\n\n" for text in texts]))
    for text in texts:
        use(read([text], events=False))


@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([b"data: ", b"\n", b'{"choices":[', b'"']))
)
def test_any_bytes_are_read_without_an_error(pieces: list[bytes]) -> None:
    for events in (True, False):
        use(read(pieces, events))


def deep(levels: int, inside: str = "1") -> str:
    return "[" * levels + inside + "]" * levels


@pytest.mark.parametrize("levels", [200, 300, 900, 1020, 100_000])
@pytest.mark.parametrize(
    "event",
    [
        '{"type":"response.output_item.done","item":{"x":%s}}',
        '{"choices":[{"delta":{"tool_calls":%s}}]}',
        '{"choices":[{"message":{"content":%s}}]}',
        '{"output":[{"call_id":"call_1a2b3c4d","name":%s}]}',
        '{"type":"content_block_start","index":0,"content_block":{"type":%s}}',
        '{"content":[{"type":"tool_use","id":"call_1a2b3c4d","name":%s}]}',
        "%s",
    ],
)
def test_what_is_nested_deeply_is_no_error(event: str, levels: int) -> None:
    text = (event % deep(levels)).encode()
    use(read([b"data: " + text + b"\n\n"]))
    use(read([text], events=False))


def test_what_cannot_be_written_is_no_reply() -> None:
    messages = read([b'{"output":[{"x":%s}]}' % deep(400).encode()], events=False)
    assert messages
    assert render(messages, b"{}") == b""
    assert render(messages, b'{"a": 1}') == b""


@pytest.mark.parametrize("text", [r"\ud800", r"\udc00\ud800", r"\ud83d"])
def test_half_a_letter_is_no_reply(text: str) -> None:
    """JSON can hold a lone surrogate, and UTF-8 cannot."""
    event = b'{"choices":[{"delta":{"content":"%s"}}]}' % text.encode()
    assert read([b"data: " + event + b"\n\n"]) == []
    assert read([event.replace(b"delta", b"message")], events=False) == []


@pytest.mark.parametrize(
    "number", ["99999999999999999999", "-1", "1e400", "1.5", "true", "null", '"0"']
)
def test_a_strange_index_is_no_error(number: str) -> None:
    for event in (
        '{"choices":[{"index":%s,"delta":{"content":"x"}}]}',
        '{"choices":[{"delta":{"tool_calls":[{"index":%s,"function":{"name":"x"}}]}}]}',
        '{"type":"content_block_start","index":%s,"content_block":{"type":"text"}}',
    ):
        use(read([f"data: {event % number}\n\n".encode()]))


# -- bounds --------------------------------------------------------------------------------------


def long_stream(size: int) -> bytes:
    """Of which the texts have `size` bytes, counted with their names, and a few more."""
    piece = "x" * 1017
    return sse(delta(content=piece)) * (size // 1024)


@pytest.mark.parametrize("cut", [1 << 30, 100_000, 1000])
def test_a_stream_is_remembered_up_to_its_bound_however_it_is_cut(cut: int) -> None:
    for stream, fits in (
        (long_stream(reply.MOST), True),
        (long_stream(reply.MOST + 1024), False),
        (b": " + b"x" * (reply.MOST - 2) + b"\n" + CHAT, True),
        (b": " + b"x" * (reply.MOST - 1) + b"\n" + CHAT, False),
        (CHAT + b"x" * reply.MOST, True),
        (CHAT + b"x" * (reply.MOST + 1), False),
    ):
        pieces = [stream[at : at + cut] for at in range(0, len(stream), cut)]
        assert bool(read(pieces)) == fits


@pytest.mark.parametrize("cut", [1 << 30, 100_000, 1000])
def test_a_body_is_remembered_up_to_its_bound_however_it_is_cut(cut: int) -> None:
    empty = len(json.dumps({"choices": [{"text": ""}]}))
    for size, fits in ((reply.MOST, True), (reply.MOST + 1, False)):
        text = json.dumps({"choices": [{"text": "x" * (size - empty)}]}).encode()
        pieces = [text[at : at + cut] for at in range(0, len(text), cut)]
        assert bool(read(pieces, events=False)) == fits


def test_a_stream_has_a_bounded_number_of_choices_names_and_calls() -> None:
    many = [delta(number, content="x") for number in range(100)]
    assert len(read([sse(*many)])) == 16
    names = [delta(**{f"name{number}": "x"}) for number in range(100)]
    assert len(read([sse(*names)])[0]) <= 18
    calls = [call(number, function={"name": "x"}) for number in range(1000)]
    assert len(read([sse(*calls)])[0]["tool_calls"]) == 256
    lists = [delta(**{f"name{number}": [{"a": 1}]}) for number in range(100)]
    assert len(read([sse(*lists)])[0]) == 18
    kept = [call(0, **{f"name{number}": {"a": 1}}) for number in range(100)]
    assert len(read([sse(*kept)])[0]["tool_calls"][0]) == 19
    contents = [part(number, {"text": "x"}) for number in range(100)]
    assert len(read([sse(*contents)])) == 16
    whole = {"candidates": [{"content": {"parts": [{"text": "x" * 64}]}}] * 100}
    assert len(read([json.dumps(whole).encode()], events=False)) == 16
    blocks = [began(number, type="text") for number in range(1000)]
    assert len(read([sse(*blocks)])[0]["content"]) == 256
    names = [went_on(0, "x", **{f"name{number}": "x"}) for number in range(100)]
    assert len(read([sse(began(0, type="text"), *names)])[0]["content"][0]) == 17


def item(size: int) -> dict[str, object]:
    """Of that many bytes, with its comma."""
    return {"a": "x" * (size - 9)}


@pytest.mark.parametrize("size, fits", [(16, True), (15, False)])
def test_what_has_an_object_every_few_bytes_is_not_read(size: int, fits: bool) -> None:
    """It took half a second to read and write 512 KiB of nothing else."""
    body = json.dumps({"output": [item(size)] * 1000 + [item(100)]}, separators=(",", ":"))
    assert bool(read([body.encode()], events=False)) == fits
    event = '{"type":"response.output_item.done","item":' + body + "}"
    assert bool(read([sse(event)])) == fits
    events = [began(0, type="tool_use", input={}), went_on(0, "partial_json", partial_json=body)]
    [message] = read([sse(*events)])
    assert bool(message["content"][0]["input"]) == fits


def test_short_objects_are_read_however_many_they_are() -> None:
    assert len(read([b'{"output":[%b]}' % b",".join([b"{}"] * 300)], events=False)) == 300


@pytest.mark.parametrize("count, fits", [(1024, True), (1025, False)])
def test_a_reply_of_too_many_messages_is_none(count: int, fits: bool) -> None:
    items = [item(32)] * count
    assert bool(read([json.dumps({"output": items}).encode()], events=False)) == fits
    events = [{"type": "response.output_item.done", "item": each} for each in items]
    assert bool(read([sse(*events)])) == fits


def test_ids_are_looked_for_in_a_bounded_number_of_parts() -> None:
    call = {"type": "tool_use", "id": "toolu_1a2b3c4d", "name": "f"}
    for before, found in ((1000, 1), (2000, 0)):
        messages = [{"role": "assistant", "content": [*[item(32)] * before, call]}]
        assert len(secrets(messages)) == found


@pytest.mark.parametrize(
    "event", [delta(content="word"), went_on(0, "text", text="word")], ids=["chat", "messages"]
)
def test_words_take_as_much_memory_as_their_letters(event: object) -> None:
    """They come one by one, and there may be thousands of streams: each took sixty bytes."""
    reader = ReplyReader(True)
    reader.feed(sse(began(0, type="text", text="")))
    words = sse(event) * 1000
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(10):
        reader.feed(words)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 2 * 10 * 1000 * len("word")
    assert "word" * 10_000 in json.dumps(reader.finish())


def test_all_that_a_stream_has_counts_towards_its_bound() -> None:
    kilobyte = "x" * 1024
    for pieces in (
        [began(number % 2, type=kilobyte) for number in range(513)],
        [began(0), *(went_on(0, "text", text=kilobyte) for _ in range(513))],
        [part(number % 2, {"text": kilobyte}) for number in range(513)],
        [part(0, {"f": kilobyte}) for number in range(513)],
        [delta(details=[detail(0, text=kilobyte)]) for _ in range(513)],
        [delta(details=[detail(number, text=kilobyte)]) for number in range(513)],
        [delta(n % 16, **{f"n{n // 16}": {"a": 4 * kilobyte}}) for n in range(129)],
        [call(number % 200, **{f"n{number}": {"a": kilobyte}}) for number in range(513)],
    ):
        assert read([sse(*pieces)]) == []
        assert read([sse(*pieces[:100])]) != []


@pytest.mark.parametrize(
    "event",
    [
        went_on(0, "text", text="before it begins"),
        began(1, type="text") | {"index": 256},
        began(1, type="text") | {"index": None},
        {"type": "content_block_start", "index": 1, "content_block": "x"},
        {"type": "content_block_delta", "index": 1},
        {"type": "content_block_stop", "index": 1, "content_block": {}, "delta": {"text": "x"}},
    ],
)
def test_what_is_of_no_block_is_left_out(event: object) -> None:
    text = [began(1, type="text", text="a"), went_on(1, "text", text="b")]
    whole = {"role": "assistant", "content": [{"type": "text", "text": "ab"}]}
    assert read([sse(event, *text)]) == read([sse(*text, event)]) == [whole]


def test_arguments_that_are_no_json_are_left_as_they_began() -> None:
    for pieces in (["{"], ["{}", "x"], ['"\\ud800"']):
        stream = [began(0, type="tool_use", input={"a": 1})]
        stream += [went_on(0, "input_json", partial_json=piece) for piece in pieces]
        [message] = read([sse(*stream)])
        assert message["content"] == [{"type": "tool_use", "input": {"a": 1}}]


def test_a_block_that_begins_again_has_only_what_comes_then() -> None:
    stream = [began(0, text="a"), went_on(0, "text", text="b"), began(0, text="c")]
    assert read([sse(*stream)])[0]["content"] == [{"text": "c"}]


def test_a_text_of_a_block_stands_at_the_place_of_what_is_no_string() -> None:
    stream = [began(0, type="tool_use", text=None, a=1), went_on(0, "b", text="x")]
    stream += [went_on(0, "b", partial_json="{}"), went_on(0, "b", more="y")]
    block = {"type": "tool_use", "text": "x", "a": 1, "input": {}, "more": "y"}
    [message] = read([sse(*stream)])
    assert list(message["content"][0].items()) == list(block.items())


def test_a_block_has_an_empty_text_that_was_said_and_a_choice_has_none() -> None:
    stream = [began(0, type="thinking"), went_on(0, "signature", signature="")]
    assert read([sse(*stream)])[0]["content"] == [{"type": "thinking", "signature": ""}]
    assert read([sse(delta(reasoning=""))]) == [{"role": "assistant", "content": None}]


def test_blocks_count_where_contents_of_candidates_have_no_parts() -> None:
    stream = [{"candidates": [{"content": {"role": "model"}}]}, began(0, text="a")]
    assert read([sse(*stream)])[0]["content"] == [{"text": "a"}]


# -- as it is sent back --------------------------------------------------------------------------

HISTORY = [{"role": "system", "content": "Sei nett"}, {"role": "user", "content": "Hi"}]
texts = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    ['\x7f\u2028\u2029\x1f\t\b\f\r\n"\\/', "日本語 😀", "<>&'", ""]
)


def as_httpx(value: object) -> bytes:
    return httpx.Request("POST", "http://x/", json=value).content


def as_python(value: object) -> bytes:
    return json.dumps(value).encode()


def as_python_in_utf8(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def as_compact_ascii(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


writers = st.sampled_from([as_httpx, as_python, as_python_in_utf8, as_compact_ascii])
calls = st.lists(st.builds(called, texts, texts, texts), min_size=1, max_size=3)
messages = st.builds(lambda content: {"role": "assistant", "content": content}, texts) | st.builds(
    lambda content, some: {"role": "assistant", "content": content, "tool_calls": some},
    st.none() | texts,
    calls,
)


@example({"role": "assistant", "content": "\x7f"}, as_compact_ascii)
@example({"role": "assistant", "content": "x", "logprob": -1.5e-07}, as_compact_ascii)
@given(messages, writers)
def test_a_reply_is_written_as_the_application_will_send_it_back(
    message: dict[str, Any], write: Any
) -> None:
    """Where the request tells how its writer writes, that is: it has an umlaut, or a euro sign."""
    history = [*HISTORY, {"role": "user", "content": "10 € für Grüße"}]
    text = render([message], write({"model": "m", "messages": history, "stream": True}))
    again = write({"model": "m", "messages": [*history, message], "stream": True})
    assert text[:1] == b","
    assert text in again


@given(messages, st.sampled_from([as_httpx, as_python]))
def test_it_is_guessed_where_the_request_is_all_ascii(message: dict[str, Any], write: Any) -> None:
    text = render([message], write({"messages": HISTORY}))
    assert text in write({"messages": [*HISTORY, message]})


def test_how_its_letters_are_written_is_seen_at_the_end_of_a_large_request() -> None:
    """Text of which each letter nearly is an escape takes 40 ms a MiB, while everybody waits."""
    message = {"role": "assistant", "content": "10 €"}

    def rendered(more: int) -> bytes:
        history = [{"role": "user", "content": "€" + "x" * more}]
        return render([message], as_compact_ascii({"messages": history}))

    assert b"\\u20ac" in rendered(250_000)
    assert "€".encode() in rendered(270_000)


@given(texts.filter(bool))
def test_a_chat_stream_comes_back_in_a_history_of_role_and_content(content: str) -> None:
    stream = sse(delta(role="assistant", content=""), *(delta(content=each) for each in content))
    request = as_httpx({"model": "m", "messages": HISTORY})
    message = {"role": "assistant", "content": content}
    assert render(read([stream]), request) in as_httpx({"messages": [*HISTORY, message]})


@given(texts, calls)
def test_every_text_comes_back_in_a_message_that_openai_python_dumped(
    content: str, some: list[dict[str, Any]]
) -> None:
    """It writes the keys in an order of its own, so only the texts are the same."""
    message = {"role": "assistant", "content": content, "tool_calls": some}
    body = orjson.dumps({"choices": [{"index": 0, "message": {**message, "refusal": None}}]})
    request = as_httpx({"model": "m", "messages": HISTORY})
    text = render(read([body], events=False), request)
    dumped = ChatCompletionMessage.model_validate(message).model_dump(exclude_none=True)
    again = as_httpx({"messages": [*HISTORY, dumped]})
    wanted = [content]
    for each in some:
        wanted += [each["id"], each["function"]["name"], each["function"]["arguments"]]
    for string in wanted:
        assert orjson.dumps(string) in text
        assert orjson.dumps(string) in again


def test_no_messages_are_no_reply() -> None:
    assert render([], b'{"a": 1}') == render([], b"") == b""


# -- secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, function",
    [
        ("call_1", "f"),
        ("call_12345678901234567890", "f"),
        ("functions.get_weather:0", "get_weather"),
        ("functions.get_weather2024now:0", "get_weather2024now"),
        ("sha256sum:0", "sha256sum"),
        ("call_get_weather_00000001", "get_weather"),
        ("search12", "search"),
        ("call1732891200123", "f"),
        ("1732891200123call", "f"),
        ("abcdefghijklmnop", "f"),
        ("call_é1b2c3d4e5", "f"),
        ("call_getTheWeatherOfTodayForOneCity", "f"),
        ("CALL_EXECUTESTATEMENTONDATABASE", "f"),
        ("call_qWxYbCdEfGhIjKlMnOpQrStU", "qWxYbCdEfGhIjKlMnOpQrStU"),
        ("", "f"),
    ],
)
def test_an_id_that_can_be_guessed_is_no_secret(name: str, function: str) -> None:
    assert secrets([{"tool_calls": [called(name, function, "{}")]}]) == []
    assert secrets([{"call_id": name, "name": function}]) == []


@pytest.mark.parametrize(
    "name",
    [
        "call_abc123DEF456ghi789JKL012",
        "chatcmpl-tool-5f3a9c0d1e2b4f6a8c7d9e0f1a2b3c4d",
        "toolu_01A09q90qw90lq917835lq9",
        "fc_68f0a1b2c3d4e5f6",
        "toolu_01cNWSnoKVEoFGKPGEefyeGh",
        "call_TbXqGmRsKvfLzHyWnJcPdAeU",
    ],
)
def test_a_random_id_is_a_secret(name: str) -> None:
    assert secrets([{"tool_calls": [called(name, "f", "{}")]}]) == [name.encode()]
    assert secrets([{"type": "function_call", "call_id": name, "name": "f"}]) == [name.encode()]
    block = {"type": "tool_use", "id": name, "name": "f", "input": {}}
    assert secrets([{"role": "assistant", "content": [block]}]) == [name.encode()]


    part = {"functionCall": {"id": name, "name": "f", "args": {}}}
    assert secrets([{"parts": [{"text": "x"}, part], "role": "model"}]) == [name.encode()]


def test_the_id_of_what_is_no_call_is_no_secret() -> None:
    assert secrets([{"id": "msg_abc123DEF456", "type": "message", "role": "assistant"}]) == []
    assert secrets([{"content": [{"id": "srv_abc123DEF456", "type": "text"}]}]) == []


@pytest.mark.parametrize("events", [True, False])
def test_what_there_is_no_room_for_is_no_reply(events: bool) -> None:
    room, texts = Room(300_000), ["x" * 50_000] * 4
    if events:
        pieces = [sse(delta(content=text)) for text in texts]
    else:
        whole = json.dumps({"choices": [{"message": {"content": "".join(texts)}}]}).encode()
        pieces = [whole[:100_000], whole[100_000:]]
    first, second = ReplyReader(events, room), ReplyReader(events, room)
    for reader in (first, second):
        for piece in pieces:
            reader.feed(piece)
    assert 100_000 < 300_000 - room.free < 220_000
    assert second.finish() == []
    assert first.finish()[0]["content"] == "".join(texts)
    assert room.free == 300_000


def test_one_that_is_dropped_gives_its_room_back_once() -> None:
    room = Room(1 << 20)
    reader = ReplyReader(False, room)
    reader.feed(b" " * 200_000)
    assert room.free <= (1 << 20) - 136_000
    reader.drop()
    reader.feed(b" " * 200_000)
    assert reader.finish() == []
    assert room.free == 1 << 20
