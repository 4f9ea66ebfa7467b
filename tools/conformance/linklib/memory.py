"""WHAT IS REMEMBERED, and SCOPES AND ISOLATION, of m2m-link(7): the part that both sides share."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable

from linklib.message import Entry, Scope

LARGEST, EACH = 8 << 20, 1024
Fields = Iterable[tuple[str, str]]

# ---- SCOPES AND ISOLATION ----

_FIELDS = (
    "authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "xi-api-key",
    "ocp-apim-subscription-key",
    "cookie",
    "openai-organization",
    "openai-project",
)
_PARAMETERS = ("key", "api-key", "api_key", "access_token", "subscription-key")
_STRING = rb'"(?:[^"\\]|\\.)*"'
_USERS = tuple(
    re.compile(rb'"%s"[ \t\r\n]*:[ \t\r\n]*(%s)' % (name, _STRING), re.DOTALL)
    for name in (b"user", b"safety_identifier")
)


def credentials(fields: Fields, target: str) -> tuple[str, ...]:
    """The part of a scope that the head has."""
    fields = list(fields)
    parts = [f"{want}={value}" for want in _FIELDS for name, value in fields if name == want]
    pairs = target.partition("?")[2].split("&")
    return (*parts, *(pair for pair in pairs if pair.partition("=")[0].lower() in _PARAMETERS))


def scope(fields: Fields, target: str, body: bytes, number: int) -> Scope:
    """What two requests have to have in common, if one is to refer to the other."""
    users = [found for pattern in _USERS for found in pattern.findall(body)]
    if len(users) > 16:
        users = [b"%d" % number]
    return Scope(credentials(fields, target), tuple(users))


# ---- WHAT IS REMEMBERED ----


class Memory:
    """The entries of a connection. `now` is the time in seconds, which the caller gives."""

    def __init__(self, size: int, scope_size: int, seconds: float) -> None:
        self.size, self.scope_size, self.seconds = size, scope_size, seconds
        self._entries: OrderedDict[int, tuple[Entry, float]] = OrderedDict()

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    def __getitem__(self, number: int) -> Entry:
        return self._entries[number][0]

    def entries(self, now: float) -> list[Entry]:
        """All, the last used one first."""
        self.age(now)
        return [entry for entry, _ in reversed(self._entries.values())]

    def use(self, number: int, now: float, *, drop_replaced: bool) -> None:
        """A message refers to it."""
        entry = self._entries.pop(number)[0]
        self._entries[number] = entry, now
        if drop_replaced:
            self.forget(entry.replaces)

    def forget(self, number: int) -> None:
        self._entries.pop(number, None)

    def clear(self) -> None:
        self._entries.clear()

    def add(self, entry: Entry, now: float) -> None:
        self.age(now)
        if len(entry.body) > min(LARGEST, self.size):
            return
        self._entries[entry.number] = entry, now
        self._shrink(entry)

    def set_reply(self, number: int, reply: bytes | None) -> None:
        if number in self._entries:
            entry = self._entries[number][0]
            entry.reply = reply
            self._shrink(entry)

    def age(self, now: float) -> None:
        for number, (_, used) in list(self._entries.items()):
            if now - used > self.seconds:
                self.forget(number)

    def _shrink(self, kept: Entry) -> None:
        """The longest unused go, first of the scope, then of the connection."""
        for which, limit in ((kept.scope, self.scope_size), (None, self.size)):
            sizes = {
                number: len(entry.body) + len(entry.reply or b"") + EACH
                for number, (entry, _) in self._entries.items()
                if which in (None, entry.scope)
            }
            total = sum(sizes.values())
            for number, size in sizes.items():
                if total <= limit:
                    break
                total -= size
                self.forget(number)
