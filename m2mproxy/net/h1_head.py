"""The head of an HTTP/1 message, read at a quarter of h11's cost.

h11 is the judge of what a head means. The ordinary head, though, is made of lines seen before: a
client repeats all but one or two of them on every request. Each line that the strict grammar
below accepts is read once and remembered; a head of nothing but such lines needs h11 no more. The
first unordinary line sends the whole head to h11.

The one rule: the shortcut accepts nothing that h11 refuses and reads nothing differently
(tests/fuzz/test_head_against_h11.py holds it to that).
"""

from __future__ import annotations

import re

import h11

from m2mproxy.http.headers import CREDENTIALS, Field, Headers
from m2mproxy.http.validate import (
    TOKEN,
    Malformed,
    check_count,
    check_fields,
    check_raw_head,
    check_reason,
    check_target,
    declared_length,
)

_request_line = re.compile(rb"([A-Z]{3,16}) (/[!-~]*) HTTP/1\.1").fullmatch
_status_line = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) ([\t\x20-\x7e]*)").fullmatch
_field_line = re.compile(rb"(" + TOKEN + rb"):[ \t]*+((?:[!-~\x80-\xff]++[ \t]*+)*+)").fullmatch

# What h11 quotes of a line that it refuses.
_quoted = re.compile(r":? (?:bytearray\()?b['\"].*", re.DOTALL)

# A memory of lines is bounded in lines and in the size of each: at most about half a MiB.
_LINES = 2048
_LINE_BYTES = 200
# Lines which carry a secret are read every time: a key has no business in a memory of ours.
_SECRET = CREDENTIALS | {b"proxy-authorization", b"set-cookie"}

RequestHead = tuple[bytes, bytes, int, Headers]
"""Method, target, minor version, fields."""
ResponseHead = tuple[int, bytes, int, Headers]
"""Status, reason, minor version, fields."""


class _Unordinary(Exception):
    """A line that only h11 shall judge."""


class _FieldLines(dict[bytes, Field]):
    """Header line to field. A miss reads the line and, unless it is long or secret, keeps it."""

    def __missing__(self, line: bytes) -> Field:
        match = _field_line(line)
        if match is None:
            raise _Unordinary
        field = (match[1].lower(), match[2].rstrip(b" \t"))
        if len(line) <= _LINE_BYTES and field[0] not in _SECRET:
            if len(self) >= _LINES:
                self.clear()
            self[line] = field
        return field


_fields = _FieldLines()


def request_head(raw: bytes, max_fields: int) -> RequestHead:
    """Read a request head, given without its final empty line.

    Raises:
        Malformed: refused by us or by h11 (RFC 9112 3, 5), or more than `max_fields` fields (431).
    """
    lines = raw.split(b"\r\n")
    _check_count(lines, max_fields)
    match = _request_line(lines[0])
    if match is not None:
        try:
            return match[1], match[2], 1, Headers(map(_fields.__getitem__, lines[1:]))
        except _Unordinary:
            pass
    return judged_request(raw)


def response_head(raw: bytes, max_fields: int) -> ResponseHead:
    """Read a response head, given without its final empty line. Raises as `request_head`."""
    lines = raw.split(b"\r\n")
    _check_count(lines, max_fields)
    match = _status_line(lines[0])
    if match is not None:
        try:
            return int(match[1]), match[2], 1, Headers(map(_fields.__getitem__, lines[1:]))
        except _Unordinary:
            pass
    return judged_response(raw)


def _check_count(lines: list[bytes], max_fields: int) -> None:
    number = len(lines) - 1
    if number > max_fields:
        check_count(number, (line.partition(b":")[0].lower() for line in lines[1:]), max_fields)


def judged_request(raw: bytes) -> RequestHead:
    """The same as `request_head`, by h11 and the checks which h11 leaves to us."""
    check_raw_head(raw)
    _refuse_ambiguous_framing(raw)
    version = re.search(rb" HTTP/([0-9]\.[0-9])(?:\r\n|$)", raw)
    if version is not None and version[1] not in (b"1.0", b"1.1"):
        raise Malformed("the HTTP version is not 1.0 or 1.1", 505)
    event = _by_h11(h11.Connection(h11.SERVER, max_incomplete_event_size=len(raw) + 4), raw)
    if not isinstance(event, h11.Request):
        raise Malformed("this is not an HTTP/1 request")
    check_target(event.target)
    return event.method, event.target, event.http_version[-1] - 48, _checked(event)


def judged_response(raw: bytes) -> ResponseHead:
    """The same as `response_head`, by h11 and the checks which h11 leaves to us."""
    check_raw_head(raw)
    _refuse_ambiguous_framing(raw)
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=len(raw) + 4)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    event = _by_h11(connection, raw)
    if not isinstance(event, h11.Response | h11.InformationalResponse):
        raise Malformed("this is not an HTTP/1 response")
    if event.http_version not in (b"1.0", b"1.1"):
        raise Malformed("the HTTP version is not 1.0 or 1.1", 505)
    reason = bytes(event.reason)
    check_reason(reason)
    return event.status_code, reason, event.http_version[-1] - 48, _checked(event)


def _refuse_ambiguous_framing(raw: bytes) -> None:
    # h11 quietly merges equal lengths ("5, 5", or the line twice): look before it does.
    fields = Headers()
    for line in raw.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    declared_length(fields)


def _by_h11(connection: h11.Connection, raw: bytes) -> object:
    connection.receive_data(raw + b"\r\n\r\n")
    try:
        return connection.next_event()
    except h11.RemoteProtocolError as error:
        error.__traceback__ = None  # a frame of h11's has the error: a cycle, and we are in it
        reason = _quoted.sub("", str(error))  # a line can be a key
        raise Malformed(reason, error.error_status_hint) from None


def _checked(event: h11.Request | h11.Response | h11.InformationalResponse) -> Headers:
    headers = Headers(event.headers)
    check_fields(headers)
    return headers
