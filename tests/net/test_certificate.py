"""Files of certificates and keys: what they say, and every way in which they are of no use."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from certificates import Authority, Issued, key_text, new_key
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from m2mproxy.net.certificate import FileFault, Pair, load, trust


def fresh() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


# -- what a certificate says --------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("a.test",),
        ("a.test", "*.b.test", "A.Mixed.Test", "192.0.2.1", "2001:db8::1", "::1"),
        tuple(f"name-{number}.test" for number in range(10)),  # lengths of two bytes
        tuple(f"name-{number}.test" for number in range(5000)),  # of three
    ],
    ids=len,
)
@pytest.mark.parametrize(
    "valid",
    [timedelta(days=50), timedelta(days=-1), timedelta(days=40 * 365), timedelta(days=2000 * 365)],
    ids=["soon", "past", "after 2050", "far"],
)
def test_names_and_the_end(
    authority: Authority, tmp_path: Path, names: tuple[str, ...], valid: timedelta
) -> None:
    issued = authority.issue(*names, valid=valid)
    found = load(fresh(), Pair(*issued.save(tmp_path, "x")))
    truth = x509.load_pem_x509_certificate(issued.cert)
    assert found.expires == truth.not_valid_after_utc
    addresses = [name for name in names if ":" in name or name == "192.0.2.1"]
    assert found.addresses == tuple(str(ip_address(name)) for name in addresses)
    assert found.dns == tuple(name.lower() for name in names if name not in addresses)
    assert found.path == str(tmp_path / "x.pem")


@pytest.mark.parametrize(
    ("text", "year"), [("491231235959Z", 2049), ("500101000000Z", 1950), ("991231235959Z", 1999)]
)
def test_years_of_two_digits(authority: Authority, tmp_path: Path, text: str, year: int) -> None:
    """RFC 5280 4.1.2.5.1. Written into a certificate, whose signature nobody looks at here."""
    issued = authority.issue("a.test")
    truth = x509.load_pem_x509_certificate(issued.cert)
    der = truth.public_bytes(Encoding.DER)
    end = truth.not_valid_after_utc.strftime("%y%m%d%H%M%SZ").encode()
    assert der.count(end) == 1
    changed = ssl.DER_cert_to_PEM_cert(der.replace(end, text.encode())).encode()
    expires = load(fresh(), Pair(*Issued(changed, issued.key).save(tmp_path, "x"))).expires
    assert (expires.year, expires.tzinfo) == (year, UTC)


@pytest.mark.parametrize(("mode", "exposed"), [(0o600, False), (0o640, False), (0o604, True)])
@pytest.mark.parametrize("files", ["one", "two"])
def test_a_key_that_everybody_can_read(
    authority: Authority, tmp_path: Path, mode: int, exposed: bool, files: str
) -> None:
    issued = authority.issue("a.test")
    pair = Pair(*issued.save(tmp_path, "x"))
    if files == "one":
        pair = Pair(issued.save_as_one(tmp_path / "both.pem"))
    key = Path(pair.key or pair.cert)
    key.chmod(mode)
    assert load(fresh(), pair).exposed == (str(key) if exposed else "")


# -- forms that are read ------------------------------------------------------------------------


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_forms_of_keys(
    authority: Authority, tmp_path: Path, form: PrivateFormat, kind: str
) -> None:
    key = new_key() if kind == "ec" else rsa.generate_private_key(65537, 2048)
    text = key.private_bytes(Encoding.PEM, form, NoEncryption())
    issued = Issued(authority.issue("a.test", key=key).cert, text)
    for pair in (
        Pair(*issued.save(tmp_path, "x")),
        Pair(issued.save_as_one(tmp_path / "one.pem")),
        Pair(issued.save_as_one(tmp_path / "one.pem"), str(tmp_path / "one.pem")),
    ):
        assert load(fresh(), pair).dns == ("a.test",)


def test_text_around_what_is_in_pem(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("a.test")
    around = Issued(
        "Bäckerei\n".encode() + issued.cert + b"\n# our chain\n" + authority.cert, issued.key
    )
    assert load(fresh(), Pair(*around.save(tmp_path, "x"))).dns == ("a.test",)


# -- files of no use ----------------------------------------------------------------------------

Ruin = Callable[[Authority, Path, Path], object]
BEGIN, END = b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----\n"


def weak(authority: Authority, cert: Path, key: Path) -> None:
    small = rsa.generate_private_key(65537, 1024)
    cert.write_bytes(authority.issue("a.test", key=small).cert)
    key.write_bytes(key_text(small))


RUINS: dict[str, tuple[Ruin, str, str]] = {
    "no certificate": (lambda _, cert, __: cert.unlink(), "x.pem", "cannot be read: No such file"),
    "no key": (lambda _, __, key: key.unlink(), "x.key", "cannot be read: No such file"),
    "a directory": (
        lambda _, cert, __: (cert.unlink(), cert.mkdir()), "x.pem", "Is a directory",
    ),
    "empty": (lambda _, cert, __: cert.write_bytes(b""), "x.pem", "no certificate in PEM"),
    "DER": (
        lambda _, cert, __: cert.write_bytes(ssl.PEM_cert_to_DER_cert(cert.read_text())),
        "x.pem", "no certificate in PEM",
    ),
    "the key twice": (
        lambda _, cert, key: cert.write_bytes(key.read_bytes()), "x.pem", "no certificate in PEM",
    ),
    "the certificate twice": (
        lambda _, cert, key: key.write_bytes(cert.read_bytes()), "x.key", "no private key in PEM",
    ),
    "no certificate inside": (
        lambda _, cert, __: cert.write_bytes(BEGIN + b"AAAA" + END), "x.pem", "cannot be read",
    ),
    "no base64 inside": (
        lambda _, cert, __: cert.write_bytes(BEGIN + b"\xff?" + END), "x.pem", "cannot be read",
    ),
    "a bad chain": (
        lambda _, cert, __: cert.write_bytes(cert.read_bytes() + BEGIN + b"AAAA" + END),
        "x.pem", "a certificate in the file cannot be read",
    ),
    "no key inside": (
        lambda _, __, key: key.write_bytes(
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        ),
        "x.key", "the private key cannot be read",
    ),
    "another key": (
        lambda _, __, key: key.write_bytes(key_text(new_key())),
        "x.key", "the private key is not that of the first certificate of ",
    ),
    "another kind of key": (
        lambda _, __, key: key.write_bytes(key_text(rsa.generate_private_key(65537, 2048))),
        "x.key", "the private key ",
    ),
    "the chain first": (
        lambda authority, cert, _: cert.write_bytes(authority.cert + cert.read_bytes()),
        "x.key", "the private key is not that of the first certificate of ",
    ),
    "an encrypted key": (
        lambda _, __, key: key.write_bytes(key_text(new_key(), b"secret")), "x.key", "is encrypted",
    ),
    "a weak key": (weak, "x.pem", "the certificate is too weak (ee key too small)"),
}  # fmt: skip


@pytest.mark.parametrize("ruin", RUINS)
def test_a_file_of_no_use_is_named_with_the_reason(
    authority: Authority, tmp_path: Path, ruin: str
) -> None:
    pair = Pair(*authority.issue("a.test").save(tmp_path, "x"))
    spoil, file, reason = RUINS[ruin]
    spoil(authority, Path(pair.cert), Path(pair.key))
    with pytest.raises(FileFault) as caught:
        load(fresh(), pair)
    assert caught.value.filename == str(tmp_path / file)
    assert reason in str(caught.value.strerror)
    assert "_ssl.c" not in str(caught.value)


def test_the_old_form_of_an_encrypted_key(authority: Authority, tmp_path: Path) -> None:
    pair = Pair(*authority.issue("a.test").save(tmp_path, "x"))
    Path(pair.key).write_text(
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n"
        "-----END EC PRIVATE KEY-----\n"
    )
    with pytest.raises(FileFault, match=r"x\.key: the private key is encrypted"):
        load(fresh(), pair)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "cannot be read: No such file"),
        (b"nobody", "no certificate in PEM"),
        (BEGIN + b"AAAA" + END, "has no certificates that can be used ("),
    ],
)
def test_whom_to_trust_is_said_by_a_file(tmp_path: Path, data: bytes | None, reason: str) -> None:
    path = tmp_path / "ca.pem"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(FileFault) as caught:
        trust(fresh(), str(path))
    assert caught.value.filename == str(path)
    assert reason in str(caught.value.strerror) and "_ssl.c" not in str(caught.value)


def test_now_is_before_the_end(authority: Authority, tmp_path: Path) -> None:
    """The two can be compared."""
    pair = Pair(*authority.issue("a.test").save(tmp_path, "x"))
    assert load(fresh(), pair).expires > datetime.now(UTC)
