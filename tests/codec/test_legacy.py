"""`#M2M[v3.0]|DATA:`."""

from __future__ import annotations

import base64

import brotli  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_texts import LONG_CHAT

from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.legacy import decode, encode

PREFIX = b"#M2M[v3.0]|DATA:"


def message_of(payload: bytes) -> bytes:
    return PREFIX + base64.b64encode(payload)


def test_a_message_byte_by_byte() -> None:
    """A brotli stream that stores "hi!" (RFC 7932 9.2): 20 00 10, the bytes, 03."""
    assert decode(b"#M2M[v3.0]|DATA:IAAQaGkhAw==") == b"hi!"
    assert base64.b64decode("IAAQaGkhAw==") == b"\x20\x00\x10hi!\x03"


def test_what_is_written() -> None:
    assert encode(LONG_CHAT) == message_of(brotli.compress(LONG_CHAT, quality=5, lgwin=22))
    assert encode(LONG_CHAT, 11) == message_of(brotli.compress(LONG_CHAT, quality=11, lgwin=22))
    assert decode(encode(LONG_CHAT, 11)) == LONG_CHAT


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    message = encode(text.encode())
    assert decode(message) == text.encode()
    assert message.isascii()


BROKEN = {
    "another prefix": b"#M2M[v2.0]|DATA:" + base64.b64encode(brotli.compress(b"x")),
    "nothing": b"",
    "no payload": PREFIX,
    "no base64": PREFIX + b"!!!!",
    "a line feed": encode(b"x") + b"\n",
    "no brotli": message_of(b"\xff" * 10),
    "more behind the stream": message_of(brotli.compress(b"x") + b"x"),
    "not UTF-8": message_of(brotli.compress(b"\xff")),
    "half a character": message_of(brotli.compress("é".encode()[:1])),
}


@pytest.mark.parametrize("message", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_is_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        decode(message)


def test_a_bomb_is_refused() -> None:
    with pytest.raises(TooLarge):
        decode(message_of(brotli.compress(b"a" * 100_000_000, quality=5)))
