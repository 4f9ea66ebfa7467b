"""Escapes the text that is made of a reply as the application's own JSON writer does, as far as its
request shows that.

Go, Rails, Gson and .NET escape what may stand in HTML, .NET the quote and some more, and PHP the
slash. In code that a model wrote, and in arguments of calls, these are every tenth letter, and each
would have to cross again.

The one rule: a letter is escaped if the request has it escaped, and nowhere as it is. What none of
its texts has shows nothing, but that the three of HTML go together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class _Letter(NamedTuple):
    """A letter as others write it, and how it may be escaped, with digits in lower case or upper
    case."""

    plain: bytes
    escapes: tuple[bytes, ...]


def _letter(plain: str) -> _Letter:
    return _Letter(plain.encode(), (b"\\u%04x" % ord(plain), b"\\u%04X" % ord(plain)))


# Bytes at the end of a request that are looked at: what is seldom takes 1 µs a KiB to be missed.
_MOST_SEEN = 64 * 1024
_OF_HTML = tuple(map(_letter, "<>&"))
_LETTERS = (*_OF_HTML, *map(_letter, "'=+`"))
_ESCAPE = b"\\u00"
_QUOTE, _ESCAPED_QUOTE = b'\\"', b"\\u0022"
_SLASH, _ESCAPED_SLASH = b"/", b"\\/"
_BACKSLASH, _NONE = b"\\\\", b"\0"  # of which no JSON has one


def spell(text: bytes, request: bytes) -> bytes:
    """`text`, which is JSON, with the letters escaped that the writer of `request` escapes."""
    seen = request[-_MOST_SEEN:]
    unseen = [letter for letter in _LETTERS if letter.plain not in seen]
    if unseen and _ESCAPE in seen:
        for letter, escape in _escaped(unseen, seen):
            text = text.replace(letter, escape)
        if _QUOTE not in seen and _ESCAPED_QUOTE in seen:
            text = text.replace(_BACKSLASH, _NONE).replace(_QUOTE, _ESCAPED_QUOTE)
            text = text.replace(_NONE, _BACKSLASH)
    return text.replace(_SLASH, _ESCAPED_SLASH) if _escapes_slashes(seen) else text


def _escaped(unseen: list[_Letter], seen: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Of letters that are nowhere as they are, those that are escaped, and how."""
    of_html = [letter for letter in unseen if letter in _OF_HTML]
    found = _found_escapes(of_html, seen)
    if found and len(of_html) == len(_OF_HTML):
        case = max(case for _, case in found)  # of some both are the same
        yield from ((letter.plain, letter.escapes[case]) for letter in _OF_HTML)
    others = [letter for letter in unseen if letter not in _OF_HTML]
    for letter, case in _found_escapes(others, seen):
        yield letter.plain, letter.escapes[case]


def _found_escapes(letters: list[_Letter], seen: bytes) -> list[tuple[_Letter, int]]:
    """Those of which there is an escape, and which one."""
    found = []
    for letter in letters:
        case = next((case for case in (0, 1) if letter.escapes[case] in seen), None)
        if case is not None:
            found.append((letter, case))
    return found


def _escapes_slashes(seen: bytes) -> bool:
    at = seen.find(_SLASH)
    if not seen.startswith(_ESCAPED_SLASH, at - 1):  # most do not, and then that is enough
        return False
    return seen.count(_SLASH) == seen.count(_ESCAPED_SLASH)
