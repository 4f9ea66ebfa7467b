"""The limit of open files: every connection is one.

The one rule: we take as many as the system allows, and warn of too few instead of refusing to
start or to go on.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
from collections.abc import Callable

from m2mproxy.config import Limits

# The event loop, the log, the listeners, and connections that are over the limit and being told so.
_OTHERS = 100
# Files that are left when they are said to be running out, and seconds until that is said again.
_FEW, _PAUSE = 8, 60.0


def raise_limit() -> int:
    """Raise our limit to the system's. Returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A sandbox may forbid it (systemd's SystemCallFilter=~@resources), and then it stays as it is.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft


def shortage(limits: Limits, files: int) -> str:
    """What to tell the operator when `files` are too few for the configured limits; else ""."""
    wanted = limits.connections + limits.upstream_connections + _OTHERS
    if files >= wanted:
        return ""
    return (
        f"the limit of open files is {files}, but limits.connections ({limits.connections}) and "
        f"limits.upstream_connections ({limits.upstream_connections}) can take {wanted}: raise it "
        "(LimitNOFILE, ulimit -Hn), or lower them"
    )


class Watch:
    """Warns when files run out. Clients that there is none for are accepted and closed by the event
    loop (libuv), which tells nobody; so each that gets one has a look at what is left."""

    def __init__(self, limit: int, clock: Callable[[], float], warn: Callable[[str], None]) -> None:
        self._limit = limit
        self._clock = clock
        self._warn = warn
        self._not_before = -math.inf

    def look(self, file: int) -> None:
        """Called with an open file when there is a new one."""
        try:
            next_one = os.dup(file)  # gets the lowest number that is free
        except OSError:
            next_one = self._limit
        else:
            os.close(next_one)
        if self._limit - next_one > _FEW or self._clock() < self._not_before:
            return
        self._not_before = self._clock() + _PAUSE
        self._warn(
            f"the {self._limit} files that may be open are nearly all in use: clients for whom "
            "there is none are closed without an answer or a line here (LimitNOFILE, ulimit -Hn)"
        )
