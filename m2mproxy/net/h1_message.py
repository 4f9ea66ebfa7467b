"""HTTP/1 heads to and from the common Request and Response (RFC 9112 3 to 9).

The one rule: what belongs to the connection is taken out on the way in and put back on the way
out, here and nowhere else.
"""

from __future__ import annotations

from m2mproxy.http.headers import HOP_BY_HOP, Headers, nominated, tokens
from m2mproxy.http.message import Request, Response
from m2mproxy.http.validate import (
    MAX_LENGTH_DIGITS,
    Malformed,
    check_authority,
    check_chunked,
    parse_length,
)
from m2mproxy.net.h1_head import RequestHead, ResponseHead

# What is said where nobody has: in our own answers, and where the upstream speaks HTTP/2, which has
# no such phrases (RFC 9110 15, and IANA's registry). Not from the standard library's enumeration,
# which takes a quarter of a megabyte and has older ones.
_REASONS = {
    100: b"Continue",
    102: b"Processing",
    103: b"Early Hints",
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    203: b"Non-Authoritative Information",
    204: b"No Content",
    205: b"Reset Content",
    206: b"Partial Content",
    300: b"Multiple Choices",
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    304: b"Not Modified",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    407: b"Proxy Authentication Required",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    411: b"Length Required",
    412: b"Precondition Failed",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    416: b"Range Not Satisfiable",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    422: b"Unprocessable Content",
    424: b"Failed Dependency",
    425: b"Too Early",
    426: b"Upgrade Required",
    428: b"Precondition Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    451: b"Unavailable For Legal Reasons",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
    508: b"Loop Detected",
    511: b"Network Authentication Required",
}

_WITH_BODY = (b"POST", b"PUT", b"PATCH")
_BODILESS = (204, 304, *range(100, 200))

_line = b": ".join  # of a field
_VERSIONS = ((1, 0), (1, 1))

_TAKEN_OUT = HOP_BY_HOP | {b"host"}
_LOOKED_AT = _TAKEN_OUT | {b"content-length"}
_FEW = 8


class _Special:
    """What a head says about its connection and its framing. `fields` keeps the rest.

    Raises:
        Malformed: the head can be framed or routed in more than one way.
    """

    __slots__ = ("chunked", "close", "host", "length", "te", "upgrade")

    def __init__(self, fields: Headers, minor: int) -> None:
        self.host: bytes | None = None
        self.length: int | None = None
        self.chunked = self.te = False
        self.upgrade = b""
        self.close = minor == 0
        special = [field for field in fields if field[0] in _LOOKED_AT]
        gone = _TAKEN_OUT
        for name, value in special:
            if name == b"content-length":
                if self.length is not None:
                    raise Malformed("content-length occurs more than once")
                self.length = parse_length(value)
            elif name == b"host":
                if self.host is not None:
                    raise Malformed("host occurs more than once")
                self.host = value
            elif name == b"connection":
                if value != b"keep-alive":
                    options = tokens(value)
                    self.close = self.close or b"close" in options
                    gone |= nominated(options) - _LOOKED_AT
            elif name == b"transfer-encoding":
                check_chunked(fields, minor)
                self.chunked = True
            elif name == b"te":
                self.te = self.te or b"trailers" in tokens(value)
            elif name == b"upgrade":
                self.upgrade = value
        if gone is not _TAKEN_OUT or len(special) > _FEW:
            fields.drop(gone)
            return
        for field in special:  # each is looked for in all; for so few that is the quicker way
            if field[0] in gone:
                fields.remove(field)


def read_request(head: RequestHead) -> tuple[Request, bool]:
    """The request, and whether the connection may persist after it (RFC 9112 9.3).

    Raises:
        Malformed: the head can be framed or routed in more than one way.
    """
    method, target, minor, headers = head
    special = _Special(headers, minor)
    host = special.host
    if host is None and minor:
        raise Malformed("the host header is missing")
    if host:
        check_authority(host)
    if b"#" in target:
        raise Malformed("the request target has a fragment")  # RFC 9112 3.2: it is never sent
    if target[:1] != b"/":
        target, host = _other_form(method, target, host or b"")
    if special.upgrade:
        # Not ours to forward, but the reason of a clear refusal (RFC 9110 7.8).
        headers.append((b"upgrade", special.upgrade))
    length = None if special.chunked else special.length or 0
    version = _VERSIONS[minor]
    request = Request(method, target, host or b"", headers, length, b"http", version, special.te)
    return request, not special.close


