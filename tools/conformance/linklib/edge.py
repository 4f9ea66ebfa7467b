"""An edge of m2m-link(7): codes requests, and decodes replies and events.

`EdgeLink` is what it knows of one connection, without I/O. `Edge` is one connection to a core on
the loopback. What it refers to is what `choose` takes of all that can be read; the rules of
isolation are the edge's alone, and this one has no secrets.
"""

from __future__ import annotations

import re
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from linklib import after_request, forms, memory, message, replies, wire
from linklib.message import (
    BLOCK,
    EDITS,
    INSERTION,
    MOST_EDITS,
    MOST_RUNS,
    RUNS,
    Entry,
    Reference,
)

_text = re.compile(rb'[^"]{12,}').finditer

Fields = list[tuple[str, str]]
Option = tuple[Entry, Reference] | None


class Options(NamedTuple):
    """What a message may be: every one of `all` stands for the same body."""

    body: bytes
    all: Sequence[Option]


Choose = Callable[[Options], Option]

# ---- What the body continues ----


def options(entries: Sequence[Entry], body: bytes) -> list[Option]:
    """All references that a message of `body` could make to these entries."""
    found: list[Option] = [None]
    for entry in entries:
        kinds = [0, 2] + ([1, 3] if entry.reply is not None else [])
        with_reply = (0, 1) if entry.reply is not None else (0,)
        found += [(entry, Reference(entry.number, kind)) for kind in kinds]
        for after in insertions(entry, body):
            for extra in (with_reply[-1], with_reply[0] | 4, with_reply[-1] | 4):
                found.append((entry, Reference(entry.number, INSERTION + extra, after)))
                if after == entry.after:
                    found.append((entry, Reference(entry.number, INSERTION + extra + 2)))
        edits = edits_of(entry.body, body)
        found += [
            (entry, Reference(entry.number, EDITS + extra, edits=edits)) for extra in with_reply
        ]
        if runs := runs_of(entry.body, body):
            found += [
                (entry, Reference(entry.number, RUNS + extra, None, runs)) for extra in with_reply
            ]
    return found


