"""What a reply says of its tokens, in every dialect and cut anywhere."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.tokens.usage import MOST, Usage, UsageReader

CHAT = (
    b'{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"the \\"usage\\": {\\"prompt_tokens\\": 1}"}}],"usage":{"prompt_tokens":24,'
    b'"completion_tokens":10,"total_tokens":34,"prompt_tokens_details":{"cached_tokens":23,'
    b'"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":4}}}'
)
STREAM = (
    b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}\n\n'
    b"data: [DONE]\n\n"
)
# vLLM's continuous_usage_stats: every event says how many there are so far.
CONTINUOUS = b"".join(
    b'data: {"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":7,'
    b'"completion_tokens":%d,"total_tokens":%d}}\n\n' % (n, n + 7)
    for n in range(1, 4)
)
RESPONSES = (
    b'event: response.created\ndata: {"type":"response.created","response":{"tools":[{"parameters":'
    b'{"properties":{"usage":{"type":"string"}}}}],"usage":null}}\n\n'
    b'event: response.completed\ndata: {"type":"response.completed","response":{"usage":'
    b'{"input_tokens":34,"input_tokens_details":{"cached_tokens":33},"output_tokens":24,'
    b'"output_tokens_details":{"reasoning_tokens":8},"total_tokens":58}}}\n\n'
)
START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","usage":'
    b'{"input_tokens":10,"cache_creation_input_tokens":200,"cache_read_input_tokens":3000,'
    b'"output_tokens":1,"service_tier":"standard"}}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    b'{"type":"text_delta","text":"Hi"}}\n\n'
)
MESSAGES = START + (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":15}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
)
MESSAGE = (
    b'{"type":"message","content":[{"type":"tool_use","input":{"usage":{"prompt_tokens":5}}}],'
    b'"usage":{"input_tokens":10,"cache_read_input_tokens":30,"output_tokens":7}}'
)
EMBEDDINGS = b'{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":8,"total_tokens":8}}'
DEEPSEEK = (
    b'{"usage": {"prompt_tokens": 64, "completion_tokens": 2, "total_tokens": 66,\n'
    b' "prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 4}}'
)
# Of what is in a usage, the outer one counts, as it would for who reads the JSON.
NESTED = (
    b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"parts":[{"usage":'
    b'{"prompt_tokens":1,"completion_tokens":1,"details":{"text_tokens":1}}}]}}'
)
# LiteLLM has both dialects in one: the input includes what was cached.
BOTH = (
    b'{"usage":{"prompt_tokens":50,"completion_tokens":5,"total_tokens":55,'
    b'"cache_read_input_tokens":40,"cache_creation_input_tokens":0,'
    b'"prompt_tokens_details":{"cached_tokens":40}}}'
)
GROQ = (
    b'data: {"choices":[],"x_groq":{"id":"r","usage":{"queue_time":0.01,"prompt_tokens":5,'
    b'"completion_tokens":6,"total_tokens":11}}}\n\n'
)
# llama.cpp, as captured; the second stream was asked for its usage.
LLAMA = (
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"."}}]}\n\n'
    b'data: {"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"object":'
    b'"chat.completion.chunk","timings":{"cache_n":23,"prompt_n":1,"prompt_ms":7.923,'
    b'"predicted_n":10,"predicted_ms":72.004,"predicted_per_second":124.99305594133658}}\n\n'
    b"data: [DONE]\n\n"
)
LLAMA_ASKED = (
    b'data: {"choices":[],"usage":{"completion_tokens":10,"prompt_tokens":24,"total_tokens":34,'
    b'"prompt_tokens_details":{"cached_tokens":23}},"timings":{"cache_n":2,"prompt_n":1,'
    b'"predicted_n":1}}\n\ndata: [DONE]\n\n'
)
LLAMA_EVERY = b"".join(
    b'data: {"timings":{"cache_n":0,"prompt_n":5,"predicted_n":%d}}\n\n' % n for n in range(1, 4)
)
OPENROUTER = (
    b'data: {"object":"chat.completion.chunk","usage":{"completion_tokens":2,'
    b'"completion_tokens_details":{"reasoning_tokens":0},"cost":0.95,"cost_details":'
    b'{"upstream_inference_cost":19},"prompt_tokens":194,"prompt_tokens_details":'
    b'{"cached_tokens":0,"cache_write_tokens":100,"audio_tokens":0},"total_tokens":196}}\n\n'
)
# Groq's systems ask several models; a body can say the parts before the whole, too.
PARTS = (
    b'"usage_breakdown":{"models":[{"model":"a","usage":{"prompt_tokens":7,"completion_tokens":1,'
    b'"total_tokens":8}},{"model":"}","usage":{"prompt_tokens":9,"completion_tokens":2,'
    b'"total_tokens":11,"completion_tokens_details":{"reasoning_tokens":1}}}]}'
)
WHOLE = b'"usage":{"queue_time":0.1,"prompt_tokens":16,"completion_tokens":3,"total_tokens":19}'
PARTED = b'{"choices":[],%b,%b,"x_groq":{"id":"r"}}'
# Anthropic's server made a summary before it answered; an advisor is another model.
COMPACTED = (
    b'"usage":{"input_tokens":20,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,'
    b'"output_tokens":8,"output_tokens_details":{"thinking_tokens":6},"iterations":[{"type":'
    b'"compaction","input_tokens":100,"cache_creation_input_tokens":2000,'
    b'"cache_read_input_tokens":30000,"output_tokens":90},{"type":"message","input_tokens":20,'
    b'"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":8},{"type":'
    b'"advisor_message","model":"b","input_tokens":50,"output_tokens":4}]}'
)
GEMINI = (
    b'data: {"candidates":[{"content":{"parts":[{"text":"Hi"}]}}],"usageMetadata": '
    b'{"promptTokenCount": 12,"totalTokenCount": 12}}\r\n\r\n'
    b'data: {"candidates":[{"finishReason":"STOP"}],"usageMetadata": {"promptTokenCount": 12,'
    b'"candidatesTokenCount": 4,"totalTokenCount": 66,"cachedContentTokenCount": 10,'
    b'"promptTokensDetails": [{"modality": "TEXT","tokenCount": 12}],"thoughtsTokenCount": 30,'
    b'"toolUsePromptTokenCount": 20},"modelVersion": "g"}\r\n\r\n'
)
CONVERSE = (
    b'{"metrics":{"latencyMs":9},"output":{},"usage":{"cacheReadInputTokens":30,'
    b'"cacheWriteInputTokens":2,"inputTokens":10,"outputTokens":7,"serverToolUsage":{},'
    b'"totalTokens":49}}'
)
COHERE = (
    b'data: {"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":'
    b'{"input_tokens":4,"output_tokens":9},"tokens":{"input_tokens":70,"output_tokens":11},'
    b'"cached_tokens":64}}}\n\n'
)
COHERE_EMBED = (
    b'{"id":"a","embeddings":{"float":[[0.1,-0.2]]},"texts":["\\"billed_units\\":{}"],'
    b'"response_type":"embeddings_by_type","meta":{"api_version":{"version":"2"},'
    b'"billed_units":{"input_tokens":12}}}'
)
COHERE_V1 = (
    b'{"text":"a","meta":{"api_version":{"version":"1"},"billed_units":{"input_tokens":5,'
    b'"output_tokens":4},"tokens":{"input_tokens":71,"output_tokens":6}}}'
)
COHERE_V2 = (
    b'{"message":{},"usage":{"billed_units":{"input_tokens":5,"output_tokens":4},'
    b'"tokens":{"input_tokens":71,"output_tokens":6}}}'
)

REPLIES: dict[str, tuple[bool, bytes, Usage | None]] = {
    "chat": (False, CHAT, Usage(24, 10, 23, 4, True)),
    "stream": (True, STREAM, Usage(3, 1, None, None, True)),
    "continuous": (True, CONTINUOUS, Usage(7, 3, None, None, True)),
    "responses": (True, RESPONSES, Usage(34, 24, 33, 8, True)),
    "messages": (True, MESSAGES, Usage(3210, 15, 3000, None, True, None, 200)),
    "messages, cut short": (True, START, Usage(3210, 1, 3000, None, False, None, 200)),
    "messages, with nothing new of the input": (
        True,
        MESSAGES.replace(b'{"output_tokens":15}', b'{"input_tokens":null,"output_tokens":15}'),
        Usage(3210, 15, 3000, None, True, None, 200),
    ),
    "messages, kept for an hour": (
        True,
        MESSAGES.replace(
            b'"output_tokens":1,',
            b'"cache_creation":{"ephemeral_5m_input_tokens":50,"ephemeral_1h_input_tokens":150},'
            b'"output_tokens":1,',
        ),
        Usage(3210, 15, 3000, None, True, None, 200, 150),
    ),
    "message": (False, MESSAGE, Usage(40, 7, 30, None, True)),
    "embeddings": (False, EMBEDDINGS, Usage(8, 0, None, None, True)),
    "embeddings, in all": (False, b'{"usage":{"total_tokens":3}}', Usage(3, 0, None, None, True)),
    "deepseek": (False, DEEPSEEK, Usage(64, 2, 60, None, True)),
    "nested": (False, NESTED, Usage(3, 4, None, None, True)),
    "both": (False, BOTH, Usage(50, 5, 40, None, True)),
    "groq": (True, GROQ, Usage(5, 6, None, None, True)),
    "llama.cpp": (True, LLAMA, Usage(24, 10, 23, None, True)),
    "llama.cpp, asked for it": (True, LLAMA_ASKED, Usage(24, 10, 23, None, True)),
    "llama.cpp, in every event": (True, LLAMA_EVERY, Usage(5, 3, 0, None, True)),
    "llama.cpp before 2025": (
        True,
        LLAMA.replace(b'"cache_n":23,', b""),
        Usage(None, 10, None, None, True),
    ),
    "llama.cpp, not a stream": (False, LLAMA[6:], Usage(24, 10, 23, None, True)),
    "timings of something else": (True, b'data: {"timings":{"prompt_n":1}}\n\n', None),
    "timings that are not json": (True, b'data: {"timings":{"predicted_n":}}\n\n', None),
    "openrouter": (True, OPENROUTER, Usage(194, 2, 0, 0, True, 0.95, 100)),
    "parts after the whole": (False, PARTED % (WHOLE, PARTS), Usage(16, 3, None, None, True)),
    "parts before the whole": (False, PARTED % (PARTS, WHOLE), Usage(16, 3, None, None, True)),
    "parts after the whole, in an event": (
        True,
        b"data: " + PARTED % (WHOLE, PARTS) + b"\n\ndata: [DONE]\n\n",
        Usage(16, 3, None, None, True),
    ),
    "a later event is no part": (
        True,
        START + b'data: {"delta":{"usage":{"output_tokens":15}}}\n\n',
        Usage(3210, 15, 3000, None, True, None, 200),
    ),
    "compacted": (False, b"{%b}" % COMPACTED, Usage(32125, 98, 30005, 6, True, None, 2000)),
    "compacted, in a stream": (
        True,
        START + b'data: {"type":"message_delta",%b}\n\n' % COMPACTED,
        Usage(32125, 98, 30005, 6, True, None, 2000),
    ),
    "iterations that are none": (
        False,
        b'{"usage":{"input_tokens":1,"output_tokens":2,"iterations":5}}',
        Usage(1, 2, None, None, True),
    ),
    "iterations without figures": (
        False,
        b'{"usage":{"input_tokens":1,"output_tokens":2,"iterations":[{"type":"compaction"},6]}}',
        Usage(1, 2, None, None, True),
    ),
    "billed units that are none": (False, b'{"usage":{"billed_units":5}}', None),
    "gemini": (True, GEMINI, Usage(32, 34, 10, 30, True)),
    "gemini, that said nothing": (
        False,
        b'{"usageMetadata":{"promptTokenCount":3,"totalTokenCount":3}}',
        Usage(3, 0, None, None, True),
    ),
    "converse": (False, CONVERSE, Usage(42, 7, 30, None, True, None, 2)),
    "cohere": (True, COHERE, Usage(4, 9, None, None, True)),
    "cohere, embeddings": (False, COHERE_EMBED, Usage(12, 0, None, None, True)),
    "cohere, pictures": (False, b'{"meta":{"billed_units":{"images":1}}}', None),
    "cohere, a rank": (False, b'{"meta":{"billed_units":{"search_units":1}}}', None),
    "cohere, billed units that are none": (False, b'{"meta":{"billed_units":[]}}', None),
    "cohere, billed units without an end": (False, b'{"billed_units":{"input_tokens":1', None),
    "cohere v1": (False, COHERE_V1, Usage(5, 4, None, None, True)),
    "cohere v1, a stream, which is of lines": (
        False,
        b'{"event_type":"text-generation","text":"a"}\n{"event_type":"stream-end","response":'
        + COHERE_V1 + b"}\n",
        Usage(5, 4, None, None, True),
    ),
    "cohere v2": (False, COHERE_V2, Usage(5, 4, None, None, True)),
    "billed units beside a usage": (
        False,
        b'{"billed_units":{"input_tokens":1},"usage":{"input_tokens":2,"output_tokens":3}}',
        Usage(2, 3, None, None, True),
    ),
    "mistral": (
        False,
        b'{"usage":{"prompt_tokens":9,"total_tokens":11,"completion_tokens":2,'
        b'"num_cached_tokens":8}}',
        Usage(9, 2, 8, None, True),
    ),
    "deepseek, nothing cached": (
        False,
        DEEPSEEK.replace(b": 60,", b": 0,"),
        Usage(64, 2, 0, None, True),
    ),
    "nothing": (False, b'{"choices":[],"usage":null}', None),
    "no counts": (False, b'{"usage":{"storage_bytes":5,"total_tokens":"many"}}', None),
    "not json": (False, b'{"usage":{"prompt_tokens":}}', None),
    "no end": (False, b'{"usage":{"prompt_tokens":5', None),
}
EACH = pytest.mark.parametrize("name", REPLIES)


def read(events: bool, *pieces: bytes) -> Usage | None:
    reader = UsageReader(events)
    for piece in pieces:
        reader.feed(piece)
    return reader.usage


@EACH
def test_a_reply_in_one_piece_says_its_usage(name: str) -> None:
    events, reply, usage = REPLIES[name]
    assert read(events, reply) == usage


@EACH
def test_a_reply_byte_by_byte_says_the_same(name: str) -> None:
    events, reply, usage = REPLIES[name]
    assert read(events, *(reply[at : at + 1] for at in range(len(reply)))) == usage


@EACH
def test_cut_in_two_anywhere(name: str) -> None:
    events, reply, usage = REPLIES[name]
    for at in range(len(reply)):
        assert read(events, reply[:at], b"", reply[at:]) == usage


def test_a_memoryview_is_bytes() -> None:
    reader = UsageReader(False)
    for piece in (CHAT[:250], CHAT[250:]):
        reader.feed(memoryview(piece))
    assert reader.usage == Usage(24, 10, 23, 4, True)


def test_what_is_no_count_is_not_taken() -> None:
    for value in (b"-1", b"1.5", b"true", b'"7"', b"null", b"99999999999999999999"):
        usage = read(False, b'{"usage":{"prompt_tokens":%b,"completion_tokens":3}}' % value)
        assert usage == Usage(None, 3, None, None, True)


@pytest.mark.parametrize(
    ("value", "cost"),
    [(b"0", 0.0), (b"3", 3.0), (b"1.5e-05", 1.5e-05), (b"-1", None), (b"true", None),
     (b'"7"', None), (b"null", None), (b"1e300", None), (b'{"total_cost":1}', None)],
)  # fmt: skip
def test_what_is_no_cost_is_not_taken(value: bytes, cost: float | None) -> None:
    said = b'{"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"cost":%b}}' % value
    assert read(False, said) == Usage(1, 2, None, None, True, cost)


@pytest.mark.parametrize("events", [True, False])
def test_details_are_read_where_there_is_no_total(events: bool) -> None:
    said = b'{"usage":{"prompt_tokens":9,"completion_tokens":2,%b}}'
    details = b'"prompt_tokens_details":{"cached_tokens":4}'
    assert read(events, said % details) == Usage(9, 2, 4, None, True)
    assert read(events, said % b'"cost":0.5') == Usage(9, 2, None, None, True, 0.5)


def test_what_was_cached_is_worth_telling_alone() -> None:
    cached = Usage(None, None, 3, None, True)
    assert read(False, b'{"usage":{"cache_read_input_tokens":3}}') == cached
    assert read(False, b'{"usage":{"other_tokens":3}}') is None


def test_white_space_may_be_around_the_colon_but_not_without_end() -> None:
    counts = b'{"prompt_tokens":1,"completion_tokens":2}'
    assert read(False, b'{"usage"' + b" " * 64 + b":\r\n\t" + counts + b"}") is not None
    for gap in (b" " * 65 + b":", b":" + b" " * 65):
        assert read(False, b'{"usage"' + gap + counts + b"}") is None


@pytest.mark.parametrize("step", [1, 100, 1 << 20])
def test_how_deep_a_usage_lies_is_seen_over_a_few_thousand_bytes(step: int) -> None:
    """From where the last one began. What is further away counts, as it would if nobody looked."""
    first = b'"usage":{"total_tokens":1}'
    for gap, tokens in ((MOST - len(first) - 7, 1), (MOST - len(first) - 6, 2)):
        reply = first + b',"x":{' + b" " * gap + b'"usage":{"total_tokens":2}}' + b" " * 9
        usage = read(False, *(reply[at : at + step] for at in range(0, len(reply), step)))
        assert usage is not None and usage.input == tokens


def nested(depth: int) -> bytes:
    more = b'"x":{' * depth + b"}" * depth + b"," if depth else b""
    return b'{"usage":{' + more + b'"prompt_tokens":1}}'


def test_an_object_is_read_three_objects_deep() -> None:
    assert read(False, nested(3)) is not None
    assert read(False, nested(4)) is None


@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
def test_what_is_too_long_is_passed_over_and_the_next_one_is_read(step: int) -> None:
    head = b'"usage":{"prompt_tokens":1,"x":"'
    fits = head + b"x" * (MOST - len(head) - 2) + b'"}'
    longer = head + b"x" * (MOST - len(head) - 1) + b'"}'
    after = b',"usage":{"prompt_tokens":2}'
    for reply, tokens in ((fits, 1), (longer, None), (longer + after, 2)):
        usage = read(False, *(reply[at : at + step] for at in range(0, len(reply), step)))
        assert (usage.input if usage else None) == tokens


@pytest.mark.parametrize("step", [1 << 20, 5000])
@pytest.mark.parametrize("events", [True, False])
def test_what_never_ends_is_looked_at_a_few_times_only(step: int, events: bool) -> None:
    """Each time takes long, and a reply can consist of nothing else. Of a body the last one is read
    first."""
    broken = b'"usage":{"a":{"b":{"c":{"d":{'
    good, plain = b'"usage":{"prompt_tokens":2,"x":{}}', b'"usage":{"prompt_tokens":2}'
    for times, last, tokens in ((15, good, 2), (16, good, None if events else 2), (160, plain, 2)):
        reply = broken * times + b" " * MOST + last + b" " * MOST
        usage = read(events, *(reply[at : at + step] for at in range(0, len(reply), step)))
        assert (usage.input if usage else None) == tokens


def test_no_more_is_held_than_said() -> None:
    reader = UsageReader(True)
    for _ in range(100):
        reader.feed(b'"usage":{"x":"' + b"y" * 1000)
        assert len(reader._held) < MOST
    reader = UsageReader(False)
    for _ in range(100):
        reader.feed(b'{"usage":{"total_tokens":1},"x":"' + b"y" * 1000)
        assert len(reader._after or b"") <= MOST


def test_what_is_remembered_does_not_grow_with_the_events() -> None:
    reader = UsageReader(True)
    for number in range(1000):
        reader.feed(b'data: {"usage":{"completion_tokens":%d,' % number)
        reader.feed(b'"x%d_tokens":1}}\n\n' % number)
    assert len(reader._said) == 2
    assert reader.usage == Usage(None, 999, None, None, True)


# ---- any bytes, cut anywhere ---------------------------------------------------------------------

_bits = st.sampled_from(
    [b'"usage"', b'"usage":', b'"usage":{"total_tokens":1}', b'"usage":{"total_tokens":22}',
     b'"usageMetadata":{"promptTokenCount":4}', b'"usageMe', b'tadata"', b'"usage_x":',
     b'"timings":', b'"predicted_n":2', b'"timi', b'ngs"', b"{", b"}",
     b'"', b"\\", b" ", b'"prompt_tokens":5', b',"output_tok', b'ens":7', b'"total_tokens":3', b"x",
     b"\n\n", b"null", b'"usa', b'ge"', b"z" * 600]
)  # fmt: skip
_texts = st.lists(_bits | st.binary(max_size=4), max_size=30).map(b"".join)
_counts = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "input_tokens", "x_tokens", "a"]),
    st.integers(0, 1 << 40) | st.none() | st.text('a"{}\\', max_size=5),
)


@st.composite
def _cut(draw: st.DrawFn, texts: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    edges = [0, *cuts, len(text)]
    return text, [text[a:b] for a, b in pairwise(edges)]


@given(_cut(_texts), st.booleans())
def test_it_does_not_matter_how_it_was_cut(cut: tuple[bytes, list[bytes]], events: bool) -> None:
    text, pieces = cut
    assert read(events, *pieces) == read(events, text)


@given(_cut(st.tuples(_texts, _counts, _texts).map(
    lambda parts: parts[0] + b'"usage":' + orjson.dumps(parts[1]) + parts[2]
)))  # fmt: skip
def test_nor_where_something_is_said(cut: tuple[bytes, list[bytes]]) -> None:
    text, pieces = cut
    assert read(True, *pieces) == read(True, text)


@given(_counts)
def test_a_count_is_read_as_json_reads_it(counts: dict[str, Any]) -> None:
    said = {k: v for k, v in counts.items() if isinstance(v, int) and k not in ("x_tokens", "a")}
    usage = read(False, b'{"content":"hi","usage":' + orjson.dumps(counts) + b"}")
    if not said:
        assert usage is None
    else:
        assert usage is not None
        assert usage.input == said.get("prompt_tokens", said.get("input_tokens"))


@pytest.mark.parametrize("step", [7, 64 << 10])
def test_usages_that_lie_ever_deeper_are_told_from_the_first(step: int) -> None:
    first = b'{"usage":{"prompt_tokens":1,"completion_tokens":2}'
    text = first + b',"x":{"usage":{"prompt_tokens":7,"completion_tokens":8}' * 2000
    reader = UsageReader(events=False)
    for at in range(0, len(text), step):
        reader.feed(text[at : at + step])
    assert reader.usage == Usage(1, 2, None, None, True)
