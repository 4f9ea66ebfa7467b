"""TLS in memory: what is negotiated, which certificate is shown, who is let in, what is resumed."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from certificates import Authority, Issued
from link import Transport

from m2mproxy.net.certificate import FileFault, Pair
from m2mproxy.net.tcp import shown_certificate
from m2mproxy.net.tls import ALPN, ClientTls, ServerTls, client_context

V1_1, V1_2, V1_3 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
BOTH = pytest.mark.parametrize("version", [V1_2, V1_3], ids=["1.2", "1.3"])


class Talk:
    """A client and a server over memory, with the handshake done: raises what the server raises."""

    def __init__(
        self,
        client: ssl.SSLContext,
        server: ssl.SSLContext,
        name: str | None = "a.test",
        session: ssl.SSLSession | None = None,
    ) -> None:
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(up, down, server_side=True, server_hostname=None)
        self.client = client.wrap_bio(down, up, server_hostname=name, session=session)
        waiting = [self.client, self.server]
        while waiting:
            before = up.pending, down.pending
            for end in list(waiting):
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                    waiting.remove(end)
            if waiting == [self.server]:  # or it has sent an alert
                with suppress(ssl.SSLWantReadError):
                    self.client.read()
            assert not waiting or before != (up.pending, down.pending), "stuck"
        self.say()

    def say(self) -> None:
        """Both ways, and so also the tickets that follow a handshake."""
        self.server.write(b"down")
        assert self.client.read(10) == b"down"
        self.client.write(b"up")
        assert self.server.read(10) == b"up"

    @property
    def shown(self) -> str:
        """Whose certificate the server showed."""
        return subject(self.client)

    @property
    def resumed(self) -> bool:
        assert self.client.session_reused == self.server.session_reused
        return bool(self.client.session_reused)


def subject(end: ssl.SSLObject) -> str:
    certificate = end.getpeercert()
    assert certificate
    return str(dict(part[0] for part in certificate["subject"])["commonName"])


def client(
    authority: Authority,
    version: ssl.TLSVersion | None = None,
    shows: tuple[str, str] | None = None,
    alpn: list[str] | None = None,
) -> ssl.SSLContext:
    """A client of nobody's making, which takes any name."""
    context = ssl.create_default_context(cafile=authority.path)
    context.check_hostname = False
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if shows is not None:
        context.load_cert_chain(*shows)
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    return context


def plain_server(saved: tuple[str, str], version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A server of nobody's making."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*saved)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


@pytest.fixture
def saved(authority: Authority, tmp_path: Path) -> tuple[str, str]:
    return authority.issue("a.test").save(tmp_path, "a")


@pytest.fixture
def server(saved: tuple[str, str]) -> ServerTls:
    return ServerTls([Pair(*saved)])


# -- what is negotiated -------------------------------------------------------------------------


@BOTH
def test_the_versions_that_are_spoken(
    authority: Authority, server: ServerTls, version: ssl.TLSVersion
) -> None:
    talk = Talk(client(authority, version), server.context)
    assert talk.client.version() == version.name.replace("v1_", "v1.")
    assert talk.client.compression() is None
    assert talk.server.context.options & ssl.OP_NO_RENEGOTIATION


def outdated(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = V1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_are_refused_on_both_legs(
    authority: Authority, server: ServerTls, saved: tuple[str, str]
) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version"):
        Talk(outdated(client(authority)), server.context)
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
        Talk(client_context(authority.path), outdated(plain_server(saved)))


OLD_CIPHERS = ("ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "DHE-RSA-AES128-GCM-SHA256")


@pytest.mark.parametrize("cipher", OLD_CIPHERS)
def test_old_ciphers_are_refused_on_both_legs(
    authority: Authority, server: ServerTls, saved: tuple[str, str], cipher: str
) -> None:
    asking = client(authority, V1_2)
    asking.set_ciphers(cipher)
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake failure|no shared cipher"):
        Talk(asking, server.context)
    offering = plain_server(saved, V1_2)
    offering.set_ciphers(cipher)
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake failure|no shared cipher"):
        Talk(client_context(authority.path), offering)


@pytest.mark.parametrize(
    "cipher",
    ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"],
)
def test_modern_ciphers_are_taken_on_both_legs(
    authority: Authority, server: ServerTls, saved: tuple[str, str], cipher: str
) -> None:
    cipher = f"ECDHE-ECDSA-{cipher}"
    asking = client(authority, V1_2)
    asking.set_ciphers(cipher)
    offering = plain_server(saved, V1_2)
    offering.set_ciphers(cipher)
    for talk in (
        Talk(asking, server.context),
        Talk(client_context(authority.path), offering),
    ):
        chosen = talk.client.cipher()
        assert chosen and chosen[0] == cipher


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["http/1.1", "h2"], "h2"),
        (["h2"], "h2"),
        (["http/1.1"], "http/1.1"),
        (["spdy/3"], None),
        (None, None),
    ],
)
def test_the_protocol_that_a_client_is_given(
    authority: Authority, server: ServerTls, offered: list[str] | None, chosen: str | None
) -> None:
    talk = Talk(client(authority, alpn=offered), server.context)
    assert talk.client.selected_alpn_protocol() == chosen


