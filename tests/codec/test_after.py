"""What is coded after its request and the reply before comes back, and is small where it repeats
them."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.codec import after, dictionaries, static
from m2mproxy.codec.after import Before
from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.varint import write_varint

MiB = 1 << 20
REQUEST = bytes(random.Random(1).choices(b"abcdefgh", k=6000))


AFTER = Before(REQUEST)


def there_and_back(body: bytes, request: bytes, reply: bytes = b"") -> int:
    known = Before.of(request, reply)
    message = after.encode(body, known)
    assert after.decode(message, known, len(body)) == body
    return len(message)


@given(
    st.binary(max_size=3000), st.binary(max_size=3000), st.binary(max_size=3000), st.booleans()
)
def test_any_body_comes_back(body: bytes, request: bytes, reply: bytes, repeats: bool) -> None:
    there_and_back(body + (request + reply) * repeats, request, reply)


def test_what_repeats_the_reply_before_is_small_however_long_the_request_is() -> None:
    source = random.Random(6)
    reply = source.randbytes(700)
    for size in (10, 5000, 40_000, 300_000):
        request = source.randbytes(size)
        assert there_and_back(reply[:300] + b"new" + reply[300:], request, reply) < 40
        there_and_back(request[-25_000:] + reply, request, reply)


def test_what_was_coded_after_another_reply_is_noticed() -> None:
    reply = random.Random(7).randbytes(500)
    message = after.encode(reply, Before(REQUEST, reply))
    for other in (b"", reply[1:], reply + b"x"):
        with pytest.raises(WireError):
            after.decode(message, Before(REQUEST, other), MiB)


def test_what_repeats_its_request_is_small_wherever_that_stands() -> None:
    long = REQUEST[:3000] + random.Random(2).randbytes(500_000) + REQUEST[3000:]
    for request in (REQUEST, long):
        assert there_and_back(b"{" + REQUEST[:2500] + REQUEST[3500:] + b"}", request) < 60
    body = random.Random(3).randbytes(2000)
    assert there_and_back(body, REQUEST) <= 1 + len(static.encode(body, static.Way.RESPONSE))
    assert len(Before.of(long).request) <= 128 * 1024


def test_the_smaller_of_two_forms_is_taken_where_no_reply_was_before() -> None:
    body = dictionaries.response_text()[2000:6000]
    message = after.encode(body, AFTER)
    assert message == b"\0" + static.encode(body, static.Way.RESPONSE)
    for before in (Before(body + REQUEST), Before(REQUEST, b"{}")):
        assert after.encode(body, before)[0] != 0


def test_what_is_far_in_a_long_request_is_found() -> None:
    long = REQUEST + random.Random(9).randbytes(100_000)
    assert there_and_back(REQUEST, long, b"{}") < 60
    large = random.Random(10).randbytes(66_000)
    assert there_and_back(large, large + REQUEST, b"{}") < 100


def test_pieces_come_after_those_before_them() -> None:
    source = random.Random(4)
    pieces = [source.randbytes(20_000) for _ in range(3)]
    pieces += [pieces[2] + b"x", pieces[1], source.randbytes(32 * 1024), REQUEST]
    here, there = after.History(AFTER), after.History(AFTER)
    sizes = []
    for piece in pieces * 3:
        coded = here.encode(piece)
        assert there.decode(coded, len(piece)) == piece
        sizes.append(len(coded))
    assert sizes[0] > 20_000 and max(sizes[3:5]) < 100 and sizes[6] < 100
    assert max(sizes[7:]) < 100  # all of it is within reach


def test_what_is_too_far_back_is_out_of_reach_for_both() -> None:
    source = random.Random(5)
    here, there = after.History(Before(b"")), after.History(Before(b""))
    first = source.randbytes(30_000)
    for piece in [first, *(source.randbytes(30_000) for _ in range(6)), first]:
        coded = here.encode(piece)
        assert there.decode(coded, 1 << 20) == piece
    assert len(coded) > 30_000


@pytest.mark.parametrize("cut", range(1, 12))
def test_what_is_damaged_is_refused(cut: int) -> None:
    message = after.encode(REQUEST[:3000], AFTER)
    changed = message[:cut] + b"~" + message[cut + 1 :]
    for broken in (message[:-cut], message[:cut], message + b"x" * cut, changed):
        with pytest.raises(WireError):
            after.decode(broken, AFTER, MiB)


def test_another_request_is_noticed() -> None:
    message = after.encode(REQUEST[:3000], AFTER)
    with pytest.raises(WireError):
        after.decode(message, Before(REQUEST[::-1]), MiB)


def test_a_declared_size_is_compared_first() -> None:
    with pytest.raises(TooLarge):
        after.decode(write_varint(1 << 40) + bytes(20), AFTER, MiB)
    with pytest.raises(TooLarge):
        after.decode(after.encode(REQUEST, AFTER), AFTER, len(REQUEST) - 1)
    with pytest.raises(TooLarge):
        after.History(AFTER).decode(write_varint(2 * MiB) + bytes(20), 1000)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert len(after.decode(data, AFTER, MiB)) <= MiB
    with contextlib.suppress(WireError):
        assert len(after.History(Before(b"")).decode(data, 9)) <= 9
