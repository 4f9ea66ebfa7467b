"""The texts of a reply: those of a stream are those of the body that says the same."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.tokens.written import written


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)


def delta(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


def body(**body: Any) -> bytes:
    return orjson.dumps(body)


def call(**function: str) -> list[dict[str, Any]]:
    return [{"index": 0, "id": "call_1", "type": "function", "function": function}]


CHAT = stream(
    delta(role="assistant", content=""),
    delta(reasoning_content="Hm. ", reasoning="Hm. "),
    delta(content="Paris"),
    delta(content=None, tool_calls=call(name="look", arguments="")),
    delta(tool_calls=call(arguments='{"a":1}')),
    {"choices": [], "usage": None},
) + b": ping\n\ndata: [DONE]\n\n"
RESPONSES = stream(
    {"type": "response.created", "response": {"instructions": "Speak."}},
    {"type": "response.output_item.added", "item": {"type": "function_call", "name": "look"}},
    {"type": "response.function_call_arguments.delta", "delta": '{"a":1}'},
    {"type": "response.output_text.delta", "delta": "Paris"},
    {"type": "response.audio.delta", "delta": "UklGRg=="},
    {"type": "response.output_text.done", "text": "Paris"},
)
# Of Ollama, whose arguments are objects.
LINES = b"".join(
    orjson.dumps({"model": "m", "message": {"role": "assistant", **said}, "done": False}) + b"\n"
    for said in (
        {"content": "", "thinking": "Hm. "},
        {"content": "Par"},
        {"content": "is"},
        {"content": "", "tool_calls": [{"function": {"name": "look", "arguments": {"a": 1}}}]},
    )
)
MESSAGES = b"".join(
    b"event: x\r\n" + stream(event).replace(b"\n", b"\r\n")
    for event in (
        {"type": "message_start", "message": {"role": "assistant", "content": []}},
        {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "Hm. "}},
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "x"}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Paris"}},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "look"}},
        {"type": "content_block_delta", "delta": {"partial_json": '{"a":1}'}},
        {"type": "message_stop"},
    )
)


@pytest.mark.parametrize(
    ("events", "reply", "text"),
    [
        (True, CHAT, 'Hm. Parislook{"a":1}'),
        (True, stream({"choices": [{"index": 0, "text": "Par"}, {"text": "is"}]}), "Paris"),
        (True, stream(delta(reasoning="Hm. "), delta(refusal="No.")), "Hm. No."),
        (True, RESPONSES, 'look{"a":1}Paris'),
        (True, MESSAGES, 'Hm. Parislook{"a":1}'),
        (
            False,
            body(choices=[{"message": {"content": "Paris", "tool_calls": call(name="look")}}]),
            "Parislook",
        ),
        (False, body(choices=[{"text": "Paris"}]), "Paris"),
        (False, LINES, 'Hm. Parislook{"a":1}'),
        (False, LINES[:-30], "Hm. Paris"),
        (False, body(message={"role": "assistant", "content": "Paris"}), "Paris"),
        (False, body(response="Paris", thinking="Hm. "), "Hm. Paris"),
        (False, b'{"response":"Par"}\n{"response":"is"}\n', "Paris"),
        (False, body(choices=[{"message": {"reasoning_content": "Hm. "}}]), "Hm. "),
        (False, body(choices=[{"message": {"reasoning_content": "H", "reasoning": "H"}}]), "H"),
        (False, body(choices=[{"message": {"function_call": {"name": "old"}}}]), "old"),
        (False, body(output=[{"type": "custom_tool_call", "name": "sh", "input": "ls"}]), "shls"),
        (False, body(output=[{"content": [{"type": "refusal", "refusal": "No."}]}]), "No."),
        (True, stream({"type": "response.partial_image.delta", "delta": "iVBORw0KGgo="}), ""),
        (True, stream({"type": "other.output_text.delta", "delta": "no event of ours"}), ""),
        (
            False,
            body(
                output=[
                    {"type": "reasoning", "summary": [{"text": "Hm. "}]},
                    {"type": "message", "content": [{"type": "output_text", "text": "Paris"}]},
                    {"type": "function_call", "name": "look", "arguments": "{}"},
                ]
            ),
            "Hm. Parislook{}",
        ),
        (
            False,
            body(
                content=[
                    {"type": "text", "text": "Paris"},
                    {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}},
                ]
            ),
            'Parislook{"a":1}',
        ),
        (False, b"", ""),
        (False, b"[1]", ""),
        (True, b"data: 1\n\ndata: {\n\ndata: null", ""),
    ],
)
def test_what_a_model_wrote(events: bool, reply: bytes, text: str) -> None:
    assert written(reply, events) == text


def test_what_is_yet_to_be_written_is_not_nothing() -> None:
    for status in ("queued", "in_progress"):
        assert written(body(status=status, output=[], usage=None), False) is None
    assert written(body(status="incomplete", output=[]), False) == ""
    assert written(stream({"status": "queued"}), True) == ""


@given(st.integers(0, len(CHAT)))
def test_a_stream_cut_short_has_the_events_that_are_whole(at: int) -> None:
    whole = CHAT[:at].rfind(b"\n") + 1
    before, text, after = (written(CHAT[:end], True) for end in (whole, at, len(CHAT)))
    assert before is not None and text is not None and after is not None
    assert after.startswith(text) and text.startswith(before)


_json: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "x", "response.x.delta"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "message", "content", "output", "type", "text", "input",
                 "tool_calls", "function", "content_block", "summary", "item", "name"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@given(_json, st.booleans())
def test_any_json_is_read(value: Any, events: bool) -> None:
    text = orjson.dumps(value)
    assert isinstance(written(b"data:" + text if events else text, events), str)
