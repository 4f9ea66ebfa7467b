"""The scan of a request's body, before any of it goes on.

A body that is JSON, or that a server could take for it, is held, scanned, and goes on as the bytes
that came; anything else (audio, files) passes as it arrives and is counted as not scanned. What the
scanner is, and what it looks for, is not known here: it is given (guard/).

The one rule: no part of a request reaches an upstream before its verdict, and nothing of what it
says is in a verdict, an answer, the log, or a figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from m2mproxy.config import Security
from m2mproxy.http.body import Body, Chunk
from m2mproxy.http.faults import ClientFault
from m2mproxy.http.message import Request, Response
from m2mproxy.link.reply import ReplyReader, Room
from m2mproxy.net.connection import Stream
from m2mproxy.proxy.codings import Kind, media_type
from m2mproxy.proxy.gather import change
from m2mproxy.proxy.held import Held
from m2mproxy.proxy.intake import gathered, invite
from m2mproxy.proxy.offload import WORTH_A_THREAD, Run
from m2mproxy.proxy.pump import too_large
from m2mproxy.proxy.tap import Tap

# In a microsecond so many bytes are read or coded, which is what `Run` goes by.
_SCORING = 64
# So many characters are scored at a time, with what each text costs, or a slice of a text.
_STEP = 32 * 1024
# What a value takes, and a byte of a text that is not in ASCII, of bytes: 0.4 µs and 0.1.
_VALUE, _BEYOND_ASCII = 32, 8
# A value has one of these before it. In so many bytes there are few.
_BEFORE_VALUES, _SHORT = (b",", b"[", b"{"), 4096
# What is told of one request, of many findings.
_MOST_TOLD = 5
EMPTY, NOT_JSON, TOO_LARGE = "no body", "not JSON", "too large"


class Finding(Protocol):
    """guard.finding.Finding."""

    @property
    def category(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def why(self) -> str: ...
    @property
    def offset(self) -> int: ...


class Found(Protocol):
    """A finding and its place: guard.verdict.Found."""

    @property
    def finding(self) -> Finding: ...
    @property
    def key(self) -> str: ...
    @property
    def index(self) -> int | None: ...
    @property
    def role(self) -> str: ...
    @property
    def place(self) -> str: ...


class Verdict(Protocol):
    """guard.verdict.Verdict."""

    @property
    def over(self) -> Sequence[Found]: ...
    @property
    def refuses(self) -> bool: ...
    @property
    def score(self) -> float: ...


class Scan(Protocol):
    """A body that was read: guard.scanner.Scan."""

    @property
    def model(self) -> str: ...
    @property
    def work(self) -> int: ...
    @property
    def cached(self) -> int: ...
    def advance(self, most: int) -> Verdict | None: ...


class Scans(Protocol):
    """guard.scanner.Scanner."""

    def read(self, body: bytes, tenant: bytes) -> Scan: ...
    def carriers(self, reply: list[dict[str, Any]]) -> int: ...


class Inspection:
    """What became of one request's scan.

    Attributes:
        skipped: why there was none, "" where there was.
        verdict: None until there is one.
        model: that the body names, "" for none.
        refused: whether the request was.
        carriers: links in the reply that look as if they carried data away; None where nobody
            looked.
    """

    __slots__ = (
        "_reader", "_reads_reply", "_room", "carriers", "model", "refused", "skipped", "verdict",
    )  # fmt: skip

    def __init__(self, reads_reply: bool, room: Room) -> None:
        """`reads_reply` is whether the reply is looked through, which takes `room`."""
        self._reads_reply = reads_reply
        self._room = room
        self.skipped = ""
        self.verdict: Verdict | None = None
        self.model = ""
        self.refused = False
        self.carriers: int | None = None
        self._reader: ReplyReader | None = None

    def taps(self, response: Response, kind: Kind) -> list[Tap]:
        """What shall see the plain bytes of the response as they pass."""
        if not self._reads_reply:
            return []
        self._reader = ReplyReader(kind is Kind.EVENTS, self._room)
        return [self._reader.feed]

    def reply(self) -> list[dict[str, Any]]:
        """The messages of the response, which is complete, as far as they were read."""
        reader, self._reader = self._reader, None
        return reader.finish() if reader is not None else []

    def leave(self) -> None:
        """The exchange is over, whether the response is complete or not."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.drop()


