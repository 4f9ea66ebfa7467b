"""What a text is made of, as numbers: its words and pairs of words, hashed.

Models hold weights by hash, so that what they cost depends neither on how many words they know nor
on which a text has. Everything is whole numbers: sums are the same on every machine.

A word's hash is of its first eight bytes and of its last eight, each read as one number: what is in
the middle of a word of more than 16 does not count.

The one rule: what its arrays take is bounded by LONGEST.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import sub
from typing import Any, NamedTuple

from m2mproxy.guard.arrays import NDArray, np

Hashes = NDArray[np.uint32]
Places = NDArray[np.int64]
Sums = NDArray[np.int32]

KEY_BITS = 24
"""Of a hash that weights are given for: what a word, or a pair of words, is known by."""
LONGEST = 1 << 15
"""Bytes of text at a time."""
MOST_TEXTS = (1 << 32 - KEY_BITS) - 1
"""Of which grams are taken at a time."""

_MASK = (1 << 32) - 1
_KEY_BITS, _KEY = np.uint32(KEY_BITS), np.uint32((1 << KEY_BITS) - 1)
_SHIFT_BY = 32 - KEY_BITS
_SHIFT = np.uint32(_SHIFT_BY)
_SPREAD_BY, _SECOND_BY = 0x9E3779B1, 0x85EBCA6B
_SPREAD, _SECOND = np.uint32(_SPREAD_BY), np.uint32(_SECOND_BY)
_APART = np.uint32(0xC2B2AE35)
_NO_TEXT = np.uint32(_MASK)
_NO_WORD = np.uint32(0x5BD1E995)
"""What stands before the first word and after the last."""
_SPACE = 32


_EIGHT = 8
_MASK_OF_EIGHT = (1 << 64) - 1
_BEGIN_BY, _END_BY = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
_BEGIN, _END = np.uint64(_BEGIN_BY), np.uint64(_END_BY)
_WHOLE_BY = [(_BEGIN_BY << 8 * (_EIGHT - size)) + _END_BY for size in range(_EIGHT + 1)]
"""For each length of a word that is its own beginning and its own end."""
_UPPER = np.uint64(32)
_MARGIN = b" " * _EIGHT
_BESIDE = np.array([8 * (_EIGHT - length) for length in range(_EIGHT + 1)], np.uint64)
"""By the length of a word, the bits of eight bytes that are not its own."""
FEW = 144
"""Bytes of a text up to which its words are added up without arrays, if they are few, too."""


def words(data: bytes) -> tuple[Places, Places, Hashes]:
    """The words of `data`: where each begins, where it ends, its hash. Spaces are between words;
    `data` begins and ends with one, and is at most LONGEST bytes long."""
    starts, stops = _edges(np.frombuffer(data, np.uint8))
    return starts, stops, _hashes(data, starts, stops, stops - starts)


def _edges(text: NDArray[np.uint8]) -> tuple[Places, Places]:
    """Where words begin and end."""
    letters = text != _SPACE
    edges = (letters[1:] != letters[:-1]).nonzero()[0]
    edges += 1
    return edges[::2], edges[1::2]


def _hashes(data: bytes, starts: Places, stops: Places, lengths: Places) -> Hashes:
    """Of what is between some places and others."""
    around = b"".join((_MARGIN, data, _MARGIN))
    # Put side by side once: what is taken of them while they overlap is put so at each take.
    eights: NDArray[np.uint64] = np.ndarray(
        (len(around) - _EIGHT + 1,), np.dtype("<u8"), around, 0, (1,)
    ).copy()
    # What is beside a short word is shifted out.
    beside = _BESIDE.take(lengths, mode="clip")
    hashes = eights[_EIGHT:].take(starts)
    hashes <<= beside
    hashes *= _BEGIN
    ends = eights.take(stops)
    ends >>= beside
    ends *= _END
    hashes += ends
    hashes >>= _UPPER
    return hashes.astype(np.uint32)


def _hash_of_long(word: bytes) -> int:
    """Of one of more than eight bytes."""
    begin = int.from_bytes(word[:_EIGHT], "little")
    end = int.from_bytes(word[-_EIGHT:], "little")
    return (begin * _BEGIN_BY + end * _END_BY & _MASK_OF_EIGHT) >> 32


def keys(hashes: Hashes) -> Hashes:
    """What weights of hashes are given by. The hashes are overwritten."""
    hashes *= _SPREAD
    hashes >>= _SHIFT
    return hashes


def side_by_side(hashes: Hashes) -> Hashes:
    """The keys of some words, and those of each two in a row."""
    return keys(np.concatenate((hashes, _pairs(hashes))))


def _pairs(hashes: Hashes) -> Hashes:
    pairs = hashes[:-1] * _SECOND
    pairs += hashes[1:]
    return pairs


class Grams(NamedTuple):
    """The keys of what several texts are made of."""

    every: Hashes
    """As often as they occur, those of each text in ascending order."""
    first: NDArray[np.bool_]
    """Which of them are the first of their kind in their text: only these count. (They are not put
    together: to choose takes longer than to sort.)"""
    ends: Places
    """Where those of each text end."""

    @property
    def counts(self) -> list[int]:
        """How many different ones each text has."""
        ends = self.ends.tolist()
        texts = zip([0, *ends], ends, strict=False)
        return [int(np.count_nonzero(self.first[start:end])) for start, end in texts]

    def of(self, at: int) -> Hashes:
        """The different ones of a text."""
        text = slice(self.ends[at - 1] if at else 0, self.ends[at])
        return self.every[text][self.first[text]]


def word_grams(texts: Sequence[bytes]) -> Grams:
    """Words, pairs of words side by side, and pairs that one word stands between.
    Full stops are words, too, and beside others the beginning and the end. Each text has a space on
    either side; all together, with spaces around full stops, are at most LONGEST bytes long, and
    there are MOST_TEXTS of them at most."""
    assert len(texts) <= MOST_TEXTS, "the numbers of more are those of others"
    apart = [text.replace(b".", b" . ") for text in texts]
    starts, _, hashes = words(b"".join(apart))
    count = len(hashes)
    # Between two texts stands what is at either end of all.
    bounded = np.full(count + len(apart) + 1, _NO_WORD)
    around = hashes[:-2] * _APART
    around += hashes[2:]
    if len(apart) == 1:
        bounded[1:-1] = hashes
        return _each_once(keys(np.concatenate((hashes, _pairs(bounded), around))), 1)
    last = starts.searchsorted(_ends(apart))
    number = _number(last)
    bounded[np.arange(1, count + 1) + number] = hashes
    found = keys(np.concatenate((hashes, _pairs(bounded), around)))
    beside = count + len(bounded) - 1
    found[:count] += number << _KEY_BITS
    found[count:beside] += _number(last + np.arange(1, len(apart) + 1)) << _KEY_BITS
    found[beside:] += number[:-2] << _KEY_BITS
    found[beside:][number[:-2] != number[2:]] = _NO_TEXT  # which comes last when all is sorted
    return _each_once(found, len(apart))


def _ends(texts: Sequence[bytes]) -> Places:
    """Where each ends, if one stands after the other."""
    return np.add.accumulate(np.fromiter(map(len, texts), np.int64, len(texts)))


def _number(ends: Places) -> Hashes:
    """For each of what texts have the number of its text, where those of each text end."""
    sizes = ends.copy()
    sizes[1:] -= ends[:-1]
    return np.repeat(np.arange(len(ends), dtype=np.uint32), sizes)


def _each_once(found: Hashes, texts: int) -> Grams:
    """Of keys with the number of their text in the bits above."""
    found.sort()
    first = np.ones(len(found), bool)
    np.not_equal(found[1:], found[:-1], out=first[1:])
    if texts == 1:
        return Grams(found, first, np.array([len(found)]))
    ends = found.searchsorted(np.arange(1, texts + 1, dtype=np.uint32) << _KEY_BITS)
    found &= _KEY
    return Grams(found, first, ends)


def _of_each_text(values: NDArray[Any], ends: Places) -> Sums:
    """The sum of what each text has, where those of each text end."""
    if len(ends) == 1:
        return np.array([values.sum(dtype=np.int32)])
    padded = np.zeros(len(values) + 1, np.int32)
    padded[:-1] = values
    bounds = np.zeros(len(ends) + 1, np.int64)
    bounds[1:] = ends
    sums = np.add.reduceat(padded, bounds)[:-1]
    sums[bounds[1:] == bounds[:-1]] = 0  # which reduceat does not know
    return sums


class Summed(NamedTuple):
    """The words of a text, added up."""

    words: int
    longest: int
    """In bytes."""
    total: int
    """In steps."""
    highest: int
    """Of a row of so many words, in steps; 0 for a text that has no more than that."""


class Table:
    """Weights by key: whole numbers of -127 to 127, to be multiplied by `step`.

    A slot holds the weight of one key, and that key's last byte: others that belong there, which
    were never learnt or count for less, count for nothing. (In a table of weights alone,
    what falls together is learnt as one.)
    """

    def __init__(self, owners: bytes, weights: bytes, step: float) -> None:
        """A byte of each for each slot; there are a power of two, 256 to 2 ** KEY_BITS. Raises
        ValueError for others."""
        bits = len(weights).bit_length() - 1
        if len(owners) != len(weights) or len(weights) != 1 << bits or not 8 <= bits <= KEY_BITS:
            raise ValueError(f"{len(owners)} owners of {len(weights)} weights")
        self._owners = np.frombuffer(owners, np.uint8)
        self._weights = np.frombuffer(weights, np.int8)
        self._owned, self._held = memoryview(owners), memoryview(weights).cast("b")
        self._shift_by, self._shift = KEY_BITS - bits, np.uint32(KEY_BITS - bits)
        self.step = step

    def __bytes__(self) -> bytes:
        """The owners, then the weights."""
        return self._owners.tobytes() + self._weights.tobytes()

    def __len__(self) -> int:
        return len(self._weights)

    def totals(self, grams: Grams) -> list[float]:
        """The sum of the weights that each text has."""
        values = self.of_each(grams.every)
        values *= grams.first.view(np.int8)
        return [each * self.step for each in _of_each_text(values, grams.ends).tolist()]

    def of_each(self, keys: Hashes) -> NDArray[np.int8]:
        """The weight of each, in steps."""
        slots = keys >> self._shift
        values = self._weights.take(slots)
        values *= (self._owners.take(slots) == keys.astype(np.uint8)).view(np.int8)
        return values

    def of_words(self, hashes: Hashes) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
        """The weight of each word, and of each two in a row, in steps."""
        values = self.of_each(side_by_side(hashes))
        return values[: len(hashes)], values[len(hashes) :]

    def of_text(self, text: bytes, span: int) -> Summed:
        """The weights of a text's words and of pairs of them. It is at most LONGEST - 2 long."""
        if len(text) <= FEW:
            return self._of_few(text.split(), span)
        data = b" %b " % text
        starts, stops = _edges(np.frombuffer(data, np.uint8))
        count = len(starts)
        if not count:
            return Summed(0, 0, 0, 0)
        lengths = stops - starts
        hashes = _hashes(data, starts, stops, lengths)
        values, pairs = self.of_words(hashes)
        sums = values.astype(np.int32)
        sums[1:] += pairs
        np.add.accumulate(sums, out=sums)
        highest = 0
        if count > span:
            rows = sums[span:] - sums[:-span]
            highest = max(int(sums[span - 1]), int(rows.max()))
        return Summed(count, int(lengths.max()), int(sums[-1]), highest)

    def _of_few(self, words: Sequence[bytes], span: int) -> Summed:
        """For a few words this is sooner done than an array made."""
        owned, held, shift = self._owned, self._held, self._shift_by
        number, whole = int.from_bytes, _WHOLE_BY
        total = before = longest = 0
        sums = [0]
        for word in words:
            size = len(word)
            if size > longest:
                longest = size
            if size <= _EIGHT:
                hashed = (number(word, "little") * whole[size] & _MASK_OF_EIGHT) >> 32
            else:
                hashed = _hash_of_long(word)
            key = (hashed * _SPREAD_BY & _MASK) >> _SHIFT_BY
            if owned[slot := key >> shift] == key & 0xFF:
                total += held[slot]
            if before:
                key = ((before + hashed) * _SPREAD_BY & _MASK) >> _SHIFT_BY
                if owned[slot := key >> shift] == key & 0xFF:
                    total += held[slot]
            sums.append(total)
            before = hashed * _SECOND_BY | 1 << 64  # which falls away, and is not 0
        highest = max(map(sub, sums[span:], sums)) if len(words) > span else 0
        return Summed(len(words), longest, total, highest)


