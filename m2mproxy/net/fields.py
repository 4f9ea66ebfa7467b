"""Field sections of HTTP/2 to and from the common Request and Response (RFC 9113 8.3).

The one rule: what an HTTP/1 peer behind us could read in another way is refused here, for each
message by itself: names, values, pseudo-headers, connection fields, lengths.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from m2mproxy.config import Limits
from m2mproxy.http.headers import HOP_BY_HOP, Field, Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.http.validate import (
    Malformed,
    check_authority,
    check_bytes,
    check_count,
    check_fields,
    check_method,
    check_target,
    check_trailers,
    parse_length,
)

# RFC 9113 8.2.2. TE is the exception: "trailers" may be said.
_CONNECTION_FIELDS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_LOOKED_AT = HOP_BY_HOP | _CONNECTION_FIELDS | {b"host", b"content-length", b"cookie"}
_REQUEST = (b":method", b":scheme", b":authority", b":path", b":protocol")
_SCHEMES = (b"http", b"https")

# All names or values of a section at once, joined by a byte that none of them may have. What does
# not pass is looked at one by one, for the error to name it.
_names = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9a-z]+\n)*").fullmatch
_bad_values = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\n[ \t]|[ \t]\n").search


def check_size(fields: Sequence[Field], limits: Limits) -> None:
    """Refuse a section of too many fields, or of too many bytes.

    Raises:
        Malformed: 431, where it is a request's.
    """
    if len(fields) > limits.header_count:
        check_count(len(fields), (name for name, _ in fields), limits.header_count)
    if sum([len(name) + len(value) + 32 for name, value in fields]) > limits.header_bytes:
        check_bytes(fields, limits.header_bytes)


def read_request(fields: Sequence[Field], ended: bool) -> Request:
    """The request of a field section. `ended`: no body follows.

    Raises:
        Malformed: RFC 9113 8.2 and 8.3 forbid it, or it could be framed or routed in two ways.
    """
    pseudo, headers = _split(fields, _REQUEST)
    method, path = pseudo.get(b":method"), pseudo.get(b":path")
    if method is None:
        raise Malformed(":method is missing")
    check_method(method)
    authority = pseudo.get(b":authority")
    request = Request(method, b"", b"", headers, 0, version=(2, 0))
    host, length = _take_out(request, headers)
    if authority is None:
        authority = host
    elif host is not None and host.lower() != authority.lower():
        raise Malformed("host and :authority differ")
    if authority:
        check_authority(authority)
    request.authority = authority or b""
    request.target = _target(method, path, pseudo)
    request.scheme = pseudo.get(b":scheme", b"http")
    if ended and length:
        raise Malformed("content-length promises a body that does not come")
    request.length = 0 if ended else length
    return request


class RepeatedSection:
    """A connection's last request, recognised when the client sends it again.

    Clients repeat themselves, content-length apart; what the fields mean was decided when they
    first came. It lives and dies with its connection: no client's fields, or key, are kept longer
    than the client stays.
    """

    __slots__ = ("_fields", "_position", "_request")

    def __init__(self, fields: Sequence[Field], request: Request) -> None:
        """`request` is what `read_request` made of `fields`, and nobody has changed it yet."""
        self._fields = fields
        self._request = request.copy()
        names = [name for name, _ in fields]
        self._position = names.index(b"content-length") if b"content-length" in names else -1

    def read(self, fields: Sequence[Field], ended: bool) -> Request | None:
        """What `read_request` would make of `fields`, if they are those again; else None."""
        kept, at = self._fields, self._position
        request = self._request.copy()
        if at < 0:
            request.length = 0 if ended else None
            return request if fields == kept else None
        if ended or len(fields) != len(kept):
            return None
        if fields[:at] != kept[:at] or fields[at + 1 :] != kept[at + 1 :]:
            return None
        field = fields[at]
        if field[0] != b"content-length":
            return None
        request.length = parse_length(field[1])
        headers = request.headers
        headers[headers.index(kept[at])] = (field[0], field[1])
        return request


def _target(method: bytes, path: bytes | None, pseudo: dict[bytes, bytes]) -> bytes:
    """The request's target; the authority for CONNECT (RFC 9113 8.3.1, 8.5)."""
    scheme = pseudo.get(b":scheme")
    if method == b"CONNECT":
        if b":protocol" not in pseudo and (path is not None or scheme is not None):
            raise Malformed("CONNECT has no :path and no :scheme")
        if not pseudo.get(b":authority"):
            raise Malformed("CONNECT without :authority")
        return pseudo[b":authority"]
    if b":protocol" in pseudo:
        raise Malformed(":protocol without CONNECT")
    if scheme is None or path is None:
        raise Malformed(f"{':path' if path is None else ':scheme'} is missing")
    if scheme not in _SCHEMES:
        raise Malformed(":scheme is neither http nor https")
    if not path.startswith(b"/") and not (path == b"*" and method == b"OPTIONS"):
        raise Malformed(":path does not begin with a slash")
    check_target(path)
    if b"#" in path:
        raise Malformed(":path has a fragment")
    return path


