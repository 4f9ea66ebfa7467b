"""JSON texts as a strategy: every spelling that a parser and a serialiser would not give back."""

from __future__ import annotations

from hypothesis import strategies as st

LONG_NAMES = ["content", "model", "role", "messages", "stop", "error", "choices", "max_tokens", "f"]
SHORT_NAMES = ["c", "M", "r", "S", "A", "E", "C", "x", "tlp", "lb", "n", ""]
VALUES = ["system", "assistant", "tool", "user", "function", "S", "A", "T", "gpt-4o", "g4o", "o1"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "#T1|", "#M2M|1|", "#TK|C|"]
NUMBERS = [
    "0",
    "-0",
    "1",
    "1.0",
    "1e5",
    "1E+05",
    "0.1e-7",
    "100000000000000000000000000000",
    "18446744073709551616",
    "1e400",
    "-1.5",
]
ESCAPES = [r"\u0041", r"\/", r"\"", r"\\", r"\n", r"\u00e9", r"\ud83d\ude00", r"\ud800", r"\udc00x"]

_space = st.sampled_from(["", "", "", " ", "\n  ", "\t", "\r\n"])
_plain = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'))
_piece = st.one_of(_plain, st.sampled_from(ESCAPES + VALUES + SPECIAL + LONG_NAMES))
_string = st.one_of(
    st.sampled_from(VALUES + SHORT_NAMES).map('"{}"'.format),
    st.lists(_piece, max_size=3).map(lambda pieces: '"' + "".join(pieces) + '"'),
)
_key = st.one_of(
    st.sampled_from(LONG_NAMES).map('"{}"'.format),
    st.sampled_from([*LONG_NAMES, *SHORT_NAMES]).map('"{}"'.format),
    st.sampled_from([r'"\u0063"', r'"c\u006fntent"', r'"mod\u0065l"', r'"r\u006fle"']),
    _string,
)
_scalar = st.one_of(_string, st.sampled_from([*NUMBERS, "true", "false", "null"]))


def _spaced(draw: st.DrawFn, parts: list[str]) -> str:
    return "".join(draw(_space) + part + draw(_space) for part in parts)


@st.composite
def _array(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(inner, max_size=3))
    return "[" + ",".join(_spaced(draw, [item]) for item in items) + draw(_space) + "]"


@st.composite
def _object(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(st.tuples(_key, inner), max_size=4))
    members = [_spaced(draw, [key]) + ":" + _spaced(draw, [value]) for key, value in items]
    return "{" + ",".join(members) + draw(_space) + "}"


json_texts = st.recursive(
    _scalar, lambda inner: st.one_of(_array(inner), _object(inner)), max_leaves=12
).map(str.encode)
"""Valid by RFC 8259's grammar; with lone surrogates and numbers that not every parser takes."""

any_body = st.one_of(st.binary(max_size=300), json_texts, st.text(max_size=100).map(str.encode))

# Bodies as clients and servers really send them.
CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}'
LONG_CHAT = (
    b'{"model":"gpt-4o-mini","messages":[{"role":"system","content":"You are h\xc3\xa9lpful."},'
    b'{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url",'
    b'"image_url":{"url":"data:image/png;base64,AAAA"}}]},{"role":"assistant","content":null},'
    b'{"role":"tool","content":"42","tool_call_id":"call_1"},{"role":"function","content":"f"}],'
    b'"tools":[],"tool_choice":"auto","stream":true,"response_format":{"type":"text"},'
    b'"max_tokens":300,"reasoning_effort":"low","service_tier":"auto","seed":1,"logprobs":false,'
    b'"user":"u","temperature":0,"top_p":1,"stop":["x"]}'
)
REPLY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hi","refusal":null},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":200,"completion_tokens":5,"total_tokens":205,'
    b'"prompt_tokens_details":{"cached_tokens":128},'
    b'"completion_tokens_details":{"reasoning_tokens":3}}}'
)
