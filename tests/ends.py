"""Both ends of an exchange in either version, for tests that do not care which.

`Ask` is an exchange as the client sees it, `Call` as the upstream sees it. The HTTP/1.1 ends read
with h11, the HTTP/2 ends are the h2 library as it comes, with all its checks: neither is what the
proxy reads and writes with.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

import h11
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from link import Raw

Fields = Iterable[tuple[bytes, bytes]]


class Message:
    """What one end has received of an exchange, and how it goes on sending."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.head = False
        self.complete = False
        self.reset: int | None = None
        """The code of the reset that ended it; for HTTP/1.1, 0 for a connection that ended."""

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def broken(self) -> bool:
        """Whether it ended before its time, so that this end can tell."""
        return self.reset is not None and not self.complete

    def get(self, name: bytes) -> bytes | None:
        return dict(self.headers).get(name)

    def send(self, data: bytes) -> None:
        raise NotImplementedError

    def end(self, *trailers: tuple[bytes, bytes]) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        """Break off."""
        raise NotImplementedError


class Ask(Message):
    """The client's view: what is received is the response."""

    status = 0

    def __init__(self) -> None:
        super().__init__()
        self.informational: list[int] = []


class Call(Message):
    """The upstream's view: what is received is the request."""

    method = path = authority = b""
    headers_sent = False

    def respond(self, status: int, *fields: tuple[bytes, bytes]) -> None:
        """The head; without content-length the body ends with `end`."""
        raise NotImplementedError

    def reply(self, body: bytes, *fields: tuple[bytes, bytes], status: int = 200) -> None:
        """A whole response with a counted body."""
        self.respond(status, *fields, (b"content-length", b"%d" % len(body)))
        if body:
            self.send(body)
        self.end()


# -- HTTP/1.1 -----------------------------------------------------------------------------------


class _H1(Raw):
    """A connection with one exchange at a time."""

    def __init__(self, role: Any) -> None:
        super().__init__()
        self.h11 = h11.Connection(role)
        self.message: Message | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.h11.receive_data(data)
        self.read()

    def eof_received(self) -> bool:
        self._over()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._over()

    def _over(self) -> None:
        if self.message is not None and self.message.reset is None:
            self.message.reset = 0

    def read(self) -> None:
        while True:
            event = self.h11.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED):
                return
            self.on_event(event)

    def on_event(self, event: Any) -> None:
        message = self.message
        assert message is not None
        if isinstance(event, h11.Data):
            message.chunks.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            message.complete = True
            message.trailers = list(event.headers)

    def write(self, event: Any) -> None:
        self.send(self.h11.send(event) or b"")


class H1Client(_H1):
    """The client's end of a connection."""

    def __init__(self) -> None:
        super().__init__(h11.CLIENT)

    @property
    def is_free(self) -> bool:
        return not self.is_gone and (self.message is None or self.h11.states == _FRESH)

    def ask(self, method: bytes, path: bytes, fields: Fields, length: int | None) -> Ask:
        if self.message is not None:
            self.h11.start_next_cycle()
        ask = self.message = H1Ask(self)
        headers = [(b"host", b"proxy"), *fields]
        if length is None:
            headers.append((b"transfer-encoding", b"chunked"))
        elif length or method not in (b"GET", b"HEAD"):
            headers.append((b"content-length", b"%d" % length))
        self.write(h11.Request(method=method, target=path, headers=headers))
        return ask

    def on_event(self, event: Any) -> None:
        ask = self.message
        assert isinstance(ask, Ask)
        if isinstance(event, h11.InformationalResponse):
            ask.informational.append(event.status_code)
        elif isinstance(event, h11.Response):
            ask.status, ask.head, ask.headers = event.status_code, True, list(event.headers)
        else:
            super().on_event(event)


_FRESH = {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}


class H1Ask(Ask):
    def __init__(self, connection: H1Client) -> None:
        super().__init__()
        self.connection = connection

    def send(self, data: bytes) -> None:
        self.connection.write(h11.Data(data=data))

    def end(self, *trailers: tuple[bytes, bytes]) -> None:
        self.connection.write(h11.EndOfMessage(headers=list(trailers)))

    def abort(self) -> None:
        self.connection.transport.close()


