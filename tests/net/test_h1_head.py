"""What the reader of heads remembers: lines, not many, not long ones, and no secrets; and what it
says of those that it refuses."""

from __future__ import annotations

import gc

import pytest

from m2mproxy.http.validate import Malformed
from m2mproxy.net.h1_head import request_head, response_head


def remembered(piece: bytes) -> list[bytes]:
    """What holds `piece` among the keys of all that outlives its message."""
    gc.collect()
    return [
        key
        for kept in gc.get_objects()
        if isinstance(kept, dict)
        for key in list(kept)
        if isinstance(key, bytes) and piece in key
    ]


def read(line: bytes) -> None:
    request_head(b"GET / HTTP/1.1\r\nhost: h\r\n" + line, 8)
    response_head(b"HTTP/1.1 200 OK\r\n" + line, 8)


def test_ordinary_lines_are_remembered() -> None:
    """Or the tests below would prove little."""
    read(b"user-agent: remember-me/1")
    assert remembered(b"remember-me/1")


def test_lines_with_a_secret_are_not() -> None:
    for name in (
        b"Authorization",
        b"api-key",
        b"X-API-Key",
        b"x-goog-api-key",
        b"xi-api-key",
        b"Proxy-Authorization",
        b"Ocp-Apim-Subscription-Key",
        b"Cookie",
        b"Set-Cookie",
    ):
        read(name + b": Bearer s3cret-" + name)
    assert remembered(b"s3cret-") == []


def test_long_lines_are_not() -> None:
    read(b"x-long: l0ng" + b"v" * 200)
    assert not remembered(b"l0ng" + b"v" * 200)


def test_the_memory_is_bounded() -> None:
    read(b"x-first: f1rst-line")
    assert remembered(b"f1rst-line")
    for number in range(2100):
        read(b"x-n: %d" % number)
    assert not remembered(b"f1rst-line")


@pytest.mark.parametrize(
    "line",
    [
        b"s3cret",
        b": s3cret",
        b"x-a\xff: s3cret",
        b"authorization: s3cret\x01'\"",
        b"s3cret key: 1",
        b"s3cret\x01: 1",
    ],
)
def test_nothing_is_told_of_a_line_that_is_refused(line: bytes) -> None:
    for head, reader in (
        (b"GET / HTTP/1.1\r\nhost: h\r\n" + line, request_head),
        (b"HTTP/1.1 200 OK\r\n" + line, response_head),
        (b"GET /s3cret\r\nhost: h", request_head),
        (b"HTTP/1.1 s3cret", response_head),
    ):
        with pytest.raises(Malformed) as refusal:
            reader(head, 8)
        assert len(str(refusal.value)) > 10
        assert "3" not in str(refusal.value) and "bytearray" not in str(refusal.value)
