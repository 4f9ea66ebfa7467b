"""What is known of parts of requests that have been seen before.

A conversation sends its history with every turn, so that nearly all of a request has been scanned
already. What is kept of a part is what was found in it, under a keyed hash of it and of whose
request it was: no text, and nothing of one credential's for another. (Were that shared, whoever
guesses a message could see by the time that an answer takes whether somebody had sent it.)

The one rule: nothing here waits or goes through what it holds, so that threads may share it: each
step is one operation of a dict.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_LENGTH = 16
"""Bytes of a name."""
_LONGEST = 16
"""Bytes of a kind, and of a tenant, at most."""


class Cache(Generic[T]):
    """At most so many entries, those that were used last: two halves, of which the older one is
    thrown away when the newer one is full."""

    def __init__(self, entries: int) -> None:
        """`entries` is the most that is kept, 0 for nothing."""
        self._half = (entries + 1) // 2
        # Keyed: a hash that leaves the process in a dump tells nothing. SHA-256 is what processors
        # have in silicon; half of it is kept, so that nobody can go on from it.
        self._keyed = hashlib.sha256(os.urandom(64))
        self._new: dict[bytes, T] = {}
        self._old: dict[bytes, T] = {}

    def names(self, kind: bytes, tenant: bytes) -> Callable[[bytes], bytes]:
        """What gives parts the names that they go by. `kind` is what else decides on what is found
        in them; it and `tenant` are of at most 16 bytes."""
        keyed = self._keyed.copy()
        keyed.update(kind.ljust(_LONGEST, b"\xff") + tenant.ljust(_LONGEST, b"\0"))

        def name(part: bytes) -> bytes:
            hashed = keyed.copy()
            hashed.update(part)
            return hashed.digest()[:_LENGTH]

        return name

    def get(self, name: bytes) -> T | None:
        """What is known, or None."""
        known = self._new.get(name)
        if known is None:
            known = self._old.pop(name, None)
            if known is not None:
                self.put(name, known)
        return known

    def put(self, name: bytes, value: T) -> None:
        """Remember `value`, if there is room for anything."""
        if not self._half:
            return
        if len(self._new) >= self._half:
            self._old, self._new = self._new, {}
        self._new[name] = value

    def __len__(self) -> int:
        return len(self._new) + len(self._old)