@pytest.mark.parametrize("alpn", [ALPN, ("http/1.1",), ("h2",)])
def test_the_protocols_that_an_upstream_is_offered(
    authority: Authority, saved: tuple[str, str], alpn: tuple[str, ...]
) -> None:
    upstream = plain_server(saved)
    upstream.set_alpn_protocols(list(reversed(ALPN)))  # its order counts
    chosen = "http/1.1" if "http/1.1" in alpn else "h2"
    for context in (
        client_context(authority.path, alpn=alpn),
        ClientTls(authority.path, alpn=alpn).context,
    ):
        assert Talk(context, upstream).client.selected_alpn_protocol() == chosen
    assert ALPN == ("h2", "http/1.1")


# -- which certificate is shown -----------------------------------------------------------------

SHOWN = [
    ("first.test", "first.test"),
    ("other.test", "other.test"),
    ("OTHER.test", "other.test"),
    ("other.test.", "other.test"),
    ("second.other.test", "other.test"),
    ("x.wild.test", "*.wild.test"),
    ("X.Wild.Test", "*.wild.test"),
    ("wild.test", "first.test"),
    ("a.b.wild.test", "first.test"),
    ("exact.wild.test", "exact.wild.test"),
    ("both.test", "other.test"),  # two have the name: the earlier
    ("unknown.test", "first.test"),
    ("localhost", "first.test"),
    (None, "first.test"),
]


