"""The table of keys: the defaults, the dataclasses, every key by file, variable and flag."""

import ast
import inspect
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path

import pytest
from config_cases import BASE, UPSTREAM, value_of, write

from m2mproxy import config
from m2mproxy.config import (
    KEYS,
    Config,
    Listen,
    Peer,
    Price,
    Upstream,
    addresses,
    load,
    prices,
    schema,
)

# ---- the shape that others code against ----------------------------------------------------------


def test_the_defaults():
    c = load(None, {}, {"proxy.upstream": "http://model/v1"})
    assert c == Config(upstream=UPSTREAM)
    assert c.listen == (Listen("127.0.0.1", 8080),)
    assert (c.provider, c.api_key, c.max_body, c.drain) == ("auto", "", 64 * 2**20, 30)
    assert (c.forwarded, c.ca_file, c.api_version, c.sse_keepalive) == (True, "", "", 0)
    assert (c.tls.cert, c.tls.key, c.tls.client_ca) == ((), (), "")
    assert (c.tls.upstream_cert, c.tls.upstream_key, c.tls.insecure) == ("", "", False)
    t = c.timeouts
    assert (t.connect, t.first_byte, t.idle, t.total, t.pool) == (10, 600, 300, 3600, 10)
    assert t.handshake == 10
    assert (t.header, t.body, t.keepalive, t.close) == (10, 30, 75, 5)
    assert (t.upstream_keepalive, t.upstream_keepalive_https) == (4, 55)
    n = c.limits
    assert (n.connections, n.requests, n.upstream_connections) == (4096, 2048, 2048)
    assert (n.header_bytes, n.header_count, n.body_rate, n.retry_body) == (65536, 128, 256, 2**20)
    assert (c.compression.requests, c.compression.responses) == ("auto", "auto")
    assert c.compression.vocabularies == ()
    assert (c.security.enabled, c.security.blocking, c.security.threshold) == (False, True, 0.8)
    assert (c.peer.psk_file, c.peer.psk, c.peer.seal, c.peer.required) == ("", b"", "aead", False)
    assert (c.stats.access, c.stats.listen) == ("loopback", ())
    assert (c.logging.format, c.logging.level, c.logging.access) == ("text", "info", True)
    assert (c.tokens.count, c.tokens.vocabularies) == ("usage", ("cl100k", "o200k"))
    assert (c.tokens.prices, c.tokens.table.rows) == ("", ())


def dataclasses_of_config():
    return [v for v in vars(config).values() if isinstance(v, type) and is_dataclass(v)]


def nodes_of_config():
    for module in (addresses, prices, schema):
        yield from ast.parse(inspect.getsource(module)).body


@pytest.mark.parametrize("kind", dataclasses_of_config(), ids=lambda kind: kind.__name__)
def test_dataclasses_are_frozen_and_slotted(kind):
    sample = Config(upstream=UPSTREAM)
    values = (
        sample,
        sample.upstream,
        sample.listen[0],
        sample.tokens.table,
        Price("*", 1.0, 1.0, 1.0, 1.0, 1.0),
        *map(sample.__getattribute__, SUBSECTIONS),
    )
    instance = next(value for value in values if type(value) is kind)
    assert not hasattr(instance, "__dict__")
    with pytest.raises(FrozenInstanceError):
        setattr(instance, fields(kind)[0].name, None)


SUBSECTIONS = (
    "tls", "timeouts", "limits", "compression", "security", "peer", "link", "tokens", "stats",
    "logging",
)  # fmt: skip


def test_every_field_has_a_docstring():
    names = {kind.__name__ for kind in dataclasses_of_config()}
    nodes = [n for n in nodes_of_config() if isinstance(n, ast.ClassDef) and n.name in names]
    assert len(nodes) == len(names)
    for node in nodes:
        for this, following in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(this, ast.AnnAssign) and this.target.id not in SUBSECTIONS:
                documented = isinstance(following, ast.Expr)
                assert documented and isinstance(following.value.value, str), this.target.id


def test_the_key_is_not_in_the_repr():
    assert "sk-secret" not in repr(Config(upstream=UPSTREAM, api_key="sk-secret"))
    assert "secret" not in repr(Config(upstream=UPSTREAM, peer=Peer(psk=b"secret")))


def test_an_error_found_later_names_the_place_of_its_key(file):
    path = file("[proxy]\nupstream = 'http://m'\nprovider = 'a'\nca_file = ''")
    config = load(path, {"M2M_API_VERSION": "1"}, {"proxy.provider": "b"})
    lines = [str(config.refusal(f"proxy.{key}", "x", "no")) for key in ("ca_file", "api_version")]
    lines += [str(config.refusal(f"proxy.{key}", "x", "no")) for key in ("provider", "listen")]
    assert lines == [
        f'{path}: proxy.ca_file = "x": no',
        'environment: M2M_API_VERSION = "x": no',
        'command line: --provider = "x": no',
        'default: proxy.listen = "x": no',
    ]


