"""Where clients connect and where requests go: what is read, and every refusal."""

import re

import pytest
from config_cases import BASE, refusal

from m2mproxy.config import Listen, Upstream, load


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:8080", Listen("127.0.0.1", 8080)),
        ("localhost:0", Listen("localhost", 0)),
        ("my_box.example.com.:65535", Listen("my_box.example.com.", 65535)),
        ("[::1]:8080", Listen("::1", 8080)),
        ("[::]:80", Listen("::", 80)),
        ("unix:/run/m2m.sock", Listen(path="/run/m2m.sock")),
        ("http://localhost:80", Listen("localhost", 80, scheme="http")),
        ("https://[::1]:8443", Listen("::1", 8443, scheme="https")),
        ("unix:/run/a b.sock", Listen(path="/run/a b.sock")),
        ("unix:/" + "x" * 106, Listen(path="/" + "x" * 106)),
    ],
)
def test_listen_reads_and_writes(text, listen):
    assert Listen.parse(text) == listen
    assert str(listen) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (":8080", "no host"),
        ("", "no host"),
        ("[]:8080", "not an IPv6 address"),
        ("[127.0.0.1]:8080", "not an IPv6 address"),
        ("[::1%lo]:8080", "not an IPv6 address"),
        ("localhost", "no port"),
        ("[::1]", "no port"),
        ("localhost:", "a port is a number up to 65535"),
        ("localhost:65536", "a port is a number up to 65535"),
        ("localhost:-1", "a port is a number up to 65535"),
        ("localhost:+80", "a port is a number up to 65535"),
        ("localhost:8_0", "a port is a number up to 65535"),
        ("localhost:٣", "a port is a number up to 65535"),
        ("localhost:000080", "a port is a number up to 65535"),
        ("::1:8080", "an IPv6 address goes in brackets"),
        ("*:8080", "not a host name"),
        ("a b:8080", "not a host name"),
        ("-a:8080", "not a host name"),
        ("a..b:8080", "not a host name"),
        ("x" * 64 + ":8080", "not a host name"),
        (".".join(["x" * 60] * 5) + ":8080", "not a host name"),
        ("bücher:8080", "not a host name"),
        ("ftp://a:8080", "the scheme ftp is not known"),
        ("http://a", "no port"),
        ("http://a:8080/", "a port is a number up to 65535"),
        ("https://", "no host"),
        ("https://unix:/run/a", "a port is a number up to 65535"),
        ("://a:8080", "IPv6 address goes in brackets"),
        ("unix:", "begins with a slash"),
        ("unix:run/m2m.sock", "begins with a slash"),
        ("unix:/", "begins with a slash"),
        ("unix:/a\x00b", "begins with a slash"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
        ("unix:/" + "ü" * 54, "at most 107 bytes"),
    ],
)
def test_listen_refuses(text, reason):
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        Listen.parse(text)
    error = refusal(flags={"proxy.upstream": "http://m", "proxy.listen": [text]})
    assert (error.source, error.key) == ("command line", "--listen")
    assert error.reason == str(caught.value)
    assert "[v6]:port" in str(error) and "0.0.0.0:8080" in error.allowed


@pytest.mark.parametrize("settings", [{}, {"host": "a", "path": "/b"}])
def test_listen_is_one_of_two(settings):
    with pytest.raises(ValueError, match="either"):
        Listen(**settings)


@pytest.mark.parametrize(
    ("toml", "listens"),
    [
        ('"127.0.0.1:1"', ("127.0.0.1:1",)),
        ('["127.0.0.1:1", "[::1]:1", "unix:/run/a"]', ("127.0.0.1:1", "[::1]:1", "unix:/run/a")),
        ('["localhost:0", "localhost:0"]', ("localhost:0", "localhost:0")),
    ],
)
def test_listen_of_a_file(file, toml, listens):
    loaded = load(file(f"[proxy]\n{BASE}\nlisten = {toml}"), {}, {})
    assert tuple(map(str, loaded.listen)) == listens


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ("[]", ""),
        ("8080", ""),
        ("[8080]", ""),
        ("true", ""),
        ('["localhost:1", ":2"]', ":2: no host"),
        ('["localhost:1", "localhost:1"]', "localhost:1 is there twice"),
        ('["unix:/a", "unix:/a"]', "unix:/a is there twice"),
        ('["http://localhost:1", "localhost:1"]', "localhost:1 is there twice"),
    ],
)
def test_listen_refused_in_a_file(file, toml, reason):
    error = refusal(file(f"[proxy]\n{BASE}\nlisten = {toml}"))
    assert (error.key, error.reason) == ("proxy.listen", reason)