def read_response(fields: Sequence[Field], ended: bool, method: bytes) -> Response:
    """The response to `method`, 1xx included.

    Raises:
        Malformed: RFC 9113 8.2 and 8.3 forbid it, or it could be framed in two ways.
    """
    pseudo, headers = _split(fields, (b":status",))
    status = pseudo.get(b":status", b"")
    if len(status) != 3 or not status.isdigit() or status < b"100":
        raise Malformed(":status is missing or no number of three digits")
    code = int(status)
    if code == 101:
        raise Malformed("101 does not exist in HTTP/2")  # RFC 9113 8.6
    _, length = _take_out(None, headers)
    if code < 200 or code in (204, 304) or method == b"HEAD":
        if code < 200 or code == 204:
            headers.drop((b"content-length",))  # RFC 9110 8.6: it must not be there
        return Response(code, headers, 0)
    if ended and length:
        raise Malformed("content-length promises a body that does not come")
    return Response(code, headers, 0 if ended else length)


def read_trailers(fields: Sequence[Field]) -> Headers:
    """A trailer section (RFC 9113 8.1).

    Raises:
        Malformed: it has pseudo-headers or what a field section may not have.
    """
    _, headers = _split(fields, ())
    for name, _ in headers:
        if name in _CONNECTION_FIELDS:
            raise Malformed(f"{name.decode()} belongs to HTTP/1 connections")
    check_trailers(headers)
    headers.drop(HOP_BY_HOP)
    return headers


def _split(fields: Sequence[Field], known: tuple[bytes, ...]) -> tuple[dict[bytes, bytes], Headers]:
    """Pseudo-headers, each known and first and there once, and the rest, each valid."""
    pseudo: dict[bytes, bytes] = {}
    count = 0
    for name, value in fields:
        if name[:1] != b":":
            break
        if name not in known or name in pseudo:
            raise Malformed("a pseudo-header is unknown here, or occurs more than once")
        pseudo[name] = value
        count += 1
    headers = Headers(fields[count:])
    if headers:
        names = b"\n".join([name for name, _ in headers]) + b"\n"
        values = b"\n" + b"\n".join([value for _, value in headers]) + b"\n"
        breaks = names.count(b"\n") + values.count(b"\n")
        if not _names(names) or _bad_values(values) or breaks != 2 * len(headers) + 1:
            _complain(headers)
    return pseudo, headers


def _complain(headers: Headers) -> None:
    for name, value in headers:
        if name[:1] == b":":
            raise Malformed("a pseudo-header comes after a header field")
        if value.strip(b" \t") != value:
            raise Malformed("a header value begins or ends with white space")
    check_fields(headers)
    raise Malformed("a header field is not valid")


def _take_out(
    request: Request | None, headers: Headers
) -> tuple[bytes | None, int | None]:
    """Take out what is no field of the message itself. Returns Host, and the declared length.

    Raises:
        Malformed: a field of HTTP/1 connections (RFC 9113 8.2.2); Host or a length twice, or one
            that is no number.
    """
    host: bytes | None = None
    length: int | None = None
    cookies = 0
    special = [field for field in headers if field[0] in _LOOKED_AT]
    gone: set[bytes] = set()
    for name, value in special:
        if name in _CONNECTION_FIELDS:
            raise Malformed(f"{name.decode()} belongs to HTTP/1 connections")
        if name == b"te":
            if request is None or value.lower() != b"trailers":
                raise Malformed('te may only say "trailers"')
            request.takes_trailers = True
            gone.add(name)
        elif name == b"host" and request is not None:
            if host is not None:
                raise Malformed("host occurs more than once")
            host = value
            gone.add(name)
        elif name == b"content-length":
            if length is not None:
                raise Malformed("content-length occurs more than once")
            length = parse_length(value)
        elif name == b"cookie":
            cookies += 1
        elif name.startswith(b"proxy-"):
            gone.add(name)  # for us alone (RFC 9110 11.7)
    if gone:
        headers.drop(gone)
    if cookies > 1:
        _join_cookies(headers)
    return host, length


def _join_cookies(headers: Headers) -> None:
    """RFC 9113 8.2.3: a cookie in several fields is one in every other version."""
    joined = b"; ".join(headers.values_of(b"cookie"))
    where = next(i for i, field in enumerate(headers) if field[0] == b"cookie")
    headers.drop((b"cookie",))
    headers.insert(where, (b"cookie", joined))


def request_fields(request: Request) -> list[Field]:
    """The field section of `request`."""
    if request.method == b"CONNECT":
        fields = [(b":method", request.method), (b":authority", request.authority)]
    else:
        fields = [
            (b":method", request.method),
            (b":scheme", request.scheme),
            (b":authority", request.authority),
            (b":path", request.target),
        ]
    fields += request.headers
    if request.takes_trailers:
        fields.append((b"te", b"trailers"))
    return fields


def response_fields(response: Response) -> list[Field]:
    """The field section of `response`."""
    return [(b":status", b"%d" % response.status), *response.headers]
