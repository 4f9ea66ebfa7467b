"""Which content codings a message's receiver takes (RFC 9110 12.5.3).

The one rule: nothing is coded for whoever did not name the coding. A wildcard and a missing field
permit every coding, but show that none can be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from m2mproxy.http.headers import Headers

_member = re.compile(
    rb"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*(?:;[ \t]*[qQ]=([01](?:\.[0-9]{0,3})?)[ \t]*)?"
).fullmatch
_ALIASES = {b"x-gzip": b"gzip", b"x-compress": b"compress"}


def weights(values: Iterable[bytes]) -> dict[bytes, float]:
    """The codings that Accept-Encoding fields name, with their weights. What is not understood is
    left out."""
    found: dict[bytes, float] = {}
    for part in b",".join(values).split(b","):
        member = _member(part)
        if member is not None:
            name = member[1].lower()
            found[_ALIASES.get(name, name)] = min(float(member[2] or 1), 1.0)
    return found


class Accepted:
    """What one Accept-Encoding says. `values` are its lines, `names_any` whether any coding is
    named that can be read."""

    __slots__ = ("_weights", "names_any", "values")

    def __init__(self, values: tuple[bytes, ...]) -> None:
        self.values = values
        self._weights = weights(values)
        self.names_any = any(self.takes(name) for name in self._weights if name not in _NO_CODING)

    def takes(self, coding: bytes) -> bool:
        """Whether `coding` is named, and not with a weight of 0."""
        return self._weights.get(coding, 0) > 0

    def takes_all(self, codings: Iterable[bytes]) -> bool:
        """Whether a body that has been coded so can be read."""
        return all(self.takes(_ALIASES.get(coding, coding)) for coding in codings)

    def best(self, offered: Sequence[bytes]) -> bytes:
        """The heaviest of `offered`, the first of equals; b"" when plain is as heavy, or best."""
        best, most, weigh = b"", 0.0, self._weights.get
        for coding in offered:
            weight = weigh(coding, 0.0)
            if weight > most:
                best, most = coding, weight
        return best if most >= weigh(b"identity", 0.0) else b""


_NO_CODING = (b"identity", b"*")
# Bytes of the field that are looked at, for what is read is kept.
_MOST = 1024

# Clients of one kind all say the same, so it is read once.
_read = lru_cache(256)(Accepted)


def accepted(headers: Headers) -> Accepted:
    """What the receiver of the answer to a message with these headers takes. A field that is longer
    than any honest one is as none."""
    values = tuple(headers.values_of(b"accept-encoding"))
    return _read(values if sum(map(len, values)) <= _MOST else ())
