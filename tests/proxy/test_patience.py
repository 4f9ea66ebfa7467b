"""How long each phase of an exchange may be silent, and all of it may take."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from world import World

from m2mproxy.config import Timeouts
from m2mproxy.http.faults import Busy, ClientGone, Fault, TooLate
from m2mproxy.proxy.patience import Patience, Phase

BEGUN = 1000.0
TIMEOUTS = Timeouts(pool=5, first_byte=50, idle=20, total=0)


def moving(touched: float, held: bool = False) -> Any:
    """What the patience sees of a pump."""
    return SimpleNamespace(touched=touched, is_held=held)


def patience(phase: Phase | None, timeouts: Timeouts = TIMEOUTS) -> Patience:
    """One that has been in its phase for no time, ten seconds after it began."""
    made = Patience(timeouts, BEGUN)
    if phase is not None:
        made.enter(phase, BEGUN + 10)
    return made


@pytest.mark.parametrize(
    ("phase", "seconds", "kind", "code"),
    [
        (Phase.POOL, 5, Busy, "upstream_busy"),
        (Phase.FIRST_BYTE, 50, TooLate, "upstream_timeout"),
        (Phase.IDLE, 20, TooLate, "upstream_idle_timeout"),
    ],
)
@pytest.mark.parametrize("pump", [None, moving(0)], ids=["no pump", "a pump"])
def test_a_phase_may_be_silent_for_so_long_from_its_beginning(
    phase: Phase, seconds: float, kind: type[Fault], code: str, pump: Any
) -> None:
    waits = patience(phase)
    assert waits.ends(BEGUN + 10 + seconds, pump) is None
    fault = waits.ends(BEGUN + 10 + seconds + 0.1, pump)
    assert isinstance(fault, kind)
    assert fault.code == code


@pytest.mark.parametrize("phase", [None, Phase.BODY, Phase.CONNECT])
def test_phases_that_others_watch_have_no_end_here(phase: Phase | None) -> None:
    assert patience(phase).ends(BEGUN + 1e6, None) is None


@pytest.mark.parametrize("phase", [Phase.FIRST_BYTE, Phase.IDLE])
def test_bytes_that_move_are_no_silence(phase: Phase) -> None:
    waits = patience(phase)
    assert waits.ends(BEGUN + 60, moving(BEGUN + 60)) is None
    assert waits.silence(BEGUN + 61) == 1
    assert waits.ends(BEGUN + 70, moving(BEGUN + 30)) is None  # which is older
    assert waits.silence(BEGUN + 71) == 11
    assert waits.ends(BEGUN + 111, moving(BEGUN + 60)) is not None


def test_a_request_that_goes_on_beside_its_response_is_no_silence() -> None:
    """Though the client hears nothing meanwhile."""
    waits = patience(Phase.IDLE)
    assert waits.ends(BEGUN + 60, moving(0), BEGUN + 50) is None
    assert waits.silence(BEGUN + 60) == 50
    assert waits.ends(BEGUN + 71, moving(0), BEGUN + 50) is not None


def test_who_does_not_read_is_gone() -> None:
    assert isinstance(patience(Phase.IDLE).ends(BEGUN + 31, moving(0, held=True)), ClientGone)


@pytest.mark.parametrize("phase", [None, *Phase])
def test_all_of_it_may_take_so_long_whatever_moves(phase: Phase | None) -> None:
    waits = patience(phase, Timeouts(pool=5, first_byte=50, idle=20, total=12))
    assert waits.ends(BEGUN + 12, moving(BEGUN + 12)) is None
    fault = waits.ends(BEGUN + 12.1, moving(BEGUN + 12))
    assert isinstance(fault, TooLate) and fault.code == "upstream_total_timeout"


def test_a_comment_is_no_silence_for_the_client() -> None:
    waits = patience(Phase.IDLE)
    waits.last_comment = BEGUN + 25
    assert waits.silence(BEGUN + 28) == 3
    assert waits.ends(BEGUN + 31, None) is not None  # but the upstream is as silent as before


@pytest.mark.parametrize("client", ["1.1", "2"])
def test_an_upload_goes_on_though_the_response_has_begun_and_pauses(client: str) -> None:
    world = World(pair=(client, "1.1"), timeouts_idle=5)
    ask = world.ask(b"x" * 20, whole=False)
    call = world.call()
    call.respond(200)
    world.run()
    for _ in range(20):
        world.advance(1)
        ask.send(b"x")
    ask.end()
    world.run()
    assert call.complete
    call.end()
    world.run()
    assert (ask.status, ask.complete) == (200, True)
