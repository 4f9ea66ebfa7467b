"""From a Body into a Stream, as fast as the stream takes it.

The one rule: a chunk is taken when there is room for it and handed on in the same call. Nothing is
kept, joined or split here, unless it is to be coded; what waits, waits in the Body, where it holds
back its sender.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from m2mproxy.codec.base import WireError
from m2mproxy.http.body import CHUNK_COST, Body, Chunk
from m2mproxy.http.faults import ClientFault, Fault, UpstreamFault
from m2mproxy.net.connection import Stream
from m2mproxy.proxy.coder import SLICE, Coder
from m2mproxy.proxy.tap import Tap

_NO_PIECES: Iterator[Chunk] = iter(())


class Pump:
    """Moves one message's payload. `on_end` gets None at its end, or the fault that stopped it.

    Attributes:
        moved: payload bytes handed on.
        touched: the time of the last chunk, by `clock`.
        tap: sees each chunk as it passes; set it to None to stop looking.
        coder: changes what passes; set before `start`.
    """

    __slots__ = (
        "_body",
        "_clock",
        "_kept",
        "_limit",
        "_on_end",
        "_out",
        "_pieces",
        "_rest",
        "_room",
        "_waiting",
        "coder",
        "ended",
        "moved",
        "tap",
        "touched",
    )

    def __init__(
        self,
        body: Body,
        on_end: Callable[[Fault | None], None],
        clock: Callable[[], float],
        limit: int | None = None,
        keep: int = -1,
    ) -> None:
        """`limit` is the most that may pass (413 beyond), `keep` the most that can be replayed: 0
        for no body, -1 for nothing at all."""
        self._body = body
        self._on_end = on_end
        self._clock = clock
        self._limit = limit
        self._room = keep
        self._kept: list[Chunk] | None = [] if keep >= 0 else None
        self._out: Stream | None = None
        self._waiting = False
        self._rest: Chunk = b""  # of a chunk that is decoded slice by slice
        self._pieces = _NO_PIECES  # of a slice that holds much
        self.coder: Coder | None = None
        self.ended = False
        self.moved = 0
        self.touched = 0.0
        self.tap: Tap | None = None

    def start(self, out: Stream) -> None:
        """Begin with what is there, go on as more comes. After `halt`, into another stream, with
        what passed before; the tap has seen that."""
        self._out = out
        if self.coder is not None:
            out.filler = self.coder.filler
        for chunk in self._kept or ():
            out.write(chunk)
        self.ended = False
        self._body.on_change = self._run
        self._run()

    def stop(self) -> None:
        """Move nothing more."""
        if self._out is not None and self._waiting:
            self._out.gate.forget(self._opened)
        self._waiting = False
        self._out = None
        self._body.on_change = None
        self._kept = None
        self.tap = None

    def close(self) -> None:
        """Stop for good, and let go of the owner, who holds us."""
        self.stop()
        self._on_end = _nobody

    @property
    def is_held(self) -> bool:
        """Whether there is no room for more where it goes."""
        return self._out is not None and not self._out.gate.is_open

    def halt(self) -> bool:
        """Move nothing more until `start`: where this goes nobody takes it, and what is lost there
        has to be kept. Whether all that passed is still held."""
        kept, tap = self._kept, self.tap
        self.stop()
        self._kept, self.tap = kept, tap
        return kept is not None

    def forget(self) -> None:
        """It will not go again."""
        self._kept = None

    def _opened(self) -> None:
        self._waiting = False
        self._run()

    def _run(self) -> None:
        out, body = self._out, self._body
        if out is None or self.ended:
            return
        gate = out.gate
        if self._pieces is not _NO_PIECES and not self._pour(out):
            return
        while gate.is_open:
            chunk = body.take() if not self._rest else self._slice()
            if chunk is None:
                self._exhausted(out)
                return
            self._pass(chunk, out)
            if self._out is not out:  # the chunk made somebody stop us
                return
        if not self._waiting:
            self._waiting = True
            gate.wait(self._opened)

    def _pass(self, chunk: Chunk, out: Stream) -> None:
        self.moved += len(chunk)
        self.touched = self._clock()
        if self._limit is not None and self.moved > self._limit:
            self._end(too_large(self._limit))
            return
        if self._kept is not None:
            self._keep(chunk)
        if self.tap is not None:
            self.tap(chunk)
        if self.coder is None:
            out.write(chunk)
        else:
            self._code(chunk, out, self.coder)

    def _code(self, chunk: Chunk, out: Stream, coder: Coder) -> None:
        if len(chunk) > SLICE and coder.decodes:
            self._rest = memoryview(chunk)[SLICE:]
            self.moved -= len(self._rest)
            chunk = memoryview(chunk)[:SLICE]
        try:
            pieces = coder.feed(chunk)
        except WireError as error:
            self._spoiled(error)
            return
        if isinstance(pieces, list):
            for piece in pieces:
                out.write(piece)
        else:
            self._pieces = iter(pieces)
            self._pour(out)

    def _pour(self, out: Stream) -> bool:
        """Write what is decoded as it is taken, while there is room. False where that stopped
        us."""
        try:
            while out.gate.is_open:
                piece = next(self._pieces, None)
                if piece is None:
                    self._pieces = _NO_PIECES
                    break
                self.touched = self._clock()
                out.write(piece)
        except WireError as error:
            self._spoiled(error)
        return self._out is out

    def _spoiled(self, error: WireError) -> None:
        self._end(UpstreamFault("protocol", f"the upstream's reply cannot be decoded: {error}"))

    def _slice(self) -> Chunk:
        rest, self._rest = self._rest, b""
        return rest

    def inject(self, data: bytes, out: Stream) -> None:
        """Write bytes of our own, between two chunks."""
        for piece in self.coder.inject(data) if self.coder is not None else [data]:
            out.write(piece)

    def _keep(self, chunk: Chunk) -> None:
        self._room -= len(chunk) + CHUNK_COST
        if self._room < 0:
            self._kept = None
        elif self._kept is not None:
            self._kept.append(chunk)

    def _exhausted(self, out: Stream) -> None:
        body = self._body
        coder = self.coder
        if body.ended:
            if coder is not None and not self._finished(coder, out):
                return
            self.ended = True
            out.finish(body.trailers)
            self._on_end(None)
            return
        if coder is not None:  # all that came can be read, even if no more comes
            for piece in coder.flush():
                out.write(piece)
        if body.fault is not None:
            self._end(body.fault)

    def _finished(self, coder: Coder, out: Stream) -> bool:
        try:
            for piece in coder.finish():
                out.write(piece)
        except WireError as error:
            self._spoiled(error)
            return False
        return True

    def _end(self, fault: Fault) -> None:
        self.stop()
        self.ended = True
        self._on_end(fault)


def _nobody(_: Fault | None) -> None:
    """The pump is closed."""


def too_large(limit: int) -> ClientFault:
    """The request's body is over the limit, as it declares or as it turned out."""
    return ClientFault(
        413, "body_too_large", f"the request's body is larger than {limit} bytes, the most accepted"
    )
