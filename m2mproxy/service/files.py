"""The limit of open files: every connection is one.

The one rule: we take as many as the system allows, and warn of too few instead of refusing to
start.
"""

from __future__ import annotations

import contextlib
import resource

from m2mproxy.config import Limits

# The event loop, the log, the listeners, and connections that are over the limit and being told so.
_OTHERS = 100


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
