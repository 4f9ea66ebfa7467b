"""The real program with TLS on either leg: who is served, what is said, what is read anew."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import cert_time_to_seconds
from typing import Any

import pytest
from certificates import Authority, key_text, new_key
from program import NOWHERE, SECONDS, Program, command, run, unix_request

from upstream import Upstream, read_all, read_head  # isort: skip (program finds it)

Serve = Callable[..., Program]
GET = b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n"
LAST = b"GET /v1/models HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
HERE = ("localhost", "127.0.0.1")


def trusting(authority: Authority, shows: tuple[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.path)
    if shows is not None:
        context.load_cert_chain(*shows)
    return context


def connect(program: Program, tls: ssl.SSLContext, name: str = "localhost") -> ssl.SSLSocket:
    # Strict: an end that is not announced is an error.
    return tls.wrap_socket(tcp(program), server_hostname=name, suppress_ragged_eofs=False)


def tcp(program: Program) -> socket.socket:
    return socket.create_connection(("127.0.0.1", program.port), SECONDS)


def serial(connection: ssl.SSLSocket) -> str:
    certificate = connection.getpeercert()
    assert certificate
    return str(certificate["serialNumber"])


def answers(connection: ssl.SSLSocket) -> bool:
    connection.sendall(GET)
    answer = b""
    while not answer.endswith(b"}\n"):
        piece = connection.recv(65536)
        if not piece:
            return False
        answer += piece
    return answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> tuple[str, str]:
    return authority.issue(*HERE).save(tmp_path, "server")


@pytest.fixture
def serve(start: Any, files: tuple[str, str]) -> Serve:
    """Start it with a certificate, for no upstream unless one is given."""

    def begin(upstream: str = NOWHERE, *flags: str, **variables: str) -> Program:
        environment = {**os.environ, **variables}
        pair = ("--cert", files[0], "--key", files[1])
        program = start(upstream, *pair, *flags, env=environment)
        assert isinstance(program, Program)
        return program

    return begin


# -- clients ------------------------------------------------------------------------------------


def test_what_it_says_at_the_start(serve: Serve, files: tuple[str, str]) -> None:
    program = serve()
    assert re.search(
        r" listens on (https://127\.0\.0\.1:\d+) and .*; a client's base_url is \1/v1\n$",
        program.first,
    )
    (line,) = program.before
    until = datetime.now(UTC) + timedelta(days=50)
    names = "localhost, 127.0.0.1"
    assert line.endswith(f" info: certificate: {files[0]}, for {names}, until {until:%Y-%m-%d}\n")


def test_python_is_served(serve: Serve, authority: Authority) -> None:
    program = serve()
    assert program.get("/health", tls=trusting(authority)) == (200, {"status": "ok"})


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.parametrize("name", HERE)
def test_curl_is_served(serve: Serve, authority: Authority, name: str) -> None:
    url = f"https://{name}:{serve().port}/health"
    curl = ["curl", "--silent", "--show-error", "--max-time", "20", "--http1.1"]
    done = subprocess.run([*curl, "--cacert", authority.path, url], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, '{"status":"ok"}\n')
    done = subprocess.run([*curl, url], capture_output=True, text=True)
    assert done.returncode == 60 and done.stdout == ""  # the certificate is not trusted


def test_the_upstream_is_told_that_it_was_https(serve: Serve, authority: Authority) -> None:
    heads: list[bytes] = []

    def reply(connection: socket.socket) -> None:
        while True:
            heads.append(read_head(connection))
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    with Upstream(reply) as upstream:
        client = connect(serve(upstream.url), trusting(authority))
        for _ in range(3):  # the same head is recognised when it comes again
            client.sendall(LAST.replace(b"connection: close\r\n", b""))
            answer = b""
            while not answer.endswith(b"ok"):
                answer += client.recv(65536)
    assert all(b";proto=https" in head for head in heads) and len(heads) == 3


def test_a_large_body_there_and_back(serve: Serve, authority: Authority) -> None:
    body = os.urandom(3 << 20)

    def echo(connection: socket.socket) -> None:
        head, _, data = read_head(connection).partition(b"\r\n\r\n")
        assert b"content-length: %d" % len(body) in head
        while len(data) < len(body):
            data += connection.recv(1 << 20)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), data))

    with Upstream(echo) as upstream:
        client = connect(serve(upstream.url), trusting(authority))
        head = LAST.replace(b"GET", b"POST").replace(b"close", b"close\r\ncontent-length: %d")
        client.sendall(head % len(body) + body)
        assert read_all(client).partition(b"\r\n\r\n")[2] == body


def test_a_name_of_its_own_for_each_certificate(
    start: Any, authority: Authority, tmp_path: Path
) -> None:
    flags: list[str] = []
    for name in ("a.test", "*.b.test"):
        cert, key = authority.issue(name).save(tmp_path, name[0])
        flags += ["--cert", cert, "--key", key]
    program = start(NOWHERE, *flags)
    for name in ("a.test", "x.b.test"):
        assert answers(connect(program, trusting(authority), name))
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        connect(program, trusting(authority), "c.test")


def test_which_addresses_speak_tls(
    authority: Authority, files: tuple[str, str], tmp_path: Path
) -> None:
    sock = str(tmp_path / "m2m.sock")
    addresses = ("https://127.0.0.1:0", "http://127.0.0.1:0", f"unix:{sock}", "127.0.0.1:0")
    listens = [part for address in addresses for part in ("--listen", address)]
    pair = ("--cert", files[0], "--key", files[1])
    program = Program(command(*listens, *pair, "--upstream", NOWHERE))
    try:
        found = re.search(r" listens on (\S+), (\S+), (\S+), (\S+) and ", program.first)
        assert found
        assert found[3] == f"unix:{sock}"
        for url, scheme in ((found[1], "https"), (found[2], "http"), (found[4], "https")):
            assert url.startswith(f"{scheme}://127.0.0.1:")
            program.url = url
            assert program.get("/health", tls=trusting(authority))[0] == 200
        assert unix_request(sock).startswith(b"HTTP/1.1 200 OK\r\n")
    finally:
        program.kill()


def test_clear_text_before_everything_but_https(start: Any) -> None:
    """Without a certificate an address may still say what it speaks."""
    program = Program(command("--listen", "http://127.0.0.1:0", "--upstream", NOWHERE))
    try:
        assert " listens on http://127.0.0.1:" in program.first
        assert program.get("/health")[0] == 200
    finally:
        program.kill()


# -- clients that must show a certificate -------------------------------------------------------


def test_only_clients_with_a_certificate_are_served(
    serve: Serve, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    program = serve(NOWHERE, "--log-level", "debug", M2M_TLS_CLIENT_CA=authority.path)
    good = authority.issue("client").save(tmp_path, "good")
    bad = stranger.issue("client").save(tmp_path, "bad")
    assert answers(connect(program, trusting(authority, good)))
    for shows, told, said in (
        (None, "certificate required", "peer did not return a certificate"),
        (bad, "unknown ca", "unable to get local issuer certificate"),
    ):
        with pytest.raises(ssl.SSLError, match=f"(?i)alert {told}"):
            answers(connect(program, trusting(authority, shows)))
        program.until(f" debug: TLS: a client's handshake failed: {said}\n")
    assert answers(connect(program, trusting(authority, good)))


# -- clients that do not get far ----------------------------------------------------------------


def test_a_handshake_that_does_not_end_is_cut(serve: Serve, authority: Authority) -> None:
    program = serve(M2M_TIMEOUTS_HANDSHAKE="2")  # in which those that end theirs have to
    silent, slow = tcp(program), tcp(program)
    slow.sendall(b"\x16\x03\x01")
    assert answers(connect(program, trusting(authority)))
    assert silent.recv(1) == slow.recv(1) == b""
    _, figures = program.get("/stats", tls=trusting(authority))
    assert figures["tls_handshakes"] == {"open": 0, "failed": 2}
    _, log = program.stop()
    assert all(" client=127.0.0.1:" in line or " info: " in line for line in log.splitlines())


def test_plain_http_is_told_to_use_https(serve: Serve) -> None:
    program = serve()
    with tcp(program) as client:
        client.sendall(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n")
        answer = b""
        while b"This port speaks https" not in answer:
            piece = client.recv(65536)
            assert piece, answer
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert program.stop()[1].count("\n") == 1  # that it stops


def test_noise_leaves_no_line(serve: Serve, authority: Authority) -> None:
    program = serve()
    hello = client_hello(b"localhost")
    for noise in (b"", b"\x00" * 99, b"SSH-2.0-x\r\n", b"\x16\x03\x01\xff\xffx", hello[:50], hello):
        with tcp(program) as client:
            client.sendall(noise)
    for name in (b"\xff\xfe-bytes", b"x" * 9):  # the first would be a traceback of Python's own
        with tcp(program) as client:
            client.sendall(client_hello(name))
            client.recv(65536)
    old = trusting(authority)
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version"):
        connect(program, old)
    assert answers(connect(program, trusting(authority)))
    log = program.stop()[1].splitlines()
    assert len([line for line in log if " client=" not in line]) == 1


def client_hello(name: bytes) -> bytes:
    """The first bytes of a client that asks for `name`."""
    outgoing = ssl.MemoryBIO()
    stand_in = "n" * len(name)
    context = ssl.create_default_context()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=stand_in)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    assert stand_in.encode() in hello
    return hello.replace(stand_in.encode(), name)


def test_handshakes_count_as_connections(serve: Serve, authority: Authority) -> None:
    """64 may be there beyond the limit, as of connections that are told so."""
    program = serve(M2M_LIMITS_CONNECTIONS="1", M2M_TIMEOUTS_HANDSHAKE="3600")
    waiting = [tcp(program) for _ in range(65)]
    with tcp(program) as one_more:
        assert one_more.recv(1) == b""
    waiting.pop().close()
    for client in waiting:
        client.close()
    while True:  # until all of that has been seen
        try:
            assert answers(connect(program, trusting(authority)))
            break
        except OSError:
            continue


def test_an_idle_client_holds_up_nothing(serve: Serve, authority: Authority) -> None:
    """It need not agree that TLS ends: it may look at its connection only much later."""
    program = serve(M2M_TIMEOUTS_CLOSE="3600", M2M_DRAIN="3600")
    fresh, used = (connect(program, trusting(authority)) for _ in range(2))
    assert answers(used)
    code, log = program.stop()
    assert code == 0 and "cutting" not in log
    assert fresh.recv(1) == used.recv(1) == b""


@pytest.mark.parametrize("method", [b"POST", b"PUT"])
def test_a_client_that_is_refused_while_it_sends_reads_why(
    serve: Serve, authority: Authority, method: bytes
) -> None:
    """With its bytes unread the kernel would answer with a reset, which destroys the reply."""
    client = connect(serve(NOWHERE, "--max-body", "1KiB"), trusting(authority))
    head = LAST.replace(b"GET", method).replace(b"close", b"close\r\ncontent-length: 8388608")
    client.sendall(head)
    for _ in range(8):
        client.sendall(bytes(1 << 20))
    assert b'"code":"body_too_large"' in read_all(client)


# -- the upstream's leg -------------------------------------------------------------------------


@contextmanager
def https(pair: tuple[str, str], authority: Authority | None = None) -> Iterator[Upstream]:
    """An upstream with a certificate, which wants one of `authority` from us."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    if authority is not None:
        context.load_verify_locations(authority.path)
        context.verify_mode = ssl.CERT_REQUIRED

    def reply(connection: socket.socket) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        shown = connection.getpeercert()
        subject = dict(part[0] for part in shown["subject"])["commonName"] if shown else "-"
        resumed = "resumed" if connection.session_reused else "new"
        body = f"{subject} {resumed}".encode()
        read_head(connection)
        head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)
        connection.recv(1)

    with Upstream(reply, context) as upstream:
        yield upstream


