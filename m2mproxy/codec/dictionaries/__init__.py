"""The static dictionaries, which both ends of a link have: text that requests, responses and event
streams of any application tend to hold. tools/train_dictionaries makes them and says how.

The one rule: they are read when they are first used, and two ends use them together only when both
know the same name for them.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from m2mproxy.codec import zstd

# As all dictionaries of zstd's trainer have them: 1, 4 and 8, of four bytes each.
_FIRST_OFFSETS = bytes((1, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0))
_NAMES = ("request", "response", "stream")


@cache
def _content(name: str) -> bytes:
    return Path(__file__).with_name(f"{name}.zdict").read_bytes()


@cache
def request() -> zstd.Dictionary:
    """For request bodies; at most 64 KiB."""
    return zstd.Dictionary(_content("request"))


def request_file() -> bytes:
    """The dictionary for request bodies as plain bytes, its header included."""
    return _content("request")


@cache
def _tables(name: str) -> bytes:
    known = _content(name)
    return known[: known.index(_FIRST_OFFSETS) + len(_FIRST_OFFSETS)]


def request_tables() -> bytes:
    """What stands before the text of that dictionary: the tables for coding, which end with the
    first offsets (RFC 8878 5)."""
    return _tables("request")


@cache
def request_text() -> bytes:
    """The text of that dictionary alone."""
    return _content("request")[len(request_tables()) :]


def response_tables() -> bytes:
    """As `request_tables`, of the dictionary for whole response bodies."""
    return _tables("response")


@cache
def response_text() -> bytes:
    """The text of that dictionary alone."""
    return _content("response")[len(response_tables()) :]


@cache
def response() -> zstd.Dictionary:
    """For whole response bodies; at most 64 KiB."""
    return zstd.Dictionary(_content("response"))


def stream() -> bytes:
    """For event streams: text for zlib's zdict, the likeliest last; at most 32 KiB."""
    return _content("stream")


@cache
def spelling() -> bytes:
    """For words of event streams: the lengths of their letters' codes (huffman.py)."""
    return _content("spelling")


@cache
def events_version() -> str:
    """The name of what event streams are coded with, `stream` and `spelling`, made as `version`."""
    return hashlib.sha256(stream() + spelling()).hexdigest()[:8]


@cache
def version() -> str:
    """The name of the first three: 8 hex digits of the SHA-256 over them."""
    return hashlib.sha256(b"".join(map(_content, _NAMES))).hexdigest()[:8]
