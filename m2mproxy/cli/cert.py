"""`m2m cert`: a certificate for development.

The one rule: it is self-signed and valid for the names in it alone, and no existing file is
replaced.
"""

import argparse
import contextlib
import os
import sys
from typing import Any

from m2mproxy.cli.data import Failure, guarded, write
from m2mproxy.cli.options import Parser, host, whole_number

# Where a client of this machine looks for a server.
HERE = ("localhost", "127.0.0.1", "::1")
DEFAULT_DAYS = 90
# Apple's systems refuse one that is valid for longer.
MOST_DAYS = 825

_NOTICE = """\
{cert} and {key}: a certificate for {names}, valid until {until}.

FOR DEVELOPMENT ONLY. No client trusts it unless it is told to, and whoever reads {key} can pose as
this server to those that do.

    m2m proxy --cert {cert} --key {key} --upstream URL
    curl --cacert {cert} https://localhost:8080/v1/models
    SSL_CERT_FILE={cert} python ...      # with OpenAI's SDK: base_url="https://localhost:8080/v1"
"""


def add_cert(cert: Parser) -> None:
    cert.add_argument(
        "names", nargs="*", metavar="NAME", type=_name, help="another name or IP address it is for"
    )
    cert.add_argument("--out", default=".", metavar="DIR", help="where to write (default: .)")
    days = whole_number("number of days", 1, MOST_DAYS)
    cert.add_argument(
        "--days", type=days, default=DEFAULT_DAYS, help=f"validity (default: {DEFAULT_DAYS})"
    )
    cert.set_defaults(run=guarded(_cert))


def _cert(args: argparse.Namespace) -> int:
    cert, key = (os.path.join(args.out, name) for name in ("cert.pem", "key.pem"))
    names = list(dict.fromkeys((*HERE, *args.names)))
    written: list[str] = []
    try:
        for path in (cert, key):
            if os.path.lexists(path):
                raise FileExistsError(0, "exists, and is not replaced", path)
        chain, secret, until = _make(names, args.days)
        for path, data, mode in ((key, secret, 0o600), (cert, chain, 0o644)):
            _write(path, data, mode, written)
    except OSError as error:
        for path in written:  # one without the other is of no use
            with contextlib.suppress(OSError):
                os.unlink(path)
        raise Failure(f"{error.filename}: {error.strerror}") from None
    if sys.stdout is not None:  # else whoever closed it wants the files
        notice = _NOTICE.format(cert=cert, key=key, names=", ".join(names), until=until)
        write(os.fsencode(notice))
    return 0


def _write(path: str, data: bytes, mode: int, written: list[str]) -> None:
    # Exclusively, so that nothing is followed or replaced that has come since we looked.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    written.append(path)
    with open(descriptor, "wb") as file:
        file.write(data)


def _make(names: list[str], days: int) -> tuple[bytes, bytes, str]:
    """The certificate and the key in PEM, and the day on which it ends."""
    # Only here: ten megabytes that no other command needs.
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "m2mproxy for development")])
    now = datetime.now(UTC)
    until = now + timedelta(days=days)
    # For either end, so that client certificates can be tried with it too.
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # for clocks that are behind
        .not_valid_after(until)
        # No authority: who is told to trust it trusts these names, and nothing that it signs.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(x509.KeyUsage(True, *[False] * 8), True)  # digital signature alone
        .add_extension(x509.ExtendedKeyUsage(usage), False)
        .add_extension(x509.SubjectAlternativeName([*map(_general_name, names)]), False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    return builder.sign(key, hashes.SHA256()).public_bytes(pem), secret, f"{until:%Y-%m-%d}"


def _general_name(name: str) -> Any:
    from ipaddress import ip_address

    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(text: str) -> str:
    """A host, or all hosts of a domain."""
    return f"*.{host(text[2:])}" if text.startswith("*.") else host(text)
