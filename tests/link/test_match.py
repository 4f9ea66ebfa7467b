"""What two bodies have in common, against definitions that are slow and plain."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.link import match
from m2mproxy.link.match import (
    BLOCK,
    common_prefix,
    common_runs,
    common_suffix,
    continues,
    continues_at,
    insertion,
    starts,
    with_texts,
    without_marks,
)

turns = st.text("},]", max_size=8).map(str.encode)
few = st.text("ab", max_size=8).map(str.encode)
# Pieces long enough for the growing steps, and alike enough to be equal for long.
pieces = st.lists(
    st.tuples(
        st.sampled_from([b"a", b"b", b"ab", b"},{"]), st.sampled_from([1, 7, 255, 256, 1025])
    ),
    max_size=6,
).map(lambda parts: b"".join(text * times for text, times in parts))
bodies = few | pieces


def naive_prefix(a: bytes, b: bytes) -> int:
    same = 0
    while same < min(len(a), len(b)) and a[same] == b[same]:
        same += 1
    return same


@given(bodies, bodies, bodies)
def test_a_common_prefix_is_what_a_loop_over_bytes_finds(front: bytes, a: bytes, b: bytes) -> None:
    a, b = front + a, front + b
    assert common_prefix(a, b) == naive_prefix(a, b)


@given(bodies, bodies, st.data())
def test_a_common_prefix_begins_where_it_is_told(a: bytes, b: bytes, data: st.DataObject) -> None:
    at_a = data.draw(st.integers(0, len(a)))
    at_b = data.draw(st.integers(0, len(b)))
    assert common_prefix(a, b, at_a, at_b) == naive_prefix(a[at_a:], b[at_b:])


@given(bodies, bodies, bodies, st.data())
def test_a_common_suffix_is_a_prefix_of_the_reversed(
    back: bytes, a: bytes, b: bytes, data: st.DataObject
) -> None:
    a, b = a + back, b + back
    end_a = data.draw(st.integers(0, len(a)))
    end_b = data.draw(st.integers(0, len(b)))
    most = data.draw(st.integers(0, len(a)))
    naive = naive_prefix(a[:end_a][::-1], b[:end_b][::-1])
    assert common_suffix(a, b, end_a, end_b, most) == min(most, naive)


def naive_continues(old: bytes, new: bytes) -> bool:
    return new == old or any(
        new.startswith(old[:cut])
        and new[cut:].endswith(old[cut:])
        and old[:cut].endswith(b"}")
        and new[cut : cut + 1] == b","
        for cut in range(len(old) + 1)
        if len(new) >= len(old)
    )


@given(turns, turns)
def test_a_body_continues_another_if_only_messages_were_inserted(old: bytes, new: bytes) -> None:
    assert continues(old, new) == naive_continues(old, new)


@given(bodies, bodies, st.data())
def test_an_insertion_behind_any_message_is_a_continuation(
    old: bytes, more: bytes, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(old)))
    before, after = old[:cut] + b"}", old[cut:]
    assert continues(before + after, before + b"," + more + after)


@pytest.mark.parametrize("more", ["0", " or not", ", and", '\\"}, {'])
def test_an_insertion_within_a_message_is_another_one(more: str) -> None:
    """Somebody else's question, most likely, that begins with the same words."""
    old = '[{"content":"question 1%s?"}]'
    assert not continues((old % "").encode(), (old % more).encode())


@given(turns | bodies, turns | bodies, st.data())
def test_where_it_is_known_what_was_inserted_that_is_enough_to_know_a_continuation(
    old: bytes, more: bytes, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(old)))
    new = old[:cut] + more + old[cut:]
    assert continues_at(old, new, insertion(old, new)) == naive_continues(old, new)


@given(turns | bodies, turns | bodies, st.data())
def test_where_an_insertion_is_does_not_depend_on_where_it_is_looked_for(
    old: bytes, more: bytes, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(old)))
    new = data.draw(st.sampled_from([old[:cut] + more + old[cut:], more, old[cut:] + more]))
    likely = data.draw(st.integers(0, len(old)))
    assert insertion(old, new, likely) == insertion(old, new)


@given(turns, turns, st.data())
def test_what_is_likely_the_same_is_compared_all_the_same(
    old: bytes, new: bytes, data: st.DataObject
) -> None:
    likely = data.draw(st.integers(0, min(len(old), len(new))))
    if naive_prefix(old, new) >= likely:
        assert continues(old, new, likely) == naive_continues(old, new)
    else:
        assert not continues(old, new, likely)


@given(pieces)
def test_a_message_starts_behind_a_seam(body: bytes) -> None:
    found = list(starts(body))
    assert all(body[:at].endswith(b"},{") for at in found)
    assert all(a < b for a, b in pairwise(found))
    assert bool(found) == (b"},{" in body)


