"""What an engine of HTTP/2 tells, written down."""

from __future__ import annotations

from typing import Any

from m2mproxy.net.h2_engine import Engine, Listener
from m2mproxy.net.h2_frames import AnyFrame


class Heard:
    """A `Listener`: each call is kept as its name without "on_", and what was said."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        assert hasattr(Listener, name), name
        return lambda *said: self.told.append((name.removeprefix("on_"), *said))


def hear(engine: Engine, frame: AnyFrame) -> list[tuple[Any, ...]]:
    """What an engine whose listener is a `Heard` tells of a frame."""
    heard: Any = engine.listener
    heard.told.clear()
    engine.receive(frame)
    return list(heard.told)
