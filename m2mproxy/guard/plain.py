"""Plain texts (words.plain_of) of long texts, made by table and not letter by letter; and where
places in them have moved to.

Nearly all characters become one byte or none, whatever stands beside them, so that a text is looked
up in a table as a whole. The few that become several bytes are put in afterwards; a text that is
full of them is folded in pieces.

The one rule: what comes out is what words.plain_of makes of fold.spelt.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain, pairwise

from m2mproxy.guard.arrays import NDArray, np
from m2mproxy.guard.fold import spelt
from m2mproxy.guard.words import plain_of, plains_of

_TABLE = np.full(1 << 16, 0xFD, np.uint8)
"""By code point, the byte that a character becomes, or one of these, which are in no UTF-8:"""
_UNKNOWN, _SEVERAL, _NONE = 0xFD, 0xFE, 0xFF
_BEYOND = len(_TABLE) - 1
"""What stands for all characters that are beyond the table."""
_TABLE[0xD800:0xE000] = _TABLE[_BEYOND] = _SEVERAL
_FEW = 16
"""One character of so many may become several bytes."""


def plain_ascii(raw: bytes, places: Sequence[int]) -> tuple[bytes, list[int]]:
    """The plain text of a text in ASCII, and where in it places of the text are."""
    plain = plain_of(raw)
    if len(plain) == len(raw):
        return plain, list(places)
    dropped = (np.frombuffer(raw, np.uint8) == ord("'")).nonzero()[0]
    return plain, (np.array(places) - dropped.searchsorted(places)).tolist()


def plain_other(text: str, places: Sequence[int]) -> tuple[bytes, list[int]]:
    """The same of any text. The first place is its beginning."""
    codes = _codes(text)
    made = _TABLE.take(codes)
    unknown = (made == _UNKNOWN).nonzero()[0]
    if len(unknown):
        _fill(set(codes.take(unknown).tolist()))
        made = _TABLE.take(codes)
    several = (made == _SEVERAL).nonzero()[0]
    if len(several) * _FEW > len(text):
        return _in_pieces(text, places)
    dropped = (made == _NONE).nonzero()[0]
    moved = np.array(places)
    moved -= dropped.searchsorted(places)
    data = made.tobytes()
    if len(several):
        letters = plains_of(spelt("\0".join([text[at] for at in several.tolist()])))
        more = np.fromiter(accumulate((len(each) - 1 for each in letters), initial=0), np.int64)
        moved += more.take(several.searchsorted(places))
        between = data.split(bytes((_SEVERAL,)))
        data = b"".join(chain.from_iterable(zip(between, [*letters, b""], strict=True)))
    if len(dropped):
        data = data.translate(None, bytes((_NONE,)))
    return data, moved.tolist()


def _codes(text: str) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """Code points, of which those beyond the table are _BEYOND."""
    short = text.encode("utf-16-le", "surrogatepass")
    if len(short) == 2 * len(text):
        return np.frombuffer(short, np.dtype("<u2"))
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))
    return np.minimum(codes, np.uint32(_BEYOND))


def _fill(points: set[int]) -> None:
    """The table, as far as it is needed. Whoever comes first, the same is written."""
    for point in points:
        made = plain_of(spelt(chr(point)))
        _TABLE[point] = made[0] if len(made) == 1 else _SEVERAL if made else _NONE


def _in_pieces(text: str, places: Sequence[int]) -> tuple[bytes, list[int]]:
    """From each place to the next, and to the end."""
    borders = sorted({*places, len(text)})
    pieces = [text[start:end] for start, end in pairwise(borders)]
    whole = "\0".join(pieces)
    if whole.count("\0") < len(pieces):
        plains = plains_of(spelt(whole))
    else:
        plains = [plain_of(spelt(each)) for each in pieces]
    ends = dict(zip(borders, accumulate(map(len, plains), initial=0), strict=True))
    return b"".join(plains), [ends[at] for at in places]
