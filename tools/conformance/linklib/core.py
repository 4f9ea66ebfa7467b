"""A core of m2m-link(7): reads requests that refer to others, and codes replies.

`CoreLink` is what it knows of one connection, without I/O. `Core` is a server on the loopback, a
thread for each connection, that answers by itself with what `origin` gives.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from random import Random

import h2.config
import h2.connection
import h2.events
from h2.exceptions import ProtocolError

from linklib import forms, memory, message, replies, wire
from linklib.after_request import CODING, LARGEST_WHOLE, Before, ends

Fields = list[tuple[str, str]]


@dataclass
class Answer:
    """A reply of a model server. `pieces` are events of a stream, or parts of a body; `gzips` is
    for one of HTTP/1.1, which codes it itself."""

    content_type: str
    pieces: Sequence[bytes]
    status: int = 200
    gzips: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


@dataclass
class Sent:
    """What goes out on the link: the fields, and the parts of the body as they are coded."""

    status: int
    fields: Fields
    parts: list[bytes]
    coding: str = ""


@dataclass(frozen=True)
class Offer:
    """The SETTINGS of a core; the sizes in KiB."""

    version: int = wire.VERSION
    name: bytes = wire.NAME
    size: int = 32 << 10
    scope_size: int = 4096
    seconds: int = 900

    def settings(self) -> dict[int, int]:
        return {
            wire.OFFER: self.version << 24 | self.size,
            wire.DICTIONARIES: int.from_bytes(self.name, "big"),
            wire.SECONDS: self.seconds,
            wire.SCOPE_SIZE: self.scope_size,
        }


# ---- What a core does, and what it answers ----


class CoreLink:
    """The entries of one connection, and the answers that do not come from the model server."""

    def __init__(self, offer: Offer, largest: int = 64 << 20) -> None:
        ours = offer.version == wire.VERSION and offer.name == wire.NAME
        self._is_link = bool(ours and offer.size and offer.seconds)
        self._largest = largest
        self._memory = memory.Memory(offer.size << 10, offer.scope_size << 10, offer.seconds + 60)
        self.ends: dict[int, bytes] = {}
        """By stream, those after which its response may be coded."""

    def forget(self) -> None:
        """Any side may forget any entry at any time."""
        self._memory.clear()

    def read(
        self, stream: int, fields: Fields, target: str, content: bytes, now: float
    ) -> bytes | Sent:
        """The body of a request on the link, or what is wrong with it."""
        if not self._is_link:
            return Sent(415, [], [b"no link"])
        if len(content) > self._largest:
            return Sent(413, [], [b"too large"])
        try:
            body, reference, entry = message.read(
                stream,
                content,
                lambda number: self._lookup(number, fields, target, now),
                lambda number: self._memory.use(number, now, drop_replaced=True),
                self._largest,
            )
            scope = memory.scope(fields, target, body)
            if entry is not None and entry.scope != scope:
                raise message.Miss("another scope")
        except wire.Broken as error:
            return Sent(400, [], [str(error).encode()])
        except message.TooLarge:
            return Sent(413, [], [b"too large"])
        except message.Miss as miss:
            return Sent(409, [("m2m-link", "miss")], [str(miss).encode()])
        self.ends[stream] = message.ends_of(reference, entry)
        self._memory.add(message.entry_of(stream, body, scope, reference, entry), now)
        return body

    def _lookup(self, number: int, fields: Fields, target: str, now: float) -> message.Entry:
        self._memory.age(now)
        if number not in self._memory:
            raise message.Miss("no such entry")
        entry = self._memory[number]
        if memory.credentials(fields, target) != entry.scope.credentials:
            raise message.Miss("other credentials")
        return entry

    def ended(self, stream: int, answer: Answer) -> None:
        """The response has come to its end: what edge and core make of it."""
        if stream in self._memory:
            request = self._memory[stream].body
            text = replies.text(answer.content_type, answer.body, request)
            self._memory.set_reply(stream, text, ends(answer.body, answer.content_type))


def code(
    answer: Answer, accepted: str, before: Before | None = None, rng: Random | None = None
) -> Sent:
    """The answer in the form that the request asks for, or after what is `before` it, if there is
    `rng`."""
    codings = {coding.strip() for coding in accepted.split(",")}
    stream = replies.is_stream(answer.content_type)
    asked = wire.EVENTS in codings if stream else wire.STATIC in codings
    if before and rng and asked and (stream or len(answer.body) <= LARGEST_WHOLE):
        return _sent(answer, code_after(answer, before, rng), CODING)
    if stream:
        for coding in (wire.EVENTS, wire.STATIC):
            if coding in codings:
                writer = forms.StreamWriter(words=coding == wire.EVENTS)
                parts = [writer.batch([part]) for part in _parts(answer.pieces)]
                return _sent(answer, [*parts, writer.end()], coding)
    elif wire.STATIC in codings:
        return _sent(answer, [forms.write_whole(answer.body)], wire.STATIC)
    return _sent(answer, list(answer.pieces))


def _sent(answer: Answer, parts: list[bytes], coding: str = "") -> Sent:
    return Sent(answer.status, [("content-type", answer.content_type)], parts, coding)


def _parts(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """What fits into a batch."""
    for piece in pieces:
        for at in range(0, len(piece), forms.PLAIN):
            yield piece[at : at + forms.PLAIN]


def code_after(answer: Answer, before: Before, rng: Random) -> list[bytes]:
    """The answer after what is before it, in any of the forms that the page allows."""
    if replies.is_stream(answer.content_type):
        return list(_stream_after(answer.pieces, before, rng))
    if rng.random() < 0.3:
        return [b"\0" + forms.write_whole(answer.body)]
    headers, far = rng.random() < 0.3, rng.random() < 0.3
    return [before.write_whole(answer.body, headers=headers, far=far)]


def _stream_after(
    events: Sequence[bytes], before: Before, rng: Random
) -> Iterator[bytes]:
    """An event of 1024 bytes or more is usually a piece, or some; others are sometimes. None is
    if the first eight batches had none."""
    writer = forms.StreamWriter(words=True, pieces=before)
    size = rng.choice((100, 3000, forms.PLAIN, forms.PLAIN))
    pieces, often = 0, rng.choice((0.0, 0.5, 1.0))
    parts = [each[at : at + size] for each in events for at in range(0, len(each), size)]
    for number, part in enumerate(parts):
        if rng.random() < 0.1:
            yield b"\1" * rng.randrange(3)
        may_be = pieces < forms.MOST_PIECES if pieces else number < forms.FIRST_BATCHES
        if may_be and rng.random() < (often if len(part) >= 1024 else often / 8):
            pieces += 1
            yield writer.piece(part, headers=rng.random() < 0.3)
        else:
            yield writer.batch([part])
    yield writer.end()


# ---- The server ----


@dataclass
class Request:
    """A request as it came, and on which connection, counted from 0."""

    connection: int
    stream: int
    fields: Fields
    content: bytes = b""
    body: bytes = b""
    status: int = 0
    size_back: int = 0

    @property
    def is_linked(self) -> bool:
        return self.field("content-encoding") == "m2m-link"

    def field(self, name: str) -> str:
        return ", ".join(value for key, value in self.fields if key == name)


Origin = Callable[[Request], Answer]
Tamper = Callable[[Request, Sent], Sent | int]


@dataclass
class Core:
    """`rng` says how responses are coded after their requests, which they are not without it.
    `tamper` may change what is sent for a request, or return the error code of a reset. `requests`
    has all that came, `errors` what our own side stumbled over; `settled` is set once an edge has
    acknowledged our SETTINGS, or left."""

    origin: Origin
    offer: Offer = field(default_factory=Offer)
    says: str = "v=2"
    tamper: Tamper = lambda request, sent: sent
    rng: Random | None = None
    requests: list[Request] = field(default_factory=list)
    connections: list[_Connection] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    settled: threading.Event = field(default_factory=threading.Event)

    def start(self) -> int:
        """Serve; the port."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        port: int = self._listener.getsockname()[1]
        return port

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, peer = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(sock, peer), daemon=True).start()

    def _serve(self, sock: socket.socket, peer: object) -> None:
        with contextlib.suppress(OSError), sock:
            if sock.recv(4, socket.MSG_PEEK).startswith(b"PRI"):
                connection = _Connection(self, sock, len(self.connections))
                self.connections.append(connection)
                try:
                    connection.run()
                except (ProtocolError, LookupError, ValueError) as error:
                    self.errors.append(error)
                finally:
                    self.settled.set()
            else:
                _Cleartext(sock, peer, self)

    def drop_connections(self) -> None:
        """As a core that was restarted."""
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.drop_connections()


