"""Token buckets against floods: how many frames that bring nothing, and how many resets, a peer may
send.

HTTP/2 lets a peer keep us busy at little cost: frames that carry nothing, streams that are opened
and reset (CVE-2023-44487, CVE-2025-8671). An honest peer does all of it too, now and then.

The one rule: work is paid for with progress. Whoever brings or takes payload has earned some.
"""

from __future__ import annotations

from collections.abc import Callable

# Streams of a client that end before their answer: so many at once, so many a second, and one for
# each that ends well.
RESETS, RESETS_RATE = 100, 20
# Seconds after which one that its client ends is none of these: with MAX_STREAMS open at a time it
# cannot make us begin many a second so, and people cancel while a model thinks. On a link they do
# so for all who are behind the other instance.
WAITED = 0.25
# Frames that may be under way to a peer: a hundred streams of half a MiB, in pieces of 50 bytes.
_MOST_ANSWERS = 1 << 20
# WINDOW_UPDATEs that may come at once: for what the kernels of both sides hold, a few MiB each, two
# for every few KiB.
_MOST_GRANTS = 1 << 14


class Budget:
    """Tokens: `most` at first and at any time, `rate` more each second."""

    __slots__ = ("_clock", "_left", "_most", "_rate", "_seen")

    def __init__(self, clock: Callable[[], float], most: int, rate: float) -> None:
        self._clock = clock
        self._most = most
        self._rate = rate
        self._left = float(most)
        self._seen = clock()

    def spend(self) -> bool:
        """Take one token; False when there is none left."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._seen) * self._rate)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def earn(self, tokens: int) -> None:
        """Progress was made."""
        self._left = min(self._most, self._left + tokens)


class FrameBudget(Budget):
    """What frames that bring nothing are paid from.

    A peer that has reset a stream may answer each frame that was under way to it with one more
    RST_STREAM (RFC 9113 5.1: a stream error; Python's h2 does). Of many small frames to many
    streams that makes thousands at once, so for each frame of ours one RST_STREAM is free.

    A peer that takes payload says so in WINDOW_UPDATEs, and those for all that was under way to it
    can come together: Go's sends two for every 4 KiB, hundreds for a hundred streams. So what that
    payload earns is kept for them beyond what is kept for anything else.
    """

    __slots__ = ("_answers", "_grants")

    def __init__(self, clock: Callable[[], float], most: int, rate: float) -> None:
        super().__init__(clock, most, rate)
        self._answers = self._grants = 0

    def sent(self, tokens: int) -> None:
        """A frame of payload left, worth so many, for a stream that the peer may have reset."""
        if self._answers < _MOST_ANSWERS:
            self._answers += 1
        self._grants = min(_MOST_GRANTS, self._grants + tokens)
        self.earn(tokens)

    def spend_reset(self) -> bool:
        """Pay for an RST_STREAM; False when there is nothing left to pay it from."""
        if self._answers:
            self._answers -= 1
            return True
        return self.spend()

    def spend_grant(self) -> bool:
        """Pay for a WINDOW_UPDATE; False when there is nothing left to pay it from."""
        if self._grants:
            self._grants -= 1
            return True
        return self.spend()
