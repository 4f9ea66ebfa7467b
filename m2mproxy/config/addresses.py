"""The two kinds of addresses: where clients connect, and where requests go.

The one rule: an address that is accepted has one meaning, and is written so that reading it gives
the same address again.
"""

import os
import re
import socket
from dataclasses import dataclass

from m2mproxy.config.kinds import Kind, split

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[^:]*))?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


_DEFAULT_PORTS = {"http": 80, "https": 443}


def _host_port(text: str) -> tuple[str, int | None]:
    """Split `host:port` or `[v6]:port`; None where there is no port."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError("an IPv6 address goes in brackets" if text.count(":") > 1 else "")
    host, port = match["name"], match["port"]
    if match["v6"] is not None:
        host = match["v6"]
        try:
            socket.inet_pton(socket.AF_INET6, host)
        except OSError:
            raise ValueError("not an IPv6 address between the brackets") from None
    elif not host:
        raise ValueError("no host")
    elif len(host) > 253 or not _NAME.fullmatch(host):
        raise ValueError("not a host name")
    if port is not None and (not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535):
        raise ValueError("a port is a number up to 65535")
    return host, None if port is None else int(port)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True)
class Listen:
    """Where clients connect: a host and port, or the path of a unix socket."""

    host: str = ""
    """Host name or IP address, without brackets; '' for a unix socket."""
    port: int = 0
    """TCP port; 0 lets the system choose one."""
    path: str = ""
    """Path of the unix socket; '' for a host and port."""
    scheme: str = ""
    """'http' or 'https' where the address says it; '' where the configuration decides."""

    def __post_init__(self) -> None:
        if bool(self.host) == bool(self.path):
            raise ValueError("either a host and port or the path of a unix socket")

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        prefix = f"{self.scheme}://" if self.scheme else ""
        return f"{prefix}{_bracketed(self.host)}:{self.port}"

    def is_secure(self, default: bool) -> bool:
        """Whether TLS is spoken there, with `default` for a TCP address that does not say it."""
        return self.scheme == "https" or (default and not self.scheme and not self.path)

    def is_at(self, other: "Listen") -> bool:
        """Whether both are the same place, which cannot be listened on twice."""
        here, there = ((each.host, each.port, each.path) for each in (self, other))
        return here == there and bool(self.port or self.path)

    @classmethod
    def parse(cls, text: str) -> "Listen":
        """Read `host:port`, `[v6]:port` or `unix:/path`, the first two also after `http://` or
        `https://`. Raises ValueError with the reason."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not re.fullmatch(r"/[^\x00-\x1f\x7f]+", path):
                raise ValueError("the path of a unix socket begins with a slash")
            if len(os.fsencode(path)) > 107:
                raise ValueError("the path of a unix socket has at most 107 bytes")
            return cls(path=path)
        match = _SCHEME.fullmatch(text)
        scheme, text = (match[1].lower(), match[2]) if match else ("", text)
        if scheme and scheme not in _DEFAULT_PORTS:
            raise ValueError(f"the scheme {scheme} is not known")
        host, port = _host_port(text)
        if port is None:
            raise ValueError("no port")
        return cls(host, port, scheme=scheme)


def _read_listen(value: object) -> tuple[Listen, ...]:
    listens = _read_more(value)
    if not listens:
        raise ValueError
    return listens


def _read_more(value: object) -> tuple[Listen, ...]:
    """The same, or none."""
    texts = ([value] if value else []) if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise ValueError
    listens: list[Listen] = []
    for text in texts:
        if not isinstance(text, str):
            raise ValueError
        try:
            listen = Listen.parse(text)
        except ValueError as error:
            # With several addresses, say which one it is.
            raise ValueError(f"{text}: {error}" if len(texts) > 1 else str(error)) from None
        if any(map(listen.is_at, listens)):
            raise ValueError(f"{listen} is there twice")
        listens.append(listen)
    return tuple(listens)


LISTEN = Kind(
    _read_listen,
    'one or several of host:port, [v6]:port and unix:/path, such as "127.0.0.1:8080", '
    'or "0.0.0.0:8080" for every IPv4 address, or "https://0.0.0.0:8443" for TLS',
    split,
)

MORE_LISTEN = LISTEN._replace(read=_read_more)

_URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?([^/?]*)([^?]*)(?:\?(.*))?")


@dataclass(frozen=True, slots=True)
class Upstream:
    """The base URL that requests are forwarded to."""

    scheme: str
    """'http' or 'https'."""
    host: str
    """Host name or IP address, without brackets."""
    port: int
    """TCP port; where the URL has none, 80 for http and 443 for https."""
    path: str = ""
    """Prefix of every path, without a slash at its end; '' for none."""
    query: str = ""
    """Query of every request, without the question mark; '' for none."""

    def __str__(self) -> str:
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{_bracketed(self.host)}{port}{self.path}{query}"

    @classmethod
    def parse(cls, text: str) -> "Upstream":
        """Read a URL. Raises ValueError with the reason."""
        if not re.fullmatch(r"[\x21-\x7e]*", text):
            raise ValueError("only visible ASCII characters can be used in it, and no spaces")
        if "#" in text:
            raise ValueError("a fragment (#) is never sent")
        match = _URL.fullmatch(text)
        scheme, authority, path, query = match.groups() if match else ("", "", "", "")
        scheme = (scheme or "").lower()
        if scheme not in _DEFAULT_PORTS:
            raise ValueError(f"the scheme {scheme} is not known" if scheme else "no scheme")
        if "@" in authority:
            raise ValueError("a URL with a user or password is refused: use api_key")
        host, port = _host_port(authority)
        if port == 0:
            raise ValueError("port 0 cannot be connected to")
        port = _DEFAULT_PORTS[scheme] if port is None else port
        return cls(scheme, host.lower(), port, path.rstrip("/"), query or "")


def _read_upstream(value: object) -> Upstream:
    if not isinstance(value, str):
        raise ValueError
    return Upstream.parse(value)


def _without_secrets(value: object) -> object:
    """A URL without what may be a password or a key: all before the last @, and the query."""
    if not isinstance(value, str):
        return None
    value = re.sub(r"^(\w+://)?.*@", r"\1...@", value, flags=re.DOTALL)
    return re.sub(r"\?.+", "?...", value, flags=re.DOTALL)


UPSTREAM = Kind(
    _read_upstream,
    'an http:// or https:// URL, such as "http://localhost:11434/v1"',
    public=_without_secrets,
)
