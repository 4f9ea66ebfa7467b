"""The log: a line for each exchange and for what the program does, as text or JSON.

The one rule: no line repeats what a request or a response says. Of a request it has the path,
without the query, and the model's name; of an error the code, and the reason where the upstream is
to blame; of a bug the place.
"""

from __future__ import annotations

import json
import re
import time
import traceback

import orjson

from m2mproxy.config import Logging, printable
from m2mproxy.http.faults import Fault, TooLate, UpstreamFault
from m2mproxy.proxy.record import Record
from m2mproxy.proxy.scanning import Inspection
from m2mproxy.proxy.tally import Tally
from m2mproxy.service.writer import LineWriter

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_LONGEST_PATH, _LONGEST_METHOD, _LONGEST_REASON = 512, 32, 256

# Bytes are formatted at half the cost of text, and a path and a method are bytes already.
_TEXT = (
    b"%b client=%b stream=%b method=%b path=%b model=%b status=%d via=%b client_in=%d "
    b"client_out=%d upstream_out=%d upstream_in=%d coding=%b client_coding=%b why=%b ref=%b "
    b"saved=%d tokens_in=%b tokens_out=%b tokens_cached=%b tokens_estimated=%b cost=%b cost_by=%b "
    b"first_byte_ms=%b added_ms=%.3f total_ms=%.3f error=%b reason=%b\n"
)

_TOKENS = (
    "tokens_in", "tokens_out", "tokens_cached", "tokens_estimated", "cost", "cost_by",
)  # fmt: skip
_TOKENS_UNKNOWN = (b"-",) * len(_TOKENS)
# By whether the input is an estimate, and the output.
_ESTIMATED = ((None, "out"), ("in", "in,out"))
# What follows where requests are scanned.
_GUARD = b" guard=%b finding=%b reply_links=%b\n"

_is_plain = re.compile(r"[!#-~]+").fullmatch


class Log:
    """Formats lines for a LineWriter."""

    def __init__(self, config: Logging, writer: LineWriter) -> None:
        self._json = config.format == "json"
        self._least = _LEVELS[config.level]
        self._access = config.access
        self._line = self._json_line if self._json else self._text_line
        self._writer = writer
        self._second, self._second_text = 0, b""
        self._millisecond, self._millisecond_text = 0, b""

    def event(self, level: str, message: str, **details: object) -> None:
        """Something the program did or met. `details` are for JSON: the message has them too."""
        if _LEVELS[level] < self._least:
            return
        if self._json:
            self._write_json({"level": level, "message": message, **details})
        else:
            self._write_text(f"{level}: {message}")

    def bug(self, what: str, error: BaseException | None) -> None:
        """An exception that should not be. Its message, which could quote a client, is left out."""
        if error is not None:
            what = f"{what}: {type(error).__name__} in {_places(error)}"
        self.event("error", what)

    def exchange(self, x: Record) -> None:
        """An exchange that ended."""
        if x.bug is not None:
            self.bug("a bug in the proxy", x.bug)
        if self._access:
            self._writer.write(self._line(x))

    def refusal(self, client: str, fault: Fault) -> None:
        """What never became an exchange."""
        if not self._access:
            return
        if self._json:
            self._write_json({"client": client, "status": fault.status, "error": fault.code})
        else:
            self._write_text(f"client={client} status={fault.status} error={fault.code}")

    def _write_text(self, text: str) -> None:
        # A path can have what ends a line, and bytes that are no text.
        self._writer.write(b"%b %b\n" % (self._stamp(), printable(text).encode()))

    def _write_json(self, fields: dict[str, object]) -> None:
        fields = {"time": self._stamp().decode(), **fields}
        try:
            line = orjson.dumps(fields)
        except orjson.JSONEncodeError:  # a path that is not UTF-8
            line = json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")
        self._writer.write(line + b"\n")

    def _text_line(self, x: Record) -> bytes:
        line = self._plain_line(x)
        return line if x.inspection is None else line[:-1] + _GUARD % _guarded(x.inspection)

    def _plain_line(self, x: Record) -> bytes:
        up, down = x.bytes_up, x.bytes_down
        sizes: tuple[int, ...] = (up, down, up, down)
        coding = client_coding = b"identity"
        reference, saved, path = b"-", 0, _path(x.target)
        if x.ledger is not None:
            sizes = tuple(each.wire for each in x.ledger.directions)
            # An upstream names its codings as it likes.
            coding = _word(x.ledger.upstream_coding)
            client_coding = _word(x.ledger.client_coding)
            reference, saved = _word(x.ledger.reference), x.ledger.saved
        return _TEXT % (
            self._stamp(),
            x.downstream.client.encode(),
            _figure(x.downstream.id or None),
            x.method[:_LONGEST_METHOD],
            path if path.find(b'"') < 0 else orjson.dumps(path.decode("ascii", "replace")),
            _word(x.model),
            x.status,
            _via(x).encode() or b"-",
            *sizes,
            coding,
            client_coding,
            _word(x.why),
            reference,
            saved,
            *(_TOKENS_UNKNOWN if x.tally is None else map(_figure, _tokens(x.tally))),
            b"%.3f" % ((x.answered - x.started) * 1e3) if x.answered else b"-",
            x.added * 1e3,
            (x.ended - x.started) * 1e3,
            x.error.encode() or b"-",
            _word(_reason(x)),
        )

    def _json_line(self, x: Record) -> bytes:
        up, down = x.bytes_up, x.bytes_down
        sizes: tuple[int, ...] = (up, down, up, down)
        if x.ledger is not None:
            sizes = tuple(each.wire for each in x.ledger.directions)
        fields: dict[str, object] = {
            "time": self._stamp().decode(),
            "client": x.downstream.client,
            "stream": x.downstream.id or None,
            "method": x.method[:_LONGEST_METHOD].decode("ascii", "replace"),
            "path": _path(x.target).decode("ascii", "replace"),
            "model": x.model or None,
            "status": x.status,
            "via": _via(x) or None,
            "client_in": sizes[0],
            "client_out": sizes[1],
            "upstream_out": sizes[2],
            "upstream_in": sizes[3],
            "coding": x.ledger.upstream_coding if x.ledger is not None else "identity",
            "client_coding": x.ledger.client_coding if x.ledger is not None else "identity",
            "why": x.why or None,
            "ref": (x.ledger.reference if x.ledger is not None else "") or None,
            "saved": x.ledger.saved if x.ledger is not None else 0,
            **dict(zip(_TOKENS, _tokens(x.tally), strict=True)),
            "first_byte_ms": round((x.answered - x.started) * 1e3, 3) if x.answered else None,
            "added_ms": round(x.added * 1e3, 3),
            "total_ms": round((x.ended - x.started) * 1e3, 3),
            "error": x.error or None,
            "reason": _reason(x) or None,
        }
        if x.inspection is not None:
            fields["guard"], fields["finding"] = _guard_fields(x.inspection)
            fields["reply_links"] = x.inspection.carriers
        return orjson.dumps(fields) + b"\n"

    def _stamp(self) -> bytes:
        """The time of a line, in UTC."""
        now = time.time_ns() // 1_000_000
        if now != self._millisecond:
            second, rest = divmod(now, 1000)
            if second != self._second:
                text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
                self._second, self._second_text = second, text.encode()
            self._millisecond = now
            self._millisecond_text = b"%b.%03dZ" % (self._second_text, rest)
        return self._millisecond_text


