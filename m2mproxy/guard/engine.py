"""Hyperscan: all patterns over a text in one pass, in time that is linear in its length.

The one rule: hyperscan is imported and spoken to here only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from m2mproxy.guard.beside import beside, give_back

Sets = Sequence[Sequence[str]]


class EngineMissing(Exception):
    """Hyperscan is not installed. Its text says what to do, in one line."""


class Engine:
    """Sets of patterns, compiled. Each set is reported once a scan, or at each end of a match."""

    def __init__(self, patterns: Callable[[], tuple[Sets, Sets]]) -> None:
        """`patterns` makes the sets that are reported once, and those that are at each end; in the
        process that compiles them, so that they are in no other.

        Raises EngineMissing.
        """
        try:
            import hyperscan
        except ImportError as error:
            raise EngineMissing("the scanner needs hyperscan: install m2mproxy[guard]") from error

        def compiled() -> bytes:
            once, each = patterns()
            expressions: list[bytes] = []
            ids: list[int] = []
            flags: list[int] = []
            for number, one in enumerate([*once, *each]):
                single = hyperscan.HS_FLAG_SINGLEMATCH if number < len(once) else 0
                for pattern in one:
                    expressions.append(pattern.encode())
                    ids.append(number)
                    flags.append(hyperscan.HS_FLAG_DOTALL | single)
            database = hyperscan.Database()
            database.compile(expressions=expressions, ids=ids, elements=len(ids), flags=flags)
            dumped: bytes = hyperscan.dumpb(database)
            return dumped

        self._database = hyperscan.loadb(beside(compiled), hyperscan.HS_MODE_BLOCK)
        give_back()
        # A scan works in memory of its own and without the interpreter's lock, so that threads may
        # scan at once: each takes one that is free, or a new one.
        self._scratch = hyperscan.Scratch
        self._free: list[Any] = [hyperscan.Scratch(self._database)]

    def scan(self, data: bytes) -> list[tuple[int, int]]:
        """Which sets match, by their number (`once`, then `each`), and where it ends; by ends."""
        found: list[tuple[int, int]] = []
        add = found.append

        def on_match(number: int, start: int, end: int, flags: int, context: object) -> None:
            add((number, end))

        try:
            scratch = self._free.pop()
        except IndexError:
            scratch = self._scratch(self._database)
        try:
            self._database.scan(data, match_event_handler=on_match, scratch=scratch)
        finally:
            self._free.append(scratch)
        return found
