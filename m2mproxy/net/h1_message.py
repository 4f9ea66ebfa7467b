"""HTTP/1 heads to and from the common Request and Response (RFC 9112 3 to 9).

The one rule: what belongs to the connection is taken out on the way in and put back on the way
out, here and nowhere else.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus

from m2mproxy.http.headers import HOP_BY_HOP, Headers, nominated, tokens
from m2mproxy.http.message import Request, Response
from m2mproxy.http.validate import Malformed, check_authority, check_chunked, parse_length
from m2mproxy.net.h1_head import RequestHead, ResponseHead

_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}

_TAKEN_OUT = HOP_BY_HOP | {b"host"}
_LOOKED_AT = _TAKEN_OUT | {b"content-length"}


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
        for field in [field for field in fields if field[0] in _LOOKED_AT]:
            name, value = field
            if name == b"content-length":
                if self.length is not None:
                    raise Malformed("content-length occurs more than once")
                self.length = parse_length(value)
                continue
            if name == b"host":
                if self.host is not None:
                    raise Malformed("host occurs more than once")
                self.host = value
            elif name == b"connection":
                self._options(fields, value)
            elif name == b"transfer-encoding":
                check_chunked(fields, minor)
                self.chunked = True
            elif name == b"te":
                self.te = self.te or b"trailers" in tokens(value)
            elif name == b"upgrade":
                self.upgrade = value
            fields.remove(field)

    def _options(self, fields: Headers, value: bytes) -> None:
        if value == b"keep-alive":
            return
        options = tokens(value)
        self.close = self.close or b"close" in options
        fields.drop(nominated(options) - _LOOKED_AT)


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
    if target[0] != 47:  # "/"
        target, host = _other_form(method, target, host or b"")
    if special.upgrade:
        # Not ours to forward, but the reason of a clear refusal (RFC 9110 7.8).
        headers.append((b"upgrade", special.upgrade))
    length = None if special.chunked else special.length or 0
    version = (1, minor)
    request = Request(method, target, host or b"", headers, length, b"http", version, special.te)
    return request, not special.close


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
    lines = [b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (request.method, request.target, request.authority)]
    lines += [b"%b: %b\r\n" % field for field in request.headers]
    if request.takes_trailers:
        lines.append(b"te: trailers\r\nconnection: te\r\n")
    if request.length is None:
        lines.append(b"transfer-encoding: chunked\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def write_response(response: Response, chunked: bool, close: bool) -> bytes:
    """The head of `response`."""
    reason = response.reason or _REASONS.get(response.status, b"")
    lines = [b"HTTP/1.1 %d %b\r\n" % (response.status, reason)]
    lines += [b"%b: %b\r\n" % field for field in response.headers]
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    if close:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def peer_name(transport: asyncio.Transport) -> str:
    """The other end's address as `host:port`, `[v6]:port`, or "unix"."""
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return "unix"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def reset_on_close(transport: asyncio.Transport) -> None:
    """Let the next close send a reset instead of an orderly end."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