def _via(x: Record) -> str:
    """What the upstream would call the client: of its log the `client`, and after a slash the
    `stream`, where there is one."""
    stream = x.upstream
    if stream is None:
        return ""
    return f"{stream.client}/{stream.id}" if stream.id else stream.client


def _reason(x: Record) -> str:
    """What the code of an upstream's failure leaves open, such as why TLS failed. Other faults are
    a client's, and could have its words."""
    fault = x.fault
    return fault.message[:_LONGEST_REASON] if isinstance(fault, UpstreamFault | TooLate) else ""


def _places(error: BaseException) -> str:
    """Where an exception came from, innermost last, on one line."""
    frames = traceback.walk_tb(error.__traceback__)
    return ", ".join(
        f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{line})" for frame, line in frames
    )


def _tokens(tally: Tally | None) -> tuple[int | float | str | None, ...]:
    """The values of _TOKENS: the fourth says which of the first two are no exact figures."""
    if tally is None:
        return (None,) * len(_TOKENS)
    given, made, cost = tally.input, tally.output, tally.cost
    is_given_estimated = given is not None and not given.is_exact
    is_made_estimated = made is not None and not made.is_exact
    return (
        given.number if given is not None else None,
        made.number if made is not None else None,
        tally.cached,
        _ESTIMATED[is_given_estimated][is_made_estimated],
        cost if cost is None else round(cost, 9),
        None if cost is None else "reported" if tally.is_cost_reported else "priced",
    )


def _figure(value: int | float | str | None) -> bytes:
    """One of these values, for a line of text."""
    if value is None:
        return b"-"
    if isinstance(value, str):
        return value.encode()
    return b"%d" % value if isinstance(value, int) else b"%.9g" % value


def _guarded(inspection: Inspection) -> tuple[bytes, bytes, bytes]:
    """The score, or why there is none; the first finding, as one word: what, which rule, where in
    the request, whose words, and from which character on; and the links in the reply."""
    links = b"-" if inspection.carriers is None else b"%d" % inspection.carriers
    if inspection.verdict is None:
        return _word(inspection.skipped), b"-", links
    finding = b"-"
    for found in inspection.verdict.over[:1]:
        what = found.finding
        index = "" if found.index is None else f"[{found.index}]"
        place = f"{found.key or 'body'}{index}/{found.role or '-'}+{what.offset}"
        finding = f"{what.category}:{what.source}@{place}".encode()
    return b"%.3f" % inspection.verdict.score, finding, links


def _guard_fields(inspection: Inspection) -> tuple[object, object]:
    """The same for JSON, with all findings that are told."""
    if inspection.verdict is None:
        return inspection.skipped or None, None
    findings = [
        {
            "category": str(found.finding.category),
            "source": found.finding.source,
            "score": round(found.finding.score, 3),
            "key": found.key or None,
            "index": found.index,
            "role": found.role or None,
            "offset": found.finding.offset,
        }
        for found in inspection.verdict.over
    ]
    return round(inspection.verdict.score, 3), findings or None


def _path(target: bytes) -> bytes:
    """The path for the log: a query may carry a key."""
    path = target.partition(b"?")[0]
    return path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + b"..."


def _word(text: str) -> bytes:
    """One word of a text line, quoted where it has to be."""
    if not text:
        return b"-"
    if _is_plain(text):
        return text.encode()
    # What reorders or ends a line, or is obeyed by a terminal, is not only in ASCII.
    return orjson.dumps(text) if text.isprintable() else json.dumps(text).encode()
