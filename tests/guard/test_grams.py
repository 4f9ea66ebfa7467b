"""Hashes of words and pairs of words, and sums over them, computed plainly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import accumulate, pairwise, product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from m2mproxy.guard import grams
from m2mproxy.guard.arrays import np
from m2mproxy.guard.grams import KEY_BITS, LONGEST, Table, Windows, side_by_side, table, words

LONG = [b"abcdefgh"[:7], b"abcdefgh", b"abcdefghi", b"abcdefgh" * 2, b"abcdefgh" * 2 + b"i"]
WORDS = [b"a", b"ab", b"ba", b"abc", b"\xc3\xa9", b"0", *LONG]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=30)


def hash_of(word: bytes) -> int:
    """The hash of a word by itself."""
    (found,) = words(b" %b " % word)[2]
    return int(found)


def word_grams(text: bytes) -> list[int]:
    """Of one text."""
    return grams.word_grams([text]).of(0).tolist()


KNOWN = np.array(
    sorted({key for some in product(WORDS, repeat=3) for key in word_grams(b" %b %b %b " % some)}),
    np.uint32,
)
WEIGHTS = table(KNOWN, np.arange(len(KNOWN)) - len(KNOWN) / 2, np.ones(len(KNOWN)), 512)
"""For most of what the texts are made of; too few slots for all of it."""


def weight_of(key: int) -> int:
    """In steps, looked up plainly."""
    owners, weights = bytes(WEIGHTS)[:512], memoryview(bytes(WEIGHTS)[512:]).cast("b")
    slot = key >> KEY_BITS - 9
    return weights[slot] if owners[slot] == key & 0xFF else 0


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


@pytest.mark.parametrize("size", range(1, 20))
def test_the_first_and_the_last_eight_bytes_of_a_word_count(size: int) -> None:
    word = bytes(range(97, 97 + size))
    for at in range(size):
        other = word[:at] + b"z" + word[at + 1 :]
        assert (hash_of(other) == hash_of(word)) == (8 <= at < size - 8)
    assert hash_of(word) not in (hash_of(word[1:]) if size > 1 else None, hash_of(b"z" + word))


def test_the_end_of_the_longest_text_is_read() -> None:
    assert hash_of(b"end") == int(words(b" " * (LONGEST - 4) + b"end ")[2][0])


def test_each_gram_counts_once() -> None:
    once, often = word_grams(b" to be "), word_grams(b" to be to be to be ")
    assert len(once) == 5 and len(often) == 8  # with "be to", "to be to", "be to be"
    assert set(once) < set(often)


@given(TEXTS)
def test_grams_are_words_pairs_side_by_side_and_pairs_around_a_word(parts: list[bytes]) -> None:
    each = [hash_of(part) for part in parts]
    bounded = [0x5BD1E995, *each, 0x5BD1E995]
    beside = [first * 0x85EBCA6B + second for first, second in pairwise(bounded)]
    around = [first * 0xC2B2AE35 + third for first, third in zip(each, each[2:], strict=False)]
    found = word_grams(b" %b " % b" ".join(parts))
    places = {(one * 0x9E3779B1 & 0xFFFFFFFF) >> 8 for one in (*each, *beside, *around)}
    assert found == sorted(places)


def test_a_word_between_two_may_be_any() -> None:
    one, other = set(word_grams(b" ignore all rules ")), set(word_grams(b" ignore your rules "))
    assert len(one & other) == 5  # with either end
    assert len(one & set(word_grams(b" rules your ignore "))) == 2


MARKED = TEXTS.map(lambda parts: b" %b " % b" . ".join(parts))


@given(st.lists(MARKED | st.just(b""), min_size=1, max_size=8))
def test_grams_of_texts_side_by_side_are_those_of_each(texts: list[bytes]) -> None:
    several = grams.word_grams(texts)
    found = [several.of(at).tolist() for at in range(len(texts))]
    assert found == [word_grams(text) for text in texts]
    assert found == [sorted(set(each)) for each in found]
    assert several.counts == list(map(len, found))
    alone = [WEIGHTS.totals(grams.word_grams([text]))[0] for text in texts]
    assert WEIGHTS.totals(several) == alone


def test_the_most_texts_have_numbers() -> None:
    found = grams.word_grams([b" "] * (grams.MOST_TEXTS - 1) + [b" to be or "])
    assert found.counts == [1] * (grams.MOST_TEXTS - 1) + [8]


@given(TEXTS)
def test_a_total_is_the_sum_of_the_weights(parts: list[bytes]) -> None:
    found = grams.word_grams([b" %b " % b" ".join(parts)])
    assert WEIGHTS.totals(found) == [sum(map(weight_of, found.of(0).tolist())) * WEIGHTS.step]
    hashes = words(b" %b " % b" ".join(parts))[2]
    keys = side_by_side(hashes).tolist()
    each, pairs = WEIGHTS.of_words(hashes)
    assert [*each.tolist(), *pairs.tolist()] == list(map(weight_of, keys))


@given(TEXTS)
def test_a_text_by_itself_has_the_sums_that_it_has_among_others(parts: list[bytes]) -> None:
    """With arrays, and without, which is for a few words."""
    for text, span in product((b" ".join(parts), b" ".join(parts * 9)), (2, 3, 16)):
        seen = windows([text])
        sums = grams.running(seen.values(WEIGHTS))
        summed = WEIGHTS.of_text(text, span)
        assert summed.words == seen.counts[0]
        assert summed.longest == max(seen.lengths, default=0)
        assert summed.total == seen.each(sums)[0]
        assert summed.highest == seen.highest(sums[span:] - sums[:-span], span)[0]


def made(weights: dict[int, float], worth: dict[int, float] | None = None) -> Table:
    keys = np.array(list(weights), np.uint32)
    each = np.array(list((worth or weights).values()))
    return table(keys, np.array(list(weights.values())), np.abs(each), 256)


def weights_of(found: Table, keys: Iterable[int]) -> list[int]:
    return found.of_each(np.array(list(keys), np.uint32)).tolist()


def test_weights_are_rounded_to_steps() -> None:
    found = made({0x010000: 12.7, 0x020000: -12.7, 0x030000: 0.04, 0x040001: 0.1})
    assert found.step == pytest.approx(0.1)
    assert weights_of(found, [0x010000, 0x020000, 0x030000, 0x040001]) == [127, -127, 0, 1]


def test_what_shares_a_slot_with_another_counts_for_nothing() -> None:
    found = made({0x010001: 5.0, 0x010002: -127.0, 0x010003: 20.0})
    assert weights_of(found, [0x010001, 0x010002, 0x010003, 0x010004]) == [0, -127, 0, 0]


def test_of_those_that_share_a_slot_what_is_worth_most_is_kept() -> None:
    weights = {0x010001: 5.0, 0x010002: -127.0, 0x010003: 20.0}
    found = made(weights, worth={0x010001: 3.0, 0x010002: 2.0, 0x010003: 1.0})
    assert weights_of(found, weights) == [5, 0, 0]


def test_what_is_rounded_to_nothing_takes_no_slot() -> None:
    found = made({0x010001: 5.0, 0x010002: 0.001, 0x020001: 127.0}, worth={1: 1.0, 2: 2.0, 3: 1.0})
    assert weights_of(found, [0x010001, 0x010002]) == [5, 0]


def test_a_table_without_weights_has_none() -> None:
    assert weights_of(made({}), [0, 1, 0xFFFFFF]) == [0, 0, 0]


@pytest.mark.parametrize(("owners", "weights"), [(3, 3), (256, 512), (128, 128), (257, 257)])
def test_slots_come_in_powers_of_two(owners: int, weights: int) -> None:
    with pytest.raises(ValueError, match=f"{owners} owners of {weights} weights"):
        Table(bytes(owners), bytes(weights), 1.0)


def windows(texts: list[bytes]) -> Windows:
    """Each of the texts, side by side."""
    ends = list(accumulate((len(text) + 1 for text in texts), initial=1))
    return Windows(b" %b " % b" ".join(texts), ends[:-1], [end - 1 for end in ends[1:]])


@given(TEXTS.map(b" ".join), st.lists(st.integers(0, 20), min_size=2, max_size=8))
def test_ranges_that_overlap_and_cut_words_are_texts_of_their_own(
    text: bytes, steps: list[int]
) -> None:
    """Each range begins before the one before it ends, as windows do."""
    borders = [min(at, len(text)) for at in accumulate(steps, initial=0)]
    ends = [*borders[2:], len(text), len(text)]
    ranges = [(low, end) for low, end in zip(borders, ends, strict=False) if low < end]
    assume(ranges)
    lows, highs = [1 + low for low, _ in ranges], [1 + high for _, high in ranges]
    together = Windows(b" %b " % text, lows, highs)
    apart = windows([text[low:high] for low, high in ranges])
    assert together.counts.tolist() == apart.counts.tolist()
    assert together.hashes.tolist() == apart.hashes.tolist()
    assert together.lengths.tolist() == apart.lengths.tolist()
    sizes = [bytes(map(len, text[low:high].split())) for low, high in ranges]
    assert [together.sizes(at) for at in range(len(ranges))] == sizes
    assert together.values(WEIGHTS).tolist() == apart.values(WEIGHTS).tolist()
    assert [together.text(at) for at in range(len(ranges))] == [
        text[low:high] for low, high in ranges
    ]


@given(st.lists(TEXTS, min_size=1, max_size=6), st.integers(1, 5))
def test_sums_over_texts_that_stand_side_by_side(texts: list[list[bytes]], span: int) -> None:
    seen = windows([b" ".join(each) for each in texts])
    assert seen.counts.tolist() == [len(each) for each in texts]
    held = WEIGHTS
    sums = grams.running(seen.values(held))
    plain = [_values(each, held) for each in texts]
    assert seen.each(sums).tolist() == [sum(each) for each in plain]
    long = [sum(len(word) == 3 for word in each) for each in texts]
    for least in (1, 2):
        having = [at for at, count in enumerate(long) if count >= least]
        assert seen.having(seen.lengths == 3, least) == having
    found = [(at, word) for at, each in enumerate(texts) for word in each if len(word) == 3]
    assert seen.words(seen.lengths == 3) == found
    rows = sums[span:] - sums[:-span]
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
        each, pairs = held.of_words(hashes)
        counts[at] = int(each[-1]) + int(pairs.sum())
    return [counts[at] for at in range(len(text))]
