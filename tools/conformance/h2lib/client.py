"""A raw HTTP/2 client: sends any bytes, reads with deadlines, and says whether what came is right.

It keeps the server to the rules that hold in every case: windows, frame size, the order of frames
on a stream. Whatever breaks one raises `Wrong`, whichever case is running.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from hpack import Decoder, Encoder, HPACKError

from h2lib import wire
from h2lib.suite import Skip, Wrong
from h2lib.wire import Frame

DEADLINE = 20.0  # for what must come, which is waited for until it does
GRACE = 0.1  # for an error that is reported after the answer to a later PING
# RFC 9113 5.4: these "can always be used in place of more specific error codes".
GENERIC = (wire.PROTOCOL_ERROR, wire.INTERNAL_ERROR)

Fields = list[tuple[bytes, bytes]]
UPPER = ("X-Upper", "no")  # makes a request malformed (8.2.1)


@dataclass
class Target:
    """The server under test. `echoes`: a reply to `post_path` says in JSON what was received."""

    host: str
    port: int
    path: str
    post_path: str
    echoes: bool
    size: int = 0  # of the body at `path`


@dataclass
class Reply:
    """What came on one stream."""

    window: int
    status: int = 0
    fields: Fields = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None

    @property
    def refused(self) -> bool:
        """Whether it is an error response."""
        return self.ended and self.status >= 400


class Client:
    """One connection. `streams` holds what came on each, `note` what is right but not the best."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.sock = socket.create_connection((target.host, target.port), DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder, self.decoder = Encoder(), Decoder()
        self.streams: dict[int, Reply] = {}
        self.credit: dict[int, int] = {0: 65_535}  # what we may send, for each stream
        self.theirs: dict[int, int] = {}  # the server's settings
        self.frames: list[Frame] = []
        self.pongs: list[bytes] = []
        self.acks = 0
        self.goaway: Frame | None = None
        self.closed = False
        self.crediting = True
        self.window, self._initial, self._max_frame = 65_535, 65_535, 16_384
        self.note = ""
        self._received = bytearray()
        self._block: tuple[Frame, bytearray] | None = None
        self._pending: deque[dict[int, int]] = deque()
        self._log_from = 0

    # -- sending --------------------------------------------------------------------------------

    def send(self, *pieces: bytes) -> Self:
        """Send, in one go. That the server has closed is seen when reading."""
        self.sock.settimeout(DEADLINE)
        with contextlib.suppress(OSError):
            self.sock.sendall(b"".join(pieces))
        return self

    def start(self, values: Mapping[int, int]) -> Self:
        """The preface, both ends' settings, and both acknowledgements."""
        self.send(wire.PREFACE)
        self.change(dict(values))
        if self.frames[0].type != wire.SETTINGS or self.frames[0].flags & wire.ACK:
            raise Wrong("SETTINGS as the first frame (3.4)", self.came())
        self._log_from = len(self.frames)
        return self

    def change(self, values: dict[int, int] | list[tuple[int, int]]) -> Self:
        """Send SETTINGS and wait until they are acknowledged."""
        before = self.acks
        self._pending.append(dict(values))
        self.send(wire.settings(values))
        if not self._wait(lambda: self.acks > before):
            raise Wrong("SETTINGS ack", self.came())
        return self

    def fields(
        self, method: str = "GET", /, *extra: tuple[str, str], **pseudo: str | None
    ) -> Fields:
        """A valid header section. `pseudo` replaces: `path="*"`, or leaves out: `path=None`."""
        path = self.target.path if method in ("GET", "HEAD") else self.target.post_path
        valid = {"method": method, "scheme": "http", "path": path, "authority": self.authority}
        values = {**valid, **pseudo}.items()
        return raw([*((f":{name}", value) for name, value in values if value is not None), *extra])

    @property
    def authority(self) -> str:
        """Host and port."""
        return f"{self.target.host}:{self.target.port}"

    def block(self, fields: Fields | None = None) -> bytes:
        """A field block; a GET request unless told."""
        return self.encoder.encode(self.fields() if fields is None else fields)

    def request(self, stream: int, fields: Fields | None = None, *, end: bool = True) -> Self:
        """Send a request's HEADERS, or trailers."""
        return self.headers(stream, self.block(fields), end=end)

    def headers(self, stream: int, block: bytes, flags: int = 0, *, end: bool = True) -> Self:
        """Send a whole field block in one HEADERS frame."""
        flags |= wire.END_HEADERS | (wire.END_STREAM if end else 0)
        return self.opened(stream).frame(wire.HEADERS, flags, stream, block)

    def frame(self, type: int, flags: int, stream: int, payload: bytes = b"") -> Self:
        """Send any frame."""
        return self.send(wire.frame(type, flags, stream, payload))

    def reset(self, stream: int, code: int = wire.CANCEL) -> Self:
        """Send RST_STREAM."""
        return self.send(wire.rst_stream(stream, code))

    def split(self, stream: int, *between: bytes) -> Self:
        """Send a GET in HEADERS and CONTINUATION, with whole frames between the two."""
        block = self.block()
        self.opened(stream).frame(wire.HEADERS, wire.END_STREAM, stream, block[:4]).send(*between)
        return self.frame(wire.CONTINUATION, wire.END_HEADERS, stream, block[4:])

    def opened(self, *streams: int) -> Self:
        """From here on, the server may send on these."""
        for stream in streams:
            self.streams.setdefault(stream, Reply(self._initial))
            self.credit.setdefault(stream, self.theirs.get(wire.INITIAL_WINDOW, 65_535))
        return self

    def post(self, stream: int, *extra: tuple[str, str]) -> Self:
        """Send the HEADERS of a POST whose body is to follow."""
        return self.request(stream, self.fields("POST", *extra), end=False)

    def data(
        self, stream: int, content: bytes, *, end: bool = False, pad: int | None = None
    ) -> Self:
        """Send a DATA frame, within the windows or not."""
        payload = content if pad is None else wire.padded(content, pad)
        flags = (wire.END_STREAM if end else 0) | (0 if pad is None else wire.PADDED)
        self.credit[0] -= len(payload)
        self.credit[stream] = self.credit.get(stream, 0) - len(payload)
        return self.frame(wire.DATA, flags, stream, payload)

    def await_credit(self, stream: int, size: int) -> Self:
        """Wait until so much may be sent, on the stream and on the connection."""
        if not self._wait(lambda: min(self.credit[0], self.credit[stream]) >= size):
            short = [name for name in (0, stream) if self.credit[name] < size]
            raise Wrong(f"WINDOW_UPDATE on {short}: what was sent is used up", self.came())
        return self

    def give(self, stream: int, increment: int) -> Self:
        """Let the server send so much more."""
        if stream:
            self.streams[stream].window += increment
        else:
            self.window += increment
        return self.send(wire.window_update(stream, increment))

    # -- reading --------------------------------------------------------------------------------

    def read(self, until: float) -> bool:
        """Read one frame; False when none came in time, or the server has closed."""
        while not self.closed:
            if len(self._received) >= 9:
                length = int.from_bytes(self._received[:3], "big")
                if len(self._received) >= 9 + length:
                    head = bytes(self._received[:9])
                    payload = bytes(self._received[9 : 9 + length])
                    del self._received[: 9 + length]
                    stream = wire.number(head[5:]) & wire.MAX_WINDOW
                    self._take(Frame(head[3], head[4], stream, payload))
                    return True
            self.sock.settimeout(max(until - time.monotonic(), 0.001))
            try:
                data = self.sock.recv(65_536)
            except TimeoutError:
                return False
            except OSError:
                data = b""
            self.closed = not data
            self._received += data
        return False

    def _wait(self, done: Callable[[], bool], seconds: float | None = None) -> bool:
        until = time.monotonic() + (DEADLINE if seconds is None else seconds)
        while not done():
            if self.failed or not self.read(until):
                return done()
        return True

    @property
    def failed(self) -> bool:
        """Whether a connection error was reported."""
        return self.closed or (self.goaway is not None and self.goaway.code != wire.NO_ERROR)

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        if len(frame.payload) > self._max_frame:
            raise Wrong("no frame larger than SETTINGS_MAX_FRAME_SIZE (4.2)", str(frame))
        begun = self._block[0].stream if self._block else None
        if (frame.stream if frame.type == wire.CONTINUATION else None) != begun:
            raise Wrong("CONTINUATION inside a field block, and only there (4.3)", str(frame))
        if frame.type in (wire.DATA, wire.HEADERS, wire.CONTINUATION, wire.RST_STREAM):
            self._take_on_stream(frame)
        elif frame.type == wire.SETTINGS and frame.flags & wire.ACK:
            self.acks += 1
            self._apply(self._pending.popleft() if self._pending else {})
        elif frame.type == wire.SETTINGS:
            self._take_settings(frame.payload)
        elif frame.type == wire.PING and frame.flags & wire.ACK:
            self.pongs.append(frame.payload)
        elif frame.type == wire.PING:
            self.send(wire.frame(wire.PING, wire.ACK, 0, frame.payload))
        elif frame.type == wire.GOAWAY:
            self.goaway = frame
        elif frame.type == wire.WINDOW_UPDATE:
            increment = wire.number(frame.payload)
            self.credit[frame.stream] = self.credit.get(frame.stream, 0) + increment
        elif frame.type == wire.PUSH_PROMISE:
            raise Wrong("no PUSH_PROMISE", str(frame))

    def _take_settings(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            name, value = struct.unpack_from(">HI", payload, at)
            if name == wire.INITIAL_WINDOW:
                change = value - self.theirs.get(name, 65_535)
                self.credit.update({s: n + change for s, n in self.credit.items() if s})
            self.theirs[name] = value
        self.encoder.header_table_size = min(4096, self.theirs.get(wire.HEADER_TABLE_SIZE, 4096))
        self.send(wire.settings({}, wire.ACK))

    def _apply(self, values: dict[int, int]) -> None:
        """Our own settings, now that the server has them."""
        change = values.get(wire.INITIAL_WINDOW, self._initial) - self._initial
        for reply in self.streams.values():
            reply.window += change
        self._initial += change
        self._max_frame = values.get(wire.MAX_FRAME, self._max_frame)
        allowed = self.decoder.max_allowed_table_size
        self.decoder.max_allowed_table_size = max(allowed, values.get(wire.HEADER_TABLE_SIZE, 0))

    def _take_on_stream(self, frame: Frame) -> None:
        reply = self.streams.get(frame.stream)
        if reply is None:
            if frame.type == wire.RST_STREAM:
                reply = self.streams[frame.stream] = Reply(0)
            else:
                raise Wrong("nothing on a stream that is idle (5.1)", str(frame))
        if frame.type == wire.RST_STREAM:
            reply.reset = frame.code
            return
        in_block = frame.type == wire.CONTINUATION
        if not in_block and (reply.ended or reply.reset is not None):
            raise Wrong("nothing on a stream after its end (5.1)", str(frame))
        if frame.type == wire.DATA:
            self._take_data(frame, reply)
        else:
            first, block = self._block if self._block else (frame, bytearray())
            block += frame.payload if in_block else unpadded(frame)
            self._block = (first, block)
            if frame.flags & wire.END_HEADERS:
                self._block = None
                self._take_block(bytes(block), reply)
                reply.ended = reply.ended or first.ends_stream
        reply.ended = reply.ended or (frame.type == wire.DATA and frame.ends_stream)

    def _take_data(self, frame: Frame, reply: Reply) -> None:
        size = len(frame.payload)
        self.window -= size
        reply.window -= size
        if size and min(self.window, reply.window) < 0:
            raise Wrong("no more DATA than the windows allow (6.9.1)", str(frame))
        if not reply.status:
            raise Wrong("HEADERS before DATA (8.1)", str(frame))
        reply.body += unpadded(frame)
        if size and self.crediting:
            self.give(0, size)
            if not frame.ends_stream:
                self.give(frame.stream, size)

    def _take_block(self, block: bytes, reply: Reply) -> None:
        try:
            lines = [(bytes(n), bytes(v)) for n, v in self.decoder.decode(block, raw=True)]
        except HPACKError as error:
            raise Wrong("a field block that can be decoded (4.3)", repr(error)) from None
        if reply.status >= 200:
            if any(name.startswith(b":") for name, _ in lines):
                raise Wrong("no pseudo-header field in trailers (8.1)", str(lines))
            return
        if [name for name, _ in lines if name.startswith(b":")] != [b":status"] or not (
            lines[0][0] == b":status" and lines[0][1].isdigit()
        ):
            raise Wrong("a response whose first field is :status, its only one (8.3.2)", str(lines))
        reply.status, reply.fields = int(lines[0][1]), lines[1:]

    def came(self) -> str:
        """What came since the start, in short."""
        said = [str(frame) for frame in self.frames[self._log_from :]]
        statuses = {s: f"answered {r.status}" for s, r in self.streams.items() if r.status}
        said = said if len(said) < 7 else [*said[:3], "...", *said[-3:]]
        said += [f"{text} on {stream}" for stream, text in sorted(statuses.items())[-3:]]
        return ", ".join([*said, "closed"] if self.closed else said) or "nothing"

    # -- verdicts -------------------------------------------------------------------------------

    def ping(self) -> bytes:
        """Send a PING; its data."""
        data = b"ping%04d" % len(self.frames)
        self.send(wire.frame(wire.PING, 0, 0, data))
        return data

    def settle(self, done: Callable[[], bool] = lambda: False) -> None:
        """Read until all that was sent is answered: a PING after it is, and a moment has passed."""
        data = self.ping()
        if self._wait(lambda: data in self.pongs or done()) and not done():
            self._wait(done, GRACE)

    def connection_error(self, *codes: int) -> Self:
        """What was sent must be a connection error with one of these codes."""
        self.settle()
        self._judge(f"GOAWAY {names(codes)}", codes, None)
        return self

    def stream_error(self, stream: int, *codes: int) -> Self:
        """What was sent must be a stream error with one of these codes, or a connection error."""
        reply = self.streams.get(stream)
        before = reply.reset if reply else None
        self.settle(lambda: self._reset(stream) not in (None, before))
        reset = self._reset(stream)
        self._judge_stream(codes, None if reset == before else reset)
        return self

    def malformed(self, stream: int) -> Self:
        """The request is malformed (8.1.1): reset, or an error response; other streams live on."""
        reply = self.streams[stream]
        self.settle(lambda: reply.reset is not None or reply.refused)
        if reply.refused:
            self.note = f"answered {reply.status}"
        else:
            self._judge_stream((wire.PROTOCOL_ERROR,), reply.reset)
        if not self.failed:
            self.alive()
        return self

    def _reset(self, stream: int) -> int | None:
        reply = self.streams.get(stream)
        return reply.reset if reply else None

    def _judge_stream(self, codes: Iterable[int], reset: int | None) -> None:
        self._judge(f"RST_STREAM or GOAWAY {names(codes)}", codes, reset)
        if reset is None:
            self.note = f"coarse: {self.note or 'GOAWAY'}"

    def _judge(self, expected: str, codes: Iterable[int], reset: int | None) -> None:
        if reset is None and not self.failed:
            raise Wrong(expected, self.came())
        code = reset
        if code is None and self.goaway is not None and self.goaway.code:
            code = self.goaway.code
        if code is None:
            self.note = "closed without GOAWAY"
        elif code in codes:
            self.note = ""
        elif code in GENERIC:
            self.note = f"generic {wire.code_name(code)}"
        else:
            raise Wrong(expected, self.came())

    def quiet(self, stream: int = 0) -> Self:
        """Nothing may have come of it: a PING is answered, the stream is not reset."""
        data = self.ping()
        self._wait(lambda: data in self.pongs)
        if data not in self.pongs or self.failed or self._reset(stream) is not None:
            raise Wrong("no error, and a PING answered", self.came())
        return self

    def reply(self, stream: int) -> Reply:
        """Wait for a stream's end, whatever it is."""
        reply = self.streams[stream]
        self._wait(lambda: reply.ended or reply.reset is not None)
        return reply

    def ok(self, stream: int) -> Reply:
        """The request must be answered 200, to the end."""
        reply = self.reply(stream)
        if reply.status != 200 or not reply.ended:
            raise Wrong(f"a whole 200 response on {stream}", self.came())
        return reply

    def get(self, stream: int = 1) -> Self:
        """A GET must work."""
        self.request(stream).ok(stream)
        return self

    def alive(self) -> Self:
        """A request on a new stream must work."""
        self.get(max([s for s in self.streams if s % 2], default=-1) + 2)
        return self

    def gone(self) -> Self:
        """The server must close the connection."""
        until = time.monotonic() + DEADLINE
        while not self.closed and self.read(until):
            pass
        if not self.closed:
            raise Wrong("a closed connection", self.came())
        return self

    def in_time(self, done: Callable[[], bool], expected: str) -> Self:
        """It must happen before the deadline."""
        if not self._wait(done):
            raise Wrong(expected, self.came())
        return self

    def either(self, stream: int, *codes: int) -> str:
        """The server may refuse with one of these codes, or answer; "refused" or "answered"."""
        self.reply(stream)
        reset = self._reset(stream)
        if reset is None and not self.failed and self.streams[stream].ended:
            return "answered"
        self._judge(f"an answer or {names(codes)}", codes, reset)
        return "refused"

    def left_alone(self) -> Self:
        """After our GOAWAY: a PING is answered, or the connection closed, without an error."""
        data = self.ping()
        self.in_time(lambda: data in self.pongs or self.closed, "PING ack, or closed")
        if self.goaway and self.goaway.code:
            raise Wrong("no error", self.came())
        return self

    def without_credit(self) -> Self:
        """From here on, the case itself says how much the server may send."""
        self.crediting = False
        return self

    def need_size(self, size: int) -> None:
        """Skip the case where the body at `path` is too small for it."""
        if self.target.size < size:
            raise Skip(f"the body is smaller than {size}")


def raw(lines: Iterable[tuple[str, str]]) -> Fields:
    """Field lines as octets; in a case's text, one character is one octet."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]


def names(codes: Iterable[int]) -> str:
    """Error codes in words."""
    return " or ".join(map(wire.code_name, codes))


def unpadded(frame: Frame) -> bytes:
    """The content of DATA, or the fragment of HEADERS."""
    payload = frame.payload
    if frame.flags & wire.PADDED:
        if not payload or payload[0] >= len(payload):
            raise Wrong("less padding than payload (6.1)", str(frame))
        payload = payload[1 : len(payload) - payload[0]]
    if frame.type == wire.HEADERS and frame.flags & wire.WITH_PRIORITY:
        payload = payload[5:]
    return payload