def asked(program: Program) -> bytes:
    """The body of an answer, or the code of an error."""
    with socket.create_connection(("127.0.0.1", program.port), SECONDS) as client:
        client.sendall(LAST)
        body = read_all(client).partition(b"\r\n\r\n")[2]
    code = re.search(rb'"code":"(\w+)"', body)
    return code[1] if code else body


def test_the_upstream_is_shown_our_certificate_and_resumes(
    start: Any, authority: Authority, files: tuple[str, str], tmp_path: Path
) -> None:
    cert, key = authority.issue("us").save(tmp_path, "us")
    variables = {"M2M_CA_FILE": authority.path, "M2M_TLS_UPSTREAM_CERT": cert}
    with https(files, authority) as upstream:
        program = start(upstream.url, env={**os.environ, **variables, "M2M_TLS_UPSTREAM_KEY": key})
        assert [asked(program) for _ in range(3)] == [b"us new", b"us resumed", b"us resumed"]
        authority.issue("renewed").save(tmp_path, "us")
        program.say(signal.SIGHUP, f" info: certificate reloaded: {cert}, for renewed, until ")
        assert asked(program) == b"renewed new"
        bare = start(upstream.url, env={**os.environ, "M2M_CA_FILE": authority.path})
        assert asked(bare).startswith(b"upstream_")


