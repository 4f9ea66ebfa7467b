"""Messages: what is coded comes back, and whatever else comes is a WireError."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2mproxy.codec import dictionaries
from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.varint import write_varint
from m2mproxy.link.match import BLOCK, Run
from m2mproxy.link.message import MOST_HEAD, MOST_RUNS, Coded, Use, decode, encode, read_head

LIMIT = 1 << 20
HUGE = (1 << 64) - 1
REST = bytes(4)  # a checksum

some_bytes = st.binary(max_size=200) | st.tuples(
    st.binary(min_size=1, max_size=40), st.integers(1, 200)
).map(lambda of: of[0] * of[1])
steps = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=5)


def runs_of(some: list[tuple[int, int]]) -> tuple[Run, ...]:
    runs, reached = [], 0
    for skipped, count in some:
        runs.append(Run(reached + skipped, count))
        reached += skipped + count
    return tuple(runs)


uses = st.builds(Use, st.booleans(), st.booleans()) | st.builds(
    Use, runs=steps.filter(bool).map(runs_of)
)


def read(message: bytes, body: bytes = b"", reply: bytes = b"", limit: int = LIMIT) -> bytes:
    """As a core that has one entry reads it."""
    head = read_head(message)
    prefix = head.use.of(body, reply) if head.distance else None
    return decode(message, head, prefix, limit, len(body))


@contextmanager
def allocating_at_most(size: int) -> Iterator[None]:
    dictionaries.request()  # made once
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


@given(some_bytes)
def test_a_body_comes_back_from_the_dictionary(body: bytes) -> None:
    message = encode(body).message(0)
    assert message[0] == 0
    assert read(message) == body


@given(some_bytes, some_bytes, some_bytes, uses, st.integers(1, HUGE))
def test_a_body_comes_back_whatever_it_is_coded_after(
    body: bytes, before: bytes, reply: bytes, use: Use, distance: int
) -> None:
    before = before * 3 + bytes(use.runs[-1].end if use.runs else 0)
    coded = encode(body, use, use.of(before, reply))
    message = coded.message(distance)
    head = read_head(message)
    assert (head.distance, head.use, head.length) == (distance, use, len(body))
    assert len(message) - len(coded.frame) <= MOST_HEAD
    assert read(message, before, reply) == body


@given(some_bytes, some_bytes, some_bytes, some_bytes, st.booleans(), st.booleans())
def test_an_insertion_comes_back(
    front: bytes, inserted: bytes, tail: bytes, reply: bytes, after_reply: bool, replaces: bool
) -> None:
    before, body = front + tail, front + inserted + tail
    use = Use(after_reply, replaces, len(tail))
    coded = encode(body, use, use.of(before, reply), len(before))
    message = coded.message(2)
    assert read_head(message).use == use
    assert read(message, before, reply) == body
    for other in (before[:-1], before + b"x"):
        with pytest.raises(WireError):
            if read(message, other, reply) == body:
                raise WireError  # all alike: what is left out or put in is put in or left out


@pytest.mark.parametrize(
    "tail,length,why",
    [(11, 20, "beyond its entry"), (1 << 62, 20, "beyond its entry"), (3, 9, "shorter"),
     (3, 0, "shorter")],
)  # fmt: skip
def test_an_insertion_into_what_is_not_there_is_refused(tail: int, length: int, why: str) -> None:
    """Before its frame is looked at: of less than nothing there would be no limit."""
    bomb = encode(bytes(8 << 20), Use(), b"").frame
    message = Coded(Use(tail=tail), length, 0, bomb).message(2)
    with allocating_at_most(1 << 20), pytest.raises(WireError, match=why):
        read(message, b"0123456789")


def test_of_an_insertion_nothing_else_is_coded() -> None:
    before = random.Random(1).randbytes(100_000)
    body = before[:60_000] + b"this is new" + before[60_000:]
    use = Use(tail=40_000)
    assert len(encode(body, use, use.of(before, b""), len(before)).frame) < 30


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 3 << 20])
@pytest.mark.parametrize("before", [0, 7, 8, 100, 200_000, 3 << 20])
def test_any_size_after_any_size(size: int, before: int) -> None:
    text = b"".join(b"%d," % number for number in range(500_000))
    body, prefix = text[:size], text[:before]
    message = encode(body, Use(), prefix).message(2)
    assert read(message, prefix, limit=size) == body
    if before >= size > 1000:
        assert len(message) < 400


@given(some_bytes, some_bytes, uses, st.data())
@settings(max_examples=300)
def test_a_mutated_message_is_an_error_or_the_same_body(
    body: bytes, before: bytes, use: Use, data: st.DataObject
) -> None:
    before += bytes(use.runs[-1].end if use.runs else 0)
    message = bytearray(encode(body, use, use.of(before, b"")).message(2))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(message) - 1))
        what = data.draw(st.sampled_from(["flip", "cut", "put", "drop"]))
        if what == "flip":
            message[at] ^= data.draw(st.integers(1, 255))
        elif what == "put":
            message[at:at] = data.draw(st.binary(max_size=4))
        elif what == "drop" and len(message) > 1:
            del message[at]
        elif at:
            del message[at:]
    try:
        decoded = read(bytes(message), before, b"a reply")
    except WireError:
        return
    assert decoded == body


@given(st.binary(max_size=400))
@settings(max_examples=500)
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    with suppress(WireError):
        assert len(read(message, b"x" * 5000, b"y")) <= LIMIT


def test_a_body_of_exactly_the_limit_is_read_and_one_more_is_not() -> None:
    message = encode(b"x" * 1000).message(0)
    assert read(message, limit=1000) == b"x" * 1000
    with pytest.raises(TooLarge):
        read(message, limit=999)


@pytest.mark.parametrize("length", [LIMIT + 1, 1 << 60, HUGE])
def test_a_length_over_the_limit_is_refused_before_anything_is_made(length: int) -> None:
    frame = encode(b"x" * 10).frame
    for distance in (0, 5):
        message = Coded(Use(), length, 0, frame).message(distance)
        with allocating_at_most(20_000), pytest.raises(TooLarge):
            read(message, b"y" * 100)


def test_a_frame_that_holds_more_than_it_says_is_cut_off_there() -> None:
    bomb = encode(bytes(64 << 20), Use(), b"12345678").frame
    for length in (0, 1, 1000, LIMIT):
        message = Coded(Use(), length, 0, bomb).message(5)
        with allocating_at_most(2 * length + 200_000), pytest.raises(WireError):
            read(message, b"12345678")


@pytest.mark.parametrize(
    "runs", [(Run(0, 1 << 60),), (Run(1 << 60, 1),), (Run(0, 1), Run(1 << 60, 1 << 60))]
)
def test_runs_beyond_the_entry_are_refused_before_anything_is_made(runs: tuple[Run, ...]) -> None:
    message = Coded(Use(runs=runs), 10, 0, b"").message(1)
    with allocating_at_most(20_000), pytest.raises(WireError):
        read(message, bytes(4 * BLOCK))


def test_runs_to_the_very_end_of_the_entry() -> None:
    use = Use(runs=(Run(0, 1), Run(3, 1)))
    assert use.of(bytes(4 * BLOCK), b"").endswith(bytes(2 * BLOCK))
    with pytest.raises(WireError):
        use.of(bytes(4 * BLOCK - 1), b"")


def test_as_many_runs_as_are_allowed_and_one_more() -> None:
    most = tuple(Run(2 * at, 1) for at in range(MOST_RUNS))
    entry = bytes(2 * MOST_RUNS * BLOCK)
    use = Use(runs=most)
    assert read(encode(b"x", use, use.of(entry, b"")).message(1), entry) == b"x"
    more = Use(runs=(*most, Run(2 * MOST_RUNS, 1)))
    with pytest.raises(WireError):
        read_head(Coded(more, 0, 0, b"").message(1))


def test_a_piece_of_no_blocks_is_refused() -> None:
    with pytest.raises(WireError):
        read_head(bytes([1, 8, 0, 0, 0]) + REST)


def test_the_runs_of_a_head_ascend_without_touching_what_was_before() -> None:
    head = read_head(bytes([1, 9, 2, 1, 0, 3, 0]) + REST)
    assert head.use.runs == (Run(2, 1), Run(3, 3))


def test_a_head_that_is_cut_anywhere_is_refused() -> None:
    message = encode(b"x" * 300, Use(runs=(Run(0, 1), Run(2, 1))), bytes(8)).message(300)
    at = read_head(message).at
    for cut in range(at):
        with pytest.raises(WireError):
            read_head(message[:cut])


def test_numbers_that_do_not_end_are_refused() -> None:
    for head in (b"\xff" * 11, b"\x01" + b"\xff" * 11, b"\x01\x00" + b"\xff" * 11):
        with pytest.raises(WireError):
            read_head(head + REST)


def test_a_wrong_checksum_is_an_error() -> None:
    coded = encode(b"x" * 300)
    wrong = Coded(coded.use, coded.length, coded.checksum ^ 1, coded.frame)
    with pytest.raises(WireError):
        read(wrong.message(0))


def test_what_was_made_after_another_prefix_is_an_error() -> None:
    body = b"what is said again, and again " * 30
    message = encode(body, Use(), body).message(1)
    with pytest.raises(WireError):
        read(message, body.replace(b"again", b"never"))


@pytest.mark.parametrize("more", [b"\0", encode(b"more").frame])
def test_what_follows_the_frame_is_an_error(more: bytes) -> None:
    with pytest.raises(WireError):
        read(encode(b"x" * 300).message(0) + more)


def test_a_window_larger_than_what_can_be_reached_is_refused() -> None:
    window = bytes([0x00, (27 - 10) << 3])  # no content size, 128 MiB (RFC 8878 3.1.1.1)
    frame = window + bytes([0x01 | 1 << 3, 0, 0]) + b"x"
    message = write_varint(1) + write_varint(0) + write_varint(1) + REST + frame
    with pytest.raises(WireError):
        read(message, bytes(100))