def shared(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def insertions(entry: Entry, body: bytes) -> set[int]:
    """How many bytes of the entry's body may come after a place where what is new is inserted."""
    old = entry.body
    before, after = shared(old, body), shared(old[::-1], body[::-1])
    if before + after < len(old) or len(body) < len(old):
        return set()
    return {len(old) - before, min(after, len(old))}


def edits_of(old: bytes, body: bytes) -> tuple[tuple[int, int, int], ...]:
    """What makes `body` of `old`: all between what both begin and end with, but for texts that
    both have in the same order."""
    at_old = at_new = shared(old, body)
    rest = min(shared(old[::-1], body[::-1]), min(len(old), len(body)) - at_old)
    last_old, last_new = len(old) - rest, len(body) - rest
    edits: list[tuple[int, int, int]] = []
    done = 0
    while len(edits) < MOST_EDITS - 1:
        texts = islice(_text(body, at_new, last_new), 20)
        again = ((old.find(each[0], at_old, last_old), each) for each in texts)
        found, text = next((each for each in again if each[0] >= 0), (-1, None))
        if text is None:
            break
        edits.append((at_old - done, found - at_old, text.start() - at_new))
        done, at_old, at_new = found, found + len(text[0]), text.end()
    return (*edits, (at_old - done, last_old - at_old, last_new - at_new))


def runs_of(old: bytes, body: bytes) -> tuple[tuple[int, int], ...]:
    """The whole blocks of `old` that `body` has, as runs."""
    runs: list[tuple[int, int]] = []
    at = 0
    for block in range(len(old) // BLOCK):
        if old[block * BLOCK : (block + 1) * BLOCK] in body:
            if runs and block == at:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((block - at, 1))
            at = block + 1
    return tuple(runs[:MOST_RUNS])


def smallest(choices: Options) -> Option:
    """What costs least, without trying all of the far past."""

    def size(option: Option) -> int:
        entry, reference = option or (None, None)
        return len(message.build(1 << 20 | 1, choices.body, entry, reference))

    return min(choices.all[:24], key=size)


# ---- What an edge does ----


class EdgeLink:
    """What the core of one connection is believed to remember."""

    def __init__(self, settings: dict[int, int]) -> None:
        offer, seconds = settings.get(wire.OFFER, 0), settings.get(wire.SECONDS, 900)
        size, scope_size = offer & 0xFFFFFF, settings.get(wire.SCOPE_SIZE, 4096)
        name = settings.get(wire.DICTIONARIES, 0).to_bytes(4, "big")
        self.is_link = bool(
            offer >> 24 == wire.VERSION and size and seconds and name == wire.NAME
        )
        # 7 eighths of what is announced.
        self._memory = memory.Memory(size * 896, scope_size * 896, seconds)
        self._sent: dict[int, Entry] = {}
        self.ends: dict[int, bytes] = {}
        """By stream, those after which its response may be coded."""
        self._remembers_all = False

    def code(
        self, stream: int, fields: Fields, target: str, body: bytes, now: float, choose: Choose
    ) -> tuple[bytes, Option]:
        """The message of a request."""
        scope = memory.scope(fields, target, body)
        mine = (entry for entry in self._memory.entries(now) if entry.scope == scope)
        entries = [entry for entry in mine if entry.number < stream]
        chosen = choose(Options(body, options(entries, body)))
        entry, reference = chosen or (None, None)
        if entry is not None:
            self._memory.use(entry.number, now, drop_replaced=False)
        self._sent[stream] = message.entry_of(stream, body, scope, reference, entry)
        self.ends[stream] = message.ends_of(reference, entry)
        return message.build(stream, body, entry, reference), chosen

    def have(self, stream: int, now: float) -> None:
        """From now on the entry may be referred to."""
        entry = self._sent.pop(stream)
        if not self._remembers_all:
            self._memory.forget(entry.replaces)
        self._memory.add(entry, now)

    def ended(self, stream: int, content_type: str, body: bytes) -> None:
        if stream in self._memory:
            request = self._memory[stream].body
            text = replies.text(content_type, body, request)
            self._memory.set_reply(stream, text, after_request.ends(body, content_type))

    def text(self, stream: int) -> bytes | None:
        return self._memory[stream].reply

    def pretend(self, stream: int, text: bytes) -> None:
        """Take it for the text of a reply, even if there is none."""
        self._memory.set_reply(stream, text)

    def remember_too_much(self) -> None:
        """More than the core does, and what is replaced, too: misses will come."""
        self._remembers_all = True
        self._memory.size = self._memory.scope_size = 1 << 30

    def forget(self, stream: int) -> None:
        self._sent.pop(stream, None)
        self._memory.forget(stream)


# ---- The connection ----


@dataclass
class Reply:
    """What came on a stream. `batches` are the plain ones of an event stream that was coded,
    `pieces` how many of them were pieces, `fillers` how many there were beside them; `request` is
    the body of one that went by the link, `ends` those of the reply that it goes on from."""

    status: int = 0
    fields: Fields = field(default_factory=list)
    content: bytes = b""
    frames: int = 0
    request: bytes | None = None
    ends: bytes = b""
    pieces: int = 0
    fillers: int = 0
    body: bytes = b""
    batches: list[bytes] = field(default_factory=list)
    wire_out: int = 0
    reset: bool = False
    tries: int = 1

    def field(self, name: str) -> str:
        return ", ".join(value for key, value in self.fields if key == name)

    def decode(self) -> None:
        coding, kind = self.field("content-encoding"), self.field("content-type")
        before = None
        if coding == after_request.CODING:
            if self.request is None:
                raise wire.Broken("coded after a request that did not go by the link")
            before = after_request.Before(self.request, self.ends)
        if replies.is_stream(kind) and (before or coding in (wire.STATIC, wire.EVENTS)):
            reader = forms.StreamReader(words=coding == wire.EVENTS, pieces=before)
            self.batches = reader.feed(self.content)
            self.pieces, self.fillers = reader.pieces, reader.fillers
            if not reader.ended:
                raise wire.Broken("a stream that was cut")
            self.body = b"".join(self.batches)
        elif before:
            self.body = before.read_whole(self.content)
        else:
            self.body = forms.read_whole(self.content) if coding == wire.STATIC else self.content


class Edge:
    """A connection to a core, with prior knowledge of HTTP/2."""

    def __init__(
        self,
        port: int,
        choose: Choose = smallest,
        codings: str = "",
        *,
        takes_pieces: bool = False,
        reads_after: bool = False,
    ) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = h2.config.H2Configuration(header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self.choose, self._codings = choose, codings or f"{wire.STATIC}, {wire.EVENTS}"
        self.settings: dict[int, int] = {}
        self._replies: dict[int, Reply] = {}
        self._ended: set[int] = set()
        self._h2.initiate_connection()
        self._send()
        while not self.settings:
            self._receive()
        self.link = EdgeLink(self.settings)
        says = ((wire.TAKES_PIECES, takes_pieces), (wire.READS_AFTER, reads_after))
        settings = b"".join(struct.pack(">HL", code, 1) for code, said in says if said)
        if settings:
            self._sock.sendall(len(settings).to_bytes(3, "big") + b"\4\0\0\0\0\0" + settings)

    def close(self) -> None:
        self._sock.close()

    def exchange(self, target: str, fields: Fields, body: bytes) -> Reply:
        """Send a request in as few bytes as may be, and again as often as it has to be."""
        tries, out = 0, 0
        for choose in (self.choose, lambda choices: None, None) if self.link.is_link else (None,):
            reply = self._exchange_once(target, fields, body, choose)
            tries, out = tries + 1, out + reply.wire_out
            linked = reply.field("m2m-link")
            miss = reply.status == 409 and linked == "miss"
            if choose is None or (not miss and (
                linked.startswith("have") or reply.status not in (400, 409, 415, 422)
            )):
                break
            if not miss:
                reply = self._exchange_once(target, fields, body, None)
                tries, out = tries + 1, out + reply.wire_out
                break
        reply.tries, reply.wire_out = tries, out
        reply.decode()
        return reply

    def _exchange_once(
        self, target: str, fields: Fields, body: bytes, choose: Choose | None
    ) -> Reply:
        if choose is None:
            return self.wait(self.send(target, fields, body))
        stream, now = self._h2.get_next_available_stream_id(), time.monotonic()
        content, chosen = self.link.code(stream, fields, target, body, now, choose)
        self.send(target, [*fields, ("content-encoding", "m2m-link")], content)
        self._replies[stream].request = body
        self._replies[stream].ends = self.link.ends.pop(stream)
        reply = self.wait(stream)
        linked = reply.field("m2m-link")
        if linked.startswith("have"):
            self.link.have(stream, now)
            if linked == "have, reply" and 200 <= reply.status < 300:
                reply.decode()
                self.link.ended(stream, reply.field("content-type"), reply.body)
        else:
            self.link.forget(stream)
            if linked == "miss" and chosen is not None:
                self.link.forget(chosen[0].number)
        return reply

    def send(self, target: str, fields: Fields, content: bytes, *, end: bool = True) -> int:
        """A request as it is; its stream."""
        stream = self._h2.get_next_available_stream_id()
        self._replies[stream] = Reply(wire_out=len(content))
        head = [(":method", "POST"), (":scheme", "http"), (":authority", "m2m"), (":path", target)]
        head += [("content-type", "application/json"), ("accept-encoding", self._codings), *fields]
        self._h2.send_headers(stream, head)
        while content and stream not in self._ended:
            window = self._h2.local_flow_control_window(stream)
            room = min(window, self._h2.max_outbound_frame_size)
            if room <= 0:
                self._receive()
                continue
            self._h2.send_data(stream, content[:room])
            content = content[room:]
        if end and stream not in self._ended:
            self._h2.end_stream(stream)
        self._send()
        return stream

    @property
    def next(self) -> int:
        """The number of the next stream."""
        return self._h2.get_next_available_stream_id()

    @property
    def last(self) -> int:
        return self.next - 2

    def cancel(self, stream: int) -> None:
        if stream not in self._ended:
            self._h2.reset_stream(stream, 8)
            self._ended.add(stream)
            self._send()

    def wait(self, stream: int) -> Reply:
        while stream not in self._ended:
            self._receive()
        return self._replies[stream]

    def _send(self) -> None:
        self._sock.sendall(self._h2.data_to_send())

    def _receive(self) -> None:
        self._send()
        data = self._sock.recv(65536)
        if not data:
            raise ConnectionError("the core has closed the connection")
        for event in self._h2.receive_data(data):
            self._on(event)
        self._send()

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            for code, change in event.changed_settings.items():
                self.settings.setdefault(int(code), change.new_value)
        elif isinstance(event, h2.events.ResponseReceived):
            reply = self._replies[event.stream_id]
            reply.fields = [(str(name), str(value)) for name, value in event.headers]
            reply.status = int(reply.field(":status"))
        elif isinstance(event, h2.events.DataReceived):
            self._replies[event.stream_id].content += event.data
            self._replies[event.stream_id].frames += 1
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._ended.add(event.stream_id)
        elif isinstance(event, h2.events.ConnectionTerminated):
            raise ConnectionError(f"GOAWAY, {event.error_code}: {event.additional_data!r}")
        elif isinstance(event, h2.events.StreamReset):
            self._replies[event.stream_id].reset = True
            self._ended.add(event.stream_id)