@pytest.mark.parametrize("names", [HERE, ("other.test",)], ids=["right name", "wrong name"])
def test_an_upstream_that_is_not_verified(
    start: Any, authority: Authority, stranger: Authority, tmp_path: Path, names: tuple[str, ...]
) -> None:
    with https(stranger.issue(*names).save(tmp_path, "x")) as upstream:
        strict = start(upstream.url, env={**os.environ, "M2M_CA_FILE": authority.path})
        assert asked(strict) == b"upstream_tls_error"
        insecure = start(upstream.url, env={**os.environ, "M2M_TLS_INSECURE": "true"})
        assert asked(insecure) == b"- new"
    assert not any("insecure" in line for line in strict.before)
    (line,) = insecure.before
    assert " warning: proxy.tls.insecure: the upstream's certificate is not verified" in line


def test_the_wrong_name_is_refused(start: Any, authority: Authority, tmp_path: Path) -> None:
    with https(authority.issue("other.test").save(tmp_path, "x")) as upstream:
        program = start(upstream.url, env={**os.environ, "M2M_CA_FILE": authority.path})
        assert asked(program) == b"upstream_tls_error"


def test_insecure_is_no_matter_without_tls(start: Any) -> None:
    assert start(NOWHERE, env={**os.environ, "M2M_TLS_INSECURE": "true"}).before == []


