"""The log: a line for each exchange and for what the program does, to stderr, as text or JSON.

The one rule: logging never waits and never grows. Lines are gathered for a moment and written in
one call that does not block; what the other end does not take is dropped and counted. Of a request
the line has its path without the query, never its content and never a key.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
import time
import traceback
from collections.abc import Callable

import orjson

from m2mproxy.config import Logging
from m2mproxy.http.faults import Fault
from m2mproxy.proxy.exchange import Exchange
from m2mproxy.service.stats import status_of

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_GATHER_SECONDS = 0.05
_MAX_PENDING = 256 * 1024
_LONGEST_PATH = 512

_plain = re.compile(r"[!#-~]+").fullmatch


class Writer:
    """A file descriptor that is never waited for. `dropped` counts the lines nobody took."""

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        self._loop = loop
        self._put = _never_blocking(descriptor)
        self._pending: list[bytes] = []
        self._size = 0
        self._scheduled = False
        self.dropped = 0

    def write(self, line: bytes) -> None:
        """Write `line` soon, or drop it when too much is waiting already."""
        if self._size + len(line) > _MAX_PENDING:
            self.dropped += 1
            return
        self._pending.append(line)
        self._size += len(line)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_later(_GATHER_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what is gathered, as much of it as is taken now."""
        self._scheduled = False
        data = b"".join(self._pending)
        try:
            rest = data[self._put(data) :] if data else b""
        except BlockingIOError:
            rest = data
        except OSError:  # the other end is gone for good
            self.dropped += len(self._pending)
            rest = b""
        self._pending = [rest] if rest else []
        self._size = len(rest)
        if rest:
            self._scheduled = True
            self._loop.call_later(_GATHER_SECONDS, self.flush)


def _never_blocking(descriptor: int) -> Callable[[bytes], int]:
    """How to write to `descriptor` without waiting and without changing it for those who share it.

    A pipe or terminal is opened again, for a flag that is ours alone; a socket (journald's) takes
    the wish with every call; a file does not wait.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        shared = socket.socket(fileno=os.dup(descriptor))
        return lambda data: shared.send(data, socket.MSG_DONTWAIT)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        try:
            own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:  # a terminal of somebody else, or no /proc
            own = descriptor
        return lambda data: os.write(own, data)
    return lambda data: os.write(descriptor, data)


class Log:
    """Formats lines for a Writer."""

    def __init__(self, config: Logging, writer: Writer) -> None:
        self._json = config.format == "json"
        self._least = _LEVELS[config.level]
        self._access = config.access
        self._writer = writer
        self._second = (0, "")

    def event(self, level: str, message: str, **fields: object) -> None:
        """Something the program did or met."""
        if _LEVELS[level] >= self._least:
            self._line({"level": level, "message": message, **fields}, f"{level}: {message}")

    def exchange(self, x: Exchange) -> None:
        """An exchange that ended."""
        if x.bug is not None:
            trace = "".join(traceback.format_exception(x.bug))
            self.event("error", f"a bug in the proxy:\n{trace}")
        if not self._access:
            return
        line = self._json_line(x) if self._json else self._text_line(x)
        self._writer.write(line)

    def _text_line(self, x: Exchange) -> bytes:
        up, down = x.bytes_up, x.bytes_down
        first = f"{(x.answered - x.started) * 1e3:.3f}" if x.answered else "-"
        return (
            f"{self._stamp(time.time())} client={x.downstream.peer} method={_word(x.method)} "
            f"path={_path(x.target)} model={_word(x.model)} status={status_of(x)} "
            f"client_in={up} client_out={down} upstream_out={up} upstream_in={down} "
            f"coding=identity first_byte_ms={first} added_ms={x.added * 1e3:.3f} "
            f"total_ms={(x.ended - x.started) * 1e3:.3f} error={_error(x) or '-'}\n"
        ).encode("utf-8", "replace")

    def _json_line(self, x: Exchange) -> bytes:
        up, down = x.bytes_up, x.bytes_down
        fields = {
            "time": self._stamp(time.time()),
            "client": x.downstream.peer,
            "method": x.method.decode("ascii", "replace"),
            "path": _path(x.target),
            "model": x.model or None,
            "status": status_of(x),
            "client_in": up,
            "client_out": down,
            "upstream_out": up,
            "upstream_in": down,
            "coding": "identity",
            "first_byte_ms": round((x.answered - x.started) * 1e3, 3) if x.answered else None,
            "added_ms": round(x.added * 1e3, 3),
            "total_ms": round((x.ended - x.started) * 1e3, 3),
            "error": _error(x) or None,
        }
        return orjson.dumps(fields) + b"\n"

    def refusal(self, peer: str, fault: Fault) -> None:
        """What never became an exchange."""
        if self._access:
            self._line({"client": peer, "status": fault.status, "error": fault.code})

    def _line(self, fields: dict[str, object], text: str | None = None) -> None:
        now = time.time()
        if self._json:
            line = orjson.dumps({"time": self._stamp(now), **fields}) + b"\n"
        else:
            if text is None:
                text = " ".join([f"{name}={_word(value)}" for name, value in fields.items()])
            line = f"{self._stamp(now)} {text}\n".encode("utf-8", "replace")
        self._writer.write(line)

    def _stamp(self, now: float) -> str:
        second = int(now)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int((now - second) * 1000):03d}Z"


def _path(target: bytes) -> str:
    """The path for the log: a query may carry a key."""
    path = target.partition(b"?")[0].decode("ascii", "replace")
    return path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + "..."


def _error(x: Exchange) -> str:
    if x.fault is not None:
        return x.fault.code
    return "internal_error" if x.bug is not None else ""


def _word(value: object) -> str:
    """A value as one word of a text line, quoted where it has to be."""
    if value is None or value == "":
        return "-"
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text if _plain(text) else orjson.dumps(text).decode()
