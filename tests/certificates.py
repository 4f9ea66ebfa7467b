"""Certificates for tests: an authority, and what it signs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in PEM."""

    cert: bytes
    key: bytes

    def save(self, folder: Path, name: str) -> tuple[str, str]:
        """Write two files; their paths."""
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        for path, data in zip(paths, (self.cert, self.key), strict=True):
            path.write_bytes(data)
            path.chmod(0o600)
        return str(paths[0]), str(paths[1])

    def save_as_one(self, path: Path) -> str:
        """Write one file of both."""
        path.write_bytes(self.key + self.cert)
        path.chmod(0o600)
        return str(path)


class Authority:
    """Signs certificates; its own is signed by `above`, or else by itself. They identify keys, as
    Python wants it from 3.13 on (VERIFY_X509_STRICT, RFC 5280), unless `identifies` is False."""

    def __init__(
        self, name: str, folder: Path, above: Authority | None = None, identifies: bool = True
    ) -> None:
        self._identifies = identifies
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = new_key()
        signer = above or self
        builder = _builder(self._name, signer, self._key, timedelta(days=100))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        builder = builder.add_extension(_signs(), True)
        self.cert = builder.sign(signer._key, hashes.SHA256()).public_bytes(PEM)
        path = folder / f"{name}.ca.pem"
        path.write_bytes(self.cert)
        self.path = str(path)

    def issue(
        self, *names: str, valid: timedelta = timedelta(days=50), key: Key | None = None
    ) -> Issued:
        """A certificate of `names`, host names and addresses, the first of which it is called."""
        key = key or new_key()
        called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0] if names else "-")])
        builder = _builder(called, self, key, valid)
        if names:
            alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
            builder = builder.add_extension(alternatives, False)
        cert = builder.sign(self._key, hashes.SHA256()).public_bytes(PEM)
        return Issued(cert, key_text(key))


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_text(key: Key, password: bytes = b"") -> bytes:
    secrecy: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        secrecy = serialization.BestAvailableEncryption(password)
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, secrecy)


def _builder(
    subject: x509.Name, issuer: Authority, key: Key, valid: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    public, above = key.public_key(), issuer._key.public_key()
    builder = (
        x509.CertificateBuilder(issuer._name, subject, public, x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1000))
        .not_valid_after(now + valid)
    )
    if not issuer._identifies:
        return builder
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
    above_it = x509.AuthorityKeyIdentifier.from_issuer_public_key(above)
    return builder.add_extension(above_it, False)


def _signs() -> x509.KeyUsage:
    """Certificates, and nothing else."""
    return x509.KeyUsage(*[False] * 5, True, *[False] * 3)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