# -- reading anew -------------------------------------------------------------------------------


def test_hangup_reads_certificates_anew(
    serve: Serve, authority: Authority, files: tuple[str, str]
) -> None:
    program = serve()
    before = connect(program, trusting(authority))
    authority.issue(*HERE, "new.test").save(Path(files[0]).parent, "server")
    between = connect(program, trusting(authority))
    assert serial(between) == serial(before)  # nobody has said so yet
    program.process.send_signal(signal.SIGHUP)
    program.until(" info: SIGHUP: certificates are read anew, nothing else ")
    program.until(f" info: certificate reloaded: {files[0]}, for localhost, new.test, 127.0.0.1, ")
    after = connect(program, trusting(authority), "new.test")
    assert serial(after) != serial(before)
    assert answers(before) and answers(between) and answers(after)


def test_a_file_of_no_use_leaves_the_old_certificate(
    serve: Serve, authority: Authority, files: tuple[str, str]
) -> None:
    program = serve()
    before = connect(program, trusting(authority))
    Path(files[1]).write_bytes(key_text(new_key()))
    program.say(
        signal.SIGHUP,
        f" error: certificates are not reloaded, those in use stay: {files[1]}: the private key "
        f"is not that of the first certificate of {files[0]}\n",
    )
    after = connect(program, trusting(authority))
    assert serial(after) == serial(before) and answers(after) and answers(before)


# Instead of a minute.
OFTEN = "import m2mproxy.service.renewal as r; r.EVERY = 0.02; "
MAIN = "import sys; from m2mproxy.cli.daemon import main; sys.exit(main())"


def put(path: str, data: bytes) -> None:
    """Replace a file at once, for it is looked at all the time."""
    half = Path(path + ".half")
    half.write_bytes(data)
    os.replace(half, path)


def test_a_change_of_the_files_is_noticed(authority: Authority, files: tuple[str, str]) -> None:
    flags = ("--listen", "127.0.0.1:0", "--cert", files[0], "--key", files[1])
    program = Program([sys.executable, "-c", OFTEN + MAIN, *flags, "--upstream", NOWHERE])
    try:
        before = connect(program, trusting(authority))
        new = authority.issue(*HERE)
        put(files[0], new.cert[:300])
        failed = program.until(" error: ")
        assert f"those in use stay: {files[0]}: the file has no certificate in PEM\n" in failed
        assert serial(connect(program, trusting(authority))) == serial(before)
        put(files[0], new.cert)  # the key is still that of the old one
        assert f"{files[1]}: the private key is not that of" in program.until(" error: ")
        put(files[1], new.key)
        program.until(f" info: certificate reloaded: {files[0]}, ")
        assert serial(connect(program, trusting(authority))) != serial(before)
        assert answers(before)
        _, rest = program.stop()
        assert "error: certificates" not in rest and "reloaded" not in rest  # once for each
    finally:
        program.kill()


@pytest.mark.parametrize(
    ("valid", "warning"),
    [
        (timedelta(days=-2), " has expired on "),
        (timedelta(days=13, hours=1), " expires in 13 days\n"),
        (timedelta(days=15), ""),
    ],
)
def test_the_end_of_a_certificate_is_told(
    start: Any, authority: Authority, tmp_path: Path, valid: timedelta, warning: str
) -> None:
    path = authority.issue(*HERE, valid=valid).save_as_one(tmp_path / "both.pem")
    program = start(NOWHERE, "--cert", path)
    warnings = [line for line in program.before if " warning: " in line]
    assert len(warnings) == bool(warning)
    assert all(f" warning: {path}{warning}" in line for line in warnings)
    program.say(signal.SIGHUP, " info: certificate reloaded: ")
    if warning:
        program.until(f" warning: {path}{warning}")