def test_an_error_found_later_repeats_no_secret_either():
    config = Config(upstream=Upstream.parse("http://h/v1?key=sk-secret"), api_key="sk-secret")
    for key in ("upstream", "api_key"):
        error = config.refusal(f"proxy.{key}", str(getattr(config, key)), "no")
        assert "sk-secret" not in f"{error} {error!r}"


def test_importing_and_loading_stays_lean(file):
    heavy = ["asyncio", "difflib", "json", "logging", "m2mproxy.service.server", "ssl"]
    loaded = "print([m for m in {} if m in sys.modules]);"
    code = "import sys, m2mproxy.cli.tool;" + loaded.format([*heavy, "tomllib"])
    code += f"m2mproxy.config.load({file()!r}, {{}}, {{}});" + loaded.format(heavy)
    # -S: the editable install's hook, in site, has imports of its own.
    root = str(Path(config.__file__).parents[2])
    run = [sys.executable, "-S", "-c", code]
    out = subprocess.run(run, env={"PYTHONPATH": root}, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["[]", "[]"]


# ---- every key, from every source ----------------------------------------------------------------

# path: (TOML, text of a variable or flag, the field's value)
SAMPLES: dict[str, tuple[str, str, object]] = {
    "proxy.listen": ('"localhost:99"', "localhost:99", (Listen("localhost", 99),)),
    "proxy.upstream": ('"https://h/v2"', "https://h/v2", Upstream("https", "h", 443, "/v2")),
    "proxy.upstream_http": ('"2"', "2", "2"),
    "proxy.provider": ('"azure-2"', "azure-2", "azure-2"),
    "proxy.api_key": ('"sk-{}"', "sk-{}", "sk-{}"),
    "proxy.web_origins": (
        '["https://chat.example", "null"]', "https://chat.example, null",
        ("https://chat.example", "null"),
    ),
    "proxy.max_body": ('"1MiB"', "1MiB", 2**20),
    "proxy.drain": ('"1m"', "1m", 60.0),
    "proxy.forwarded": ("false", "false", False),
    "proxy.api_version": ('"2024-10-21"', "2024-10-21", "2024-10-21"),
    "proxy.sse_keepalive": ("15", "15", 15.0),
    "proxy.tls.cert": ('["a.pem", "b.pem"]', "a.pem, b.pem", ("a.pem", "b.pem")),
    "proxy.tls.upstream_cert": ('"/a b.pem"', "/a b.pem", "/a b.pem"),
    "proxy.tls.insecure": ("true", "true", True),
    "proxy.timeouts.connect": ("1.5", "1.5", 1.5),
    "proxy.timeouts.first_byte": ('"5m"', "5m", 300.0),
    "proxy.timeouts.idle": ('"500ms"', "500ms", 0.5),
    "proxy.timeouts.total": ("0", "0", 0.0),
    "proxy.timeouts.pool": ("1", "1", 1.0),
    "proxy.timeouts.handshake": ("7", "7", 7.0),
    "proxy.timeouts.header": ("2", "2", 2.0),
    "proxy.timeouts.body": ("3", "3", 3.0),
    "proxy.timeouts.keepalive": ("4", "4", 4.0),
    "proxy.timeouts.upstream_keepalive": ("5", "5", 5.0),
    "proxy.timeouts.upstream_keepalive_https": ("60", "60", 60.0),
    "proxy.timeouts.close": ("6", "6", 6.0),
    "proxy.limits.connections": ("7", "7", 7),
    "proxy.limits.requests": ("8", "8", 8),
    "proxy.limits.upstream_connections": ("9", "9", 9),
    "proxy.limits.header_bytes": ('"32 KiB"', "32 KiB", 32768),
    "proxy.limits.header_count": ("64", "64", 64),
    "proxy.limits.body_rate": ("0", "0", 0),
    "proxy.limits.retry_body": ("0", "0", 0),
    "proxy.compression.requests": ("false", "false", "off"),
    "proxy.compression.responses": ("true", "true", "on"),
    "proxy.compression.min_size": ('"2KiB"', "2KiB", 2048),
    "proxy.compression.level": ("9", "9", 9),
    "proxy.compression.endpoints": ('"off"', "off", "off"),
    "proxy.compression.vocabularies": (
        '["cl100k", "o200k"]', "cl100k, o200k", ("cl100k", "o200k"),
    ),
    "proxy.security.enabled": ("true", "true", True),
    "proxy.security.blocking": ("false", "false", False),
    "proxy.security.thresholds": (
        "{jailbreak = 0.5, prompt_injection = 1}", "jailbreak=0.5, prompt_injection=1",
        (("prompt_injection", 1.0), ("jailbreak", 0.5)),
    ),
    "proxy.security.roles": ('["tool", "system"]', "tool, system", ("tool", "system")),
    "proxy.security.off": ('["nul", "bidi"]', "nul,bidi", ("nul", "bidi")),
    "proxy.security.max_size": ('"1MiB"', "1MiB", 1 << 20),
    "proxy.security.replies": ("true", "true", True),
    "proxy.security.cache": ("0", "0", 0),
    "peer.seal": ('"hmac"', "hmac", "hmac"),
    "link.enabled": ("false", "false", False),
    "link.memory": ('"64MiB"', "64MiB", 64 << 20),
    "link.connection_memory": ('"8MiB"', "8MiB", 8 << 20),
    "link.credential_memory": ("1048576", "1MiB", 1 << 20),
    "link.ttl": ('"5m"', "300", 300.0),
    "link.isolation": ('"conversation"', "conversation", "conversation"),
    "link.tenant_header": ('"x-tenant"', "x-tenant", "x-tenant"),
    "tokens.count": ('"all"', "all", "all"),
    "tokens.vocabularies": ('["tekken", "qwen3.5"]', "tekken, qwen3.5", ("tekken", "qwen3.5")),
    "stats.access": ('"off"', "off", "off"),
    "stats.listen": (
        '["localhost:99", "unix:/a"]', "localhost:99, unix:/a",
        (Listen("localhost", 99), Listen(path="/a")),
    ),
    "logging.format": ('"json"', "json", "json"),
    "logging.level": ('"debug"', "debug", "debug"),
    "logging.access": ("false", "false", False),
}
# These name files that are read at once, and have tests of their own.
NAMING_FILES = {"proxy.api_key_file", "proxy.ca_file", "peer.psk_file", "tokens.prices"}
# These need another key, see test_tls_keys, test_psk and test_security_keys.
DEPENDENT = {
    "proxy.tls.key", "proxy.tls.client_ca", "proxy.tls.upstream_key", "peer.required",
    "proxy.security.threshold",
}  # fmt: skip


def test_the_samples_are_all_the_keys():
    assert SAMPLES.keys() | NAMING_FILES | DEPENDENT == KEYS.keys()


def test_variables_and_flags_are_distinct():
    assert len({key.variable for key in KEYS.values()}) == len(KEYS)
    assert len({key.flag for key in KEYS.values()}) == len(KEYS)


@pytest.mark.parametrize("path", SAMPLES)
def test_a_key_in_a_file(tmp_path, path):
    key, (toml, _, value) = KEYS[path], SAMPLES[path]
    base = "" if path == "proxy.upstream" else f"proxy.{BASE}\n"
    loaded = load(write(tmp_path / "c.toml", f"{base}{path} = {toml}"), {}, {})
    assert value_of(loaded, key) == value
    assert type(value_of(loaded, key)) is type(value)


@pytest.mark.parametrize("path", SAMPLES)
def test_a_key_in_the_environment(path):
    key, (_, text, value) = KEYS[path], SAMPLES[path]
    loaded = load(None, {"M2M_UPSTREAM": "http://m", key.variable: text}, {})
    assert value_of(loaded, key) == value
    assert type(value_of(loaded, key)) is type(value)


@pytest.mark.parametrize("path", SAMPLES)
def test_a_key_as_a_flag(path):
    key, (_, text, value) = KEYS[path], SAMPLES[path]
    assert value_of(load(None, {}, {"proxy.upstream": "http://m", path: text}), key) == value
    assert KEYS[path].default != value or value in ("off", False, 0.0), "the sample shows nothing"


@pytest.mark.parametrize(
    ("path", "variable", "flag"),
    [
        ("proxy.upstream", "M2M_UPSTREAM", "--upstream"),
        ("proxy.api_key_file", "M2M_API_KEY_FILE", "--api-key-file"),
        ("proxy.timeouts.first_byte", "M2M_TIMEOUTS_FIRST_BYTE", "--timeouts-first-byte"),
        ("proxy.limits.requests", "M2M_LIMITS_REQUESTS", "--limits-requests"),
        ("peer.psk_file", "M2M_PEER_PSK_FILE", "--peer-psk-file"),
        ("logging.format", "M2M_LOGGING_FORMAT", "--log-format"),
        ("proxy.tls.cert", "M2M_TLS_CERT", "--cert"),
        ("proxy.security.enabled", "M2M_SECURITY_ENABLED", "--security"),
        ("proxy.security.threshold", "M2M_SECURITY_THRESHOLD", "--threshold"),
    ],
)
def test_names_follow_from_the_path(path, variable, flag):
    assert (KEYS[path].variable, KEYS[path].flag) == (variable, flag)


def test_the_keys_of_the_issue(file):
    path = file("""
        [proxy]
        listen = "127.0.0.1:8080"
        upstream = "http://m"
        api_key = "k"
        max_body = 1
        drain = 0
        [proxy.compression]
        requests = "off"
        responses = false
        [proxy.security]
        enabled = false
        blocking = false
        threshold = 1
        [proxy.timeouts]
        connect = 1
        first_byte = 1
        idle = 1
        total = 1
        [proxy.limits]
        [logging]
    """)
    loaded = load(path, {}, {})
    assert loaded.security.threshold == 1.0 and loaded.drain == 0.0
