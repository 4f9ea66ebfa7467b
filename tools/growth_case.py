"""A thing that is fed, and with what: what all cases of tools/growth are made of.

The one rule: that something refuses what it is fed is an answer, too; any other exception is a
fault.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from growth_shapes import Shape

from m2mproxy.codec.base import CannotEncode, WireError
from m2mproxy.http.validate import Malformed
from m2mproxy.net.h2_frames import FrameError
from m2mproxy.net.h2_hpack import HPACKError

KiB = 1024
_REFUSED = (
    CannotEncode, FrameError, HPACKError, Malformed, UnicodeError, ValueError, WireError,
)  # fmt: skip
MOST = 1 << 30


@dataclass(frozen=True)
class Case:
    """One thing that is fed with one shape."""

    name: str
    shape: Shape
    run: Callable[[Any], object]
    first: Callable[[bytes], Any] | None = None
    """What makes of the bytes what it is fed, which is not measured."""
    most: int = 1 << 20
    """Bytes that it is ever fed."""

    def made(self, size: int) -> Any:
        """What it is fed."""
        fed = self.shape(size)
        return fed if self.first is None else self.first(fed)

    def __call__(self, fed: Any) -> None:
        """Feed it. That it refuses is an answer, too."""
        with contextlib.suppress(*_REFUSED):
            self.run(fed)


def every(
    name: str,
    of: Mapping[str, Shape],
    run: Callable[[Any], object],
    first: Callable[[bytes], Any] | None = None,
    most: int = 1 << 20,
) -> Iterator[Case]:
    for shape, make in of.items():
        yield Case(f"{name}: {shape}", make, run, first, most)


def in_pieces(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text), size)]
