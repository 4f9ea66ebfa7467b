"""All forms together: told apart by their first bytes, read whatever comes, compared."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_texts import CHAT, LONG_CHAT, REPLY, any_body
from vocabulary import VOCABULARIES, SmallVocabulary

from m2mproxy.codec.base import (
    SNIFF_BYTES,
    CannotEncode,
    DecodeLimits,
    Form,
    TooLarge,
    WireError,
    sniff,
)
from m2mproxy.codec.forms import codecs, compare, decode_any, inspect
from m2mproxy.codec.frame import PLAIN, HmacSeal, Seal
from m2mproxy.codec.sealed import AeadSeal

KEY = bytes(range(32))
ALL = {**VOCABULARIES, "L": SmallVocabulary(2)}
TABLE = codecs(vocabularies=ALL)
NAMES = [
    "m2m",
    "m2m-text",
    "tk-c",
    "tk-c-binary",
    "tk-o",
    "tk-o-binary",
    "tk-l",
    "tk-l-binary",
    "t1",
    "m2m-v3",
]
FORMS = {
    "m2m": Form.M2M,
    "m2m-text": Form.M2M_TEXT,
    "tk-c": Form.TOKENS,
    "tk-o": Form.TOKENS,
    "tk-l": Form.TOKENS,
    "t1": Form.ABBREVIATED,
    "m2m-v3": Form.LEGACY,
}
FRAMES = ("m2m", "m2m-text")
BINARY = {"m2m", "tk-c-binary", "tk-o-binary", "tk-l-binary"}


def test_the_table_has_every_form_and_says_which_are_text() -> None:
    assert list(TABLE) == NAMES
    assert {name for name, codec in TABLE.items() if not codec.is_text} == BINARY


@pytest.mark.parametrize("body", [CHAT, LONG_CHAT, REPLY])
@pytest.mark.parametrize("name", NAMES)
def test_every_form_reads_what_it_writes(name: str, body: bytes) -> None:
    codec = TABLE[name]
    message = codec.encode(body)
    assert codec.decode(message) == body
    if codec.is_text:
        message.decode()
    if name in FORMS:
        assert sniff(message) is FORMS[name]
        assert sniff(message[:SNIFF_BYTES]) is FORMS[name]
        assert decode_any(message, vocabularies=ALL) == (FORMS[name], body)


@given(body=any_body)
def test_any_body_in_every_form_comes_back_or_is_refused(body: bytes) -> None:
    """Frames carry any bytes, the others text; and #T1| not every text."""
    for name, codec in TABLE.items():
        try:
            message = codec.encode(body)
        except CannotEncode:
            assert name == "t1" or (name not in FRAMES and not is_text(body))
        else:
            assert codec.decode(message) == body


def is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("name", ["m2m", "m2m-text", "t1", "m2m-v3"])
def test_a_message_cut_anywhere_is_refused(name: str) -> None:
    """Token ids do not say how many they are."""
    codec = TABLE[name]
    message = codec.encode(LONG_CHAT)
    for size in range(len(message)):
        with pytest.raises(WireError):
            codec.decode(message[:size])


@pytest.mark.parametrize("name", NAMES)
def test_the_limits_hold_to_the_byte(name: str) -> None:
    codec = TABLE[name]
    message = codec.encode(REPLY)
    assert codec.decode(message, DecodeLimits(len(message), len(REPLY))) == REPLY
    with pytest.raises(TooLarge):
        codec.decode(message, DecodeLimits(len(message) - 1, len(REPLY)))
    with pytest.raises(TooLarge):
        codec.decode(message, DecodeLimits(len(message), len(REPLY) - 1))


@given(body=any_body)
def test_what_begins_as_no_form_is_the_body(body: bytes) -> None:
    if sniff(body) is None:
        assert decode_any(body) == (None, body)


