"""The one check against request smuggling, for every HTTP version, on requests and responses.

The one rule: what two readers could frame or route differently is refused, never repaired
(RFC 9112 11.2). A caller turns `Malformed` into a fault of the side that sent it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from m2mproxy.http.headers import CREDENTIALS, Field, Headers

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

_method = re.compile(TOKEN).fullmatch
_name = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
# RFC 9110 5.5 without the other controls: CR, LF and NUL are the dangerous ones, none is useful.
_bad_value = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_target = re.compile(rb"[!-~]+").fullmatch
# RFC 3986 3.2 without userinfo, which RFC 9110 4.2.4 asks us to refuse.
_authority = re.compile(
    rb"(?:[A-Za-z0-9\-._~%!$&'()*+,;=]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?"
).fullmatch
MAX_LENGTH_DIGITS = 18  # more than any body, less than where sums go wrong
_length = re.compile(rb"[0-9]{1,%d}" % MAX_LENGTH_DIGITS).fullmatch
# A CR or LF that is not part of CRLF, a NUL, a folded line, a space between name and colon.
_raw_trap = re.compile(
    rb"(?<!\r)(?P<lf>\n)|(?P<cr>\r)(?!\n)|(?P<nul>\x00)|\r\n(?P<fold>[ \t])"
    rb"|\r\n[^\r\n:]*(?P<space>[ \t]):"
).search
_TRAPS = {
    "lf": "a line feed without carriage return",
    "cr": "a carriage return without line feed",
    "nul": "a NUL byte",
    "fold": "a folded header line",
    "space": "white space before the colon of a header",
}
# Fields that are not counted, up to a number and size: a request passes four instances at most.
_ADDED = CREDENTIALS | frozenset(
    (
        b"accept-encoding",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"forwarded",
        b"host",
        b"keep-alive",
        b"m2m-link",
        b"transfer-encoding",
        b"vary",
        b"via",
    )
)
_MOST_ADDED, MOST_ADDED_BYTES = 64, 8 * 1024
# RFC 9113 6.5.2: what counts for a field beside its name and value.
_ENTRY = 32
# A reader that merges trailers into the head would frame or route the message by these.
_NOT_IN_TRAILERS = frozenset((b"content-length", b"host", b"trailer", b"transfer-encoding"))
# One path segment that a server may resolve away: "." or "..", plain or percent-encoded. Some
# decode the slashes around it first (nginx), some end it at a parameter (Java's).
_dot_segment = re.compile(
    rb"(?:^|[/\\]|%2[fF]|%5[cC])(?:\.|%2[eE]){1,2}(?:[/\\;]|%2[fF]|%5[cC]|$)"
).search


class Malformed(ValueError):
    """The message is refused. `status` is for a client: 400 unless HTTP has a better one."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


def check_raw_head(head: bytes) -> None:
    """Refuse in a raw HTTP/1 head what lenient parsers repair (RFC 9112 2.2, 5.1, 5.2).

    Raises:
        Malformed: naming the trap.
    """
    if trap := _raw_trap(head):
        raise Malformed(f"the header section has {_TRAPS[trap.lastgroup or 'lf']}")


def check_fields(fields: Iterable[Field]) -> None:
    """Refuse names that are no lower-case token and values with control characters (RFC 9110 5)."""
    for name, value in fields:
        if not _name(name):
            raise Malformed("a header name has a character that is not allowed")
        if _bad_value(value):
            raise Malformed(f"the value of {name.decode()} has a control character")


def check_count(number: int, names: Iterable[bytes], most: int) -> None:
    """Refuse a head of `number` fields, which are more than `most`, unless that many are such as a
    proxy adds or a version of HTTP has and another has not: what one instance takes, and passes on
    with its own, the next one takes, too.

    Raises:
        Malformed: 431, where it is a request's.
    """
    is_more = number > most + _MOST_ADDED
    if is_more or sum(name not in _ADDED and name[:1] != b":" for name in names) > most:
        raise Malformed(f"more than {most} header fields", 431)


def check_bytes(fields: Iterable[Field], most: int) -> None:
    """Refuse fields of which the names and values have more than `most` bytes, without those that
    `check_count` does not count and up to MOST_ADDED_BYTES of these. It is asked of a head only
    that has more as its own version counts, so that what one instance takes the next one takes,
    whatever each of them speaks.

    Raises:
        Malformed: 431, where it is a request's.
    """
    own = added = 0
    for name, value in fields:
        if name in _ADDED or name[:1] == b":":
            added += len(name) + len(value)
        else:
            own += len(name) + len(value)
    if own > most or own + added > most + MOST_ADDED_BYTES:
        raise Malformed(f"header fields of more than {most} bytes", 431)


def most_listed(header_bytes: int, header_count: int) -> int:
    """The largest head that passes, as RFC 9113 counts, if it has as many fields as it may."""
    return header_bytes + MOST_ADDED_BYTES + _ENTRY * (header_count + _MOST_ADDED)


def check_method(method: bytes) -> None:
    """Refuse a method that is no token (RFC 9110 9.1)."""
    if not _method(method):
        raise Malformed("the method is not a token")


def check_reason(reason: bytes) -> None:
    """Refuse a reason phrase with control characters (RFC 9112 4)."""
    if _bad_value(reason):
        raise Malformed("the reason phrase has a control character")


def check_target(target: bytes) -> None:
    """Refuse a target with anything but visible ASCII (RFC 9112 3.2)."""
    if not _target(target):
        raise Malformed("the request target has a character that is not allowed")


def check_authority(authority: bytes) -> None:
    """Refuse a Host or :authority that is no host with optional port (RFC 9110 7.2)."""
    if not _authority(authority):
        raise Malformed("the host is not valid")


def has_dot_segment(path: bytes) -> bool:
    """Whether a server could resolve `path` to one outside its prefix (RFC 3986 5.2.4)."""
    return _dot_segment(path) is not None


def the_one(headers: Headers, name: bytes) -> bytes | None:
    """The value of a field that may occur once; None when absent."""
    values = [value for field, value in headers if field == name]
    if len(values) > 1:
        raise Malformed(f"{name.decode()} occurs more than once")
    return values[0] if values else None


def parse_length(value: bytes) -> int:
    """A content-length's value in bytes (RFC 9110 8.6)."""
    if not _length(value):
        raise Malformed("content-length is not a number")
    return int(value)


def declared_length(headers: Headers) -> int | None:
    """The content-length, or None when there is none (RFC 9110 8.6).

    A repeated length is refused even when both agree: it is of no use to an honest sender.
    """
    value = the_one(headers, b"content-length")
    return None if value is None else parse_length(value)


def check_chunked(headers: Headers, minor_version: int) -> None:
    """Refuse what RFC 9112 6.1 calls suspicious in an HTTP/1 message with transfer-encoding.

    Raises:
        Malformed: it comes with content-length, in HTTP/1.0, twice, or is not just `chunked`
            (501 for a coding that we do not know, RFC 9112 6.1).
    """
    value = the_one(headers, b"transfer-encoding") or b""
    if minor_version == 0:
        raise Malformed("transfer-encoding is not part of HTTP/1.0")
    if headers.get(b"content-length") is not None:
        raise Malformed("both transfer-encoding and content-length are present")
    if value.lower() != b"chunked":
        raise Malformed("the only transfer-encoding understood is chunked", 501)


def check_trailers(fields: Iterable[Field]) -> None:
    """Refuse trailers that would change what the message is (RFC 9110 6.5.1)."""
    if any(name in _NOT_IN_TRAILERS for name, _ in fields):
        raise Malformed("the trailers have a field that is not allowed there")
