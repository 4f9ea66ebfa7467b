"""A cheap first model that decides which windows of a text are worth the full one.

It takes many windows at once. What it adds up is what each word and each pair of words counts,
however often it occurs: over a window, which is then read as a whole; and over each few words in a
row, of which the worst are then read by themselves, so that a short attack within a document is not
outweighed by the document. Unknown words count for nothing, which is less harmless than what is
known: what cannot be read is not passed over. What is coded is, if it is no text once it is
decoded; and what has a few escapes in it is looked at as if it had none.

The one rule: it only looks away; nothing is found here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

from m2mproxy.guard.batches import in_batches
from m2mproxy.guard.coded import under
from m2mproxy.guard.grams import Summed, Table, Windows, running
from m2mproxy.guard.hiding import CODED, escapes, may_be_coded, unreadable
from m2mproxy.guard.stretch import MOST_PLAIN, Stretch, Window, single

DAMPING = 8
"""Added to the number of words before its root divides: short texts count for less."""
SPAN = 16
"""Words in a row that are looked at by themselves."""
LEAST = SPAN + SPAN // 2
"""Words that a window has at least where that is done: in a shorter one they are most of it."""
MORE = 4.4
"""A row of words is read by itself if it has so much more than what a window is read for."""


class Judged(NamedTuple):
    """What the gate says of a window."""

    window: Window
    whole: float
    """The logit of all of it; infinity where its words say nothing of what may be in it."""
    worst: float
    """That of the worst of its rows of words; minus infinity where it has less than LEAST."""
    part: tuple[int, int]
    """Where that row is in the window's plain text, if it is to be read."""


@dataclass(frozen=True)
class Gate:
    """Weights, in logits."""

    bias: float
    whole: float
    """The logit from which on a window is read."""
    part: float
    """The logit from which on a row of words is read."""
    weights: Table
    """By the keys of words and of pairs of words."""

    def through(self, stretches: list[Stretch]) -> list[Window]:
        """What is to be read: windows, and parts of windows."""
        found: list[Window] = []
        is_one = len(stretches) == 1
        for batch in [stretches] if is_one else in_batches(stretches, _size, MOST_PLAIN):
            if sum([len(each.borders) for each in batch]) > _SEVERAL or any(map(escapes, batch)):
                found += self._of_many(batch)
            else:
                for each in batch:
                    self._of_few(each, found)
        return found

    def _of_few(self, stretch: Stretch, found: list[Window]) -> None:
        """The same for a few windows that nothing is escaped in, one by one: to look at many at a
        time takes some steps more."""
        for at, (low, high) in enumerate(stretch.borders):
            plain = stretch.plain[low:high]
            seen = self.weights.of_text(plain, SPAN)
            whole, worst = self._logits(seen)
            if may_be_coded(plain, seen.longest) or worst >= self.part:
                window = stretch.window(at)
                found += self._of_many([single(window.number, window.start, window.text)])
            elif whole >= self.whole:
                found.append(stretch.window(at))

    def _logits(self, seen: Summed) -> tuple[float, float]:
        """Of a window, and of the worst row of words in it."""
        step = self.weights.step
        whole = seen.total * step / sqrt(seen.words + DAMPING) + self.bias
        if seen.words < LEAST:
            return whole, _NEVER
        return whole, seen.highest * step / sqrt(SPAN + DAMPING) + self.bias

    def _of_many(self, stretches: list[Stretch]) -> Iterator[Window]:
        looked = self._look_at(stretches, self.whole)
        passes = (looked.whole >= self.whole) | (looked.worst >= self.part)
        for at in passes.nonzero()[0].tolist():
            window = looked.window(at)
            if looked.whole[at] >= self.whole:
                yield window
            if looked.worst[at] >= self.part:
                yield window.cut(*looked.part(at))

    def judged(self, windows: Iterable[Window]) -> Iterator[Judged]:
        """Each window, judged."""
        alone = (single(each.number, each.start, each.text) for each in windows)
        for batch in in_batches(alone, _size, MOST_PLAIN):
            looked = self._look_at(batch, _ALWAYS)
            both = zip(looked.whole.tolist(), looked.worst.tolist(), strict=True)
            for at, (whole, worst) in enumerate(both):
                part = looked.part(at) if worst > _NEVER and worst >= self.part else (0, 0)
                yield Judged(looked.window(at), whole, worst, part)

    def _look_at(self, stretches: list[Stretch], enough: float) -> _Looked:
        """`enough`: the logit from which on it need not be known what else is in a window; what is
        hidden in those is not looked at if it is minus infinity."""
        base = 1
        firsts: list[int] = []
        lows: list[int] = []
        highs: list[int] = []
        for each in stretches:
            firsts.append(len(lows))
            for low, high in each.borders:
                lows.append(base + low)
                highs.append(base + high)
            base += len(each.plain) + 1
        seen = Windows(b" %b " % b" ".join([each.plain for each in stretches]), lows, highs)
        sums = running(seen.values(self.weights))
        step = self.weights.step
        whole = seen.each(sums) * step / (seen.counts + DAMPING) ** 0.5 + self.bias
        rows = sums[SPAN:] - sums[:-SPAN]
        worst = seen.highest(rows, SPAN) * step / (SPAN + DAMPING) ** 0.5 + self.bias
        worst[seen.counts < LEAST] = _NEVER
        looked = _Looked(stretches, firsts, seen, rows, whole, worst)
        may_hide = unreadable(seen, stretches, firsts)
        if may_hide and enough > _NEVER:
            self._look_into(looked, may_hide, enough)
        whole[list(may_hide)] = _ALWAYS
        return looked

    def _look_into(self, looked: _Looked, may_hide: dict[int, set[str]], enough: float) -> None:
        """Look at what is hidden in windows. Those that are read in any case stay in `may_hide`."""
        texts: list[Stretch] = []
        for at, ways in list(may_hide.items()):
            is_read = looked.whole[at] >= enough  # for its words
            if is_read and CODED[0] not in ways:
                continue
            found = under(looked.window(at), ways)
            if found is None:
                continue
            del may_hide[at]
            if found.text:
                texts.append(single(at, 0, found.text))
            if found.is_nothing:
                looked.whole[at] = _NEVER
        for batch in in_batches(texts, _size, MOST_PLAIN):
            inner = self._look_at(batch, _NEVER)
            both = zip(inner.whole.tolist(), inner.worst.tolist(), strict=True)
            for text, (whole, worst) in zip(batch, both, strict=True):
                most = max(whole, worst - MORE)
                looked.whole[text.number] = max(looked.whole[text.number], most)


class _Looked(NamedTuple):
    """Windows that were looked at."""

    stretches: list[Stretch]
    firsts: list[int]
    """The number of each stretch's first window."""
    seen: Windows
    rows: Any
    whole: Any
    worst: Any

    def window(self, at: int) -> Window:
        number = bisect_right(self.firsts, at) - 1
        return self.stretches[number].window(at - self.firsts[number])

    def part(self, at: int) -> tuple[int, int]:
        return self.seen.place(self.rows, SPAN, at)


_ALWAYS, _NEVER = float("inf"), float("-inf")


_SEVERAL = 1
"""Windows that are looked at one by one."""


def _size(stretch: Stretch) -> int:
    return len(stretch.plain) + 1
