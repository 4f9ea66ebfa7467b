"""JSON as the forms read it: to learn what a body says, or that it is JSON at all.

The one rule: reading takes a bounded amount of memory, whatever the text. What is over the bound is
not read: nobody needs its contents that much.
"""

from __future__ import annotations

import orjson

from m2mproxy.codec.base import WireError

# A value costs orjson at most 200 bytes and its text at least two, so that 16 MiB of JSON could
# become a gigabyte of objects. Commas inside strings count as well: it is a bound, not a count.
MAX_VALUES = 500_000


def read_json(text: bytes) -> object:
    """The value that `text` is.

    Raises:
        WireError: it is not JSON (RFC 8259), not UTF-8, has a lone surrogate or a number beyond
            double precision's range, or has so many values that they are not worth their memory.
    """
    if text.count(b",") + text.count(b"[") + text.count(b"{") > MAX_VALUES:
        raise WireError("the JSON has too many values")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise WireError("this is not JSON") from None
