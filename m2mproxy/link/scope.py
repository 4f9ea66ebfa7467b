"""Whose a body is. What one tenant sent is never what another's body is coded against.

A scope is what the credential, the configured tenant header and the body's own `user` and
`safety_identifier` say, as one keyed hash: each end makes it of the same request and keeps it to
itself.

The one rule: two requests have the same scope only if all of these are the same.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice

_KEY = os.urandom(32)  # a hash that leaves the process in a dump tells nothing
_NAMES = (b'"user"', b'"safety_identifier"')
# A body with more of them, or of what is spelt like them (a role is), is nobody's but its own.
_MOST_VALUES, _MOST_KEYS = 16, 4096
# So many bytes are searched at once: the interpreter's lock is held for as long.
_STRETCH = 256 * 1024
# In JSON a quote within a string is escaped, so what looks like a key and a text is that. The `*+`
# keep nothing for going back: without them a text of 8 MiB takes a gigabyte.
_value = re.compile(
    rb'\s*+:\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|-?[0-9][^\s,}\]]*+)', re.DOTALL
).match


def tenant(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What the header fields that tell tenants apart say, in their order."""
    digest = hashlib.blake2b(key=_KEY, digest_size=16)
    for name, value in fields:
        digest.update(b"%d %b %d %b" % (len(name), name, len(value), value))
    return digest.digest()


def scope(tenant_is: bytes, body: bytes) -> bytes:
    """The scope of a request of that `tenant` with that body."""
    named = list(islice(_values(body), _MOST_VALUES + 1))
    if not named:
        return tenant_is
    if len(named) > _MOST_VALUES:
        named = [body]
    digest = hashlib.blake2b(tenant_is, key=_KEY, digest_size=16)
    for text in named:
        digest.update(b"%d %b" % (len(text), text))
    return digest.digest()


def _values(body: bytes) -> Iterator[bytes]:
    """Each of the keys that has a text or a number, with it; the body where they are too many."""
    for name in _NAMES:
        at = _last(body, name, len(body))
        for _ in range(_MOST_KEYS):
            if at < 0:
                break
            if match := _value(body, at + len(name)):
                yield name + match[1]
            at = _last(body, name, at)
        else:
            yield body


def _last(body: bytes, name: bytes, end: int) -> int:
    """Where `name` is before `end` for the last time; -1 where it is not. From the end: rfind takes
    half the time of find."""
    while end > 0:
        start = max(end - _STRETCH, 0)
        at = body.rfind(name, start, end)
        if at >= 0 or not start:
            return at
        end = start + len(name) - 1  # it can lie across
    return -1