class _Cleartext(BaseHTTPRequestHandler):
    """DISCOVERY, Cleartext: what is spoken before the edge knows that this is a core."""

    protocol_version = "HTTP/1.1"

    def __init__(self, sock: socket.socket, peer: object, core: Core) -> None:
        self._core = core
        super().__init__(sock, peer, core)  # type: ignore[arg-type]

    def do_POST(self) -> None:
        fields = [(name.lower(), value) for name, value in self.headers.items()]
        content = self.rfile.read(int(self.headers["content-length"]))
        request = Request(-1, 0, fields, content, content)
        self._core.requests.append(request)
        answer = self._core.origin(request)
        request.size_back = len(answer.body)
        self.send_response(answer.status)
        self.send_header("content-type", answer.content_type)
        self.send_header("content-length", str(len(answer.body)))
        codings = {coding.strip() for coding in request.field("accept-encoding").split(",")}
        if codings & {"m2m", wire.STATIC}:
            self.send_header("m2m-link", self._core.says)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def with_settings(first: bytes, settings: dict[int, int]) -> bytes:
    """The first frame, which is SETTINGS, with these, too: hyperframe sends 8 bits of a code."""
    more = b"".join(struct.pack(">HL", *setting) for setting in settings.items())
    length = int.from_bytes(first[:3], "big")
    head, rest = first[3 : 9 + length], first[9 + length :]
    return (length + len(more)).to_bytes(3, "big") + head + more + rest


