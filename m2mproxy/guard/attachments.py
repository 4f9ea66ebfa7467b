"""Data and addresses in a request, which nobody reads, and files of text, which models do read.

Pictures and files come in base64 or as addresses, under keys that say so. A key alone says nothing:
the same keys hold plain text at other places, and a file can be one of text. So what stands there
is looked at, and what is in base64 is decoded if it begins, or goes on, like a text.

The one rule: what does not look like data is a text.
"""

from __future__ import annotations

import base64
import binascii
import re

_DATA = frozenset(
    (
        "audio", "b64_json", "blob", "bytes", "data", "file", "file_data", "image", "images",
        "input_audio", "result", "video",
    )
)  # fmt: skip
# Data below this size is cheap to take for text.
_LEAST = 2048
# What only its maker can read, so that no model does: it is taken for no text from fewer on.
_SEALED = frozenset(
    (
        "encrypted_content", "encrypted_index", "redactedContent", "signature", "thoughtSignature",
        "thought_signature",
    )
)  # fmt: skip
_LEAST_SEALED = 64
_ADDRESSES = frozenset(
    (
        "audio_url", "document_url", "fileUri", "file_uri", "file_url", "image_url", "uri", "url",
        "video_url",
    )
)  # fmt: skip
DATA_KEYS = _DATA | _SEALED | _ADDRESSES
"""What is_data looks at stands under one of these."""
_address = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s]").match
_GAPS = (" ", "\t", "\n", "\r", "\v", "\f")
# How data begins that is an address, and how what comes before it most often ends.
_IN_ADDRESS, _SAYS_SO = "data:", ";base64,"
_LONGEST_HEAD = 256
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_="
# Lines of base64 are of 64 characters or more; the last one may be shorter.
_LEAST_LINE = 60
# The interpreter's lock is held for so many characters.
_STRETCH = 64 * 1024
# So many characters of it, 48 bytes, are looked at in so many places.
_GLANCE, _PLACES = 64, 4
# Of a text, one character in so many may be none.
_BROKEN = 16


def is_data(key: str, text: str, free: bool = False) -> bool:
    """Whether what stands under `key` is base64 or an address. `free` is for keys of somebody's
    own, which may mean anything."""
    if key in _ADDRESSES:
        likely = not free or len(text) >= _LEAST
        return likely and text.isascii() and (_is_address(text) or _is_base64(text, 0, _LEAST))
    if key in _SEALED:
        least = _LEAST if free else _LEAST_SEALED
        return len(text) >= least and text.isascii() and _is_base64(text, 0, least)
    likely = key in _DATA and len(text) >= _LEAST
    return likely and text.isascii() and _is_base64(text, _start(text), _LEAST)


def _is_address(text: str) -> bool:
    if text[:5].lower() == _IN_ADDRESS:
        start = _start(text)
        says_so = text[:start].lower().endswith(_SAYS_SO)
        return start > 0 and _is_base64(text, start, 0 if says_so else _LEAST)
    return _address(text) is not None and not any([gap in text for gap in _GAPS])


def _is_base64(text: str, start: int, least: int) -> bool:
    """Whether it is base64 from `start` on, of so many characters, in lines or in one."""
    size = len(text) - start
    if size < least:
        return False
    breaks, most = 0, 2 * (size // _LEAST_LINE + 1)
    for at in range(start, len(text), _STRETCH):
        rest = text[at : at + _STRETCH].encode().translate(None, _ALPHABET)
        breaks += len(rest)
        if rest.strip(b"\r\n") or breaks > most:
            return False
    return True


def _start(text: str) -> int:
    """Where the data in an address begins; 0 for what is no such address."""
    if text[:5].lower() != _IN_ADDRESS:
        return 0
    return text.find(",", 0, _LONGEST_HEAD) + 1


def text_in(data: str) -> str:
    """The text that is in what is_data; "" where that is none."""
    start = _start(data)
    if not start and len(data) < _LEAST:
        return ""
    size = len(data) - start
    step = max(_GLANCE, size // _PLACES // 4 * 4)
    if not any([_is_text(data[at : at + _GLANCE]) for at in range(start, len(data), step)]):
        return ""
    return _readable(_decoded(data[start:]).decode("utf-8", "replace"))


def _is_text(piece: str) -> bool:
    """Whether a piece of base64 is, by the looks of it, one of text."""
    found = _decoded(piece).decode("utf-8", "replace").strip("\ufffd")  # of characters cut in two
    return "\ufffd" not in found and _readable(found) != ""


def _readable(text: str) -> str:
    """The text; "" where it is none, or empty."""
    odd = sum([text.count(sign) for sign in "\0\ufffd"])
    odd += len(text) - len(text.translate(_CONTROLS))
    return "" if odd * _BROKEN > len(text) else text


_CONTROLS = dict.fromkeys((*range(1, 9), *range(14, 27), *range(28, 32), 127))


def _decoded(text: str) -> bytes:
    """Base64 in either alphabet, and with or without its end."""
    body = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(body[: len(body) - (len(body) % 4 == 1)] + "==")
    except binascii.Error:
        return b""