class H1Server(_H1):
    """The upstream's end of a connection."""

    def __init__(self, on_call: Callable[[Call], None]) -> None:
        super().__init__(h11.SERVER)
        self.on_call = on_call

    def on_event(self, event: Any) -> None:
        if isinstance(event, h11.Request):
            call = self.message = H1Call(self)
            call.method, call.path, call.head = event.method, event.target, True
            call.headers = [field for field in event.headers if field[0] != b"host"]
            call.authority = dict(event.headers)[b"host"]
            self.on_call(call)
        elif not isinstance(event, h11.ConnectionClosed):
            super().on_event(event)


class H1Call(Call):
    def __init__(self, connection: H1Server) -> None:
        super().__init__()
        self.connection = connection
        self.ended = False

    def respond(self, status: int, *fields: tuple[bytes, bytes]) -> None:
        self.headers_sent = status >= 200
        kind = h11.InformationalResponse if status < 200 else h11.Response
        self.connection.write(kind(status_code=status, headers=list(fields)))

    def send(self, data: bytes) -> None:
        self.connection.write(h11.Data(data=data))

    def end(self, *trailers: tuple[bytes, bytes]) -> None:
        self.connection.write(h11.EndOfMessage(headers=list(trailers)))
        if self.connection.h11.states == _FRESH:
            self.connection.h11.start_next_cycle()
            self.connection.read()

    def abort(self) -> None:
        self.connection.transport.close()


# -- HTTP/2 -------------------------------------------------------------------------------------


class _Enduring(H2Connection):
    """The library as it comes, but that GOAWAY is not the end of it (RFC 9113 6.8)."""

    def _receive_goaway_frame(self, frame: Any) -> Any:
        state = self.state_machine.state
        result = super()._receive_goaway_frame(frame)
        self.state_machine.state = state
        return result


class _H2(Raw):
    """A connection with many streams."""

    def __init__(self, client: bool, settings: dict[int, int] | None = None) -> None:
        super().__init__()
        self.h2 = _Enduring(H2Configuration(client_side=client, header_encoding=None))
        self.settings = settings or {}
        self.streams: dict[int, Message] = {}
        self.unsent: dict[int, tuple[bytearray, Any]] = {}  # data, then None, () or trailers
        self.keeps_reading = True
        """Whether what arrives is credited; `Message` stays readable either way."""
        self.kept: list[tuple[int, int]] = []
        self.events: list[Any] = []

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        known = self.h2.local_settings._settings
        others = b""
        for code, value in self.settings.items():
            if code in known:
                known[code][0] = value  # from the first SETTINGS on
            else:
                others += struct.pack(">HL", code, value)
        self.h2.initiate_connection()
        first = self.h2.data_to_send()
        # The library writes only eight bits of a code.
        at = 24 if self.h2.config.client_side else 0
        size = int.from_bytes(first[at : at + 3], "big") + len(others)
        self.send(first[:at] + size.to_bytes(3, "big") + first[at + 3 :] + others)

    def flush(self) -> None:
        if not self.transport.is_closing():
            self.send(self.h2.data_to_send())

    def eof_received(self) -> bool:
        self._over()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._over()

    def _over(self) -> None:
        for message in self.streams.values():
            if message.reset is None:
                message.reset = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        for event in self.h2.receive_data(data):
            self.events.append(event)
            self.on_event(event)
        self.pump()

    def on_event(self, event: Any) -> None:
        message = self.streams.get(getattr(event, "stream_id", None) or 0)
        if message is None:
            return
        if isinstance(event, DataReceived):
            if event.data:
                message.chunks.append(event.data)
            self.kept.append((event.flow_controlled_length, event.stream_id))
            if self.keeps_reading:
                self.read_on()
        elif isinstance(event, TrailersReceived):
            message.trailers = list(event.headers)
        elif isinstance(event, StreamEnded):
            message.complete = True
        elif isinstance(event, StreamReset):
            message.reset = event.error_code

    def read_on(self) -> None:
        """Credit what has arrived, and from now on what arrives."""
        self.keeps_reading = True
        for size, stream_id in self.kept:
            self.h2.acknowledge_received_data(size, stream_id)
        self.kept.clear()
        self.flush()

    def put(self, stream_id: int, data: bytes, end: Any = None) -> None:
        waiting, _ = self.unsent.setdefault(stream_id, (bytearray(), None))
        waiting += data
        self.unsent[stream_id] = (waiting, end)
        self.pump()

    def pump(self) -> None:
        """Send what the windows let go."""
        for stream_id, (waiting, end) in list(self.unsent.items()):
            message = self.streams[stream_id]
            if message.reset is not None:
                del self.unsent[stream_id]
                continue
            while waiting:
                window = self.h2.local_flow_control_window(stream_id)
                size = min(window, len(waiting), self.h2.max_outbound_frame_size)
                if size <= 0:
                    break
                self.h2.send_data(stream_id, bytes(waiting[:size]))
                del waiting[:size]
            if not waiting:
                del self.unsent[stream_id]
                if end:
                    self.h2.send_headers(stream_id, end, end_stream=True)
                elif end is not None:
                    self.h2.end_stream(stream_id)
        self.flush()

    @property
    def waiting(self) -> int:
        """Bytes that the windows do not let go."""
        return sum(len(data) for data, _ in self.unsent.values())


