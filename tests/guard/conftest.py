"""Shared by the tests of the scanner."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from m2mproxy.guard import matcher
from m2mproxy.guard.engine import Engine, Sets


@pytest.fixture(autouse=True, scope="session")
def compiled_once() -> Iterator[None]:
    """To compile all rules takes seconds: whoever wants the same ones gets the same engine."""
    known: dict[object, Engine] = {}

    def engine(patterns: Callable[[], tuple[Sets, Sets]]) -> Engine:
        key = tuple(tuple(map(tuple, sets)) for sets in patterns())
        if key not in known:
            known[key] = Engine(patterns)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matcher, "Engine", engine)
        yield
