"""Links in a reply by which something could be sent away.

An image is fetched when it is shown, without anybody's doing: whoever got an instruction into a
conversation lets the model write one whose address holds what it has read. A link needs a click, so
that more has to be in it before it is told.

The one rule: it is a count and no verdict; nothing is kept of an address.
"""

from __future__ import annotations

import re

_ADDRESS = r"(https?://[^\s<>\"')]{1,4000})"
_target = re.compile(rf"\]\(\s?<?{_ADDRESS}", re.IGNORECASE).finditer
_image = re.compile(rf"<img\s[^<>]{{0,200}}?\bsrc\s?=\s?[\"']?{_ADDRESS}", re.IGNORECASE).findall
# Of the words before an address so many characters are looked at, and so many brackets.
_LABEL, _NESTED = 202, 4
_values = re.compile(r"[?&#;][^=&#;?]*=([^&#;]*)").findall
_segments = re.compile(r"[A-Za-z0-9+_=%-]+").findall
_digit, _letter = re.compile(r"[0-9%+=]").search, re.compile("[A-Za-z]").search

# What a value has to be long for an image and for a link, and how long a part of a path that looks
# coded.
_IMAGE_VALUE, _LINK_VALUE, _CODED = 24, 64, 40


def carriers(text: str) -> int:
    """How many links in `text` look as if they carried data."""
    found = sum(_carries(url, _IMAGE_VALUE) for url in _image(text))
    for match in _target(text):
        before = text[max(0, match.start() - _LABEL) : match.start()]
        at = _opening(before)
        if at >= 0:
            is_image = at > 0 and before[at - 1] == "!"
            found += _carries(match[1], _IMAGE_VALUE if is_image else _LINK_VALUE)
    return found


def _opening(before: str) -> int:
    """Where the bracket is that a bracket after `before` closes, -1 for nowhere. Looking for it
    from the front would begin anew at each bracket, and take the square of their number."""
    start = before.rfind("\n") + 1
    at = len(before)
    for _ in range(_NESTED):
        at = before.rfind("[", start, at)
        if at < 0 or before.count("]", at) == before.count("[", at) - 1:
            return at
    return -1


def _carries(url: str, least: int) -> bool:
    _, _, rest = url.partition("://")
    _, _, path = rest.partition("/")
    path, _, _ = path.partition("?")
    if any(len(value) >= least for value in _values(url)):
        return True
    return any(
        len(each) >= _CODED and _digit(each) is not None and _letter(each) is not None
        for each in _segments(path)
    )
