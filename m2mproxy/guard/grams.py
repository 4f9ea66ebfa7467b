"""What a text is made of, as numbers: its words, pairs of words and runs of characters, hashed.

Models hold a weight for each hash, so that what they cost depends neither on how many words they
know nor on which a text has. Everything is whole numbers: sums are the same on every machine.

A word's hash is a polynomial over its bytes, taken from running sums: the sum up to its end less
the sum up to its beginning, divided by the power that its beginning has (Karp and Rabin, 1987; the
arithmetic is modulo 2^32, where an odd factor can be divided by).

The one rule: numpy is imported here only, and what its arrays take is bounded by LONGEST.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from m2mproxy.guard.engine import EngineMissing

# Nothing here multiplies matrices: numpy's library for that need not start its threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as error:
    raise EngineMissing("the scanner needs numpy: install m2mproxy[guard]") from error

Hashes = NDArray[np.uint32]
Places = NDArray[np.int64]

BITS = 18
BUCKETS = 1 << BITS
"""Of a table of weights."""
LONGEST = 1 << 16
"""Bytes of text at a time."""
RUNS = (3, 4, 5)
"""Lengths of runs of characters, in bytes."""

_MASK = (1 << 32) - 1
_SHIFT = np.uint32(32 - BITS)
_SPREAD = np.uint32(0x9E3779B1)
_SECOND = np.uint32(0x85EBCA6B)
_THIRD = np.uint32(0xC2B2AE35)
_FIRST_THREE = np.uint32(0x00FFFFFF)
_NO_WORD = np.uint32(0x5BD1E995)
"""What stands before the first word and after the last."""
_SPACE = 32


def _powers(factor: int) -> Hashes:
    every = accumulate(range(1, LONGEST), lambda power, _: power * factor & _MASK, initial=1)
    return np.fromiter(every, np.uint32, LONGEST)


def _values() -> Hashes:
    """One for each byte: the first steps of a xorshift generator."""
    state, values = 2463534242, []
    for _ in range(256):
        state ^= state << 13 & _MASK
        state ^= state >> 17
        state ^= state << 5 & _MASK
        values.append(state)
    return np.array(values, np.uint32)


_FACTOR = 0x01000193
_VALUES = _values()
_POWERS = _powers(_FACTOR)
_INVERSES = _powers(pow(_FACTOR, -1, 1 << 32))


def words(data: bytes) -> tuple[Places, Places, Hashes]:
    """The words of `data`: where each begins, where it ends, its hash. Spaces are between words;
    `data` begins and ends with one, and is at most LONGEST bytes long."""
    text = np.frombuffer(data, np.uint8)
    letters = text != _SPACE
    edges = np.flatnonzero(letters[1:] != letters[:-1])
    before, last = edges[::2], edges[1::2]
    sums = _VALUES.take(text)
    sums *= _POWERS[: len(text)]
    np.cumsum(sums, out=sums)
    hashes = sums.take(last)
    hashes -= sums.take(before)
    before += 1
    hashes *= _INVERSES.take(before)
    last += 1
    return before, last, hashes


def bucket(hashes: Hashes) -> Hashes:
    """Where in a table a hash stands."""
    spread = hashes * _SPREAD
    spread >>= _SHIFT
    return spread


def of_pairs(hashes: Hashes) -> Hashes:
    """The buckets of each two words in a row."""
    pairs = hashes[:-1] * _SECOND
    pairs += hashes[1:]
    return bucket(pairs)


def word_grams(data: bytes) -> Hashes:
    """The buckets of words and pairs of words of a text, each once; the beginning, the end and
    full stops are words, too."""
    _, _, hashes = words(data.replace(b".", b" . "))
    count = len(hashes)
    bounded = np.empty(count + 2, np.uint32)
    bounded[0] = bounded[-1] = _NO_WORD
    bounded[1:-1] = hashes
    both = np.empty(2 * count + 1, np.uint32)
    both[:count] = hashes
    np.multiply(bounded[:-1], _SECOND, out=both[count:])
    both[count:] += bounded[1:]
    return _each_once(bucket(both))


def run_grams(data: bytes) -> Hashes:
    """The buckets of runs of characters of a text, each once."""
    count = len(data) - RUNS[-1] + 1
    if count <= 0:
        return np.empty(0, np.uint32)
    fours: Hashes = np.ndarray((count,), np.dtype("<u4"), data, 0, (1,))
    fives = fours * _SECOND
    fives += np.frombuffer(data, np.uint8)[RUNS[-1] - 1 :]
    threes = fours & _FIRST_THREE
    threes *= _THIRD
    return _each_once(bucket(np.concatenate((threes, fours, fives))))


def _each_once(buckets: Hashes) -> Hashes:
    buckets.sort()
    if len(buckets) < 2:
        return buckets
    kept = np.empty(len(buckets), bool)
    kept[0] = True
    np.not_equal(buckets[1:], buckets[:-1], out=kept[1:])
    return buckets[kept]


class Table:
    """A weight for each bucket: whole numbers of -127 to 127, to be multiplied by `step`."""

    def __init__(self, weights: bytes, step: float) -> None:
        """Raises ValueError if there is not one byte for each bucket."""
        if len(weights) != BUCKETS:
            raise ValueError(f"{len(weights)} weights, not {BUCKETS}")
        self._weights = np.frombuffer(weights, np.int8)
        self.step = step

    def __bytes__(self) -> bytes:
        return self._weights.tobytes()

    def total(self, buckets: Hashes) -> float:
        """The sum of their weights."""
        return int(self._weights.take(buckets).sum(dtype=np.int64)) * self.step

    def of_each(self, buckets: Hashes) -> NDArray[np.int32]:
        """The weight of each, in steps."""
        return self._weights.take(buckets).astype(np.int32)


def table(weights: Iterable[float]) -> Table:
    """Weights rounded to what a Table holds."""
    given = np.fromiter(weights, np.float64, BUCKETS)
    most = float(np.abs(given).max())
    step = most / 127 or 1.0
    return Table(np.rint(given / step).astype(np.int8).tobytes(), step)


class Windows:
    """Several texts, whose words are looked at together; what is said of each is of it alone."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        """`texts` have words with spaces between them, and LONGEST bytes at most, as they stand
        here, with a space around each; there is one text at least."""
        count = len(texts)
        self._ends: Places = np.cumsum(np.fromiter(map(len, texts), np.int64, count) + 1)
        self._starts, self._stops, self.hashes = words(b" %b " % b" ".join(texts))
        self.lengths: Places = self._stops - self._starts
        """Of the words, in bytes."""
        self._last: Places = np.searchsorted(self._starts, self._ends)
        self._first: Places = np.concatenate(([0], self._last[:-1]))
        self.counts: Places = self._last - self._first
        """Words of each text."""

    def each(self, values: NDArray[Any]) -> Places:
        """The sum over each text's words."""
        sums = _running(values)
        return sums.take(self._last) - sums.take(self._first)

    def how_many(self, flags: NDArray[np.bool_]) -> Places:
        """How many of each text's words have theirs set, which is seldom one."""
        return self.each(flags) if flags.any() else np.zeros(len(self.counts), np.int64)

    def pairs(self, weights: Table) -> NDArray[np.int32]:
        """For each word the weight of it and the one before it in its text."""
        found = np.zeros(len(self.hashes), np.int32)
        if len(found):
            found[1:] = weights.of_each(of_pairs(self.hashes))
            found[self._first[self.counts > 0]] = 0
        return found

    def highest(self, rows: Places, span: int) -> Places:
        """The highest of those rows of so many words that are within each text; 0 for texts that
        have no more words than that."""
        highest = np.zeros(len(self.counts), np.int64)
        longer = np.flatnonzero(self.counts > span)
        if len(longer):
            ranges = np.empty(2 * len(longer), np.int64)
            ranges[::2] = self._first[longer]
            ranges[1::2] = self._last[longer] - span + 1
            highest[longer] = np.maximum.reduceat(np.append(rows, 0), ranges)[::2]
        return highest

    def place(self, rows: Places, span: int, at: int) -> tuple[int, int]:
        """The byte of a text where its highest row begins, and where that ends."""
        first, last = int(self._first[at]), int(self._last[at])
        first += int(rows[first : last - span + 1].argmax())
        begin = int(self._ends[at - 1]) + 1 if at else 1
        return int(self._starts[first]) - begin, int(self._stops[first + span - 1]) - begin


def sums_of(values: NDArray[Any], span: int) -> Places:
    """The sum of each so many values in a row."""
    sums = _running(values)
    return sums[span:] - sums[:-span]


def _running(values: NDArray[Any]) -> Places:
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums
