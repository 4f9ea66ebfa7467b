"""Hashes of words, pairs of words and runs of characters, and sums over them, computed plainly."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from m2mproxy.guard import grams
from m2mproxy.guard.grams import BUCKETS, LONGEST, Table, Windows, table, words

TEXTS = st.lists(st.sampled_from([b"a", b"ab", b"ba", b"abc", b"\xc3\xa9", b"0"]), max_size=30)


LONG_WORDS = st.lists(st.text("ab0", min_size=1, max_size=45).map(str.encode), max_size=5)
"""In which more steps than one are taken."""


def hash_of(word: bytes) -> int:
    """The hash of a word by itself."""
    (found,) = words(b" %b " % word)[2]
    return int(found)


def word_grams(text: bytes) -> list[int]:
    """Of one text."""
    return grams.word_grams([text]).buckets.tolist()


def run_grams(text: bytes) -> list[int]:
    return grams.run_grams([text]).buckets.tolist()


WEIGHTS = Table(bytes(at * 7 % 251 for at in range(BUCKETS)), 0.5)
"""Different ones for neighbours."""


@given(TEXTS | LONG_WORDS)
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


@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 17, 31, 32, 33, 40, 1000])
def test_the_ends_of_a_long_word_count(size: int) -> None:
    word = b"a" * size
    assert len({hash_of(each) for each in (word, b"b" + word[1:], word[:-1] + b"c")}) == 3


def test_the_end_of_the_longest_text_is_read() -> None:
    assert hash_of(b"end") == int(words(b" " * (LONGEST - 4) + b"end ")[2][0])


def test_each_gram_counts_once() -> None:
    once, often = word_grams(b" to be "), word_grams(b" to be to be to be ")
    assert len(once) == 5 and len(often) == 6
    assert set(once) < set(often)
    assert len(run_grams(b"aaaaaaaaaaaa")) == len(grams.RUNS)
    assert len(run_grams(b"abcd")) == 0


@given(st.binary(min_size=5, max_size=60))
def test_runs_are_those_of_the_text(data: bytes) -> None:
    count = len(data) - 4
    parts = [run_grams(data[at : at + 5]) for at in range(count)]
    assert run_grams(data) == sorted({each for part in parts for each in part})


MARKED = TEXTS.map(lambda parts: b" %b " % b" . ".join(parts))


@given(st.lists(MARKED | st.just(b""), min_size=1, max_size=8))
def test_grams_of_texts_side_by_side_are_those_of_each(texts: list[bytes]) -> None:
    for take in (grams.word_grams, grams.run_grams):
        several = take(texts)
        ends = several.ends.tolist()
        found = [
            several.buckets[start:end].tolist()
            for start, end in zip([0, *ends], ends, strict=False)
        ]
        assert found == [take([text]).buckets.tolist() for text in texts]
        assert several.counts == list(map(len, found))
        assert len(several.buckets) == ends[-1]
        alone = [total for text in texts for total in WEIGHTS.totals(take([text]))]
        assert WEIGHTS.totals(several) == alone


def test_the_most_texts_have_numbers() -> None:
    found = grams.run_grams([b"abcde"] * grams.MOST_TEXTS)
    assert found.counts == [len(grams.RUNS)] * grams.MOST_TEXTS


@given(TEXTS)
def test_a_total_is_the_sum_of_the_weights(parts: list[bytes]) -> None:
    found = grams.word_grams([b" %b " % b" ".join(parts)])
    held = bytes(WEIGHTS)
    plain = sum(weight - 256 if (weight := held[at]) > 127 else weight for at in found.buckets)
    assert WEIGHTS.totals(found) == [plain * 0.5]


@given(TEXTS | LONG_WORDS)
def test_a_few_words_have_the_sum_that_arrays_have(parts: list[bytes]) -> None:
    seen = windows([b" ".join(parts)])
    assert WEIGHTS.of_few(parts) == seen.each(seen.weighed(WEIGHTS)).tolist()[0]


@given(st.binary(max_size=30).map(lambda data: data.translate(bytes([97, 98, 99, 100] * 64))))
def test_signs_are_counted_by_what_follows(data: bytes) -> None:
    for some in (data, data * 100):
        assert grams.followed(some, 97, b"bc") == [some.count(b"ab"), some.count(b"ac")]


@given(st.binary(max_size=30).map(lambda data: data.translate(bytes([97, 98, 99, 100] * 64))))
def test_a_sign_and_a_pair_are_counted(data: bytes) -> None:
    for some in (data, data * 100):
        assert grams.counted(some, b"a", b"bc") == (some.count(b"a"), some.count(b"bc"))


def test_weights_are_rounded_to_steps() -> None:
    given = [0.0] * BUCKETS
    given[:3] = [12.7, -12.7, 0.04]
    made = table(given)
    assert made.step == pytest.approx(0.1)
    assert list(bytes(made)[:3]) == [127, 256 - 127, 0]
    with pytest.raises(ValueError, match="3 weights"):
        Table(b"abc", 1.0)


def windows(texts: list[bytes]) -> Windows:
    """Each of the texts, side by side."""
    ends = list(accumulate((len(text) + 1 for text in texts), initial=1))
    return Windows(b" %b " % b" ".join(texts), ends[:-1], [end - 1 for end in ends[1:]])


@given(LONG_WORDS, st.lists(st.integers(0, 20), min_size=2, max_size=8), st.integers(1, 3))
def test_a_word_is_of_each_range_that_it_begins_in(
    parts: list[bytes], steps: list[int], span: int
) -> None:
    """Each range begins before the one before it ends, as windows do."""
    text = b" ".join(parts)
    borders = [min(at, len(text)) for at in accumulate(steps, initial=0)]
    ends = [*borders[2:], len(text), len(text)]
    ranges = [(low, end) for low, end in zip(borders, ends, strict=False) if low < end]
    assume(ranges)
    seen = Windows(b" %b " % text, [1 + low for low, _ in ranges], [1 + end for _, end in ranges])
    starts = list(accumulate((len(part) + 1 for part in parts), initial=0))[: len(parts)]
    placed = list(zip(starts, parts, strict=True))
    of = [[word for at, word in placed if low <= at < end] for low, end in ranges]
    assert seen.counts.tolist() == list(map(len, of))
    weighed = seen.weighed(WEIGHTS)
    assert seen.each(weighed).tolist() == list(map(WEIGHTS.of_few, of))
    rows = weighed.rows(span)
    for at, (some, highest) in enumerate(zip(of, seen.highest(rows, span).tolist(), strict=True)):
        counted = [WEIGHTS.of_few(some[row : row + span]) for row in range(len(some) - span + 1)]
        assert highest == (max(counted) if len(some) > span else 0)
        assert seen.sizes(at) == bytes(map(len, some))
        if len(some) > span:
            start, end = seen.place(rows, span, at)
            words_of = text[ranges[at][0] :][start:end].split()
            assert words_of == some[counted.index(max(counted)) :][:span]
    for least in (1, 4, 30):
        found = [
            (at, piece)
            for first, word in placed
            if len(word) >= least
            for at, (low, end) in enumerate(ranges)
            if len(piece := text[max(low, first) : min(end, first + len(word))]) >= least
        ]
        assert list(seen.long(least)) == found
        having = [at for at, some in enumerate(of) if sum(len(word) >= least for word in some) > 1]
        assert seen.having(seen.lengths >= least, 2) == having
    assert [seen.text(at) for at in range(len(ranges))] == [text[low:end] for low, end in ranges]


def test_words_that_stand_in_two_texts_are_no_pair() -> None:
    seen = windows([b"a b", b"", b"b c"])
    assert seen.each(seen.weighed(WEIGHTS)).tolist() == [
        WEIGHTS.of_few(words) for words in ([b"a", b"b"], [], [b"b", b"c"])
    ]