def test_messages_start_behind_either_seam() -> None:
    for seam, colon in ((b",", b":"), (b", ", b": ")):
        message = b'{"content"' + colon + b'"' + b"x" * 50 + b'"}'
        body = b"[" + seam.join([message] * 4) + b"]"
        step = len(message + seam)
        assert list(starts(body)) == [1 + step + 1, 1 + 2 * step + 1, 1 + 3 * step + 1]


def test_a_body_of_nothing_but_seams_has_a_bounded_number_of_starts() -> None:
    assert len(list(starts(b"},{" * 1_000_000))) <= 2048


# Blocks that can be told apart, so that what was found can be looked up.
blocks = st.lists(st.sampled_from([bytes([letter]) * BLOCK for letter in b"abcde"]), max_size=8)


@given(blocks, st.lists(st.tuples(st.integers(0, 7), st.integers(1, 3))), bodies, st.data())
def test_every_block_of_a_run_is_in_the_new_body_in_one_piece(
    old: list[bytes], taken: list[tuple[int, int]], between: bytes, data: st.DataObject
) -> None:
    text = b"".join(old)
    new = between.join(text[first * BLOCK - 5 : (first + n) * BLOCK + 5] for first, n in taken)
    place = st.tuples(st.integers(0, len(text)), st.integers(0, len(new)))
    places = sorted(data.draw(st.lists(place, max_size=6)))
    runs = common_runs(text, new, places)
    reached = 0
    for run in runs:
        assert run.blocks > 0 and run.start >= reached
        assert run.end <= len(text)
        reached = run.end
        for block in range(run.first, run.first + run.blocks):
            assert text[block * BLOCK : (block + 1) * BLOCK] in new


@given(blocks, bodies, bodies)
def test_all_whole_blocks_around_a_place_are_found(
    old: list[bytes], before: bytes, after: bytes
) -> None:
    text = b"".join(old)
    half = len(text) // 2
    runs = common_runs(text, before + text + after, [(half, len(before) + half)])
    assert [(run.first, run.blocks) for run in runs] == ([(0, len(old))] if old else [])


def test_two_halves_of_a_block_in_two_places_are_no_block() -> None:
    old = b"a" * 512 + b"b" * 512
    new = b"a" * 512 + b"-" + b"b" * 512
    assert not common_runs(old, new, [(0, 0), (512, 513)])


@given(blocks, bodies, st.data())
def test_what_a_place_gives_does_not_depend_on_the_others(
    old: list[bytes], new: bytes, data: st.DataObject
) -> None:
    """Else a place with less than a block in common would show through what others lose by it."""
    text = b"".join(old)
    new += text
    place = st.tuples(st.integers(0, len(text)), st.integers(0, len(new)))
    places = sorted(data.draw(st.lists(place, max_size=5)))

    def found(some: list[tuple[int, int]]) -> set[int]:
        runs = common_runs(text, new, some)
        return {run.first + at for run in runs for at in range(run.blocks)}

    assert found(places) == set().union(*(found([each]) for each in places))


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
def test_texts_images_and_paragraphs_start_where_they_do(separators: tuple[str, str]) -> None:
    rest = "x" * 300
    prompt = f"{rest}\n\nIt is 9.\n\nNow {rest}"
    url = f"data:image/png;base64,iVBOR{rest}"
    value = {"m": "1", "prompt": prompt, "p": {"data": f"JVBER{rest}"}, "t": "text", "u": url}
    text = json.dumps(value, separators=separators).encode()
    found = {text[at : at + 4] for at in match.text_starts(text)}
    assert {b"It i", b"Now ", b"JVBE", b"text", b"iVBO"} <= found
    assert b"xxxx" not in found


def test_a_body_of_nothing_but_paragraphs_has_a_bounded_number_of_starts() -> None:
    body = rb"\n\n" * match.MOST_SEARCHED
    starts = list(match.text_starts(body))
    assert len(starts) <= 4 * match._MOST_STARTS and max(starts) <= match.MOST_SEARCHED


def test_marks_and_lists_are_looked_at_up_to_a_number() -> None:
    """A request has four marks. Of 255 KiB of them each took some µs, and the loop for 50 ms."""
    mark, few = b'"cache_control":{"type":"ephemeral"},', 64
    assert without_marks(mark * few + b"x") == b"x"
    assert without_marks(mark * (few + 2) + b"x") == mark * 2 + b"x"
    text = b'[{"type":"text","text":"a"}],'
    assert with_texts(text * (few + 2)) == b'"a",' * few + text * 2
