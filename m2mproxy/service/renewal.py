"""Certificates that change while the program runs: read when they do, and on SIGHUP.

The one rule: files that cannot be used replace nothing, and are reported once for each change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from m2mproxy.config import printable
from m2mproxy.net.certificate import Certificate, FileFault
from m2mproxy.net.tls import ClientTls, ServerTls
from m2mproxy.service.log import Log

# A look at the time of a file costs microseconds.
EVERY = 60.0
_SOON = timedelta(days=14)
_REMIND = timedelta(days=1)

Leg = ClientTls | ServerTls


class Renewal:
    """Watches the files of both legs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: Log, legs: Sequence[Leg]) -> None:
        self._loop = loop
        self._log = log
        self._legs = [leg for leg in legs if leg.files]
        self._timer: asyncio.TimerHandle | None = None
        self._reminded = datetime.now(UTC)

    @property
    def is_needed(self) -> bool:
        """Whether there are files at all."""
        return bool(self._legs)

    def report(self) -> dict[str, float]:
        """When each file's certificate expires, in seconds since 1970."""
        known = [each for leg in self._legs for each in leg.certificates]
        return {printable(each.path): each.expires.timestamp() for each in known}

    def start(self) -> None:
        """Say what is there, and watch it."""
        for leg in self._legs:
            self._say("certificate", leg.certificates)
        if self._legs:
            self._timer = self._loop.call_later(EVERY, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def reload(self) -> None:
        """Read all files, changed or not."""
        for leg in self._legs:
            self._read(leg)

    def _look(self) -> None:
        self._timer = self._loop.call_later(EVERY, self._look)
        for leg in self._legs:
            if leg.has_changed():
                self._read(leg)
        if datetime.now(UTC) - self._reminded >= _REMIND:
            self._reminded = datetime.now(UTC)
            for leg in self._legs:
                self._warn(leg.certificates)

    def _read(self, leg: Leg) -> None:
        try:
            leg.reload()
        except FileFault as fault:
            what = f"certificates are not reloaded, those in use stay: {fault}"
            self._log.event("error", what, file=fault.filename, reason=fault.strerror)
            return
        if not leg.certificates:  # those that are trusted
            self._log.event("info", f"{', '.join(leg.files)} reloaded")
        self._say("certificate reloaded", leg.certificates)

    def _say(self, what: str, certificates: Sequence[Certificate]) -> None:
        for each in certificates:
            names = [*each.dns, *each.addresses]
            until = f"{each.expires:%Y-%m-%d}"
            self._log.event(
                "info",
                f"{what}: {each.path}, for {', '.join(names) or 'no name'}, until {until}",
                file=each.path,
                names=names,
                expires=until,
            )
        self._warn(certificates)

    def _warn(self, certificates: Sequence[Certificate]) -> None:
        now = datetime.now(UTC)
        for each in certificates:
            if each.expires <= now:
                self._log.event("warning", f"{each.path} has expired on {each.expires:%Y-%m-%d}")
            elif each.expires <= now + _SOON:
                left = (each.expires - now).days
                self._log.event("warning", f"{each.path} expires in {left} days")
            if each.exposed:
                self._log.event(
                    "warning",
                    f"{each.exposed} holds a private key and can be read by every user "
                    f"(chmod o-r {each.exposed})",
                )
