"""Programs that tests start are ended when the test is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from program import Program, command

Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the program on a port of its own, for an upstream and with more flags."""
    started: list[Program] = []

    def begin(upstream: str, *flags: str, **settings: Any) -> Program:
        argv = command("--listen", "127.0.0.1:0", "--upstream", upstream, *flags)
        started.append(Program(argv, **settings))
        return started[-1]

    yield begin
    for program in started:
        program.kill()
