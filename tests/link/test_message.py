"""Messages: what is coded comes back, and whatever else comes is a WireError."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import pytest
from allocations import allocating_at_most
from hypothesis import given, settings
from hypothesis import strategies as st

from m2mproxy.codec import dictionaries
from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.link.edits import MOST_EDITS, Edit
from m2mproxy.link.match import BLOCK, Run
from m2mproxy.link.message import MOST_HEAD, Coded, Known, decode, encode, read_head
from m2mproxy.link.use import MOST_RUNS, REACH, Use, write

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
insertions = st.builds(
    Use, st.booleans(), st.just(True), st.just(1), where_before=st.booleans(), far=st.booleans()
)
edited = st.lists(st.builds(Edit, *[st.integers(0, 9)] * 3), min_size=1, max_size=4).map(
    lambda some: Use(True, True, edits=tuple(some))
)
distances = st.integers(1, HUGE // 16).map(lambda half: 2 * half)


def read(
    message: bytes,
    body: bytes = b"",
    reply: bytes = b"",
    limit: int = LIMIT,
    tail: int | None = None,
) -> bytes:
    """As a core that has one entry reads it."""
    head = read_head(message)
    use = head.use.within(body, reply, tail) if head.distance else head.use
    return decode(message, head, use, Known(body, reply, tail), limit)


def coded(size: int, blocks: bytes, use: Use | None = None, is_one: bool = True) -> Coded:
    """Made up."""
    return Coded(use or Use(), size, is_one, 0, blocks)


@given(some_bytes)
def test_a_body_comes_back_from_the_dictionary(body: bytes) -> None:
    message = encode(body).message(0)
    assert message[0] == 0
    assert read(message) == body


@given(some_bytes, some_bytes, some_bytes.filter(bool), uses, distances)
def test_a_body_comes_back_whatever_it_is_coded_after(
    body: bytes, before: bytes, reply: bytes, use: Use, distance: int
) -> None:
    before = before * 3 + bytes(use.runs[-1].end if use.runs else 0)
    coded = encode(body, use, Known(before, reply))
    message = coded.message(distance)
    head = read_head(message)
    assert (head.distance, head.use) == (distance, coded.use)
    assert head.use == use or (use.replaces and head.use.adds)
    assert len(message) - len(coded.blocks) <= MOST_HEAD
    assert read(message, before, reply) == body


@given(some_bytes, some_bytes, some_bytes, some_bytes.filter(bool), *[st.booleans()] * 3)
def test_an_insertion_comes_back(
    front: bytes,
    inserted: bytes,
    tail: bytes,
    reply: bytes,
    after_reply: bool,
    where_before: bool,
    far: bool,
) -> None:
    before, body = front + tail, front + inserted + tail
    use = Use(after_reply, True, len(tail), where_before=where_before, far=far)
    message = encode(body, use, Known(before, reply, len(tail))).message(2)
    head = read_head(message)
    assert head.use.within(before, reply, len(tail)) == use
    assert head.use.tail == (None if where_before else len(tail))
    assert read(message, before, reply, tail=len(tail)) == body
    for other in (before[:-1], before + b"x"):
        with pytest.raises(WireError):
            if read(message, other, reply, tail=len(tail)) == body:
                raise WireError  # all alike: what is left out or put in is put in or left out


@pytest.mark.parametrize("tail", [11, 1 << 62])
def test_an_insertion_into_what_is_not_there_is_refused(tail: int) -> None:
    """Before its blocks are looked at."""
    bomb = encode(bytes(8 << 20), Use(), Known()).blocks
    message = coded(8 << 20, bomb, Use(replaces=True, tail=tail), is_one=False).message(2)
    with allocating_at_most(1 << 20), pytest.raises(WireError, match="beyond"):
        read(message, b"0123456789")


def test_an_insertion_where_the_entry_has_none_is_refused() -> None:
    use = Use(replaces=True, tail=1, where_before=True)
    message = encode(b"0123456789x9"[:11] + b"9", use, Known(b"0123456789", b"", 1)).message(2)
    with pytest.raises(WireError, match="no insertion"):
        read(message, b"0123456789")
    with pytest.raises(WireError, match="beyond"):
        read(message, b"0123456789", tail=11)


def test_a_reply_that_is_not_there_is_refused() -> None:
    for use in (Use(reply=True), Use(reply=True, replaces=True, tail=0)):
        message = encode(b"0123456789x", use, Known(b"0123456789", b"reply")).message(2)
        assert read(message, b"0123456789", b"reply") == b"0123456789x"
        with pytest.raises(WireError, match="no reply"):
            read(message, b"0123456789")


def test_of_an_insertion_nothing_else_is_coded() -> None:
    before = random.Random(1).randbytes(100_000)
    body = before[:60_000] + b"this is new" + before[60_000:]
    use = Use(replaces=True, tail=40_000)
    assert len(encode(body, use, Known(before)).blocks) < 30


def test_what_an_insertion_repeats_from_far_away_is_found() -> None:
    rng = random.Random(1)
    before = rng.randbytes(2 * REACH)
    for again, far in ((before[:5000], True), (before[-5000:], False), (before[:350], False)):
        message = encode(before + again, Use(replaces=True, tail=0), Known(before)).message(2)
        assert read_head(message).use.far is far
        assert len(message) < (100 if len(again) > 1024 else 400)
        assert read(message, before) == before + again


def test_the_end_of_what_is_before_an_insertion_is_enough_for_a_dictionary() -> None:
    """No more of it is looked at, whatever that is."""
    before = random.Random(1).randbytes(2 * REACH)
    body = before + before[-REACH:]
    message = encode(body, Use(replaces=True, tail=0), Known(before)).message(2)
    assert not read_head(message).use.far
    assert len(message) < 100
    use = read_head(message).use
    other = b"x" * REACH + before[-REACH:]
    assert use.dictionary(other, b"") == use.dictionary(before, b"")
    assert use.dictionary(other, b"").startswith(dictionaries.request_tables())
    assert use.dictionary(b"few", b"").endswith(dictionaries.request_text()[3 - REACH :] + b"few")


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 3 << 20])
@pytest.mark.parametrize("before", [0, 7, 8, 100, 200_000, 3 << 20])
def test_any_size_after_any_size(size: int, before: int) -> None:
    text = b"".join(b"%d," % number for number in range(500_000))
    body, prefix = text[:size], text[:before]
    message = encode(body, Use(), Known(prefix)).message(2)
    assert read(message, prefix, limit=size) == body
    if before >= size > 1000:
        assert len(message) < 400
    use = Use(replaces=True, tail=before // 2)
    at = before - before // 2
    longer = prefix[:at] + body + prefix[at:]
    message = encode(longer, use, Known(prefix)).message(2)
    assert read(message, prefix, limit=len(longer)) == longer
    with pytest.raises(TooLarge):
        read(message, prefix, limit=len(longer) - 1)


@given(some_bytes, some_bytes.filter(bool), uses | insertions | edited, st.data())
@settings(max_examples=300)
def test_a_mutated_message_is_an_error_or_the_same_body(
    body: bytes, before: bytes, use: Use, data: st.DataObject
) -> None:
    before += bytes(use.runs[-1].end if use.runs else 0)
    if use.tail is not None:
        body = before[:-1] + body + before[-1:]
    if use.edits:
        before += bytes(80)
        body = use.applied(before, (body * 40 + bytes(40))[: sum(x.added for x in use.edits)])
    message = bytearray(encode(body, use, Known(before, b"a reply")).message(2))
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
        decoded = read(bytes(message), before, b"a reply", tail=1)
    except WireError:
        return
    assert decoded == body


@given(st.binary(max_size=400))
@settings(max_examples=500)
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    with suppress(WireError):
        assert len(read(message, b"x" * 5000, b"y", tail=100)) <= LIMIT


def test_a_body_of_exactly_the_limit_is_read_and_one_more_is_not() -> None:
    message = encode(b"x" * 1000).message(0)
    assert read(message, limit=1000) == b"x" * 1000
    with pytest.raises(TooLarge):
        read(message, limit=999)


@pytest.mark.parametrize("length", [LIMIT + 1, 1 << 60, HUGE >> 1])
def test_a_length_over_the_limit_is_refused_before_anything_is_made(length: int) -> None:
    blocks = encode(b"x" * 10).blocks
    for distance in (0, 4):
        message = coded(length, blocks).message(distance)
        with allocating_at_most(20_000), pytest.raises(TooLarge):
            read(message, b"y" * 100)


def test_a_frame_that_holds_more_than_it_says_is_cut_off_there() -> None:
    bomb = encode(bytes(64 << 20), Use(), Known(b"12345678")).blocks
    for length in (0, 1, 1000, LIMIT):
        message = coded(length, bomb, is_one=False).message(4)
        with allocating_at_most(2 * length + 200_000), pytest.raises(WireError):
            read(message, b"12345678")


@pytest.mark.parametrize(
    "runs", [(Run(0, 1 << 60),), (Run(1 << 60, 1),), (Run(0, 1), Run(1 << 60, 1 << 60))]
)
def test_runs_beyond_the_entry_are_refused_before_anything_is_made(runs: tuple[Run, ...]) -> None:
    message = coded(10, b"", Use(runs=runs)).message(2)
    with allocating_at_most(20_000), pytest.raises(WireError):
        read(message, bytes(4 * BLOCK))


def test_runs_to_the_very_end_of_the_entry() -> None:
    use = Use(runs=(Run(0, 1), Run(3, 1)))
    assert use.within(bytes(4 * BLOCK), b"", None) == use
    assert use.prefix(bytes(4 * BLOCK), b"") == dictionaries.request_file() + bytes(2 * BLOCK)
    with pytest.raises(WireError):
        use.within(bytes(4 * BLOCK - 1), b"", None)


def test_as_many_runs_as_are_allowed_and_one_more() -> None:
    most = tuple(Run(2 * at, 1) for at in range(MOST_RUNS))
    entry = bytes(2 * MOST_RUNS * BLOCK)
    use = Use(runs=most)
    assert read(encode(b"x", use, Known(entry)).message(2), entry) == b"x"
    more = Use(runs=(*most, Run(2 * MOST_RUNS, 1)))
    with pytest.raises(WireError):
        read_head(coded(0, b"", more).message(2))


def test_no_runs_or_a_piece_of_no_blocks_is_refused() -> None:
    for runs in ([0], [1, 0, 0]):
        with pytest.raises(WireError):
            read_head(bytes([16 + 12, *runs, 0]) + REST)


def test_as_many_edits_as_are_allowed_and_one_more_or_none() -> None:
    entry = bytes(3 * MOST_EDITS)
    use = Use(replaces=True, edits=(Edit(1, 2, 3),) * MOST_EDITS)
    body = b"\0xyz" * MOST_EDITS
    assert read(encode(body, use, Known(entry)).message(2), entry) == body
    more = Use(replaces=True, edits=(Edit(1, 2, 3),) * (MOST_EDITS + 1))
    for message in (coded(300, b"", more).message(2), bytes([16 + 14, 0, 0, 0]) + REST):
        with pytest.raises(WireError, match="no edit, or too many"):
            read_head(message)


@pytest.mark.parametrize("edit", [Edit(11, 0, 5), Edit(0, 11, 5), Edit(1 << 62, 1 << 62, 5)])
def test_edits_beyond_the_entry_are_refused_before_anything_is_made(edit: Edit) -> None:
    message = coded(5, b"", Use(replaces=True, edits=(edit,))).message(2)
    with allocating_at_most(20_000), pytest.raises(WireError, match="beyond"):
        read(message, b"0123456789")


def test_edits_that_add_more_than_there_is_are_refused() -> None:
    use = Use(replaces=True, edits=(Edit(0, 0, 6), Edit(0, 0, 0)))
    with pytest.raises(WireError, match="more than there is"):
        read_head(coded(5, b"", use).message(2))


def test_of_a_body_with_edits_what_is_kept_counts_towards_the_limit() -> None:
    entry = b"0123456789" * 10
    use = Use(replaces=True, edits=(Edit(10, 40, 5),))
    body = entry[:10] + b"abcde" + entry[50:]
    message = encode(body, use, Known(entry)).message(2)
    assert read(message, entry, limit=65) == body
    with pytest.raises(TooLarge):
        read(message, entry, limit=64)


def test_an_entry_that_is_replaced_is_edited_or_inserted_into() -> None:
    rng = random.Random(1)
    front, middle, end = (rng.randbytes(20_000) for _ in range(3))
    before = front + b"09:41" + middle + end
    at = len(front)
    for body, expected in (
        (before.replace(b"09:41", b"09:42"), Use(True, True, edits=(Edit(at + 4, 1, 1),))),
        (before[: -len(end)] + b"this is new" + end, Use(True, True, len(end), where_before=True)),
        (before + b"this is new", Use(True, True, 0)),
        (before, Use(True, True, 0)),
    ):
        coded = encode(body, Use(True, True), Known(before, b"reply", len(end)))
        assert coded.use == expected
        assert len(coded.blocks) < 30
        assert read(coded.message(2), before, b"reply", tail=len(end)) == body


def test_a_body_that_repeats_what_is_far_is_coded_as_a_whole() -> None:
    rng = random.Random(1)
    before = rng.randbytes(2 * REACH)
    body = b"x" + before[1:] + before[:5000]
    message = encode(body, Use(replaces=True), Known(before)).message(2)
    use = read_head(message).use
    assert (use.edits, use.tail, use.replaces) == ((), None, True)
    assert len(message) < 100
    assert read(message, before) == body


@pytest.mark.parametrize("kind", range(1, 16))
def test_a_kind_of_nothing_is_refused(kind: int) -> None:
    with pytest.raises(WireError, match=r"to nothing"):
        read_head(bytes([kind, 1, 1, 1, 1]) + REST)


def test_the_runs_of_a_head_ascend_without_touching_what_was_before() -> None:
    head = read_head(bytes([16 + 12, 2, 2, 1, 0, 3, 0]) + REST)
    assert head.use.runs == (Run(2, 1), Run(3, 3))


def test_a_head_that_is_cut_anywhere_is_refused() -> None:
    use = Use(runs=(Run(0, 1), Run(2, 1)))
    message = encode(b"x" * 300, use, Known(bytes(3 * BLOCK))).message(300)
    at = read_head(message).at
    for cut in range(at):
        with pytest.raises(WireError):
            read_head(message[:cut])


def test_numbers_that_do_not_end_are_refused() -> None:
    for head in (b"\xff" * 11, b"\x14" + b"\xff" * 11, b"\x14\x00" + b"\xff" * 11):
        with pytest.raises(WireError):
            read_head(head + REST)


def test_the_latest_turns_are_named_in_a_byte() -> None:
    use = Use(True, True, 2, where_before=True)
    assert write(use, 2) == bytes([16 + 7])
    assert [len(write(use, distance)) for distance in (14, 16, 2046, 2048)] == [1, 2, 2, 3]


def test_a_wrong_checksum_is_an_error() -> None:
    right = encode(b"x" * 300)
    with pytest.raises(WireError):
        read(replace(right, checksum=right.checksum ^ 1).message(0))


def test_what_was_made_after_another_prefix_is_an_error() -> None:
    body = b"what is said again, and again " * 30
    message = encode(body, Use(), Known(body)).message(2)
    with pytest.raises(WireError):
        read(message, body.replace(b"again", b"never"))


@pytest.mark.parametrize("more", [b"\0", encode(b"more").blocks])
def test_what_follows_the_frame_is_an_error(more: bytes) -> None:
    with pytest.raises(WireError):
        read(encode(b"x" * 300).message(0) + more)


def test_a_block_larger_than_any_is_refused() -> None:
    message = coded(LIMIT, bytes(1 << 21)).message(0)
    with allocating_at_most(3 << 21), pytest.raises(WireError):
        read(message)
