"""Files that hold a secret of bytes: what `psk_file` names, and the keys of `m2m compress`.

The one rule: a key is hex digits on one line, or the bare bytes; what cannot be either is not
guessed at.
"""

import re

MOST_KEY = 4096  # bytes of a file
PSK = 32

_hex = re.compile(rb"(?:[0-9A-Fa-f]{2})+").fullmatch


def key_of(data: bytes) -> bytes:
    """The key that a file with this content holds: in hex, a line end after it or none, or as bare
    bytes."""
    digits = data.rstrip(b"\r\n")
    return bytes.fromhex(digits.decode()) if _hex(digits) else data


def psk_of(data: bytes) -> bytes:
    """The key of 32 bytes that instances share.

    Raises:
        ValueError: the content is another, with the reason.
    """
    if not data:
        raise ValueError("the file is empty")
    key = key_of(data)
    if len(key) != PSK:
        raise ValueError(f"the file has no key of {PSK} bytes, which is {2 * PSK} hex digits")
    return key
