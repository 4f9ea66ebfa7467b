"""A body's bytes as one JSON object, or what keeps them from being one.

orjson is strict about UTF-8, surrogates, control characters, numbers that are no double and what
follows a document. It says nothing of keys given twice, of digits without end, or of how much it is
about to make; that is found here, by counting.

A key that is given twice is missing from what was parsed, and so is its colon: in valid JSON each
colon of the text is that of a member, or stands in a string (RFC 8259, 4). So the colons of the
text, less those of the strings that were parsed and those of their members, are none if no key was
given twice, and some if one was. `Tally` does that sum.

The one rule: what is counted is exact; what is only likely is looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from m2mproxy.guard.characters import malformed
from m2mproxy.guard.counts import counted_and
from m2mproxy.guard.finding import Finding

CHECKS: Mapping[str, str] = {
    "utf8": "not UTF-8",
    "surrogate": "half of a surrogate pair",
    "control": "a control character that is not escaped",
    "json": "not JSON",
    "trailing": "something after the JSON document",
    "number": "a number that is out of range, too long, NaN or infinite",
    "values": "more values than a request has",
    "nesting": "nested too deeply",
    "duplicate_key": "a key that is given twice",
    "object": "not a JSON object",
}
"""The ids of the findings made here, and why, for people."""

MAX_DEPTH = 32
# A value costs orjson at most 200 bytes, its text two: a bound on memory. A request for embeddings
# of 300,000 token ids is in it.
MAX_VALUES = 500_000
MAX_DIGITS = 200

_BOM = b"\xef\xbb\xbf"
# The `*+` go back nowhere. Where no quote ends a string the text is no JSON, and orjson says so.
_strings = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL).sub
_constant = re.compile(rb"-?(?:NaN|Infinity)\b").match
_COLONS = (b"\\u003a", b"\\u003A")
# What numbers are written with becomes "0", everything else a space.
_DIGITS = bytes(0x30 if each in b"0123456789.eE+-" else 0x20 for each in range(256))
_TOO_LONG = b"0" * (MAX_DIGITS + 1)
# Of so many bytes one is looked at, at first: a number that is too long has some of them in a row.
_STRIDE = 32
_IN_A_ROW = b"0" * (len(_TOO_LONG) // _STRIDE)

_REASONS = (
    ("surrogate", "surrogate"),
    ("control", "unexpected control character"),
    ("trailing", "unexpected content after document"),
    ("number", "number is infinity"),
    ("nesting", "depth limit"),
    ("nesting", "ecursion limit"),
)


class Malformed(Exception):
    """The body cannot be read. `finding` says why."""

    def __init__(self, source: str, offset: int) -> None:
        super().__init__(source)
        self.finding: Finding = malformed(source, CHECKS[source], offset)


def parse(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The object that `data` is, and its text without a byte order mark.

    Raises:
        Malformed: it is none, or not one that is worth reading.
    """
    text = data[len(_BOM) :] if data.startswith(_BOM) else data
    skipped = len(data) - len(text)
    if len(text) > MAX_VALUES and _values(text) > MAX_VALUES:  # many may be in strings
        bare = _strings(b"", text)
        if _values(bare) > MAX_VALUES:
            raise Malformed("values", skipped)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _reason(text, error, skipped) from None
    if not isinstance(value, dict):
        raise Malformed("object", skipped)
    at = _endless(text)
    if at >= 0:
        raise Malformed("number", skipped + at)
    return value, text


def _values(text: bytes) -> int:
    """At most so many values are in it; just so many, with empty lists, if it has no strings."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _endless(text: bytes) -> int:
    """Where a number has too many digits; -1 for nowhere."""
    if text[::_STRIDE].translate(_DIGITS).find(_IN_A_ROW) < 0:
        return -1
    if _TOO_LONG not in text.translate(_DIGITS):
        return -1
    bare = _strings(b'""', text)  # where other places have moved, so that it is looked for
    at = bare.translate(_DIGITS).find(_TOO_LONG)
    return -1 if at < 0 else text.find(bare[at : at + len(_TOO_LONG)])


def _reason(text: bytes, error: orjson.JSONDecodeError, skipped: int) -> Malformed:
    """Which of the reasons it is."""
    try:
        before = text.decode()[: error.pos]
    except UnicodeDecodeError as wrong:
        return Malformed("utf8", skipped + wrong.start)
    at = skipped + len(before.encode())  # the error counts characters
    for source, words in _REASONS:
        if words in error.msg:
            return Malformed(source, at)
    if _constant(text, len(before.encode())):
        return Malformed("number", at)
    return Malformed("json", at)


class Tally:
    """What was parsed, counted: members, and colons in strings. Both are sums, so that those of a
    part can be kept and added again."""

    __slots__ = ("colons", "members")

    def __init__(self) -> None:
        self.members = 0
        self.colons = 0

    def add(self, members: int, colons: int) -> None:
        """So many members of objects, and colons in their keys and strings."""
        self.members += members
        self.colons += colons

    def has_all_of(self, text: bytes) -> bool:
        """Whether every key in `text` is among what was parsed, so that none was given twice."""
        found, has_escapes = counted_and(text, b":", b"\\u")
        if has_escapes:
            found += _escaped(text)
        return found == self.members + self.colons


def _escaped(text: bytes) -> int:
    """How many colons are written as escapes: most texts have none. A backslash that is escaped
    begins none, and a run of backslashes begins with the first half of one or with an escape."""
    if not any([each in text for each in _COLONS]):
        return 0
    bare = text.replace(b"\\\\", b" ")
    return sum([bare.count(each) for each in _COLONS])
