"""What finds entries: chains of blocks, places of messages, ids that one reply had."""

from __future__ import annotations

import random

import pytest
from conversations import body, said, words
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.link.index import (
    Index,
    Within,
    chain,
    covered,
    last_calls,
    shared,
    whole_blocks,
)
from m2mproxy.link.match import BLOCK, insertion
from m2mproxy.link.window import Entry

S, OTHER = b"scope", b"other"
text = words(random.Random(1), 40_000).encode()


def entry(number: int, content: bytes, scope: bytes = S) -> Entry:
    return Entry(number, scope, content)


def indexed(*entries: Entry) -> Index:
    index = Index()
    for each in entries:
        each.marks = chain(each.scope, each.body)
        index.add(each)
    return index


@given(st.integers(0, 40_000))
def test_a_chain_covers_whole_blocks_only(size: int) -> None:
    marks = chain(S, text[:size])
    assert covered(len(marks)) <= size
    assert size - covered(len(marks)) < (256 if size < 16 * 1024 else 4096)


@given(st.integers(0, 39_999))
def test_two_chains_part_in_the_block_with_the_first_difference(at: int) -> None:
    other = text[:at] + b"!" + text[at + 1 :]
    a, b = chain(S, text), chain(S, other)
    same = [x == y for x, y in zip(a, b, strict=True)]
    parted = same.index(False) if False in same else len(same)
    assert not any(same[parted:])
    assert covered(parted) <= at
    assert parted == len(same) or covered(parted + 1) > at


def test_a_chain_is_its_scopes() -> None:
    assert not set(chain(S, text)) & set(chain(OTHER, text))


def test_the_longest_chain_wins() -> None:
    short, long = entry(1, text[:3000]), entry(3, text[:6000])
    index = indexed(long, short)
    assert index.longest(S, chain(S, text), 1) == (long, 5888)
    assert index.longest(S, chain(S, text[:3000]), 1)[1] == 2816
    assert index.longest(OTHER, chain(OTHER, text), 1) == (None, 0)
    assert index.longest(S, [], 1) == (None, 0)


def test_the_longest_chain_of_whole_units() -> None:
    index = indexed(entry(1, text[:3000]))
    assert index.longest(S, chain(S, text), BLOCK)[1] == 2048
    assert index.longest(S, chain(S, text[:1000]), BLOCK) == (None, 0)
    index = indexed(entry(1, text[:18_000]))
    assert index.longest(S, chain(S, text), BLOCK)[1] == 16 * 1024
    index = indexed(entry(1, text[:21_000]))
    assert index.longest(S, chain(S, text), BLOCK)[1] == 20 * 1024


def test_marks_stand_for_whole_blocks_of_bodies_of_any_size() -> None:
    large = b"".join(b"%07d," % number for number in range(100_000))
    marks = chain(S, large)
    edges = (0, 256, 16_640, 17_408, 262_144, 278_528, 800_000)
    for length in (*edges, *(edge - 1 for edge in edges[1:])):
        assert chain(S, large[:length]) == marks[: whole_blocks(length)]
        assert chain(S, large, marks[: whole_blocks(length)]) == marks
        assert covered(whole_blocks(length)) <= length < covered(whole_blocks(length) + 1)
        other = chain(S, large[:length] + b"x" * 300_000)
        assert shared(other, marks) == covered(whole_blocks(length))
    assert len(marks) < 400


def test_what_was_dropped_is_not_found() -> None:
    one = entry(1, text[:3000])
    index = indexed(one)
    index.add_secrets(one, [b"call_1a2b3c4d"])
    index.learn(one, {1: 2})
    index.drop(one)
    assert index.longest(S, chain(S, text), 1) == (None, 0)
    assert index.conversation(S, last_calls(b'{"tool_call_id":"call_1a2b3c4d"}')) is None
    assert index.places(one) is None


