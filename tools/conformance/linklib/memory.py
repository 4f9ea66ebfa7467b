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
_NAME = re.compile(rb'"(?:user|safety_identifier)"')
_VALUE = re.compile(rb'\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9][^\s,}\]]*)', re.DOTALL)
MOST_VALUES, MOST_NAMES = 16, 4096


def credentials(fields: Fields, target: str) -> tuple[str, ...]:
    """The part of a scope that the head has."""
    parts = [f"{name}={value}" for name, value in fields if name in _FIELDS]
    for pair in target.partition("?")[2].split("&"):
        name, equals, _ = pair.partition("=")
        if equals and name.lower() in _PARAMETERS:
            parts.append(pair)
    return tuple(parts)


def scope(fields: Fields, target: str, body: bytes) -> Scope:
    """What two requests have to have in common, if one is to refer to the other."""
    names = list(_NAME.finditer(body))
    found = [(name[0], _VALUE.match(body, name.end())) for name in names]
    users = [name + value[1] for name, value in found if value]
    if len(users) > MOST_VALUES or len(names) > MOST_NAMES:
        users = [body]
    return Scope(credentials(fields, target), tuple(users))


# ---- WHAT IS REMEMBERED ----


class Memory:
    """The entries of a connection. `now` is the time in seconds, which the caller gives."""

    def __init__(self, size: int, scope_size: int, seconds: float) -> None:
        self.size, self.scope_size, self.seconds = size, scope_size, seconds
        self._entries: OrderedDict[int, tuple[Entry, float]] = OrderedDict()
        self._replaced: list[int] = []

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
        if number in self._replaced:
            self._replaced.remove(number)

    def clear(self) -> None:
        self._entries.clear()
        self._replaced.clear()

    def add(self, entry: Entry, now: float) -> None:
        self.age(now)
        if len(entry.body) <= LARGEST and self._make_room(entry, _size(entry)):
            self._entries[entry.number] = entry, now
            if entry.replaces in self and entry.replaces not in self._replaced:
                self._replaced.append(entry.replaces)

    def set_reply(self, number: int, reply: bytes | None, ends: bytes = b"") -> None:
        if number in self._entries:
            entry, ends = self._entries[number][0], ends if reply else b""
            if self._make_room(entry, len(reply or b"") + len(ends)):
                entry.reply, entry.ends = reply, ends

    def age(self, now: float) -> None:
        for number, (_, used) in list(self._entries.items()):
            if now - used > self.seconds:
                self.forget(number)

    def _make_room(self, entry: Entry, more: int) -> bool:
        """Let others go for `more` of this entry, the replaced ones and then the longest unused;
        False if it can never have that."""
        has = _size(entry) if entry.number in self else 0
        if has + more > min(self.size, self.scope_size):
            return False
        for scope, limit in ((None, self.size), (entry.scope, self.scope_size)):
            order = dict.fromkeys([*self._replaced, *self._entries])
            others = [self[each] for each in order if scope in (None, self[each].scope)]
            total = sum(map(_size, others))
            for other in others:
                if total + more <= limit:
                    break
                if other is not entry:
                    total -= _size(other)
                    self.forget(other.number)
        return True


def _size(entry: Entry) -> int:
    return len(entry.body) + len(entry.reply or b"") + len(entry.ends) + EACH