class _H2Message(Message):
    connection: _H2
    id: int

    def send(self, data: bytes) -> None:
        self.connection.put(self.id, data)

    def end(self, *trailers: tuple[bytes, bytes]) -> None:
        self.connection.put(self.id, b"", trailers)

    def abort(self) -> None:
        self.connection.h2.reset_stream(self.id, 8)
        self.connection.flush()


class H2Client(_H2):
    """The client's end of a connection."""

    def __init__(self, settings: dict[int, int] | None = None) -> None:
        super().__init__(True, settings)

    @property
    def is_free(self) -> bool:
        return not self.is_gone

    def ask(self, method: bytes, path: bytes, fields: Fields, length: int | None) -> Ask:
        ask = H2Ask()
        ask.connection, ask.id = self, self.h2.get_next_available_stream_id()
        self.streams[ask.id] = ask
        headers = [(b":method", method), (b":scheme", b"http"), (b":authority", b"proxy")]
        headers += [(b":path", path), *fields]
        if length:
            headers.append((b"content-length", b"%d" % length))
        self.h2.send_headers(ask.id, headers)
        self.flush()
        return ask

    def on_event(self, event: Any) -> None:
        ask = self.streams.get(getattr(event, "stream_id", None) or 0)
        if isinstance(event, ResponseReceived) and isinstance(ask, Ask):
            ask.status, ask.head = int(event.headers[0][1]), True
            ask.headers = [tuple(field) for field in event.headers[1:]]
        elif isinstance(event, InformationalResponseReceived) and isinstance(ask, Ask):
            ask.informational.append(int(event.headers[0][1]))
        else:
            super().on_event(event)


class H2Ask(_H2Message, Ask):
    """See `Ask`."""


class H2Server(_H2):
    """The upstream's end of a connection."""

    def __init__(
        self, on_call: Callable[[Call], None], settings: dict[int, int] | None = None
    ) -> None:
        super().__init__(False, settings)
        self.on_call = on_call

    def on_event(self, event: Any) -> None:
        if isinstance(event, RequestReceived):
            call = H2Call()
            call.connection, call.id, call.head = self, event.stream_id, True
            self.streams[call.id] = call
            pseudo = {name: value for name, value in event.headers if name[:1] == b":"}
            call.method, call.path = pseudo[b":method"], pseudo[b":path"]
            call.authority = pseudo[b":authority"]
            call.headers = [tuple(field) for field in event.headers if field[0][:1] != b":"]
            self.on_call(call)
        elif isinstance(event, WindowUpdated):
            pass  # `pump` is called after every read
        else:
            super().on_event(event)


class H2Call(_H2Message, Call):
    """See `Call`."""

    def respond(self, status: int, *fields: tuple[bytes, bytes]) -> None:
        self.headers_sent = status >= 200
        self.connection.h2.send_headers(self.id, [(b":status", b"%d" % status), *fields])
        self.connection.flush()
