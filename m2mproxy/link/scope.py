"""Whose a body is: what one tenant sent is never used to code what another sends.

A scope is what the credential, the configured tenant header, the client's certificate and the
body's own `user` and `safety_identifier` say, as one keyed hash: each end makes it of the same
request and keeps it to itself.

A body that is an earlier one with an insertion has nearly all of its keys, so only the surroundings
of the insertion are searched.

The one rule: two requests have the same scope only if all of these are the same; and what is known
of an earlier body changes what is searched, never what is found.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from typing import NamedTuple

_KEY = os.urandom(32)  # a hash that leaves the process in a dump tells nothing
_NAMES = (b'"user"', b'"safety_identifier"')
# A body with more of them, or of what is spelt like them (a role is), is nobody's but its own.
_MOST_VALUES, _MOST_KEYS = 16, 4096
# Bytes of keys and values that are kept with a body.
_MOST_TEXT = 512
# What a key takes of memory beside its text.
_KEY_COST = 160
# So many bytes are searched at once: the interpreter's lock is held for as long.
_STRETCH = 256 * 1024
# In JSON a quote within a string is escaped, so what looks like a key and a text is that. The `*+`
# keep nothing for going back: without them a text of 8 MiB takes a gigabyte.
_value = re.compile(
    rb'\s*+:\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|-?[0-9][^\s,}\]]*+)', re.DOTALL
).match
# What has no value, and shows it at once: all of it, and a name, is less than a margin.
_none = re.compile(rb'\s{0,64}+(?:[^\s:]|:\s{0,64}+(?:[^\s"0-9-]|-[^0-9]))').match
_MARGIN = 256


class Key(NamedTuple):
    """A key with a text or a number: where it is, where that ends, and the bytes of both."""

    start: int
    end: int
    text: bytes


class Names(NamedTuple):
    """The keys of a body."""

    found: tuple[Key, ...]
    """In their order."""
    total: int
    """How many there are, with those that have no value."""
    is_settled: bool
    """Whether none is such that what comes long after it could give it a value, and all are few and
    short: what is found for a body is of use for the next one."""

    def to_keep(self, body: bytes) -> Names:
        """What of them to keep with the body: nothing where that is of no use, or takes memory that
        is not counted. A short body is soon searched again."""
        taken = sum([_KEY_COST + len(key.text) for key in self.found])
        return self if self.is_settled and 8 * taken <= len(body) else NOTHING


NOTHING = Names((), 0, False)
"""Of a body of which nothing is known."""


class Earlier(NamedTuple):
    """What is known of a body that is most likely contained in another one."""

    names: Names
    length: int
    at: int
    """Where the other one has more, which is all that it has more."""


def tenant(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What the header fields that tell tenants apart say, in their order, and what is given in the
    same form though it is none, by names that no field can have."""
    digest = hashlib.blake2b(key=_KEY, digest_size=16)
    for name, value in fields:
        digest.update(b"%d %b %d %b" % (len(name), name, len(value), value))
    return digest.digest()


def scope(tenant_is: bytes, body: bytes, names: Names | None = None) -> bytes:
    """The scope of a request of that `tenant` with that body, in which these `names` were found, if
    that is known."""
    names = names_in(body) if names is None else names
    if not names.found and names.total <= _MOST_KEYS:
        return tenant_is
    texts = [key.text for key in names.found]
    if len(texts) > _MOST_VALUES or names.total > _MOST_KEYS:
        texts = [body]
    digest = hashlib.blake2b(tenant_is, key=_KEY, digest_size=16)
    for text in texts:
        digest.update(b"%d %b" % (len(text), text))
    return digest.digest()


def names_in(body: bytes, earlier: Earlier | None = None) -> Names:
    """The keys of `body`, which is known to be the `earlier` one with something inserted."""
    if earlier is None or not earlier.names.is_settled:
        return _search(body, 0, len(body))
    old, at, more = earlier.names, earlier.at, len(body) - earlier.length
    first = max(at - _MARGIN, 0)
    last = at + more + _MARGIN
    before = body[first:at] + body[at + more : last]
    had_any = _has_name(before)
    if not (old.found or had_any or _has_name(body[first:last])):
        return old  # none was found, and there is none around that place either
    # Around the place all is as it is found there, in the old body and in the new one.
    around = _search(body, first, at + more)
    was = _search(before, 0, at - first).total if had_any else 0
    found = [key for key in old.found if key.start < first]
    if any(key.end >= at for key in found):  # a long value was cut into
        return _search(body, 0, len(body))
    found += around.found
    found += [
        Key(start + more, end + more, text) for start, end, text in old.found if start >= at
    ]
    return _names(found, old.total - was + around.total, around.is_settled)


def _has_name(part: bytes) -> bool:
    user, identifier = _NAMES
    return user in part or identifier in part


def _names(found: list[Key], total: int, is_settled: bool) -> Names:
    few = len(found) <= _MOST_VALUES and total <= _MOST_KEYS
    short = sum(len(key.text) for key in found) <= _MOST_TEXT
    return Names(tuple(found), total, is_settled and few and short)


def _search(body: bytes, first: int, last: int) -> Names:
    """The keys that begin from `first` on and before `last`."""
    found: list[Key] = []
    total, is_settled = 0, True
    for name in _NAMES:
        at = _last(body, name, first, last)
        while at >= 0:
            total += 1
            end = at + len(name)
            if match := _value(body, end):
                found.append(Key(at, match.end(), name + match[1]))
            elif not _none(body, end):
                is_settled = False
            if len(found) > _MOST_VALUES or total > _MOST_KEYS:
                return _names(sorted(found), total, False)
            at = _last(body, name, first, at)
    return _names(sorted(found), total, is_settled)


def _last(body: bytes, name: bytes, first: int, last: int) -> int:
    """Where `name` begins before `last` for the last time, from `first` on; -1 where it does not.
    From the end: rfind takes half the time of find."""
    end = min(last + len(name) - 1, len(body))
    while end > first:
        start = max(end - _STRETCH, first)
        at = body.rfind(name, start, end)
        if at >= 0 or start == first:
            return at
        end = start + len(name) - 1  # it can lie across
    return -1