class RepeatedHead:
    """A connection's last request head, recognised when the client sends it again.

    Clients repeat themselves to the byte, content-length apart. What the bytes mean was decided
    when they first came; here they are only compared. It lives and dies with its connection: no
    client's head, or key, is kept longer than the client stays.
    """

    __slots__ = ("_after", "_before", "_persistent", "_position", "_request")

    def __init__(self, raw: bytes, request: Request, persistent: bool) -> None:
        self._before, self._after = raw, b""
        self._position = -1  # of content-length among the fields
        self._request = request.copy()
        self._persistent = persistent
        for name in (b"\r\nContent-Length: ", b"\r\ncontent-length: "):
            before, found, rest = raw.partition(name)
            value = rest.partition(b"\r\n")[0]
            if found and value.isdigit():
                self._before, self._after = before + found, rest[len(value) :]
                self._position = request.headers.index((b"content-length", value))

    def read(self, raw: bytes) -> tuple[Request, bool] | None:
        """What `read_request` would make of `raw`, if it is this head again; else None."""
        if not (raw.startswith(self._before) and raw.endswith(self._after)):
            return None
        value = raw[len(self._before) : len(raw) - len(self._after)]
        request = self._request.copy()
        if self._position >= 0:
            if not value.isdigit() or len(value) > MAX_LENGTH_DIGITS:
                return None
            request.headers[self._position] = (b"content-length", value)
            request.length = int(value)
        elif len(raw) != len(self._before):
            return None
        return request, self._persistent


def _other_form(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """The path and authority of a target in another form than origin-form (RFC 9112 3.2)."""
    scheme, found, rest = target.partition(b"://")
    if found and scheme.lower() in (b"http", b"https"):
        authority, slash, path = rest.partition(b"/")
        if b"?" in authority:
            raise Malformed("the request target is not valid")
        check_authority(authority)
        return slash + path or b"/", authority
    if target == b"*" or method == b"CONNECT":
        return target, host
    raise Malformed("the request target is not valid")


def read_response(head: ResponseHead, method: bytes) -> tuple[Response, bool, bool]:
    """The response to `method`, whether the connection may persist, whether it is chunked.

    Raises:
        Malformed: it can be framed in more than one way, or switches protocols unasked.
    """
    status, reason, minor, headers = head
    special = _Special(headers, minor)
    length, chunked = special.length, special.chunked
    if status == 101:
        raise Malformed("the upstream switches protocols, which nobody asked for")
    if status < 200 or status in (204, 304) or method == b"HEAD":
        length, chunked = 0, False
        if status < 200 or status == 204:
            headers.drop((b"content-length",))  # RFC 9110 8.6: it must not be there
    persistent = not special.close and (length is not None or chunked)
    return Response(status, headers, length, reason), persistent, chunked


def write_request(request: Request) -> bytes:
    """The head of `request`, Host first (RFC 9112 3.2)."""
    lines = [
        b"%b %b HTTP/1.1\r\nhost: %b" % (request.method, request.target, request.authority),
        *map(_line, request.headers),
    ]
    if request.takes_trailers:
        lines.append(b"te: trailers\r\nconnection: te")
    if request.length is None:
        lines.append(b"transfer-encoding: chunked")
    elif request.length == 0 and request.version > (1, 1) and request.method in _WITH_BODY:
        lines += _no_length(request.headers)
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


def _no_length(headers: Headers) -> list[bytes]:
    """HTTP/2 tells by its framing that there is no body; HTTP/1 has to say so (RFC 9110 8.6)."""
    return [] if headers.get(b"content-length") is not None else [b"content-length: 0"]


def write_response(response: Response, method: bytes, chunked: bool, close: bool) -> bytes:
    """The head of `response` to a request of that method."""
    reason = response.reason or _REASONS.get(response.status, b"")
    lines = [b"HTTP/1.1 %d %b" % (response.status, reason), *map(_line, response.headers)]
    if chunked:
        lines.append(b"transfer-encoding: chunked")
    elif response.length == 0 and method != b"HEAD" and response.status not in _BODILESS:
        lines += _no_length(response.headers)
    if close:
        lines.append(b"connection: close")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)