def table(
    found: Hashes, weights: NDArray[np.float64], worth: NDArray[np.float64], slots: int
) -> Table:
    """Of keys, none given twice, and what each weighs: rounded to what a Table of so many slots
    holds, and of those that belong in one slot the one that is worth most."""
    step = float(np.abs(weights).max(initial=0)) / 127 or 1.0
    steps = np.rint(weights / step).astype(np.int8)
    order = np.argsort(worth, kind="stable")  # the last to take a slot keeps it
    order = order[steps[order] != 0]
    places = found[order] >> np.uint32(KEY_BITS - slots.bit_length() + 1)
    owners, held = np.zeros(slots, np.uint8), np.zeros(slots, np.int8)
    owners[places], held[places] = found[order].astype(np.uint8), steps[order]
    return Table(owners.tobytes(), held.tobytes(), step)


class Windows:
    """Ranges of a text, whose words are looked at together; what is said of each is of it alone,
    as if nothing stood around it. Ranges may overlap; words that one cuts are cut."""

    def __init__(self, data: bytes, lows: Sequence[int], highs: Sequence[int]) -> None:
        """`data` begins and ends with a space, and is LONGEST bytes at most. A range goes from its
        low to its high; there is one at least, both ascend, and no word is in none or cut by an
        empty one."""
        text = np.frombuffer(data, np.uint8)
        starts, stops = _edges(text)
        self._data = data
        self._lows, self._highs = np.array(lows), np.array(highs)
        first = stops.searchsorted(self._lows, "right")
        last = starts.searchsorted(self._highs)
        self.counts: Places = last - first
        """Words of each range."""
        self._last: Places = np.add.accumulate(self.counts)
        self._first: Places = self._last - self.counts
        self._some = self.counts.nonzero()[0]
        if (self._first != first).any():
            starts, stops = self._cut(starts, stops, first)
        self._starts, self._stops = starts, stops
        self.lengths: Places = stops - starts
        """Of the words, in bytes."""
        self.hashes = _hashes(data, starts, stops, self.lengths)

    def _cut(self, starts: Places, stops: Places, first: Places) -> tuple[Places, Places]:
        """The words of each range, one range after the other."""
        places = (first - self._first).repeat(self.counts)
        places += np.arange(len(places))
        starts, stops = starts.take(places), stops.take(places)
        begin, end = self._first[self._some], self._last[self._some] - 1
        starts[begin] = np.maximum(starts[begin], self._lows[self._some])
        stops[end] = np.minimum(stops[end], self._highs[self._some])
        return starts, stops

    def each(self, sums: Sums) -> Sums:
        """The sum over each range's words, of running sums."""
        return sums.take(self._last) - sums.take(self._first)

    def text(self, at: int) -> bytes:
        """A range's text."""
        return self._data[self._lows[at] : self._highs[at]]

    def sizes(self, at: int) -> bytes:
        """The lengths of a range's words, a byte for each, of which those of 256 and more are
        255."""
        sizes = self.lengths[self._first[at] : self._last[at]]
        return np.minimum(sizes, 255).astype(np.uint8).tobytes()

    def words(self, flags: NDArray[np.bool_]) -> list[tuple[int, bytes]]:
        """The words that have theirs set, each with its range."""
        places = flags.nonzero()[0]
        if not len(places):
            return []
        every = zip(
            self._last.searchsorted(places, "right").tolist(),
            self._starts.take(places).tolist(),
            self._stops.take(places).tolist(),
            strict=True,
        )
        return [(at, self._data[start:stop]) for at, start, stop in every]

    def having(self, flags: NDArray[np.bool_], least: int) -> list[int]:
        """The ranges of which so many words have theirs set, which is seldom one."""
        places = flags.nonzero()[0]
        if len(places) < least:
            return []
        found = places.searchsorted(self._last) - places.searchsorted(self._first)
        return (found >= least).nonzero()[0].tolist()

    def values(self, weights: Table) -> Sums:
        """For each word the weight of it, and of it and the one before it in its range."""
        each, pairs = weights.of_words(self.hashes)
        values = each.astype(np.int32)
        pairs[self._first[self._some[1:]] - 1] = 0
        values[1:] += pairs
        return values

    def highest(self, rows: Sums, span: int) -> Sums:
        """The highest of those rows of so many words that are within each range; 0 for ranges that
        have no more words than that."""
        highest = np.zeros(len(self.counts), rows.dtype)
        longer = (self.counts > span).nonzero()[0]
        if len(longer):
            ranges = np.empty(2 * len(longer), np.int64)
            ranges[::2] = self._first[longer]
            ranges[1::2] = self._last[longer] - span + 1
            if ranges[-1] == len(rows):
                ranges = ranges[:-1]  # the end, which is where the last one ends
            highest[longer] = np.maximum.reduceat(rows, ranges)[::2]
        return highest

    def place(self, rows: Sums, span: int, at: int) -> tuple[int, int]:
        """Where in a range its highest row begins and ends, in bytes."""
        first, last = int(self._first[at]), int(self._last[at])
        first += int(rows[first : last - span + 1].argmax())
        low = int(self._lows[at])
        return int(self._starts[first]) - low, int(self._stops[first + span - 1]) - low


def running(values: NDArray[Any]) -> Sums:
    """The sum of those before each value, and that of all."""
    sums = np.zeros(len(values) + 1, np.int32)
    np.add.accumulate(values, out=sums[1:])
    return sums
