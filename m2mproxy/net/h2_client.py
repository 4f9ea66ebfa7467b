"""HTTP/2 towards upstreams: requests out, responses in.

The one rule: a request is sent again only when the upstream has said that it did not look at it,
or left without a word on a connection that had been at rest, and at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

from h2.errors import ErrorCodes

from m2mproxy.http.faults import Fault, UpstreamFault
from m2mproxy.http.headers import CREDENTIALS, Field
from m2mproxy.http.message import Request, Response
from m2mproxy.http.validate import Malformed
from m2mproxy.net import fields
from m2mproxy.net.certificate import alert
from m2mproxy.net.connection import (
    MOST_INFORMATIONAL,
    NO_SETTINGS,
    TOO_MANY_INFORMATIONAL,
    Owner,
    Runtime,
)
from m2mproxy.net.h2 import H2
from m2mproxy.net.h2_budget import RESETS, RESETS_RATE, WAITED, Budget
from m2mproxy.net.h2_engine import MAX_STREAM_ID, MAX_STREAMS, READS_PIECES
from m2mproxy.net.h2_hpack import NeverIndexedHeaderTuple
from m2mproxy.net.h2_stream import H2Stream
from m2mproxy.net.reusable import may_go_again

# Streams that are opened before the upstream has said how many it takes.
PROVISIONAL_STREAMS = 10
# Seconds that the peer of a connection that is to stay open may be silent before it is asked for a
# sign of life (PING, RFC 9113 6.7), and that it has for that. Whatever translates addresses between
# the two forgets a silent connection, and tells neither.
ASK_AFTER, GIVE_UP_AFTER = 45.0, 15.0
# Seconds of silence after which a request is not sent without asking, too; and that it has for the
# answer before further requests go elsewhere.
_ASK_ALONG, _DOUBT_AFTER = 20.0, 5.0
_ALIVE = b"m2malive"
_NAMES = {int(code): code.name for code in ErrorCodes}
# Requests that are given up before their answer begins, by all who are served here: so many, and
# so many a second, are reset at once. It is half of what a server like ours bears, since what
# leaves in some seconds can arrive together. The others are reset when they are too old to count.
_RESETS, _RESETS_RATE, _OLD = RESETS // 2, RESETS_RATE / 2, 2 * WAITED
# Bytes of a key that is remembered on a direct connection: "Bearer " and 33 more, which nobody
# guesses, and few enough to leave room for other fields (the table has 4096).
LEAST_OF_KEYS, MOST_OF_KEYS = 40, 512


class H2Client(H2):
    """A connection to an upstream."""

    __slots__ = (
        "_asked_at", "_ending", "_is_stuck", "_known", "_most", "_resets", "_unsent", "_used",
    )

    def __init__(
        self,
        owner: Owner,
        runtime: Runtime,
        announce: Mapping[int, int] = NO_SETTINGS,
    ) -> None:
        """`announce` are settings for the peer beyond those of RFC 9113, by code."""
        super().__init__(True, owner, runtime, announce)
        self._most = PROVISIONAL_STREAMS
        self._unsent: set[H2Stream] = set()  # opened by the pool, no request sent yet
        self._used = False  # whether it has served a request to its end
        self._known = False  # the pool has asked for a stream
        self._ending = False  # the upstream takes no more streams
        self._asked_at = math.inf  # for a sign of life, if nothing came since
        self._is_stuck = False  # nothing that was sent arrived for some seconds, nor came anything
        self._resets = Budget(runtime.loop.time, _RESETS, _RESETS_RATE)

    # -- what the pool asks ---------------------------------------------------------------------

    @property
    def is_usable(self) -> bool:
        """Whether another stream may be opened now."""
        return (
            not (self._closing or self._ending or self._is_doubtful)
            and self.streams < self._most
            and self._engine.highest_outbound_stream_id < MAX_STREAM_ID - 2 * MAX_STREAMS
        )

    @property
    def _is_doubtful(self) -> bool:
        """Whether nothing arrives there, or the upstream was asked for a sign of life and takes
        long to give one."""
        return self._is_stuck or self._loop.time() - self._asked_at > _DOUBT_AFTER

    @property
    def is_leaving(self) -> bool:
        """Whether the upstream has said GOAWAY."""
        return self._ending

    @property
    def expected_streams(self) -> int:
        """Streams that the upstream takes, once it has said so."""
        return max(1, self._most)

    @property
    def streams(self) -> int:
        """Streams that are open, or about to be."""
        return len(self._streams) + len(self._unsent)

    def open_stream(self) -> H2Stream:
        """A stream for a request."""
        self._known = True
        stream = H2Stream(self, 0, self._client)
        self._unsent.add(stream)
        return stream

    def doubt(self) -> None:
        """See `Reusable`."""
        if not self._closing:
            self._is_stuck = True
            if self._asked_at == math.inf:
                self._owner.doubted(self)

    def ask(self) -> None:
        """See `Reusable`."""
        if self._is_stuck and self._asked_at == math.inf and not self._closing:
            self._ask()

    # -- requests -------------------------------------------------------------------------------

    def send_response(self, stream: H2Stream, response: Response) -> None:
        raise RuntimeError("a client sends no responses")

    def send_request(self, stream: H2Stream, request: Request) -> None:
        """Write a request's head."""
        if self._closing:
            self._fault(stream, _refused("closed the connection before the request"))
            return
        self._unsent.discard(stream)
        stream.method = request.method
        stream.seen, stream.sent_at = self._frames_seen, self._loop.time()
        no_body = request.length == 0
        direct = self.session.is_direct
        section = [
            field if field[0] not in CREDENTIALS else _guarded(field, direct)
            for field in fields.request_fields(request)
        ]
        stream.id = self._engine.open(section, no_body)
        if not stream.id:  # it takes fewer now than when the stream was promised
            self._fault(stream, _refused("takes no more streams"))
            return
        self._streams[stream.id] = stream
        self._wake()
        heard_at = (self._deadline.when or math.inf) - ASK_AFTER
        if self._asked_at == math.inf and self._loop.time() - heard_at > _ASK_ALONG:
            self._ask()
        if no_body:
            stream.finished = stream.ended_out = True

    # -- responses ------------------------------------------------------------------------------

    def on_head(self, stream_id: int, section: list[Field], ended: bool) -> None:
        stream = self._streams.get(stream_id)
        response = self._read(stream, section, ended) if stream is not None else None
        if stream is None or response is None:
            return
        if ended:
            stream.ended_in = True
            stream.body.end()
        elif response.length == 0:
            self._turn.later(partial(self._nothing_follows, stream))
        stream.length = response.length
        stream.head.set(response)
        self._settle(stream)

    def _nothing_follows(self, stream: H2Stream) -> None:
        """The response is its head. Its end is not waited for, unless it came at once: a client has
        all that it asked for."""
        if not (stream.over or stream.ended_in):
            stream.body.end()

    def on_informational(self, stream_id: int, section: list[Field]) -> None:
        stream = self._streams.get(stream_id)
        response = self._read(stream, section, False) if stream is not None else None
        if stream is None or response is None:
            return
        stream.informational += 1
        if stream.informational > MOST_INFORMATIONAL:
            self._reset(stream, ErrorCodes.ENHANCE_YOUR_CALM, TOO_MANY_INFORMATIONAL)
        elif stream.on_informational is not None:
            stream.on_informational(response)

    def _read(self, stream: H2Stream, section: list[Field], ended: bool) -> Response | None:
        try:
            fields.check_size(section, self._limits)
            return fields.read_response(section, ended, stream.method)
        except Malformed as error:
            self._reset(stream, ErrorCodes.PROTOCOL_ERROR, str(error))
            return None

    def _over(self, stream: H2Stream) -> None:
        self._unsent.discard(stream)
        super()._over(stream)
        self._used = self._used or (stream.ended_in and stream.ended_out)
        if self.is_usable:
            self._owner.idle(self)
        elif not self.streams and (self._ending or not self._is_doubtful):
            self._close()  # it would have room now, if it ever had some again

    def give_up(self, stream: H2Stream) -> None:
        if stream.id and not (stream.ended_in and stream.ended_out):
            old_at = stream.sent_at + _OLD
            if not (stream.head.done or self._loop.time() >= old_at or self._resets.spend()):
                self._loop.call_at(old_at, stream.reset)  # its place stays taken until then
                return
            self._engine.reset_stream(stream.id, ErrorCodes.CANCEL)
            self._wake()
        self._over(stream)

    # -- is it there? ---------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        super().received(data)
        # Half of a slow frame is a sign of life, too.
        if self._is_stuck or self.session.idle_seconds is not None:
            self._watch()

    def _watch(self) -> None:
        """The peer was heard. The deadline is free for this until the connection closes. One that
        is not to stay open is only asked where that was in doubt."""
        if self._closing:
            return
        was_doubtful = self._is_doubtful
        self._asked_at, self._is_stuck = math.inf, False
        if self.session.idle_seconds is None:
            self._deadline.cancel()
        else:
            self._deadline.after(ASK_AFTER)
        if was_doubtful and self._known and self.is_usable:
            self._owner.idle(self)

    def _ask(self) -> None:
        self._asked_at = self._loop.time()
        self._engine.ping(_ALIVE)
        self._wake()
        self._deadline.after(GIVE_UP_AFTER)

    def _expired(self) -> None:
        if not (self._closing or self._reading):
            self._watch()  # it may have said something that we do not read yet
            return
        if self._closing or self._asked_at < math.inf:
            super()._expired()
        else:
            self._ask()

    def _idle_time_changed(self) -> None:
        self._watch()
        if self._known and not self._closing:
            self._owner.idle(self)

    def _nobody_between(self, says: Mapping[int, int]) -> None:
        if not self._closing:
            self._engine.tell({READS_PIECES: 1, **says})
            self._wake()

    # -- the upstream breaks off ----------------------------------------------------------------

    def on_settings(self) -> None:
        self._most = min(self._engine.peer.most_streams, MAX_STREAMS)
        if not (self._most or self.streams):
            self._close()  # it may mean that for a moment, but its place is better used than kept
            return
        super().on_settings()
        if self._known:
            self._owner.idle(self)

    def on_reset(self, stream_id: int, code: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if code == ErrorCodes.REFUSED_STREAM:  # RFC 9113 8.7
            self._fault(stream, _refused("refused the stream"))
        elif stream.ended_in:
            self._over(stream)  # it has answered, the rest of the request is not wanted
        else:
            reason = f"the upstream reset it: {_NAMES.get(code, code)}"
            self._fault(stream, UpstreamFault("disconnected", reason))

    def on_go_away(self, last: int) -> None:
        """Streams above the last are as if never sent (RFC 9113 6.8), the others go on."""
        is_first, self._ending = not self._ending, True
        above = [stream for number, stream in self._streams.items() if number > last]
        for stream in [*above, *self._unsent]:
            self._fault(stream, _refused("closes the connection"))
        if not self.streams:
            self._close()
        elif is_first:
            # For Python's h2 library that was the end: servers built on it (hypercorn) can answer
            # none of them, and wait for us to close. To read anything more is an error to it, upon
            # which they do.
            self._engine.ping(_ALIVE)
            self._wake()

    def _broken(self, stream: H2Stream, reason: str) -> None:
        self._fault(stream, UpstreamFault("protocol", f"the upstream's reply is broken: {reason}"))

    def _fault(self, stream: H2Stream, fault: Fault) -> None:
        self._over(stream)
        stream.head.fail(fault)
        stream.body.fail(fault)

    def _failed(self, reason: str) -> None:
        self._unsent_fault()
        for stream in list(self._streams.values()):
            self._broken(stream, reason)

    def _unsent_fault(self) -> None:
        """Nothing of these was sent: another connection may serve them."""
        for stream in list(self._unsent):
            self._fault(stream, _refused("closed the connection before the request"))

    def _disconnected(self, error: Exception | None = None) -> None:
        self._unsent_fault()
        for stream in list(self._streams.values()):
            answered = stream.head.done
            where = "in the middle of its response" if answered else "before its response"
            reason = f"the upstream closed the connection {where}{alert(error)}"
            again = self._used and not answered and stream.seen == self._frames_seen
            again = again and may_go_again(stream.method, self._loop.time() - stream.sent_at)
            fault = UpstreamFault("disconnected", reason, again)
            self._fault(stream, fault)


def _refused(what: str) -> UpstreamFault:
    return UpstreamFault("disconnected", f"the upstream {what}", unseen=True)


def _guarded(field: Field, direct: bool) -> Field:
    """Credentials stay out of the compression's memory, which others share (RFC 7541 7.1.3): who
    sees how long heads are could find one out by guessing. Not so a long one on a direct
    connection: it is found by guessing all of it, and such a guess can as well be sent."""
    name, value = field
    if direct and name != b"cookie" and LEAST_OF_KEYS <= len(value) <= MOST_OF_KEYS:
        return field
    return NeverIndexedHeaderTuple(name, value)
