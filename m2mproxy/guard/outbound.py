"""Links in a reply by which something could be sent away.

An image is fetched when it is shown, without anybody's doing: whoever got an instruction into a
conversation lets the model write one whose address holds what it has read. A link needs a click, so
that more has to be in it before it is told.

The one rule: it is a count and no verdict; nothing is kept of an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ADDRESS = r"(https?://[^\s<>\"')]{1,4000})"
_image = re.compile(
    rf"!\[[^\]\n]{{0,200}}\]\(\s?<?{_ADDRESS}|<img\s[^>]{{0,200}}?\bsrc\s?=\s?[\"']?{_ADDRESS}",
    re.IGNORECASE,
).finditer
_link = re.compile(rf"(?<!!)\[[^\]\n]{{1,200}}\]\(\s?<?{_ADDRESS}", re.IGNORECASE).finditer
_values = re.compile(r"[?&#;][^=&#;]*=([^&#;]*)").findall
_segments = re.compile(r"[A-Za-z0-9+_=%-]+").findall
_digit, _letter = re.compile(r"[0-9%+=]").search, re.compile("[A-Za-z]").search

# What a value has to be long for an image and for a link, and how long a part of a path that looks
# coded.
_IMAGE_VALUE, _LINK_VALUE, _CODED = 24, 64, 40


def carriers(text: str) -> int:
    """How many links in `text` look as if they carried data."""
    return sum(_carries(url, _IMAGE_VALUE) for url in _addresses(_image(text))) + sum(
        _carries(url, _LINK_VALUE) for url in _addresses(_link(text))
    )


def _addresses(matches: Iterator[re.Match[str]]) -> Iterator[str]:
    for match in matches:
        yield next(filter(None, match.groups()))


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
