"""The list of cases, and what each of them counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random


class Wrong(Exception):
    """Something else came than the page says."""


@dataclass
class Tally:
    """What a case did: `plain` and `coded` are bytes of bodies, requests and replies together."""

    turns: int = 0
    plain: int = 0
    coded: int = 0
    misses: int = 0
    checks: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def check(self, right: bool, what: str, came: object = "") -> None:
        """Count a check; raise `Wrong` if it is not so."""
        self.checks += 1
        if not right:
            raise Wrong(f"{what}; came {came!r:.600}" if came != "" else what)


@dataclass
class Run:
    """How much to do: `scale` is 1 in a short run."""

    rng: Random
    scale: int = 1
    tally: Tally = field(default_factory=Tally)


Body = Callable[[Run], None]
CASES: dict[str, Body] = {}


def case(body: Body) -> Body:
    """Make the function a case; its name and docstring are the case's."""
    CASES[body.__name__] = body
    return body