def test_the_end_of_a_certificate_is_a_figure(serve: Serve, authority: Authority) -> None:
    program = serve()
    _, figures = program.get("/stats", tls=trusting(authority))
    ((path, expires),) = figures["certificates"].items()
    assert path.endswith("server.pem")
    assert expires == cert_time_to_seconds(served_until(program, authority))


def served_until(program: Program, authority: Authority) -> str:
    with connect(program, trusting(authority)) as client:
        shown = client.getpeercert()
    assert shown is not None
    return str(shown["notAfter"])


def test_a_key_that_every_user_can_read_is_told(serve: Serve, files: tuple[str, str]) -> None:
    Path(files[1]).chmod(0o644)
    (line,) = (line for line in serve().before if " warning: " in line)
    assert f" {files[1]} holds a private key and can be read by every user (chmod o-r " in line


# -- files of no use at the start ---------------------------------------------------------------

KEYS = {
    "cert": "proxy.tls.cert", "key": "proxy.tls.key", "client_ca": "proxy.tls.client_ca",
    "upstream_cert": "proxy.tls.upstream_cert", "upstream_key": "proxy.tls.upstream_key",
    "ca_file": "proxy.ca_file",
}  # fmt: skip


CASES = [
    (bad, how)
    for bad in KEYS
    for how in ("missing", "empty", "endless", "pipe", "encrypted", "another")
    if bad.endswith("key") or (how != "encrypted" and (how != "another" or "ca" not in bad))
]


@pytest.mark.parametrize(
    ("scheme", "check"), [("http", ()), ("https", ("--check",))], ids=["start", "check"]
)
@pytest.mark.parametrize(("bad", "how"), CASES)
def test_a_file_of_no_use_stops_the_start(
    authority: Authority, tmp_path: Path, bad: str, how: str, scheme: str, check: tuple[str, ...]
) -> None:
    cert, key = authority.issue(*HERE).save(tmp_path, "server")
    upstream_cert, upstream_key = authority.issue("us").save(tmp_path, "us")
    paths = {
        "cert": cert, "key": key, "upstream_cert": upstream_cert, "upstream_key": upstream_key,
        "client_ca": str(shutil.copy(authority.path, tmp_path / "client_ca.pem")),
        "ca_file": str(shutil.copy(authority.path, tmp_path / "ca.pem")),
    }  # fmt: skip
    blamed, reason = spoil(Path(paths[bad]), how, authority)
    config = tmp_path / "m2m.toml"
    lines = "".join(f"{name} = '{paths[name.rpartition('.')[2]]}'\n" for name in KEYS.values())
    config.write_text(f"proxy.upstream = '{scheme}://x'\n{lines}")
    done = run(*check, "--config", str(config))
    assert (done.returncode, done.stdout) == (78, "")
    name = KEYS[bad.replace("cert", "key") if blamed == "key" else bad]
    path = paths[bad.replace("cert", "key") if blamed == "key" else bad]
    assert done.stderr.startswith(f'm2mproxy: {config}: {name} = "{path}": {reason}')
    assert done.stderr.count("\n") == 1


def spoil(path: Path, how: str, authority: Authority) -> tuple[str, str]:
    """Make a file useless; what is to be blamed, and the reason."""
    kind = "private key" if path.suffix == ".key" else "certificate"
    if how == "missing":
        path.unlink()
        return "", "cannot be read: No such file or directory"
    if how == "endless":
        path.unlink()
        path.symlink_to("/dev/zero")
        return "", "cannot be read: it has more than 4194304 bytes"
    if how == "pipe":
        path.unlink()
        os.mkfifo(path)
        return "", "cannot be read: it is a pipe"
    if how == "empty":
        path.write_bytes(b"")
        return "", f"the file has no {kind} in PEM"
    if how == "encrypted":
        path.write_bytes(key_text(new_key(), b"secret"))
        return "", "the private key is encrypted"
    other = authority.issue("other")
    path.write_bytes(other.key if path.suffix == ".key" else other.cert)
    return "key", "the private key is not that of the first certificate of "


def test_the_place_of_a_bad_file_may_be_a_flag(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.issue(*HERE).save(tmp_path, "x")
    copy = shutil.copy(cert, tmp_path / "copy.pem")
    for flags, name, path in (
        (("--cert", cert, "--key", copy), "--key", copy),
        (("--cert", cert), "--cert", cert),
    ):
        done = run("--upstream", NOWHERE, *flags)
        assert done.returncode == 2
        reason = "the file has no private key in PEM"
        assert done.stderr == f'm2mproxy: command line: {name} = "{path}": {reason}\n'
    assert run("--check", "--upstream", NOWHERE, "--cert", cert, "--key", key).returncode == 0
