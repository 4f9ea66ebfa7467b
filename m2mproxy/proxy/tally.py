"""The tokens of one exchange: what its reply reports, and what is left to be counted.

A reply's own figures are read as it passes. Where everything is to be counted, references to the
chunks of both bodies are kept as well, and what the reply did not report becomes a job at the end.

The one rule: looking never delays a chunk and never changes one. What is kept for counting, or for
decoding what is looked at, is bounded, for one exchange and for all together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from m2mproxy.codec import memory
from m2mproxy.codec.base import Transform, WireError
from m2mproxy.http.body import CHUNK_COST, Chunk
from m2mproxy.http.message import Request, Response
from m2mproxy.proxy.coder import SLICE
from m2mproxy.proxy.codings import Kind, applied, media_type
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.model import ModelFinder
from m2mproxy.proxy.room import Room
from m2mproxy.proxy.tap import Tap, all_of
from m2mproxy.tokens import evaluated
from m2mproxy.tokens.evaluated import EvaluationReader
from m2mproxy.tokens.job import Job, Result, TokenCount
from m2mproxy.tokens.usage import UsageReader

# Bytes kept of one body.
MOST_KEPT = 4 << 20
# Bytes of a coded reply that say what it takes to decode it: the longest header of a zstd frame.
_HEAD = 18
# Plain bytes of a coded chunk that is decoded only to be looked at: that takes 0.2 ms.
_MOST_OPENED = 64 << 10
# What models are asked at: only these are missed where nothing is known.
_EMBEDDINGS = (b"/embeddings", evaluated.EMBED)
# Of these a reply says in words of Ollama's what it took.
_EVALUATED = (*evaluated.CHAT, evaluated.EMBED)
_PATHS = (
    b"/chat/completions", b"/completions", b"/responses", b"/messages", b"/embeddings", *_EVALUATED
)  # fmt: skip
# Frames of JSON, in a stream of Bedrock's; what is in them is found as in a body.
_FRAMES = b"application/vnd.amazon.eventstream"
# As TokenCount._make does it, without a line of Python: in a quarter of the time of a call.
_tokens: Callable[[tuple[int, bool]], TokenCount] = partial(tuple.__new__, TokenCount)


class Kept:
    """The chunks of one body, or none of them once they were too many."""

    __slots__ = ("_room", "_taken", "chunks", "is_whole", "size")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._taken = 0
        self.size = 0
        self.chunks: list[Chunk] = []
        self.is_whole = True

    def add(self, chunk: Chunk) -> None:
        """`chunk` passed."""
        if not self.is_whole:
            return
        cost = len(chunk) + CHUNK_COST
        if self._taken + cost <= MOST_KEPT and self._room.take(cost):
            self._taken += cost
            self.size += len(chunk)
            self.chunks.append(chunk)
        else:
            self.spoil()

    def spoil(self) -> None:
        """The body cannot be had whole: keep nothing of it."""
        self.is_whole = False
        self.free()

    def free(self) -> None:
        """Keep nothing any more."""
        self._room.give(self._taken)
        self._taken = self.size = 0
        self.chunks = []


class Opened:
    """Shows the plain bytes of a reply that passes coded, as far as they are little work and there
    is room to decode them. `names` are its codings, in the order in which they were applied; `make`
    makes what decodes them, when it is known how they begin."""

    __slots__ = ("_decoder", "_is_lost", "_make", "_names", "_on_lost", "_room", "_see", "_taken")

    def __init__(
        self,
        make: Callable[[bytes], Transform],
        names: list[bytes],
        room: Room,
        see: Tap,
        on_lost: Callable[[], None],
    ) -> None:
        self._make = make
        self._decoder: Transform | None = None
        self._is_lost = False
        self._names = names
        self._room = room
        self._taken = 0
        self._see = see
        self._on_lost = on_lost

    def feed(self, chunk: Chunk) -> None:
        """`chunk` passed. After one that holds too much, or that cannot be decoded, nothing more is
        looked at, and what was seen before is lost."""
        if self._is_lost or not chunk:
            return
        decoder, size = self._decoder or self._begin(chunk), 0
        if decoder is None:
            self._lose()
            return
        try:
            for at in range(0, len(chunk), SLICE):
                for piece in decoder.feed(chunk[at : at + SLICE]):
                    size += len(piece)
                    if size > _MOST_OPENED:
                        self._lose()
                        return
                    self._see(piece)
        except WireError:
            self._lose()

    def _begin(self, chunk: Chunk) -> Transform | None:
        """The decoder, if there is room for all that it will need."""
        *inner, last = self._names
        head = bytes(chunk[:_HEAD])
        need = memory.needed(last, head) + sum(memory.needed(name, b"") for name in inner)
        if not self._room.take(need):
            return None
        self._taken = need
        self._decoder = self._make(head)
        return self._decoder

    def _lose(self) -> None:
        self.free()
        self._on_lost()

    def free(self) -> None:
        """Decode nothing any more."""
        self._is_lost, self._decoder = True, None
        self._room.give(self._taken)
        self._taken = 0


class Submit(Protocol):
    """Takes a job, and calls `done` once with what was counted, None where that was nothing."""

    def __call__(self, job: Job, done: Callable[[Result | None], None]) -> None: ...


@dataclass(slots=True)
class Tallies:
    """Begins the tally of each exchange. `submit` is where jobs go, None to count nothing."""

    submit: Submit | None
    room: Room
    """For all bodies that are kept, and for what decodes replies on the side."""
    unkept: int = 0
    """Exchanges that are not counted because there was too much to keep."""
    unread: int = 0
    """Coded replies that were not looked at, or not to their end."""

    def begin(self, request: Request) -> Tally | None:
        """For a request that can cost tokens."""
        return Tally(self, request.target) if request.method == b"POST" else None


class _Asked(ModelFinder):
    """Finds the model, and keeps the body."""

    __slots__ = ("_kept",)

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self._kept = kept

    def feed(self, chunk: Chunk) -> None:
        self._kept.add(chunk)
        super().feed(chunk)


class Tally:
    """One exchange's tokens: `input` with those `cached` and those `written` to a cache, `output`
    with those of `reasoning`; None where they are not known. After the end, and once more when
    they were counted. `cost` is what the reply said of that, or whoever books it finds."""

    __slots__ = (
        "_all",
        "_asked",
        "_events",
        "_opened",
        "_reader",
        "_replied",
        "_target",
        "cached",
        "cost",
        "input",
        "is_cost_reported",
        "is_due",
        "is_pending",
        "is_reported",
        "model",
        "on_settled",
        "output",
        "reasoning",
        "written",
        "written_1h",
    )

    def __init__(self, tallies: Tallies, target: bytes) -> None:
        self._all = tallies
        self._target = target
        self._asked: Kept | None = None
        self._replied: Kept | None = None
        self._reader: UsageReader | EvaluationReader | None = None
        self._opened: Opened | None = None
        self._events = False
        self.model = ""
        self.input: TokenCount | None = None
        self.output: TokenCount | None = None
        self.cached: int | None = None
        self.written = self.written_1h = 0
        self.reasoning: int | None = None
        self.cost: float | None = None
        self.is_cost_reported = False
        self.is_due = False
        """Whether a model answered, so that there were tokens."""
        self.is_pending = False
        """Whether something is being counted; `on_settled` is called when it is."""
        self.is_reported = (False, False)
        """Whether the reply itself said `input`, and `output`."""
        self.on_settled: Callable[[], None] = _nobody

    @property
    def _is_asked_of_a_model(self) -> bool:
        return self._path.endswith(_PATHS)

    @property
    def _path(self) -> bytes:
        target = self._target
        end = target.find(b"?")  # `in` would try it as a number first
        return target if end < 0 else target[:end]

    def finder(self) -> ModelFinder:
        """What shall see the request's plain body."""
        if self._all.submit is None or not self._is_asked_of_a_model:
            return ModelFinder()
        self._asked = Kept(self._all.room)
        return _Asked(self._asked)

    def taps(self, response: Response, is_plain: bool, forms: Forms) -> list[Tap]:
        """What shall see the response's body as it passes. Where that is not plain, and has one of
        the `forms` that are read here, it is decoded on the side."""
        if not 200 <= response.status < 300:
            return []
        kind = (response.headers.get(b"content-type") or b"").lower()
        self._events = kind.startswith(b"text/event-stream")
        if not self._events and kind.find(b"json") < 0 and kind != _FRAMES:
            return []
        self.is_due = self._is_asked_of_a_model
        names = [] if is_plain else applied(response.headers)
        if names and not (
            forms.can_read_reply(names) and all(name not in forms.sealed for name in names)
        ):
            self._all.unread += 1
            return []
        is_evaluated = self.is_due and self._path.endswith(_EVALUATED)
        self._reader = (EvaluationReader if is_evaluated else UsageReader)(self._events)
        taps: list[Tap] = [self._reader.feed]
        if self._all.submit is not None and self.is_due:
            self._replied = Kept(self._all.room)
            taps.append(self._replied.add)
        if is_plain:
            return taps
        make = partial(forms.decoder, names, Kind.of(media_type(response.headers)))
        self._opened = Opened(make, names, self._all.room, all_of(taps), self._unseen)
        return [self._opened.feed]

    def _unseen(self) -> None:
        """The reply cannot be looked at after all."""
        self._all.unread += 1
        self._reader = None
        if self._replied is not None:
            self._replied.spoil()

    def end(self, model: str) -> None:
        """The exchange is over, however it ended."""
        self.model = model
        if self._opened is not None:
            self._opened.free()
        if self._reader is not None:
            self._report(self._reader)
        if self._all.submit is None:
            return
        job = self._job() if self.is_due and self.is_reported != (True, True) else None
        if job is None:
            self._free()
        else:
            self.is_pending = True
            self._all.submit(job, self._counted)

    def _report(self, reader: UsageReader | EvaluationReader) -> None:
        usage, self._reader = reader.usage, None
        if usage is None:
            return
        self.is_due = True
        given, made, self.cached, self.reasoning, is_final, self.cost = usage[:6]
        self.written, self.written_1h = usage.written, usage.written_1h
        self.is_cost_reported = self.cost is not None
        if given is not None:
            self.input = _tokens((given, True))
        if made is not None:
            self.output = _tokens((made, is_final))
        self.is_reported = (given is not None, made is not None and is_final)

    def _job(self) -> Job | None:
        """What is still to be counted."""
        asked = replied = None
        if self._path.endswith(_EMBEDDINGS):
            self.output = self.output or TokenCount(0, True)
        elif not self.is_reported[1]:
            replied = self._replied
        if self.input is None:
            asked = self._asked
        wanted = [kept for kept in (asked, replied) if kept is not None]
        whole = [kept for kept in wanted if kept.is_whole]
        if len(whole) < len(wanted):
            self._all.unkept += 1
        if not whole:
            return None
        request = asked if asked in whole else None
        reply = replied if replied in whole else None
        return Job(
            self.model,
            request.chunks if request is not None else None,
            request.size if request is not None else 0,
            reply.chunks if reply is not None else None,
            reply.size if reply is not None else 0,
            self._events,
        )

    def _counted(self, result: Result | None) -> None:
        self.is_pending = False
        if result is not None:
            self.input = self.input or result.input
            if not self.is_reported[1] and result.output is not None:
                self.output = result.output
        self._free()
        on_settled, self.on_settled = self.on_settled, _nobody
        on_settled()

    def _free(self) -> None:
        for kept in (self._asked, self._replied):
            if kept is not None:
                kept.free()
        self._asked = self._replied = None


def _nobody() -> None:
    """Nobody waits."""
