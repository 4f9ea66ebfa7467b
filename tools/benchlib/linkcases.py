"""Which sessions the part `link` plays, how many of each, and what is to be saved of them.

The targets are what research prototypes saved, their own framing included.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import sessions
from sessions import Corpus, Shape


@dataclass(frozen=True)
class Case:
    """A corpus, how much of it, and what is to be saved, in per cent: of the requests of later
    turns and of whole sessions, and of all that crosses."""

    name: str
    make: Callable[[int, int | None], Corpus]
    sessions: int
    later: float | None = None
    cold: float | None = None
    both: float | None = None


def _generated(shape: Shape, count: int, later: float, whole: bool = True) -> Case:
    make = partial(sessions.generated, shape)
    return Case(shape.name, make, count, later, *((97.2, 96.5) if whole else ()))


def _recorded(name: str, read: Callable[[], Corpus]) -> Case:
    return Case(name, lambda count, turns: _cut(read(), count, turns), 1000)


_STREAMING = replace(sessions.CLERK, name="tool agent, streams", stream=True, objects=False)
_MESSAGES = replace(
    sessions.CLERK, name="tool agent, Messages API", messages_api=True, objects=False
)
_RESPONSES = replace(sessions.ENGINEER, name="software agent, Responses API", responses_api=True)
_ASCII = replace(sessions.ENGINEER, name="software agent, ASCII", stream=True, ascii=True)
GENERATED = (
    _generated(sessions.CHAT, 4, 99.2),
    _generated(sessions.CLERK, 6, 99.2),
    _generated(_STREAMING, 4, 99.2),
    _generated(sessions.ENGINEER, 6, 98.8),
    _generated(_ASCII, 4, 98.8),
    _generated(sessions.TOOLBOX, 4, 99.7),
    _generated(sessions.TALK, 16, 91, whole=False),
    _generated(_MESSAGES, 4, 99.2),
    _generated(_RESPONSES, 4, 98.8),
    *(
        _generated(replace(sessions.CLERK, name=name, rewrite=rewrite), 4, 95, whole=False)
        for name, rewrite in (
            ("time in front", sessions.with_time),
            ("last ten messages", sessions.with_window),
            ("results cleared", sessions.with_cleared),
            ("notes dropped", sessions.with_notes),
        )
    ),
    _generated(
        replace(sessions.CHAT, name="coding chat, time in front", rewrite=sessions.with_time),
        4,
        95,
        whole=False,
    ),
)
RECORDED = (
    _recorded("C2, chats", sessions.recorded_chats),
    _recorded("C3, agents", sessions.recorded_agents),
    _recorded("C4, streams", sessions.recorded_streams),
)


def _cut(corpus: Corpus, count: int, turns: int | None) -> Corpus:
    some = [session[:turns] for session in corpus.sessions[:count]]
    return replace(corpus, sessions=some)


@dataclass(frozen=True)
class Size:
    """At most so many sessions a case, and turns a session."""

    sessions: int
    turns: int | None
    cases: tuple[Case, ...]

    @classmethod
    def of(cls, short: bool) -> "Size":
        recorded = RECORDED if sessions.are_recorded() else ()
        if short:
            return cls(1, 20, (*GENERATED[:2], *GENERATED[3:4], *GENERATED[5:], *recorded[1:2]))
        return cls(1000, None, (*GENERATED, *recorded))
