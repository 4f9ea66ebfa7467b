"""Hashes of words, pairs of words and runs of characters, and sums over them, computed plainly."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.guard import grams
from m2mproxy.guard.grams import BUCKETS, LONGEST, Table, Windows, bucket, table, words

TEXTS = st.lists(st.sampled_from([b"a", b"ab", b"ba", b"abc", b"\xc3\xa9", b"0"]), max_size=30)


def hash_of(word: bytes) -> int:
    """The hash of a word by itself."""
    (found,) = words(b" %b " % word)[2]
    return int(found)


WEIGHTS = Table(bytes(at * 7 % 251 for at in range(BUCKETS)), 0.5)
"""Different ones for neighbours."""


@given(TEXTS)
def test_a_word_has_the_same_hash_wherever_it_stands(parts: list[bytes]) -> None:
    starts, ends, hashes = words(b" %b " % b"  ".join(parts))
    data = b" %b " % b"  ".join(parts)
    found = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    assert found == parts
    assert hashes.tolist() == [hash_of(part) for part in parts]


def test_words_have_different_hashes() -> None:
    every = [b"%c%c" % pair for pair in zip(range(97, 123), range(122, 96, -1), strict=True)]
    every += [b"%d" % at for at in range(1000, 9000)]
    assert len({hash_of(word) for word in every}) == len(every)


def test_the_end_of_the_longest_text_is_read() -> None:
    assert hash_of(b"end") == int(words(b" " * (LONGEST - 4) + b"end ")[2][0])


def test_each_gram_counts_once() -> None:
    once, often = grams.word_grams(b" to be "), grams.word_grams(b" to be to be to be ")
    assert len(once) == 5 and len(often) == 6
    assert set(once.tolist()) < set(often.tolist())
    assert len(grams.run_grams(b"aaaaaaaaaaaa")) == len(grams.RUNS)
    assert len(grams.run_grams(b"abcd")) == 0


@given(st.binary(min_size=5, max_size=60))
def test_runs_are_those_of_the_text(data: bytes) -> None:
    count = len(data) - 4
    parts = [grams.run_grams(data[at : at + 5]).tolist() for at in range(count)]
    assert grams.run_grams(data).tolist() == sorted({each for part in parts for each in part})


@given(TEXTS)
def test_a_total_is_the_sum_of_the_weights(parts: list[bytes]) -> None:
    found = grams.word_grams(b" %b " % b" ".join(parts))
    held = bytes(WEIGHTS)
    plain = sum(weight - 256 if (weight := held[at]) > 127 else weight for at in found.tolist())
    assert WEIGHTS.total(found) == plain * 0.5


def test_weights_are_rounded_to_steps() -> None:
    given = [0.0] * BUCKETS
    given[:3] = [12.7, -12.7, 0.04]
    made = table(given)
    assert made.step == pytest.approx(0.1)
    assert list(bytes(made)[:3]) == [127, 256 - 127, 0]
    with pytest.raises(ValueError, match="3 weights"):
        Table(b"abc", 1.0)


@given(st.lists(TEXTS, min_size=1, max_size=6), st.integers(1, 5))
def test_sums_over_texts_that_stand_side_by_side(texts: list[list[bytes]], span: int) -> None:
    seen = Windows([b" ".join(each) for each in texts])
    assert seen.counts.tolist() == [len(each) for each in texts]
    held = WEIGHTS
    values = held.of_each(bucket(seen.hashes)) + seen.pairs(held)
    plain = [_values(each, held) for each in texts]
    assert seen.each(values).tolist() == [sum(each) for each in plain]
    long = [sum(len(word) == 3 for word in each) for each in texts]
    assert seen.how_many(seen.lengths == 3).tolist() == long
    rows = grams.sums_of(values, span)
    highest = seen.highest(rows, span).tolist()
    for at, (some, text) in enumerate(zip(plain, texts, strict=True)):
        if len(some) <= span:
            assert highest[at] == 0
            continue
        sums = [sum(some[first : first + span]) for first in range(len(some) - span + 1)]
        assert highest[at] == max(sums)
        start, end = seen.place(rows, span, at)
        first = sums.index(max(sums))
        assert b" ".join(text)[start:end] == b" ".join(text[first : first + span])


def _values(text: list[bytes], held: Table) -> list[int]:
    """What each word of a text counts, with the one before it."""
    counts: Counter[int] = Counter()
    for at in range(len(text)):
        _, _, hashes = words(b" %b " % b" ".join(text[max(0, at - 1) : at + 1]))
        counts[at] = int(held.of_each(bucket(hashes[-1:]))[0])
        if at:
            counts[at] += int(held.of_each(grams.of_pairs(hashes))[0])
    return [counts[at] for at in range(len(text))]
