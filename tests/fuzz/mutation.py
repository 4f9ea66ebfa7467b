"""Ordinary bytes made unordinary, and how many of them a test tries.

FUZZ_EXAMPLES sets the number of examples a test; more than the default also means other ones
each time, while the default run is the same each time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_DEFAULT = 300
_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", _DEFAULT))

fuzzed = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    database=None,
    derandomize=_EXAMPLES <= _DEFAULT,
    suppress_health_check=[HealthCheck.too_slow],
)

# What has been smuggled through parsers, in pieces.
TRAPS = [
    b" ",
    b"\t",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"\r\n ",
    b"\r\n\t",
    b"\0",
    b"\x0b",
    b"\x0c",
    b"\x1c",
    b"\x7f",
    b"\x80",
    b"\x85",
    b"\xa0",
    b"\xff",
    b":",
    b" :",
    b"::",
    b",",
    b";",
    b'"',
    b"0",
    b"_",
    b"+",
    b"-",
    b"#",
    b"%",
    b"\\",
    b"@",
    b"//",
    b"http://",
    b"1.0",
    b"HTTP/1.1",
    b"chunked",
    b"close",
]


@st.composite
def mutated(draw: st.DrawFn, base: st.SearchStrategy[bytes], pieces: list[bytes]) -> bytes:
    """`base` after a few insertions, deletions and replacements of `pieces` or of any byte."""
    data = draw(base)
    piece = st.one_of(st.sampled_from(pieces), st.binary(min_size=1, max_size=2))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        cut = at + draw(st.sampled_from((0, 0, 1, 1, 2, 7)))
        data = data[:at] + draw(st.one_of(st.just(b""), piece, piece)) + data[cut:]
    return data
