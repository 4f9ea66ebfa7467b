"""Request, Response and Origin: the one form in which every HTTP version hands a message to us.

The one rule: a message says what HTTP means (RFC 9110), not how a version writes it. Host is the
authority, framing is `length`, and connection fields are gone.
"""

from __future__ import annotations

from dataclasses import dataclass

from m2mproxy.http.headers import Headers


@dataclass(slots=True)
class Request:
    """What is asked. `length` is the body's size in bytes, None when only its end will tell.

    `takes_trailers` is what TE says, the one thing that a connection tells of the next (RFC 9110
    10.1.4).
    """

    method: bytes
    target: bytes
    authority: bytes
    headers: Headers
    length: int | None = 0
    scheme: bytes = b"http"
    version: tuple[int, int] = (1, 1)
    takes_trailers: bool = False

    def copy(self) -> Request:
        """An equal request, for somebody else to change."""
        return Request(
            self.method,
            self.target,
            self.authority,
            Headers(self.headers),
            self.length,
            self.scheme,
            self.version,
            self.takes_trailers,
        )

    def set_length(self, size: int) -> None:
        """Say that the body has `size` bytes."""
        self.headers.put(b"content-length", b"%d" % size)
        self.length = size

    @property
    def path(self) -> bytes:
        """The target without its query (RFC 9110 4.2.3)."""
        return self.target.partition(b"?")[0]

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for 100 before its body (RFC 9110 10.1.1)."""
        headers = self.headers
        says = headers.get(b"expect") is not None and b"100-continue" in headers.tokens(b"expect")
        return says and self.version > (1, 0)


@dataclass(slots=True)
class Response:
    """What is said. `length` is that of the body which follows: 0 for HEAD, 1xx, 204 and 304."""

    status: int
    headers: Headers
    length: int | None = 0
    reason: bytes = b""


@dataclass(frozen=True, slots=True)
class Origin:
    """A server as the pool knows it: scheme, host without brackets, port."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> bytes:
        """The Host value for this origin (RFC 9110 7.2); the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return (host if self.port == default else f"{host}:{self.port}").encode("ascii")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority.decode('ascii')}"
