"""Certificates and private keys in files: loading them, and what a certificate says of itself.

OpenSSL judges them; but it does not say which of two files is the bad one, nor give a certificate's
names before a client asks for one.

The one rule: a file that cannot be used is named, with the reason, and nothing is half loaded: what
fails is the context that was being made.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from m2mproxy.config.files import certificates

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
# PKCS 8 (RFC 5958), and the older forms of OpenSSL.
_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
_ENCRYPTED = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")
# What OpenSSL has against a certificate, rather than against its key.
_WEAK = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")


class FileFault(OSError):
    """A file that cannot be used: `filename`, and in `strerror` the reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(errno.EINVAL, reason, path)

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


class Pair(NamedTuple):
    """A certificate with its chain, and its private key: the paths of their files."""

    cert: str
    key: str = ""
    """"" where the certificate's file holds it."""


class Certificate(NamedTuple):
    """What a certificate that was loaded says of itself."""

    path: str
    dns: tuple[str, ...]
    addresses: tuple[str, ...]
    expires: datetime
    exposed: str
    """The file of its key, if every user can read it; else ""."""


def load(context: ssl.SSLContext, pair: Pair) -> Certificate:
    """Have `context` show a certificate.

    Raises:
        FileFault: one of its files cannot be used.
    """
    chain = _certificates(pair.cert)
    key_file = pair.key or pair.cert
    _check_key(key_file)
    try:
        # With a password, though a useless one, OpenSSL does not ask the terminal for one.
        context.load_cert_chain(pair.cert, key_file, password="")
        exposed = os.stat(key_file).st_mode & 0o004
    except ssl.SSLError as error:
        raise _blame(error, pair.cert, key_file) from None
    except OSError as error:
        raise FileFault(pair.cert, f"cannot be read: {error.strerror}") from None
    dns, addresses, expires = _contents(ssl.PEM_cert_to_DER_cert(chain[0]))
    return Certificate(pair.cert, dns, addresses, expires, key_file if exposed else "")


def trust(context: ssl.SSLContext, path: str) -> None:
    """Have `context` accept what the certificates of a file have signed.

    Raises:
        FileFault: it cannot be used.
    """
    if b"-----BEGIN " not in read(path):
        raise FileFault(path, "the file has no certificate in PEM")
    try:
        context.load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one
        reason = f"the file has no certificates that can be used ({words(error)})"
        raise FileFault(path, reason) from None


def read(path: str) -> bytes:
    """What a file of certificates or keys holds. Raises FileFault."""
    try:
        return certificates(path)  # which OpenSSL reads again
    except OSError as error:
        raise FileFault(path, f"cannot be read: {error.strerror}") from None


def stamps(paths: Sequence[str]) -> list[tuple[int, int, int] | None]:
    """Which files `paths` are, through links, and of when; None for one that is not there."""
    return [_stamp(path) for path in paths]


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def words(error: OSError) -> str:
    """The reason of an error, without the line of the interpreter's source."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, str):
        return reason.replace("_", " ").lower()
    return (error.strerror or str(error)).partition(" (_ssl.c")[0]


def alert(error: Exception | None) -> str:
    """What to add to the news that a connection is gone, where TLS says why: that a certificate was
    not shown, or is not trusted, comes after the handshake (RFC 8446 4.4.2.4)."""
    return f": {words(error)}" if isinstance(error, ssl.SSLError) else ""


def _certificates(path: str) -> list[str]:
    """The certificates of a file, each in PEM, seen to be such."""
    blocks = _CERTIFICATE.findall(read(path))
    if not blocks:
        raise FileFault(path, "the file has no certificate in PEM")
    found: list[str] = []
    for block in blocks:
        try:
            found.append(block.decode("ascii"))
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found[-1])
        except (UnicodeDecodeError, ssl.SSLError):
            raise FileFault(path, "a certificate in the file cannot be read") from None
    return found


def _check_key(path: str) -> None:
    data = read(path)
    if any(mark in data for mark in _ENCRYPTED):
        raise FileFault(path, "the private key is encrypted, and nobody is there to decrypt it")
    if not _KEY.search(data):
        raise FileFault(path, "the file has no private key in PEM")


def _blame(error: ssl.SSLError, cert: str, key: str) -> FileFault:
    if error.reason == "KEY_VALUES_MISMATCH":
        return FileFault(key, f"the private key is not that of the first certificate of {cert}")
    if error.reason in _WEAK:
        return FileFault(cert, f"the certificate is too weak ({words(error)})")
    return FileFault(key, f"the private key cannot be read ({words(error)})")


# ---- what a certificate says (RFC 5280 4.1) ------------------------------------------------------

# Tags of the fields that are looked for (X.690 8.1.2); the rest goes by its position.
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS, _ADDRESS = 0x82, 0x87
_UTC_TIME = 0x17
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")  # 2.5.29.17


def _contents(der: bytes) -> tuple[tuple[str, ...], tuple[str, ...], datetime]:
    """The DNS names, the IP addresses and the end of a certificate that OpenSSL has accepted.

    Python gives them only of a peer's certificate, and a library that reads certificates would cost
    every process ten megabytes.
    """
    fields = list(_elements(_inner(_inner(der))))
    if fields[0][0] == _VERSION:
        del fields[0]
    # The others before are the serial number, the signature's algorithm and the issuer.
    _, (tag, end) = _elements(fields[3][1])
    dns: list[str] = []
    addresses: list[str] = []
    for kind, name in _alternative_names(fields):
        if kind == _DNS:
            dns.append(name.decode("ascii", "replace").lower())
        elif kind == _ADDRESS:
            family = socket.AF_INET if len(name) == 4 else socket.AF_INET6
            addresses.append(socket.inet_ntop(family, name))
    return tuple(dns), tuple(addresses), _time(tag, end.decode())


def _alternative_names(fields: list[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    for tag, content in fields:
        if tag == _EXTENSIONS:
            for _, extension in _elements(_inner(content)):
                (_, identifier), *_, (_, value) = _elements(extension)
                if identifier == _SUBJECT_ALT_NAME:
                    yield from _elements(_inner(value))


def _time(tag: int, text: str) -> datetime:
    """A time of a certificate, which is in UTC, to the second (RFC 5280 4.1.2.5)."""
    if tag == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
    return datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=UTC)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and the content of each element of DER, one after the other (X.690 8.1)."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:  # so many bytes with the length follow
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size])
            at += size
        yield tag, data[at : at + length]
        at += length


def _inner(data: bytes) -> bytes:
    """The content of the first element."""
    return next(_elements(data))[1]
