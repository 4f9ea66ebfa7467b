"""The list of cases, and how a module adds to it.

A case is a function of a client. It returns when the server did as the RFC says, raises `Wrong`
when it did not, and `Skip` when there is nothing to be seen on this server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from h2lib.client import Client

Run = Callable[["Client"], object]


class Wrong(Exception):
    """The server did something else than the RFC says."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}; came {came}")
        self.expected = expected
        self.came = came


class Skip(Exception):
    """This server gives the case nothing to look at; the text says why."""


@dataclass(frozen=True)
class Case:
    """One requirement, and how it is tried.

    `settings` are the client's first ones; None leaves even the preface to the case. A `should`
    that is not met is no failure unless the run is strict; a `slow` one is left out of a short run.
    """

    name: str
    section: str
    title: str
    run: Run
    settings: Mapping[int, int] | None
    should: bool
    slow: bool


CASES: list[Case] = []


def case(
    section: str,
    title: str,
    *,
    settings: Mapping[int, int] | None = {},
    should: bool = False,
    slow: bool = False,
) -> Callable[[Run], Run]:
    """Make the function, or a lambda, a case of that section; RFC 7541's are `7541-6.1`."""

    def add(run: Run) -> Run:
        number = sum(other.section == section for other in CASES) + 1
        CASES.append(Case(f"{section}/{number}", section, title, run, settings, should, slow))
        return run

    return add
