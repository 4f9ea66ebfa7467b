"""TLS on both legs: contexts for what is dialled and for what is listened on.

asyncio asks a context for one thing, `wrap_bio`, when a connection begins. So what stands behind a
context can be exchanged for the connections to come, which is how files are read anew.

The one rule: an upstream's certificate and name are verified unless that is switched off by name,
and a client's certificate whenever one is asked for.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

from m2mproxy.net.certificate import Certificate, Pair, load, read, stamps, trust
from m2mproxy.net.handshake import Handshakes, Secured

ALPN = ("h2", "http/1.1")
# For TLS 1.2; those of 1.3 are all of this kind. HTTP/2 forbids the others (RFC 9113 9.2.2).
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def client_context(
    ca_file: str = "", insecure: bool = False, alpn: Sequence[str] = ALPN
) -> ssl.SSLContext:
    """A context for upstreams: TLS 1.2 or later, verified against the system's store or `ca_file`.

    With `insecure` anybody is believed to be the upstream.

    Raises:
        FileFault: `ca_file` cannot be used.
    """
    context = _Resuming(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, alpn)
    if ca_file:
        trust(context, ca_file)
    elif not insecure:
        context.load_default_certs()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _server_context(client_ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, ALPN)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        trust(context, client_ca)
    return context


def _harden(context: ssl.SSLContext, alpn: Sequence[str]) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(alpn))


class _Resuming(ssl.SSLContext):
    """Offers a server its session, for which asyncio has no parameter: the same until it declines.

    A session is of a server that was verified under the same name.
    """

    def __init__(self, *_: object) -> None:
        self._last: dict[object, ssl.SSLObject] = {}
        self._sessions: dict[object, ssl.SSLSession] = {}

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        name = server_hostname
        last = self._last.get(name)
        # Only now: a ticket of TLS 1.3 comes after the handshake. Without a version there was none.
        # And only if none was resumed: Python 3.11 loses a copy, of 6 KiB or more, each time it is
        # asked for a session (its issue 116810).
        if last is not None and last.version() and not last.session_reused:
            found = last.session
            if found is not None and found.has_ticket:
                self._sessions[name] = found
        session = session or self._sessions.get(name)
        self._last[name] = super().wrap_bio(incoming, outgoing, server_side, name, session)
        return self._last[name]


class _Standing(ssl.SSLContext):
    """Stands for another context, which can be exchanged while connections come and go."""

    current: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **settings: Any) -> ssl.SSLObject:
        return self.current.wrap_bio(*arguments, **settings)


class _Listening(_Standing):
    """A context for listeners: it watches over handshakes."""

    def __init__(self, _: int, handshakes: Handshakes) -> None:
        self._handshakes = handshakes

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *_: Any, **settings: Any
    ) -> ssl.SSLObject:
        self._handshakes.admit()
        connection = super().wrap_bio(incoming, outgoing, **settings)
        assert isinstance(connection, Secured)
        self._handshakes.add(connection, outgoing)
        return connection


class _Leg:
    """A context, and the files that it is made of.

    Attributes:
        context: what asyncio is given, for good.
        files: their paths.
        certificates: what those say that are shown to the other end.
    """

    context: _Standing

    def __init__(self, *files: str) -> None:
        self.files = tuple(filter(None, files))
        self.certificates: list[Certificate] = []
        self.reload()

    def has_changed(self) -> bool:
        """Whether the files are others than were read last, with success or without."""
        return stamps(self.files) != self._stamps

    def reload(self) -> None:
        """Read the files anew, for connections to come. After a FileFault the old ones stay."""
        # Before they are read: what is written meanwhile is a change.
        self._stamps = stamps(self.files)
        self._read()

    def _read(self) -> None:
        raise NotImplementedError


class ClientTls(_Leg):
    """TLS towards the upstream."""

    def __init__(
        self,
        ca_file: str = "",
        insecure: bool = False,
        pair: Pair | None = None,
        alpn: Sequence[str] = ALPN,
    ) -> None:
        """Read the files. `pair` is shown to an upstream that asks for it. Raises FileFault."""
        self._ca_file, self._insecure, self._pair, self._alpn = ca_file, insecure, pair, alpn
        self.context = _Standing(ssl.PROTOCOL_TLS_CLIENT)
        super().__init__(ca_file, *(pair or ()))

    def _read(self) -> None:
        context = client_context(self._ca_file, self._insecure, self._alpn)
        certificates = [load(context, self._pair)] if self._pair else []
        self.context.current, self.certificates = context, certificates


class ServerTls(_Leg):
    """TLS of listeners: certificates by the names that clients ask for.

    Connections begin with one context that has no certificate, the base: it lasts, because it holds
    the keys of session tickets. Each goes on with the context of the certificate that it gets.
    """

    def __init__(self, pairs: Sequence[Pair], client_ca: str = "") -> None:
        """Read the files. With `client_ca`, clients need a certificate of it. Raises FileFault."""
        self._pairs, self._client_ca = tuple(pairs), client_ca
        self.handshakes = Handshakes()
        self.context = _Listening(ssl.PROTOCOL_TLS_SERVER, self.handshakes)
        self._by_name: dict[str, ssl.SSLContext] = {}
        self._first: ssl.SSLContext
        self._trusted: bytes | None = None
        super().__init__(client_ca, *(path for pair in pairs for path in pair))

    def _read(self) -> None:
        trusted = read(self._client_ca) if self._client_ca else b""
        contexts = [_server_context(self._client_ca) for _ in self._pairs]
        certificates = [load(*each) for each in zip(contexts, self._pairs, strict=True)]
        by_name: dict[str, ssl.SSLContext] = {}
        for context, certificate in zip(contexts, certificates, strict=True):
            for name in certificate.dns:
                by_name.setdefault(name, context)
        if trusted != self._trusted:
            # A session is resumed without another look at the client's certificate. So when others
            # are trusted than before, sessions end: their keys go with the base.
            self.context.current = self._base()
        self._trusted, self.certificates = trusted, certificates
        self._by_name, self._first = by_name, contexts[0]

    def _base(self) -> ssl.SSLContext:
        base = _server_context(self._client_ca)
        base.sslobject_class = Secured
        base.sni_callback = self._choose
        return base

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Called for every handshake, `name` or not. A wildcard stands for one label (RFC 9525)."""
        name = (name or "").lower().rstrip(".")
        wildcard = f"*.{name.partition('.')[2]}"
        connection.context = self._by_name.get(name) or self._by_name.get(wildcard, self._first)