_PIECE = 50  # bytes that are written at once, if that can make a difference


class _Connection:
    """A connection with prior knowledge of HTTP/2."""

    def __init__(self, core: Core, sock: socket.socket, number: int) -> None:
        self.core, self.sock, self.number = core, sock, number
        self.takes_pieces = self.reads_after = False
        self.link = CoreLink(core.offer)
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._gone: set[int] = set()
        self._coming: dict[int, Request] = {}
        self._going: dict[int, tuple[bytearray, Answer | None]] = {}

    def run(self) -> None:
        self._h2.initiate_connection()
        self.sock.sendall(with_settings(self._h2.data_to_send(), self.core.offer.settings()))
        while data := self.sock.recv(65536):
            events = self._h2.receive_data(data)
            # What is reset in the same breath has no stream any more to answer on.
            resets = (each for each in events if isinstance(each, h2.events.StreamReset))
            self._gone.update(each.stream_id for each in resets)
            for event in events:
                self._on(event)
            self._flush()

    def _send(self) -> None:
        data = self._h2.data_to_send()
        while self.takes_pieces and len(data) > _PIECE:
            self.sock.sendall(data[:_PIECE])
            data = data[_PIECE:]
        self.sock.sendall(data)

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            fields = [(str(name), str(value)) for name, value in event.headers]
            self._coming[event.stream_id] = Request(self.number, event.stream_id, fields)
        elif isinstance(event, h2.events.DataReceived):
            self._coming[event.stream_id].content += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id not in self._gone:
            self._answer(self._coming.pop(event.stream_id))
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self.takes_pieces |= wire.TAKES_PIECES in event.changed_settings
            self.reads_after |= wire.READS_AFTER in event.changed_settings
        elif isinstance(event, h2.events.SettingsAcknowledged):
            self.core.settled.set()
        elif isinstance(event, h2.events.StreamReset):
            self._coming.pop(event.stream_id, None)
            self._going.pop(event.stream_id, None)

    def _answer(self, request: Request) -> None:
        self.core.requests.append(request)
        answer, sent = self._read(request)
        request.status = sent.status
        tampered = self.core.tamper(request, sent)
        if isinstance(tampered, int):
            self._h2.reset_stream(request.stream, tampered)
            return
        fields = [(":status", str(tampered.status)), *tampered.fields]
        self._h2.send_headers(request.stream, fields)
        content = b"".join(tampered.parts)
        request.size_back = len(content)
        self._going[request.stream] = bytearray(content), answer

    def _read(self, request: Request) -> tuple[Answer | None, Sent]:
        """Decode the request, and code its answer."""
        have, request.body = "", request.content
        if request.is_linked:
            read = self.link.read(
                request.stream, request.fields, request.field(":path"), request.content,
                time.monotonic(),
            )  # fmt: skip
            if isinstance(read, Sent):
                return None, read
            request.body, have = read, "have"
        elif request.field("content-encoding") == wire.STATIC:
            request.body = forms.read_whole(request.content, wire.REQUEST)
        answer = self.core.origin(request)
        if have and 200 <= answer.status < 300:
            have = "have, reply"
        rng = self.core.rng if have and self.reads_after else None
        before = Before(request.body, self.link.ends.pop(request.stream, b""))
        sent = code(answer, request.field("accept-encoding"), before, rng)
        sent.fields += [("content-encoding", sent.coding)] if sent.coding else []
        sent.fields += [("m2m-link", have)] if have else []
        return answer if have == "have, reply" else None, sent

    def _flush(self) -> None:
        """Send what the windows allow; a response that has ended is made a text of first."""
        for stream, (left, answer) in list(self._going.items()):
            while left:
                room = min(
                    self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size
                )
                if room <= 0:
                    break
                self._h2.send_data(stream, bytes(left[:room]))
                del left[:room]
            if not left:
                del self._going[stream]
                if answer is not None:
                    self.link.ended(stream, answer)
                self._h2.end_stream(stream)
        self._send()