@pytest.mark.parametrize(
    ("prefix", "form"),
    [
        (b"", None),
        (b"#", None),
        (b"{", None),
        (b"#M2M", None),
        (b"#M2M|2|", None),
        (b"#M2M|1|", Form.M2M),
        (b"#M2M|1|\x14\x00\x01\x00", Form.M2M),
        (b"#M2M|1|\x2b\x41\x01\x02", Form.M2M),  # a header of 16683 bytes, which base64 could be
        (b"#M2M|1|FAAB", Form.M2M_TEXT),
        (b"#TK|", Form.TOKENS),
        (b"#T1|", Form.ABBREVIATED),
        (b"#T2|", None),
        (b"#M2M[v3.0]|DATA", None),
        (b"#M2M[v3.0]|DATA:", Form.LEGACY),
        (b" #T1|", None),
    ],
)
def test_a_form_is_told_by_its_first_bytes(prefix: bytes, form: Form | None) -> None:
    assert sniff(prefix) is form


def test_what_is_inside_is_not_decoded_again() -> None:
    inner = TABLE["t1"].encode(CHAT)
    assert decode_any(TABLE["m2m"].encode(inner)) == (Form.M2M, inner)


@pytest.mark.parametrize("body", [b"#M2M|1|", b"#TK|C|x", b"#T1|{", b"#M2M[v3.0]|DATA:x"])
def test_what_begins_as_a_form_is_one_or_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        decode_any(body)


@pytest.mark.parametrize("body", [CHAT, *(TABLE[name].encode(CHAT) for name in FORMS)])
def test_the_limit_on_a_message_holds_for_all(body: bytes) -> None:
    with pytest.raises(TooLarge):
        decode_any(body, DecodeLimits(message=len(body) - 1), vocabularies=ALL)


# ---- For a person ----


def test_inspect_a_frame() -> None:
    frame = TABLE["m2m-text"].encode(LONG_CHAT)
    seen = inspect(frame)
    header = seen["header"]
    assert isinstance(header, dict)
    assert header["model"] == "gpt-4o-mini"
    assert seen == {
        "form": "m2m-text",
        "bytes": len(frame),
        "header": header,
        "decoded_bytes": len(LONG_CHAT),
    }


def test_inspect_what_cannot_be_opened() -> None:
    frame = codecs(seals=[AeadSeal(KEY)])["m2m"].encode(CHAT)
    seen = inspect(frame)
    assert isinstance(seen["header"], dict)
    assert seen["header"]["security"] == "aead"
    assert seen["error"] == "security AEAD is not accepted here"
    assert "decoded_bytes" not in seen
    assert inspect(frame, seals=[AeadSeal(KEY)])["decoded_bytes"] == len(CHAT)


def test_inspect_a_frame_without_a_whole_header() -> None:
    seen = inspect(b"#M2M|1|\x14\x00")
    assert seen == {"form": "m2m", "bytes": 9, "error": "the frame is cut short in its header"}


def test_inspect_what_is_in_no_form() -> None:
    assert inspect(CHAT) == {"form": "plain", "bytes": len(CHAT), "decoded_bytes": len(CHAT)}


@given(st.one_of(any_body, any_body.map(b"#M2M|1|".__add__)))
def test_inspect_takes_anything(body: bytes) -> None:
    orjson.dumps(inspect(body))


def test_compare_says_sizes_and_reasons() -> None:
    table = codecs(vocabularies=VOCABULARIES)
    rows = {row.name: row for row in compare(b'{"c":1}', table)}
    assert list(rows) == NAMES
    assert rows["m2m"].size == len(table["m2m"].encode(b'{"c":1}'))
    assert rows["t1"].size is None
    assert "abbreviation" in rows["t1"].refusal
    assert rows["tk-l"].refusal == "the vocabulary L is not installed"


def test_seals_are_for_frames_and_the_first_one_writes() -> None:
    signed, sealed = HmacSeal(KEY), AeadSeal(KEY)
    frame = codecs(seals=[signed, PLAIN])["m2m"].encode(CHAT)
    choices: list[list[Seal]] = [[signed], [sealed, signed]]
    for seals in choices:
        assert codecs(seals=seals)["m2m"].decode(frame) == CHAT
        assert decode_any(frame, seals=seals) == (Form.M2M, CHAT)
