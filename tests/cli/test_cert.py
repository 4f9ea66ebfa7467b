"""`m2m cert`: what it writes, who accepts it, and what it leaves alone."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from m2mproxy.cli import tool

HERE = ["localhost", "127.0.0.1", "::1"]


def made(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())


def names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in found]


def test_two_files_and_a_notice(tmp_path, capsys):
    assert tool.main(["cert", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    assert err == "" and sorted(tmp_path.iterdir()) == [cert, key]
    assert "FOR DEVELOPMENT ONLY" in out
    assert f"m2m proxy --cert {cert} --key {key} " in out
    assert f"curl --cacert {cert} https://localhost:8080/" in out
    assert names(made(tmp_path)) == HERE
    assert f"valid until {made(tmp_path).not_valid_after_utc:%Y-%m-%d}" in out
    assert b"PRIVATE KEY" in key.read_bytes() and b"PRIVATE KEY" not in cert.read_bytes()


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_only_its_owner_reads_the_key(tmp_path, umask):
    before = os.umask(umask)
    try:
        assert tool.main(["cert", "--out", str(tmp_path)]) == 0
    finally:
        os.umask(before)
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600


def test_more_names_and_days(tmp_path):
    more = ["*.dev.test", "10.0.0.1", "[2001:db8::1]", "2001:db8::2", "box", "localhost", "box"]
    assert tool.main(["cert", "--out", str(tmp_path), "--days", "3", *more]) == 0
    certificate = made(tmp_path)
    assert names(certificate) == [
        *HERE, "*.dev.test", "10.0.0.1", "2001:db8::1", "2001:db8::2", "box",
    ]  # fmt: skip
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=2, hours=23) < left <= timedelta(days=3)


def test_in_the_working_directory(tmp_path):
    code = "import sys; from m2mproxy.cli.tool import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "cert"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "cert.pem").exists() and "./cert.pem" in done.stdout


def test_an_output_that_is_full_is_one_line(tmp_path):
    code = "import sys; from m2mproxy.cli.tool import main; sys.exit(main())"
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, "cert", "--out", tmp_path],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    line = "m2m: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, line)


# ---- who accepts it ------------------------------------------------------------------------------


@pytest.mark.parametrize("strict", [0, ssl.VERIFY_X509_STRICT], ids=["lenient", "strict"])
@pytest.mark.parametrize("name", [*HERE, "box.test", "x.dev.test"])
def test_whoever_trusts_it_accepts_it(tmp_path, strict, name):
    tool.main(["cert", "--out", str(tmp_path), "box.test", "*.dev.test"])
    client = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    client.verify_flags |= strict
    handshake(tmp_path, client, name)


@pytest.mark.parametrize("name", ["other.test", "127.0.0.2", "dev.test"])
def test_it_is_for_no_other_name(tmp_path, name):
    tool.main(["cert", "--out", str(tmp_path), "*.dev.test"])
    client = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(tmp_path, client, name)


def test_what_it_signs_is_not_trusted(tmp_path):
    tool.main(["cert", "--out", str(tmp_path)])
    constraints = made(tmp_path).extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = made(tmp_path).extensions.get_extension_for_class(x509.KeyUsage).value
    assert not constraints.ca and not usage.key_cert_sign


def handshake(folder: Path, client: ssl.SSLContext, name: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=name),
        context.wrap_bio(up, down, server_side=True),
    ]
    for end in (ends[0], ends[1], ends[0], ends[1]):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert ends[0].version() and ends[1].version()


# ---- what it leaves alone ------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["cert.pem", "key.pem"])
@pytest.mark.parametrize("kind", ["file", "broken link"])
def test_no_file_is_replaced(tmp_path, capsys, there, kind):
    path = tmp_path / there
    if kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to(tmp_path / "elsewhere")
    assert tool.main(["cert", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr() == ("", f"m2m: {path}: exists, and is not replaced\n")
    assert list(tmp_path.iterdir()) == [path]
    assert kind != "file" or path.read_text() == "precious"


def test_one_file_is_not_left_alone(tmp_path, capsys, monkeypatch):
    """The second cannot be written, though it was not there a moment ago."""
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    (tmp_path / "cert.pem").write_text("precious")
    assert tool.main(["cert", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"m2m: {tmp_path / 'cert.pem'}: File exists\n"
    assert [path.name for path in tmp_path.iterdir()] == ["cert.pem"]
    assert (tmp_path / "cert.pem").read_text() == "precious"


def test_no_directory(tmp_path, capsys):
    assert tool.main(["cert", "--out", str(tmp_path / "none")]) == 1
    reason = "No such file or directory"
    assert capsys.readouterr().err == f"m2m: {tmp_path / 'none' / 'key.pem'}: {reason}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--days", "0"], 'argument --days: "0" is not a number of days from 1 to 825'),
        (["--days", "826"], 'argument --days: "826" is not a number of days from 1 to 825'),
        (["--days", "x"], 'argument --days: "x" is not a number of days from 1 to 825'),
        (["a b"], 'argument NAME: "a b": not a host name'),
        (["https://a"], 'argument NAME: "https://a": '),
        (["*"], 'argument NAME: "*": not a host name'),
        (["*.*.test"], "argument NAME: "),
        (["bücher.test"], 'argument NAME: "bücher.test": not a host name'),
        (["--nonsense"], "unknown flag --nonsense"),
    ],
)
def test_a_usage_error_writes_no_file(tmp_path, capsys, argv, message):
    assert tool.main(["cert", "--out", str(tmp_path), *argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"m2m: {message}") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_library_is_loaded_by_this_command_only():
    code = "import sys, m2mproxy.cli.tool, m2mproxy.service.server;"
    code += "print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
