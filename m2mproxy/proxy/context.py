"""What every exchange needs to know and nobody changes.

The one rule: made once at the start; an exchange holds a reference, never a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from m2mproxy.config import Config
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.held import Holds
from m2mproxy.proxy.links import Links
from m2mproxy.proxy.offload import Later, Offload
from m2mproxy.proxy.room import Room
from m2mproxy.proxy.routes import OwnRoutes, Routes
from m2mproxy.proxy.scanning import Guard
from m2mproxy.proxy.tally import Submit, Tallies


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of an exchange."""

    config: Config
    routes: Routes | OwnRoutes
    clock: Callable[[], float]
    """Seconds that never go back, fine enough to measure microseconds."""
    offload: Offload
    forms: Forms
    links: Links
    tallies: Tallies | None
    """None where nobody wants to know of tokens."""
    guard: Guard | None = None
    """None where requests are not scanned."""
    holds: Holds = field(default_factory=Holds)
    later: Later = lambda call: call()
    """For what nobody waits for."""


def tallies_of(config: Config, submit: Submit | None) -> Tallies | None:
    """What becomes of the tokens of exchanges; `submit` takes what is to be counted."""
    if config.tokens.count == "off":
        return None
    return Tallies(submit if config.tokens.count == "all" else None, Room())
