"""The keys of TLS together: what needs what, and which addresses a certificate is for."""

import pytest
from config_cases import BASE, refusal

from m2mproxy.config import load
from m2mproxy.config.schema import KEYS


def text(**keys: str) -> str:
    lines = "".join(f"{name} = {value}\n" for name, value in keys.items() if name != "listen")
    listen = f"listen = {keys['listen']}\n" if "listen" in keys else ""
    return f"[proxy]\n{BASE}\n{listen}[proxy.tls]\n{lines}"


@pytest.mark.parametrize(
    ("toml", "paths"),
    [
        ('"a.pem"', ("a.pem",)),
        ('["a.pem", "/b, c.pem"]', ("a.pem", "/b, c.pem")),
        ('""', ()),
        ("[]", ()),
    ],
)
def test_one_path_or_several(file, toml, paths):
    assert load(file(text(cert=toml)), {}, {}).tls.cert == paths


def test_several_paths_of_the_environment_are_split_at_commas():
    environ = {"M2M_UPSTREAM": "http://m", "M2M_TLS_CERT": "a, b", "M2M_TLS_KEY": "c,d"}
    tls = load(None, environ, {}).tls
    assert (tls.cert, tls.key) == (("a", "b"), ("c", "d"))
    environ["M2M_TLS_CERT"] = environ["M2M_TLS_KEY"] = ""
    assert load(None, environ, {}).tls.cert == ()


def test_a_variable_without_a_value_takes_away_what_the_file_says(file):
    path = file(text(cert='"a.pem"'))
    assert load(path, {"M2M_TLS_CERT": ""}, {}).tls.cert == ()


@pytest.mark.parametrize("path", ["proxy.tls.client_ca", "peer.psk_file"])
@pytest.mark.parametrize("by", ["flag", "variable"])
def test_what_takes_away_protection_is_told(file, path, by):
    key = KEYS[path]
    written = f"[{key.section}]\n{key.name} = 'f'\n"
    more = "cert = 'c'\n" if "tls" in path else ""
    notices: list[str] = []
    environ = {key.variable: ""} if by == "variable" else {}
    load(file(written + more), environ, {path: ""} if by == "flag" else {}, notices)
    [notice] = [notice for notice in notices if "is empty" in notice]
    name = key.variable if by == "variable" else key.flag
    assert notice == f"{name} is empty: the file's {path} has no effect"


def test_what_has_no_value_anywhere_takes_nothing_away(file):
    notices: list[str] = []
    load(file(), {"M2M_TLS_CLIENT_CA": "", "M2M_PEER_PSK_FILE": ""}, {}, notices)
    assert notices == []


@pytest.mark.parametrize(
    ("keys", "key", "reason"),
    [
        ({"key": '"k"'}, "key", "it needs proxy.tls.cert"),
        ({"client_ca": '"c"'}, "client_ca", "it needs proxy.tls.cert"),
        ({"upstream_key": '"k"'}, "upstream_key", "it needs proxy.tls.upstream_cert"),
        ({"cert": '"c"', "key": '["k", "l"]'}, "key", "as many keys as certificates"),
        ({"cert": '["c", "d"]', "key": '"k"'}, "key", "and proxy.tls.cert has 2"),
        (
            {"cert": '"c"', "client_ca": '"c"', "listen": '"http://h:1"'},
            "client_ca", "no address of proxy.listen speaks TLS",
        ),
    ],
)  # fmt: skip
def test_a_key_that_would_have_no_effect(file, keys, key, reason):
    path = file(text(**keys))
    error = refusal(path)
    assert (error.source, error.key) == (path, f"proxy.tls.{key}")
    assert reason in error.reason


def test_the_place_of_an_error_is_that_of_the_key(file):
    flags = {"proxy.tls.key": ["a", "b"]}
    error = refusal(file(text(cert='"c"')), {}, flags)
    assert str(error).startswith('command line: --key = ["a", "b"]: as many keys as certificates')
    environ = {"M2M_TLS_CLIENT_CA": "c"}
    assert str(refusal(file(), environ)).startswith(
        'environment: M2M_TLS_CLIENT_CA = "c": it needs'
    )


@pytest.mark.parametrize("listen", ['"https://h:1"', '["h:1", "unix:/a", "https://h:2"]'])
def test_https_needs_a_certificate(file, listen):
    error = refusal(file(text(listen=listen)))
    assert (error.key, error.reason) == (
        "proxy.listen",
        "https needs a certificate: proxy.tls.cert",
    )
    assert str(error.value).startswith("https://h:")
    assert load(file(text(listen=listen, cert='"c"')), {}, {})


@pytest.mark.parametrize("listen", ['"http://h:1"', '["unix:/a", "http://h:1"]'])
def test_a_certificate_that_nobody_is_shown_is_told(file, listen):
    notices: list[str] = []
    load(file(text(listen=listen, cert='"c"')), {}, {}, notices)
    reason = "no address of proxy.listen speaks TLS"
    assert notices == [f"proxy.tls.cert has no effect: {reason}"]


def test_all_together(file):
    path = file(
        text(
            cert='"c"', key='"k"', client_ca='"a"', upstream_cert='"u"', upstream_key='"v"',
            insecure="true", listen='["h:1", "http://h:2", "unix:/a"]',
        )
    )  # fmt: skip
    notices: list[str] = []
    tls = load(path, {}, {}, notices).tls
    assert (tls.cert, tls.key, tls.client_ca) == (("c",), ("k",), "a")
    assert (tls.upstream_cert, tls.upstream_key, tls.insecure) == ("u", "v", True)
    assert notices == []
