"""What an upstream has shown that it reads, and what it has refused.

An earlier program of this kind was withdrawn because it sent compressed bodies to servers that
could not read them. So a coding is used only where something speaks for it: the upstream named it
in a response (RFC 9110 12.5.3), its profile knows, or the configuration says so; once refused it is
not used again for a while.

The one rule: whatever is not known is plain, and whatever is learnt is bounded and runs out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from m2mproxy.http.headers import Headers
from m2mproxy.http.negotiation import weights

# Seconds that a verdict counts: a server may be replaced by one that reads more, or less.
LIFETIME = 3600.0
_MOST_REFUSALS = 64
_MOST_SHOWN = 16


@lru_cache(64)  # a server says the same with each response
def _named(values: tuple[bytes, ...]) -> frozenset[bytes]:
    """The codings that an Accept-Encoding of these lines permits."""
    named = [name for name, weight in weights(values).items() if weight > 0]
    return frozenset(named[:_MOST_SHOWN])


@dataclass(frozen=True, slots=True)
class CodingChoice:
    """A coding and what speaks for it, or b"" and what speaks against any."""

    coding: bytes
    why: str


class Readable:
    """One upstream's codings of requests."""

    def __init__(
        self,
        clock: Callable[[], float],
        known: Sequence[bytes] = (),
        trials: Sequence[bytes] = (),
        configured: Sequence[bytes] = (),
    ) -> None:
        """`known` is what the upstream's profile says, `trials` what may be tried once, and
        `configured` what the operator vouches for."""
        self._clock = clock
        self._known = frozenset(known)
        self._trials = frozenset(trials)
        self._configured = frozenset(configured)
        self._shown: frozenset[bytes] = frozenset()
        self._shown_until = 0.0
        self._tried: set[bytes] = set()
        self._refused: dict[tuple[bytes, bytes], tuple[float, int]] = {}

    def learn(self, headers: Headers) -> None:
        """A response came: its Accept-Encoding says what requests may be coded in."""
        values = headers.values_of(b"accept-encoding")
        if values:
            self._shown = _named(tuple(values))
            self._shown_until = self._clock() + LIFETIME

    @property
    def knows_something(self) -> bool:
        """Whether anything is known of it that it has not shown."""
        return bool(self._known or self._trials or self._configured)

    @property
    def shown(self) -> frozenset[bytes]:
        """What it has named."""
        if self._shown and self._clock() >= self._shown_until:
            self._shown = frozenset()
        return self._shown

    def choose(self, path: bytes, wanted: Sequence[bytes], large: bool) -> CodingChoice:
        """The first of `wanted` that is read at `path`; `large` bodies are worth a trial."""
        shown, why = self.shown, "not shown"
        for coding in wanted:
            status = self._refusal(path, coding)
            if status:
                why = f"refused with {status}"
            elif coding in self._configured:
                return CodingChoice(coding, "configured")
            elif coding in shown:
                return CodingChoice(coding, "shown")
            elif coding in self._known:
                return CodingChoice(coding, "profile")
            elif coding in self._trials and coding not in self._tried and large:
                self._tried.add(coding)
                return CodingChoice(coding, "trial")
        return CodingChoice(b"", why)

    def accepted(self, coding: bytes) -> None:
        """A request in `coding` was answered with what a plain one would have been."""
        if coding in self._trials and coding in self._tried:
            self._known |= {coding}

    def refused(self, path: bytes, coding: bytes, status: int) -> None:
        """A request in `coding` was answered 400, 415 or 422."""
        self.forgive(path, coding)  # the last refusal is the one that counts, and goes last
        if len(self._refused) >= _MOST_REFUSALS:
            del self._refused[next(iter(self._refused))]
        self._refused[path, coding] = (self._clock() + LIFETIME, status)

    def forgive(self, path: bytes, coding: bytes) -> None:
        """The plain request was answered just so: it was not the coding."""
        self._refused.pop((path, coding), None)

    def _refusal(self, path: bytes, coding: bytes) -> int:
        until, status = self._refused.get((path, coding), (0.0, 0))
        return status if self._clock() < until else 0

    def report(self) -> dict[str, object]:
        """For people: what is known, and how."""
        now = self._clock()
        return {
            "shown": sorted(coding.decode("latin-1") for coding in self.shown),
            "profile": sorted(coding.decode() for coding in self._known),
            "refused": [
                {"path": path.decode("latin-1"), "coding": coding.decode(), "status": status}
                for (path, coding), (until, status) in self._refused.items()
                if now < until
            ],
        }