@pytest.mark.parametrize(
    ("text", "without", "with_certificate"),
    [
        ("localhost:1", False, True),
        ("http://localhost:1", False, False),
        ("HTTPS://localhost:1", True, True),
        ("unix:/run/a", False, False),
    ],
)
def test_which_addresses_speak_tls(text, without, with_certificate):
    listen = Listen.parse(text)
    assert (listen.is_secure(False), listen.is_secure(True)) == (without, with_certificate)


def test_listen_of_the_environment_is_split_at_commas():
    environ = {"M2M_UPSTREAM": "http://m", "M2M_LISTEN": "localhost:1, unix:/run/a"}
    assert load(None, environ, {}).listen == (Listen("localhost", 1), Listen(path="/run/a"))


@pytest.mark.parametrize(
    ("text", "upstream", "written"),
    [
        ("http://localhost:11434/v1", Upstream("http", "localhost", 11434, "/v1"), None),
        ("https://api.openai.com", Upstream("https", "api.openai.com", 443), None),
        ("HTTPS://API.example.com/V1/", Upstream("https", "api.example.com", 443, "/V1"), "lower"),
        ("http://h:80/a/b//", Upstream("http", "h", 80, "/a/b"), "http://h/a/b"),
        ("http://h:443/", Upstream("http", "h", 443), "http://h:443"),
        ("https://[2001:db8::1]:8443/x", Upstream("https", "2001:db8::1", 8443, "/x"), None),
        ("https://[::1]", Upstream("https", "::1", 443), None),
        ("https://h/d?api=1&a=/?", Upstream("https", "h", 443, "/d", "api=1&a=/?"), None),
        ("https://h?a=b", Upstream("https", "h", 443, "", "a=b"), None),
        ("https://h/p?", Upstream("https", "h", 443, "/p"), "https://h/p"),
        ("http://h/a@b:c", Upstream("http", "h", 80, "/a@b:c"), None),
        ("http://under_score/%7Bx%7D", Upstream("http", "under_score", 80, "/%7Bx%7D"), None),
    ],
)  # fmt: skip
def test_upstream_reads_and_writes(text, upstream, written):
    assert Upstream.parse(text) == upstream
    expected = {None: text, "lower": "https://api.example.com/V1"}.get(written, written)
    assert str(upstream) == expected
    assert Upstream.parse(str(upstream)) == upstream


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no scheme"),
        ("localhost:11434/v1", "no scheme"),
        ("//localhost/v1", "no scheme"),
        ("http:/localhost", "no scheme"),
        ("ftp://localhost", "the scheme ftp is not known"),
        ("unix:///run/a", "the scheme unix is not known"),
        ("http://", "no host"),
        ("http:///v1", "no host"),
        ("http://:80/v1", "no host"),
        ("http://?a", "no host"),
        ("http://h:/v1", "a port is a number up to 65535"),
        ("http://h:x/v1", "a port is a number up to 65535"),
        ("http://h:65536", "a port is a number up to 65535"),
        ("http://h:0", "port 0 cannot be connected to"),
        ("http://::1/v1", "an IPv6 address goes in brackets"),
        ("http://[::g]/v1", "not an IPv6 address"),
        ("http://h%20h/v1", "not a host name"),
        ("http://h\\evil/v1", "not a host name"),
        ("http://user@h/v1", "use api_key"),
        ("http://user:sk-secret@h/v1", "use api_key"),
        ("http://h/v1#part", "a fragment"),
        ("http://h/v1#", "a fragment"),
        ("http://h/a b", "no spaces"),
        (" http://h/", "no spaces"),
        ("http://h/\r\nX: y", "visible ASCII"),
        ("http://h/\x00", "visible ASCII"),
        ("http://bücher/v1", "visible ASCII"),
    ],
)
def test_an_upstream_url_that_cannot_be_used_is_refused(text, reason):
    error = refusal(flags={"proxy.upstream": text})
    assert reason in error.reason
    assert (error.source, error.key) == ("command line", "--upstream")
    assert error.allowed == 'an http:// or https:// URL, such as "http://localhost:11434/v1"'


@pytest.mark.parametrize(
    "text",
    [
        "http://user:sk-secret@h/v1",
        "http://user:pa/sk-secret@h/v1",
        "user:sk-secret@h",
        "http://a@sk-secret@h",
        "https://sk-secret@h:x",
        "http://u@h/v1\nsk-secret@",
        "http://h:x/v1?key=sk-secret",
        "ftp://h?sk-secret",
    ],
)
def test_a_secret_in_the_upstream_is_not_repeated(text):
    error = refusal(flags={"proxy.upstream": text})
    assert "sk-secret" not in str(error) and "sk-secret" not in str(error.value)


def test_an_upstream_is_required(file):
    error = refusal()
    assert (error.source, error.key) == ("command line", "--upstream")
    assert error.reason == "not given, and neither is M2M_UPSTREAM, nor a file"
    path = file("[proxy]\n")
    error = refusal(path)
    assert (error.source, error.key, error.value) == (path, "proxy.upstream", None)
