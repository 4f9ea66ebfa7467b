"""What is coded after its request comes back, and is small where it repeats that."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.codec import after, dictionaries, static
from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.varint import write_varint

MiB = 1 << 20
REQUEST = bytes(random.Random(1).choices(b"abcdefgh", k=6000))


def there_and_back(body: bytes, request: bytes) -> int:
    known = after.of_request(request)
    message = after.encode(body, known)
    assert after.decode(message, known, len(body)) == body
    return len(message)


@given(st.binary(max_size=3000), st.binary(max_size=3000), st.booleans())
def test_any_body_comes_back(body: bytes, request: bytes, repeats: bool) -> None:
    there_and_back(body + request * repeats, request)


def test_what_repeats_its_request_is_small_wherever_that_stands() -> None:
    long = REQUEST[:3000] + random.Random(2).randbytes(500_000) + REQUEST[3000:]
    for request in (REQUEST, long):
        assert there_and_back(b"{" + REQUEST[:2500] + REQUEST[3500:] + b"}", request) < 60
    body = random.Random(3).randbytes(2000)
    assert there_and_back(body, REQUEST) <= 1 + len(static.encode(body, static.Way.RESPONSE))
    assert len(after.of_request(long)) <= 128 * 1024


def test_a_short_body_has_the_static_form() -> None:
    body = b'{"choices":[]}'
    message = after.encode(body, REQUEST)
    assert message == b"\0" + static.encode(body, static.Way.RESPONSE)


def test_the_smaller_of_two_forms_is_taken() -> None:
    body = dictionaries.response_text()[2000:6000]
    message = after.encode(body, REQUEST)
    assert message == b"\0" + static.encode(body, static.Way.RESPONSE)
    assert after.encode(body, body + REQUEST)[0] != 0


def test_pieces_come_after_those_before_them() -> None:
    source = random.Random(4)
    pieces = [source.randbytes(20_000) for _ in range(3)]
    pieces += [pieces[2] + b"x", pieces[1], source.randbytes(32 * 1024), REQUEST]
    here, there = after.History(REQUEST), after.History(REQUEST)
    sizes = []
    for piece in pieces * 3:
        coded = here.encode(piece)
        assert there.decode(coded, len(piece)) == piece
        sizes.append(len(coded))
    assert sizes[0] > 20_000 and max(sizes[3:5]) < 100 and sizes[6] < 100
    assert max(sizes[7:]) < 100  # all of it is within reach


def test_what_is_too_far_back_is_out_of_reach_for_both() -> None:
    source = random.Random(5)
    here, there = after.History(b""), after.History(b"")
    first = source.randbytes(30_000)
    for piece in [first, *(source.randbytes(30_000) for _ in range(6)), first]:
        coded = here.encode(piece)
        assert there.decode(coded, 1 << 20) == piece
    assert len(coded) > 30_000


@pytest.mark.parametrize("cut", range(1, 12))
def test_what_is_damaged_is_refused(cut: int) -> None:
    message = after.encode(REQUEST[:3000], REQUEST)
    changed = message[:cut] + b"~" + message[cut + 1 :]
    for broken in (message[:-cut], message[:cut], message + b"x" * cut, changed):
        with pytest.raises(WireError):
            after.decode(broken, REQUEST, MiB)


def test_another_request_is_noticed() -> None:
    message = after.encode(REQUEST[:3000], REQUEST)
    with pytest.raises(WireError):
        after.decode(message, REQUEST[::-1], MiB)


def test_a_declared_size_is_compared_first() -> None:
    with pytest.raises(TooLarge):
        after.decode(write_varint(1 << 40) + bytes(20), REQUEST, MiB)
    with pytest.raises(TooLarge):
        after.decode(after.encode(REQUEST, REQUEST), REQUEST, len(REQUEST) - 1)
    with pytest.raises(TooLarge):
        after.History(REQUEST).decode(write_varint(2 * MiB) + bytes(20), 1000)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert len(after.decode(data, REQUEST, MiB)) <= MiB
    with contextlib.suppress(WireError):
        assert len(after.History(b"").decode(data, 9)) <= 9