@pytest.fixture(scope="module")
def several(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    folder = tmp_path_factory.mktemp("several")
    certificates = [
        ("first.test",),
        ("other.test", "second.other.test", "both.test", "192.0.2.1"),
        ("*.wild.test",),
        ("exact.wild.test", "both.test"),
    ]
    pairs = [
        Pair(*authority.issue(*names).save(folder, str(at)))
        for at, names in enumerate(certificates)
    ]
    return ServerTls(pairs)


@BOTH
@pytest.mark.parametrize(("asked", "shown"), SHOWN)
def test_the_certificate_of_the_name_that_is_asked_for(
    authority: Authority, several: ServerTls, asked: str | None, shown: str, version: ssl.TLSVersion
) -> None:
    assert Talk(client(authority, version), several.context, asked).shown == shown


def test_a_chain_is_sent_with_its_certificate(authority: Authority, tmp_path: Path) -> None:
    """The client knows only the root; what is between has to come from the file."""
    between = Authority("between", tmp_path, authority)
    issued = between.issue("a.test")
    alone = issued.save_as_one(tmp_path / "alone.pem")
    with pytest.raises(ssl.SSLCertVerificationError, match="local issuer"):
        Talk(client(authority), ServerTls([Pair(alone)]).context)
    chain = Issued(issued.cert + between.cert, issued.key).save_as_one(tmp_path / "chain.pem")
    assert Talk(client(authority), ServerTls([Pair(chain)]).context).shown == "a.test"


# -- reading anew -------------------------------------------------------------------------------


def test_a_new_certificate_is_shown_to_new_connections(
    authority: Authority, tmp_path: Path
) -> None:
    saved = authority.issue("a.test").save(tmp_path, "x")
    server = ServerTls([Pair(*saved)])
    before = Talk(client(authority), server.context)
    assert not server.has_changed()
    authority.issue("b.test").save(tmp_path, "x")
    assert server.has_changed()
    assert Talk(client(authority), server.context).shown == "a.test"
    server.reload()
    assert not server.has_changed()
    assert Talk(client(authority), server.context).shown == "b.test"
    assert [each.dns for each in server.certificates] == [("b.test",)]
    before.say()


def half_a_certificate(folder: Path, authority: Authority) -> None:
    cert = authority.issue("new.test").cert
    (folder / "b.pem").write_bytes(cert[: len(cert) // 2])


def half_a_key(folder: Path, authority: Authority) -> None:
    (folder / "b.key").write_bytes((folder / "b.key").read_bytes()[:100])


def a_certificate_without_its_key(folder: Path, authority: Authority) -> None:
    (folder / "b.pem").write_bytes(authority.issue("new.test").cert)


def no_file(folder: Path, _: Authority) -> None:
    (folder / "b.pem").unlink()


def an_empty_file(folder: Path, _: Authority) -> None:
    (folder / "b.key").write_bytes(b"")


def no_authorities(folder: Path, _: Authority) -> None:
    (folder / "ca.pem").write_bytes(b"nobody")


@pytest.mark.parametrize(
    ("ruin", "file", "reason"),
    [
        (half_a_certificate, "b.pem", "the file has no certificate in PEM"),
        (half_a_key, "b.key", "the private key cannot be read"),
        (a_certificate_without_its_key, "b.key", "is not that of the first certificate of"),
        (no_file, "b.pem", "cannot be read: No such file or directory"),
        (an_empty_file, "b.key", "the file has no private key in PEM"),
        (no_authorities, "ca.pem", "the file has no certificate in PEM"),
    ],
)
def test_all_is_read_or_nothing(
    authority: Authority, tmp_path: Path, ruin: object, file: str, reason: str
) -> None:
    shows = authority.issue("client").save(tmp_path, "client")
    pairs = [Pair(*authority.issue(f"{name}.test").save(tmp_path, name)) for name in "ab"]
    (tmp_path / "ca.pem").write_bytes(authority.cert)
    server = ServerTls(pairs, str(tmp_path / "ca.pem"))
    authority.issue("new.test").save(tmp_path, "a")  # this one is good
    assert callable(ruin)
    ruin(tmp_path, authority)
    assert server.has_changed()
    with pytest.raises(FileFault) as caught:
        server.reload()
    assert caught.value.filename == str(tmp_path / file)
    assert reason in str(caught.value.strerror)
    assert str(caught.value) == f"{tmp_path / file}: {caught.value.strerror}"
    assert not server.has_changed()  # so that it is said once
    for name in "ab":
        talk = Talk(client(authority, shows=shows), server.context, f"{name}.test")
        assert talk.shown == f"{name}.test"
    assert [each.dns for each in server.certificates] == [("a.test",), ("b.test",)]
    # Repaired, it is taken.
    authority.issue("c.test").save(tmp_path, "b")
    (tmp_path / "ca.pem").write_bytes(authority.cert)
    assert server.has_changed()
    server.reload()
    assert [each.dns for each in server.certificates] == [("new.test",), ("c.test",)]


def test_a_change_behind_a_link_is_a_change(authority: Authority, tmp_path: Path) -> None:
    """As Kubernetes does it: the directory is a link, which is exchanged."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        authority.issue(f"{name}.test").save(tmp_path / name, "x")
    data = tmp_path / "data"
    data.symlink_to("old")
    server = ServerTls([Pair(str(data / "x.pem"), str(data / "x.key"))])
    assert not server.has_changed()
    (tmp_path / "link").symlink_to("new")
    os.replace(tmp_path / "link", data)
    assert server.has_changed()
    server.reload()
    assert Talk(client(authority), server.context).shown == "new.test"


# -- sessions -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("mutual", [False, True], ids=["server", "mutual"])
@pytest.mark.parametrize("renewed", [False, True], ids=["same", "reloaded"])
def test_a_client_resumes_its_session(
    authority: Authority, tmp_path: Path, version: ssl.TLSVersion, mutual: bool, renewed: bool
) -> None:
    pairs = [Pair(*authority.issue(f"{name}.test").save(tmp_path, name)) for name in "ab"]
    server = ServerTls(pairs, authority.path if mutual else "")
    shows = authority.issue("client").save(tmp_path, "client") if mutual else None
    asking = client(authority, version, shows)
    for name in ("a.test", "b.test"):
        first = Talk(asking, server.context, name)
        assert not first.resumed
        if renewed:
            for each in "ab":
                authority.issue(f"{each}.test").save(tmp_path, each)
            server.reload()
        again = Talk(asking, server.context, name, first.client.session)
        assert again.resumed
        if mutual:
            assert subject(again.server) == "client"


@BOTH
def test_who_is_no_longer_trusted_cannot_resume(
    authority: Authority, stranger: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    pair = Pair(*authority.issue("a.test").save(tmp_path, "a"))
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(stranger.cert + authority.cert)
    server = ServerTls([pair], str(trusted))
    asking = client(authority, version, stranger.issue("client").save(tmp_path, "client"))
    session = Talk(asking, server.context).client.session
    trusted.write_bytes(authority.cert)
    server.reload()
    with pytest.raises(ssl.SSLError, match=r"(?i)unknown ca"):
        Talk(asking, server.context, session=session)


@BOTH
def test_an_upstream_is_offered_the_last_session(
    authority: Authority, saved: tuple[str, str], version: ssl.TLSVersion
) -> None:
    upstream = plain_server(saved, version)
    upstream.set_alpn_protocols(["http/1.1"])
    context = ClientTls(authority.path).context
    assert [Talk(context, upstream).resumed for _ in range(3)] == [False, True, True]
    # Another one that has the name does not know the session.
    assert not Talk(context, plain_server(saved, version)).resumed


@BOTH
def test_a_session_is_asked_for_once_while_it_is_resumed(
    authority: Authority, saved: tuple[str, str], version: ssl.TLSVersion
) -> None:
    """Python 3.11 loses a copy each time."""
    asked: list[object] = []

    class Asked(ssl.SSLObject):
        @property
        def session(self) -> ssl.SSLSession | None:
            asked.append(self)
            return super().session

    context, upstream = client_context(authority.path), plain_server(saved, version)
    context.sslobject_class = Asked
    assert [Talk(context, upstream).resumed for _ in range(4)] == [False, True, True, True]
    assert len(asked) == 1
    # What is declined is replaced, and the new one lasts as long.
    upstream = plain_server(saved, version)
    assert [Talk(context, upstream).resumed for _ in range(4)] == [False, True, True, True]
    assert len(asked) == 2



@BOTH
def test_a_session_is_of_a_name(
    authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    upstream = plain_server(authority.issue("a.test", "b.test").save(tmp_path, "x"), version)
    context = client_context(authority.path)
    assert not Talk(context, upstream, "a.test").resumed
    assert not Talk(context, upstream, "b.test").resumed
    assert Talk(context, upstream, "a.test").resumed


def test_a_session_of_half_a_handshake_is_not_used(
    authority: Authority, saved: tuple[str, str]
) -> None:
    """The ticket of TLS 1.2 comes before the server has proved that it knows the key."""
    upstream = plain_server(saved, V1_2)
    context = client_context(authority.path)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    served = upstream.wrap_bio(up, down, server_side=True)
    asking = context.wrap_bio(down, up, server_hostname="a.test")
    for end in (asking, served, asking):
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
    served.do_handshake()
    last = down.read()
    assert last[0] == 22  # a record of the handshake, which is the ticket
    down.write(last[: 5 + int.from_bytes(last[3:5])])
    with pytest.raises(ssl.SSLWantReadError):
        asking.do_handshake()
    assert asking.session and asking.session.has_ticket
    assert not Talk(context, upstream).resumed
    assert Talk(context, upstream).resumed


def test_a_failed_handshake_costs_no_session(
    authority: Authority, stranger: Authority, saved: tuple[str, str], tmp_path: Path
) -> None:
    upstream = plain_server(saved)
    false = plain_server(stranger.issue("a.test").save(tmp_path, "false"))
    context = client_context(authority.path)
    Talk(context, upstream)
    with pytest.raises(ssl.SSLCertVerificationError):
        Talk(context, false)
    assert Talk(context, upstream).resumed


# -- who is let in ------------------------------------------------------------------------------


@BOTH
def test_a_client_with_a_certificate_is_let_in(
    authority: Authority, saved: tuple[str, str], tmp_path: Path, version: ssl.TLSVersion
) -> None:
    server = ServerTls([Pair(*saved)], authority.path)
    shows = authority.issue("client").save(tmp_path, "client")
    assert subject(Talk(client(authority, version, shows), server.context).server) == "client"


class Over(Transport):
    """A transport over TLS."""

    def __init__(self, tls: ssl.SSLObject) -> None:
        self._tls = tls

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._tls if name == "ssl_object" else default


@BOTH
def test_clients_are_told_apart_by_their_certificates(
    authority: Authority, saved: tuple[str, str], tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """Also when they resume, which tells the server no more of them than a ticket."""
    server = ServerTls([Pair(*saved)], authority.path)
    for name in ("one", "other"):
        issued = authority.issue("same")
        asking = client(authority, version, issued.save(tmp_path, name))
        first = Talk(asking, server.context)
        again = Talk(asking, server.context, session=first.client.session)
        digest = sha256(ssl.PEM_cert_to_DER_cert(issued.cert.decode())).digest()
        assert again.resumed
        assert shown_certificate(Over(first.server)) == digest
        assert shown_certificate(Over(again.server)) == digest


def test_who_is_asked_for_no_certificate_has_shown_none(
    authority: Authority, server: ServerTls, saved: tuple[str, str]
) -> None:
    talk = Talk(client(authority, shows=saved), server.context)
    assert shown_certificate(Over(talk.server)) == b""


@BOTH
@pytest.mark.parametrize("who", ["nobody", "stranger", "expired"])
def test_a_client_without_a_good_certificate_is_told_so(
    authority: Authority,
    stranger: Authority,
    saved: tuple[str, str],
    tmp_path: Path,
    version: ssl.TLSVersion,
    who: str,
) -> None:
    server = ServerTls([Pair(*saved)], authority.path)
    reasons: list[str] = []
    server.handshakes.on_failure = reasons.append
    old = authority.issue("client", valid=-timedelta(days=1))
    shows, told, reason = {
        "nobody": (None, "certificate required|handshake failure", "peer did not return"),
        "stranger": (stranger.issue("client"), "unknown ca", "unable to get local issuer"),
        "expired": (old, "certificate expired", "has expired"),
    }[who]
    files = shows.save(tmp_path, "client") if shows else None
    with pytest.raises(ssl.SSLError, match=f"(?i)alert ({told})"):
        Talk(client(authority, version, files), server.context)
    assert len(reasons) == 1 and reason in reasons[0]


def test_an_upstream_is_shown_our_certificate(
    authority: Authority, saved: tuple[str, str], tmp_path: Path
) -> None:
    upstream = plain_server(saved)
    upstream.load_verify_locations(authority.path)
    upstream.verify_mode = ssl.CERT_REQUIRED
    with pytest.raises(ssl.SSLError, match=r"(?i)peer did not return a certificate"):
        Talk(ClientTls(authority.path).context, upstream)
    ours = Pair(*authority.issue("us").save(tmp_path, "us"))
    tls = ClientTls(authority.path, pair=ours)
    assert subject(Talk(tls.context, upstream).server) == "us"
    authority.issue("renewed").save(tmp_path, "us")
    assert tls.has_changed()
    tls.reload()
    # The old session is not resumed, for it would be the old name.
    assert subject(Talk(tls.context, upstream).server) == "renewed"
    (tmp_path / "us.key").write_text("nothing")
    with pytest.raises(FileFault, match=r"us\.key: the file has no private key"):
        tls.reload()
    assert subject(Talk(tls.context, upstream).server) == "renewed"


def test_the_authorities_of_an_upstream_are_read_anew(
    authority: Authority, stranger: Authority, saved: tuple[str, str], tmp_path: Path
) -> None:
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(stranger.cert)
    tls = ClientTls(str(trusted))
    with pytest.raises(ssl.SSLCertVerificationError):
        Talk(tls.context, plain_server(saved))
    trusted.write_bytes(authority.cert)
    tls.reload()
    assert Talk(tls.context, plain_server(saved)).shown == "a.test"


def test_an_upstream_is_verified_unless_that_is_switched_off(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    false = plain_server(stranger.issue("a.test").save(tmp_path, "false"))
    other = plain_server(authority.issue("other.test").save(tmp_path, "other"))
    old = authority.issue("a.test", valid=-timedelta(days=1))
    expired = plain_server(old.save(tmp_path, "expired"))
    for upstream, reason in (
        (false, "local issuer"),
        (other, "Hostname mismatch"),
        (expired, "expired"),
    ):
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            Talk(ClientTls(authority.path).context, upstream)
        with pytest.raises(ssl.SSLCertVerificationError):
            Talk(ClientTls().context, upstream)
        Talk(ClientTls(insecure=True).context, upstream)
        Talk(ClientTls(authority.path, insecure=True).context, upstream)


def test_certificates_without_key_identifiers_are_taken_on_both_legs(
    saved: tuple[str, str], tmp_path: Path
) -> None:
    """Many a private authority makes such, which Python's default context refuses from 3.13 on."""
    old = Authority("old", tmp_path, identifies=False)
    upstream = plain_server(old.issue("a.test").save(tmp_path, "old"))
    assert Talk(ClientTls(old.path).context, upstream).shown == "a.test"
    ours = ClientTls(insecure=True, pair=Pair(*old.issue("edge").save(tmp_path, "edge")))
    asking = ServerTls([Pair(*saved)], old.path)
    assert subject(Talk(ours.context, asking.context).server) == "edge"


# -- handshakes that come to nothing ------------------------------------------------------------


def begin(server: ServerTls, sent: bytes) -> tuple[ssl.SSLObject, ssl.MemoryBIO]:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = server.context.wrap_bio(up, down, server_side=True)
    up.write(sent)
    return end, down


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD", b"PUT"])
def test_plain_http_is_answered_with_why(server: ServerTls, method: bytes) -> None:
    reasons: list[str] = []
    server.handshakes.on_failure = reasons.append
    end, down = begin(server, method + b" /v1/models HTTP/1.1\r\nhost: h\r\n\r\n")
    with pytest.raises(ssl.SSLWantReadError):  # which sends what there is
        end.do_handshake()
    head, _, body = down.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n") and b"connection: close" in head
    assert b"content-length: %d" % len(body) in head
    assert b'"message":"This port speaks https' in body
    with pytest.raises(ssl.SSLError) as caught:
        end.do_handshake()
    assert not isinstance(caught.value, ssl.SSLWantReadError)
    assert down.pending == 0
    assert reasons == ["http request"]


@pytest.mark.parametrize(
    "sent", [b"\x00" * 100, b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 50]
)
def test_what_is_not_tls_ends(server: ServerTls, sent: bytes) -> None:
    end, down = begin(server, sent)
    for _ in range(2):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            assert down.read()  # an alert; without one there is nothing to wait for
        except ssl.SSLError:
            return
    pytest.fail("it goes on")


def test_handshakes_are_counted_and_bounded(authority: Authority, server: ServerTls) -> None:
    counts = server.handshakes.counts
    assert counts() == {"open": 0, "failed": 0}
    server.handshakes.room = lambda: 2
    kept = [begin(server, b""), begin(server, b"GET / HTTP/1.1\r\n\r\n")]
    with pytest.raises(ssl.SSLWantReadError):
        kept[1][0].do_handshake()
    assert counts() == {"open": 2, "failed": 0}
    with pytest.raises(OSError) as caught:
        begin(server, b"")
    assert not isinstance(caught.value, ssl.SSLError)
    assert counts() == {"open": 2, "failed": 1}
    kept.pop()
    assert counts() == {"open": 1, "failed": 2}  # at once: nothing waits for the collector
    talk = Talk(client(authority), server.context)
    assert counts() == {"open": 1, "failed": 2}
    kept.pop()
    del talk
    assert counts() == {"open": 0, "failed": 3}