def test_who_inherited_an_id_is_found_by_it_until_it_is_dropped() -> None:
    one, two = entry(1, b"x"), entry(3, b"y")
    index = Index()
    index.add_secrets(one, [b"call_1a2b3c4d"])
    index.drop(one)
    index.inherit(two, [b"call_1a2b3c4d"])
    index.add_secrets(two, [b"call_5e6f7a8b"])
    for name in ("call_1a2b3c4d", "call_5e6f7a8b"):
        result = f'{{"tool_call_id":"{name}"}}'.encode()
        assert index.conversation(S, last_calls(result)) is two
    index.drop(two)
    assert index.conversation(S, [b"call_1a2b3c4d", b"call_5e6f7a8b"]) is None


def test_what_another_took_over_outlives_the_first() -> None:
    one, two = entry(1, text[:3000]), entry(3, text[:4000])
    index = indexed(one, two)
    index.drop(one)
    assert index.longest(S, chain(S, text[:3000]), 1) == (two, 2816)


def test_nothing_is_found_after_the_end() -> None:
    one = entry(1, text[:3000])
    index = indexed(one)
    index.add_secrets(one, [b"call_1a2b3c4d"])
    index.clear()
    assert index.longest(S, chain(S, text), 1) == (None, 0)
    assert index.conversation(S, last_calls(b'{"call_id":"call_1a2b3c4d"}')) is None


def test_a_tampered_chain_finds_only_what_is_equal() -> None:
    """As if two hashes were the same by accident."""
    one = entry(1, text[:3000] + b"}]")
    index = indexed(one)
    assert index.continued(text[:3000] + b"},{}]", one.marks, [one]) is one
    assert index.continued(b"!" + text[1:3000] + b"},{}]", one.marks, [one]) is None


def test_what_is_known_of_one_entry_is_said_of_no_other() -> None:
    one, two = entry(1, b'[{"a":1}]'), entry(3, b'[{"b":2}]')
    body = b'[{"a":1},{}]'
    within = Within(one, insertion(one.body, body))
    assert Index.continued(body, [], [two, one], within) is one
    assert Index.continued(body, [], [two], within) is None


def test_the_longest_that_is_continued_wins_among_those_of_one_beginning() -> None:
    """Their ends are shorter than a block, so that chains cannot tell them apart."""
    front = text[:2048]
    entries = [entry(n, front + b"%d?}]" % n) for n in range(1, 9)]
    entries.append(entry(11, front + b"4?},{yes},{and?}]"))
    index = indexed(*entries)
    for new, expected in (
        (b"4?},{yes},{and?},{no},{so?}]", entries[-1]),
        (b"4?},{no},{so?}]", entries[3]),
        (b"8?},{no},{so?}]", entries[7]),
        (b"9?},{no},{so?}]", None),
        (b"", None),
    ):
        assert index.continued(front + new, chain(S, front + new), entries) is expected


@pytest.mark.parametrize("name", ["tool_call_id", "call_id", "tool_use_id"])
@pytest.mark.parametrize("colon", [":", ": ", " :\n\t"])
def test_the_last_result_of_a_tool_call_tells_the_conversation(name: str, colon: str) -> None:
    one, two = entry(1, b"x"), entry(3, b"y")
    index = Index()
    index.add_secrets(one, [b"call_1a2b3c4d"])
    index.add_secrets(two, [b"call_5e6f7a8b"])
    first, second = (f'{{"{name}"{colon}"{each}"}}' for each in ("call_1a2b3c4d", "call_5e6f7a8b"))
    assert index.conversation(S, last_calls(f"[{first}, {second}]".encode())) is two
    assert index.conversation(S, last_calls(f"[{second}, {first}]".encode())) is one
    assert index.conversation(OTHER, last_calls(first.encode())) is None
    assert index.conversation(S, last_calls(b'{"%b": 1}' % name.encode())) is None


def test_an_id_within_a_text_tells_nothing() -> None:
    index = Index()
    index.add_secrets(entry(1, b"x"), [b"call_1a2b3c4d"])
    quoted = body([said("user", '{"tool_call_id":"call_1a2b3c4d"}')])
    assert index.conversation(S, last_calls(quoted)) is None


def test_ids_are_few_and_short() -> None:
    many = [b"%08d" % number for number in range(100)]
    known, size = Index.known_by([*many, b"x" * 10_000])
    assert len(known) <= 16 and known[-1] == many[-1]
    assert size > sum(map(len, known))
    assert Index.known_by([]) == ([], 0)
