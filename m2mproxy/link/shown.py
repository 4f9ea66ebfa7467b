"""What in a request's body proves that its sender got an earlier reply: a long text of it, or
something that nobody else can know.

Only such a sender's body may be coded after that reply, or its size would tell others what the
reply says. Of a reply that calls functions the proof is one of the random ids of its calls
(reply.py). Of any reply it is what the model has sealed in it, to be sent back: its thoughts, and
what proves them; and the random ids of what it did itself. By the last of these a body's
conversation is found again, too, however the rest of the body has changed.

The one rule: what is shorter, or can be made up, shows nothing: it could be guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from m2mproxy.link.match import search

# What a reply says: its text, or the arguments of a call; and what it thought before. Names are
# looked for as they are: a pattern that has several takes 20 ms for a reply of 512 KiB.
_SAID = (b'"content":', b'"text":', b'"arguments":')
_THOUGHT = (b'"reasoning":', b'"reasoning_content":', b'"thinking":')
_is_text = re.compile(rb' ?"((?:[^"\\]|\\.)[^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL).match
# How often a name is looked at that has nothing of use.
_MOST_NAMED = 16
_SPACE = b" \\nrt"  # as it is, or escaped
# What is shorter could be guessed, and then what the reply says after it, piece by piece.
_LEAST_SAID = 64
# What the text of a reply begins with, which the first message of a body has not before it.
_BEFORE_REPLY = b", "

# What is sealed by what it is, not by its name.
_KINDS = (b'"type":"redacted_thinking"', b'"type":"reasoning.encrypted"')
_SPACED_KINDS = tuple(kind.replace(b":", b": ") for kind in _KINDS)
_has_data = re.compile(rb'[^{}]{0,256}?"data": ?"([\w+/=-]{128,})"').match
# Bytes at its end, which nobody can guess, and how many of a name are looked for.
_OF_SEALED, _MOST_SEALED = 48, 4
# Ends of the names of what is sealed, by which the last one is found, and the text of that.
_NAMES = (b'ignature"', b'"encrypted_content"')
_is_sealed = re.compile(rb'\s*+:\s*+"([\w+/=-]{128,})"').match
_id = re.compile(rb'\s*+:\s*+"([^"\\]{8,256})"').match
# Ids at the end of a body that are looked at: a schema that comes after them may have some, too.
_MOST_IDS = 8
# And how many bytes at its end are searched.
MOST_SEARCHED = 256 * 1024
_Match = Callable[[bytes, int], re.Match[bytes] | None]
# Some libraries write what they read as Base64 in the alphabet for URLs.
_OF_URLS = bytes.maketrans(b"-_", b"+/")


class Proof(NamedTuple):
    """What shows that one got a reply, of which these are what an entry has of it, by what does not
    lie wholly outside of a body's bytes from `first` to `end`. Of a reply with a random id that is
    the id; of any other all of it, or a long text that it says first, but for space around that, of
    `least` bytes; of both what the model has sealed."""

    reply: bytes
    secrets: list[bytes]
    others: list[bytes]
    first: int
    end: int
    least: int

    def is_in(self, body: bytes) -> bool:
        """Whether the body shows it."""
        said = self.secrets or (each for each in texts(self.reply) if len(each) >= self.least)
        parts = chain(said, self.others, seals(self.reply))
        return any(self._is_there(body, part) for part in parts)

    def _is_there(self, body: bytes, part: bytes) -> bool:
        first, end = max(self.first - len(part) + 1, 0), self.end + len(part) - 1
        return search(body, part, first, min(end, len(body))) >= 0


def texts(reply: bytes) -> Iterator[bytes]:
    """What a body has of a reply without random ids of calls, if its sender got that."""
    for names in (_SAID, _THOUGHT):
        text = _first(reply, names).strip(_SPACE)
        if len(text) >= _LEAST_SAID:
            yield text
    yield reply.lstrip(_BEFORE_REPLY)


def _first(reply: bytes, names: Iterable[bytes]) -> bytes:
    """The text that comes first of those with these names; nothing where there is none."""
    text, end = b"", len(reply)
    for name in names:
        if match := next(_named(reply, name, _is_text, end), None):
            text, end = match[1], match.start()
    return text


def _named(reply: bytes, name: bytes, match: _Match, end: int) -> Iterator[re.Match[bytes]]:
    """What follows a name before the `end`, where it is of use."""
    at = reply.find(name, 0, end)
    for _ in range(_MOST_NAMED):
        if at < 0:
            return
        at += len(name)
        if found := match(reply, at):
            yield found
        at = reply.find(name, at, end)


def seals(reply: bytes) -> Iterator[bytes]:
    """What it has of one of whatever kind: ends of what is sealed."""
    kinds = _SPACED_KINDS if reply.startswith(_BEFORE_REPLY) else _KINDS
    for names, match in ((_NAMES, _is_sealed), (kinds, _has_data)):
        for name in names:
            for each in islice(_named(reply, name, match, len(reply)), _MOST_SEALED):
                yield each[1][-_OF_SEALED:]


def last_seals(text: bytes) -> list[bytes]:
    """The ends of what is sealed last in a body or a reply, in one alphabet."""
    found, first = [], max(len(text) - MOST_SEARCHED, 0)
    for name in _NAMES:
        at = text.rfind(name, first)
        if at >= 0 and (match := _is_sealed(text, at + len(name))):
            found.append(match[1][-_OF_SEALED:].translate(_OF_URLS))
    return found


def last_ids(body: bytes) -> list[bytes]:
    """What may be an id of what a reply had, from the last one on."""
    found, end, first = [], len(body), max(len(body) - MOST_SEARCHED, 0)
    for _ in range(_MOST_IDS):
        at = body.rfind(b'"id"', first, end)
        if at < 0:
            break
        if match := _id(body, at + len(b'"id"')):
            found.append(match[1])
        end = at
    return found