class Guard:
    """Scans requests by one configuration, and counts what it found."""

    def __init__(
        self,
        config: Security,
        scanner: Scans,
        run: Run,
        clock: Callable[[], float],
        tenant: Callable[[Request, bytes], bytes],
        max_body: int,
    ) -> None:
        """`run` does what takes long elsewhere; `tenant` says whose a request is, by its head
        and the client's certificate; `max_body` is the largest one that is accepted at all."""
        self._scanner = scanner
        self._run = run
        self._clock = clock
        self._tenant = tenant
        thresholds = (config.threshold, *(score for _, score in config.thresholds))
        self._refuses = config.blocking and max(thresholds) > 0
        self.reads_replies = config.replies
        """Whether replies are looked through."""
        self._most = min(config.max_size, max_body)
        self._max_body = max_body
        self.reset()

    async def inspect(
        self,
        request: Request,
        downstream: Stream,
        body: Body,
        inspection: Inspection,
        held: Held,
    ) -> Body:
        """Scan the body. Returns one that holds the same bytes, counted by `held`, or that has not
        been touched.

        Raises:
            ClientFault: the request is refused (403), or too large to be scanned (413).
            Busy: there is no room for the body (503).
        """
        if request.length == 0:
            return self._skip(EMPTY, body, inspection)
        if request.length is not None and request.length > self._most:
            return self._too_large(body, inspection)
        is_json = _is_json(media_type(request.headers))
        if not is_json and not await _may_be_json(request, downstream, body):
            return self._skip(NOT_JSON, body, inspection)
        most = self._most if self._refuses else self._max_body
        data, body = await gathered(request, downstream, body, most, held)
        if len(data) > self._most:
            return self._too_large(body, inspection)
        if not data:
            return self._skip(EMPTY, body, inspection)
        if not (is_json or _start(data)[:1] in _OPENING):
            return self._skip(NOT_JSON, body, inspection)
        await self._scan(self._tenant(request, downstream.certificate), data, inspection)
        return body

    async def _scan(self, tenant: bytes, data: bytes, inspection: Inspection) -> None:
        begun = self._clock()
        scan = await self._run(_reading(data), lambda: self._scanner.read(data, tenant))
        inspection.model = scan.model
        self.bytes += len(data)
        self.cached += scan.cached
        verdict = None
        while verdict is None:  # in steps, so that others have their turn, and one can leave
            work = min(scan.work, _STEP) * _SCORING
            verdict = await self._run(work, lambda: scan.advance(_STEP))
        inspection.verdict = verdict
        self.seconds += self._clock() - begun
        self.scanned += 1
        if verdict.over:
            self._found(verdict, inspection)

    def _found(self, verdict: Verdict, inspection: Inspection) -> None:
        self.flagged += 1
        self.findings.update({(x.finding.category, x.finding.source) for x in verdict.over})
        if verdict.refuses and self._refuses:
            inspection.refused = True
            self.refused += 1
            raise _blocked(verdict)

    def replied(self, inspection: Inspection) -> None:
        """The response has passed, all of it."""
        messages = inspection.reply()
        if messages:
            inspection.carriers = self._scanner.carriers(messages)
            self.replies += 1
            self.carriers += inspection.carriers

    def _skip(self, why: str, body: Body, inspection: Inspection) -> Body:
        inspection.skipped = why
        self.skipped[why] += 1
        return body

    def _too_large(self, body: Body, inspection: Inspection) -> Body:
        self._skip(TOO_LARGE, body, inspection)
        if self._refuses:
            raise too_large(self._most)
        return body

    def reset(self) -> None:
        """Begin to count at zero."""
        self.scanned = self.flagged = self.refused = self.cached = self.bytes = 0
        self.replies = self.carriers = 0
        self.seconds = 0.0
        self.findings: Counter[tuple[str, str]] = Counter()
        self.skipped: Counter[str] = Counter()

    def report(self) -> dict[str, object]:
        """What was counted. A finding counts once a request."""
        findings: dict[str, dict[str, int]] = {}
        for (category, source), count in sorted(self.findings.items()):
            findings.setdefault(str(category), {})[source] = count  # an enum is no key of JSON
        return {
            "scanned": self.scanned,
            "flagged": self.flagged,
            "blocked": self.refused,
            "skipped": dict(sorted(self.skipped.items())),
            "findings": findings,
            "bytes": self.bytes,
            "cached_parts": self.cached,
            "seconds": round(self.seconds, 6),
            "replies": self.replies,
            "reply_links": self.carriers,
        }


def _reading(data: bytes) -> int:
    """What it takes to parse a body and look at its characters, as bytes that are coded: most of
    it depends on how many values there are, and how much is not ASCII."""
    size = len(data) * (1 if data.isascii() else _BEYOND_ASCII)
    if len(data) <= _SHORT or size > WORTH_A_THREAD:
        return size  # whatever it consists of
    return size + sum([data.count(each) for each in _BEFORE_VALUES]) * _VALUE


def _blocked(verdict: Verdict) -> ClientFault:
    """What the client is told: categories and places; and why, where that helps nobody to get
    around it."""
    told = verdict.over[:_MOST_TOLD]
    categories = list(dict.fromkeys(str(each.finding.category) for each in told))
    first = told[0]
    why = f": {first.finding.why}" if first.finding.category == "malformed_input" else ""
    message = f"the request was blocked ({', '.join(categories)}): {first.place}{why}"
    details = {
        "param": _param(first),
        "categories": categories,
        "findings": [
            {
                "category": str(each.finding.category),
                "param": _param(each),
                "role": each.role or None,
                "offset": each.finding.offset,
            }
            for each in told
        ],
    }
    return ClientFault(403, "request_blocked", message, details)


def _param(found: Found) -> str | None:
    """The place as OpenAI names a parameter."""
    if not found.key:
        return None
    return found.key if found.index is None else f"{found.key}[{found.index}]"


# -- what is JSON ----------------------------------------------------------------------------------

# What can come before it: white space, and the marks and zeros of UTF-8, 16 and 32. Python's
# reader takes all of these; the scanner takes the first, and refuses the others.
_BEFORE = b" \t\r\n" + b"\xef\xbb\xbf\xfe\xff\0"
_OPENING = (b"{", b"[")


def _is_json(kind: bytes) -> bool:
    """Whether a body of that content type, or of none, is to be JSON."""
    return not kind or kind == b"application/json" or kind.endswith(b"+json")


async def _may_be_json(request: Request, downstream: Stream, body: Body) -> bool:
    """Whether a body of another type could be JSON after all, which servers read whatever its type
    is. Waits for its first bytes, and leaves them where they are."""
    invite(request, downstream)
    while body.first is None and not body.ended and body.fault is None:
        await change(body)
    start = _start(body.first or b"")
    return not start or start[:1] in _OPENING


def _start(data: Chunk) -> bytes:
    """The bytes from the first one on that says whether it is JSON."""
    return bytes(data).lstrip(_BEFORE)
