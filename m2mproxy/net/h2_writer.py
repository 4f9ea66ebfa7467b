"""The send scheduler of an HTTP/2 connection: which stream may send next, and how much.

Streams take turns, a frame each, as far as the peer's windows and the transport's room go. To a
peer that takes the bytes of a DATA frame as they come (READS_PIECES), small pieces of a stream can
share one: a header says more than is there, and what comes next goes out as it is. Such a frame is
filled up as soon as something else has to be said, so the more a stream has had to itself, the
longer its next one: n bytes without headers save about 2n, and are worth filling up a few times the
root of n.

The one rule: a frame of each stream in turn. What cannot be sent waits in its stream and shuts that
stream's gate, nobody else's. Payload is not copied: a frame is nine bytes of ours and a slice.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

from h2.errors import ErrorCodes

from m2mproxy.http.body import Chunk
from m2mproxy.net.h2_budget import FrameBudget
from m2mproxy.net.h2_engine import READS_PIECES, Engine
from m2mproxy.net.h2_frames import MAX_FRAME, worth
from m2mproxy.net.h2_stream import H2Stream

_MOST_SHARED = 1024  # bytes of a frame for what is not there yet


class FrameWriter:
    """What has been framed in this turn, and the streams that have more."""

    __slots__ = (
        "_budget", "_clock", "_engine", "_filler", "_last", "_left", "_most", "_out", "_ready",
        "_run", "on_sent",
    )

    def __init__(
        self,
        engine: Engine,
        budget: FrameBudget,
        clock: Callable[[], float],
        on_sent: Callable[[H2Stream], None],
    ) -> None:
        """`on_sent` is told of each stream whose message has been sent to its end. It may have us:
        whoever sends no more deletes it."""
        self._engine = engine
        self._budget = budget
        self._clock = clock
        self.on_sent = on_sent
        self._out: list[Chunk] = []
        self._ready: dict[H2Stream, None] = {}  # in the order in which they get their turn
        self._last = 0  # the stream of the last frame, and its bytes in a row
        self._run = 0
        self._left = 0  # bytes that this frame is still to have
        self._most = MAX_FRAME  # bytes in a frame
        self._filler = b""

    @property
    def can_go_on(self) -> bool:
        """Whether more could be framed, if the transport took it."""
        return bool(self._ready) and self._engine.room > 0

    @property
    def waiting(self) -> int:
        """Bytes that could be framed, if the peer's windows let them go."""
        return sum([stream.size for stream in self._ready])

    def ready(self, stream: H2Stream) -> None:
        """`stream` has something to send, or its window opened, or it has said its last."""
        if stream.pending:
            self._ready[stream] = None
        elif stream.finished and not stream.ended_out:
            self._end(stream)

    def forget(self, stream: H2Stream) -> None:
        """`stream` is over."""
        self._ready.pop(stream, None)

    def take(self) -> list[Chunk]:
        """All that is framed, for the transport."""
        self._control()
        out, self._out = self._out, []
        return out

    def emit(self, room: int, most: int = MAX_FRAME) -> None:
        """Frame about `room` bytes, in frames of `most`, as far as the peer's windows let them
        go."""
        ready, engine, self._most = self._ready, self._engine, most
        while ready and room > 0:
            is_open = engine.room > 0
            stream = next(iter(ready)) if is_open else self._begun()
            if stream is None:
                break
            del ready[stream]
            size = self._frame(stream)
            room -= size
            if not (size or is_open):
                ready[stream] = None  # it waits with the others
            if not stream.gate.is_open and not stream.pending:
                stream.gate.open()
        for stream in ready:
            stream.gate.shut()

    def _begun(self) -> H2Stream | None:
        """The stream of the frame that is still to have bytes, which the windows have let go with
        its header, if it has some."""
        if not self._left:
            return None
        return next((each for each in self._ready if each.id == self._last), None)

    def drain(self, stream: H2Stream) -> None:
        """Frame what the windows let go of a stream that ends here."""
        while stream.pending and self._frame(stream):
            pass
        self._ready.pop(stream, None)

    def _frame(self, stream: H2Stream) -> int:
        """One frame of `stream`. Returns its size, 0 when the stream's window is shut."""
        engine, pending = self._engine, stream.pending
        chunk = pending[0]
        self._control()
        if self._left and (self._last != stream.id or (stream.finished and len(pending) == 1)):
            self._fill()
        if self._last != stream.id:
            self._last, self._run = stream.id, 0
        shared = self._left
        size = min(len(chunk), shared or min(engine.window_of(stream.id), self._most))
        if size <= 0:
            stream.gate.shut()
            return 0  # it comes back with a WINDOW_UPDATE
        if size == len(chunk):
            pending.popleft()
        else:
            view = memoryview(chunk)
            chunk, pending[0] = view[:size], view[size:]
        stream.size -= size
        stream.moved = self._clock()
        ends = stream.finished and not pending
        last = ends and stream.trailers is None and not stream.malformed
        if shared:
            self._out.append(chunk)
            self._left -= size
        else:
            length = size if ends else max(size, self._worthwhile(stream))
            self._out += (engine.data_header(stream.id, length, last), chunk)
            self._left = length - size
            self._budget.sent(worth(length))
        self._run += size
        if last:
            stream.ended_out = True
            self.on_sent(stream)
        elif ends:
            self._end(stream)
        elif pending:
            self._ready[stream] = None
        return size + 9

    def _worthwhile(self, stream: H2Stream) -> int:
        """How long a frame should be of which not all is there."""
        if not stream.filler or not self._engine.peer.others.get(READS_PIECES):
            return 0
        self._filler = stream.filler
        return min(4 * isqrt(self._run), _MOST_SHARED, self._engine.window_of(stream.id))

    def _fill(self) -> None:
        """End a frame before its time, for something else is to be said."""
        self._out.append(self._left * self._filler)
        self._left = 0

    def _end(self, stream: H2Stream) -> None:
        """The end of a message that did not come with its last frame."""
        stream.ended_out = True
        if stream.malformed:
            self._engine.reset_stream(stream.id, ErrorCodes.PROTOCOL_ERROR)
        elif stream.trailers is not None:
            self._engine.send_headers(stream.id, stream.trailers, end=True)
        else:
            self._engine.end_stream(stream.id)
        self.on_sent(stream)

    def _control(self) -> None:
        """What the engine has to say goes out in the order in which it was said."""
        if self._engine.output:
            if self._left:
                self._fill()
            self._run = 0
            self._out.append(self._engine.data_to_send())
