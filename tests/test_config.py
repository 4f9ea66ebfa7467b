"""config: every key by file, variable and flag; the order of the three; every refusal's words."""

import ast
import inspect
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, is_dataclass
from pathlib import Path

import pytest

from m2mproxy import config
from m2mproxy.config import KEYS, Config, ConfigError, Key, Listen, Upstream, load, size_text

BASE = 'upstream = "http://model/v1"'
UPSTREAM = Upstream("http", "model", 80, "/v1")


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.fixture
def file(tmp_path):
    """Write a configuration file; its [proxy] has an upstream unless the text has that section."""

    def make(text: str = "") -> str:
        proxy = "" if "[proxy]" in text else f"[proxy]\n{BASE}\n"
        return write(tmp_path / "m2m.toml", proxy + text)

    return make


def refusal(path=None, environ=None, flags=None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, flags or {})
    message = str(caught.value)
    assert "\n" not in message and message.isprintable()
    return caught.value


def value_of(loaded: Config, key: Key) -> object:
    holder = loaded if key.section == "proxy" else getattr(loaded, key.section.split(".")[-1])
    return getattr(holder, key.name)


# ---- the shape that others code against ----------------------------------------------------------


def test_the_defaults():
    c = load(None, {}, {"proxy.upstream": "http://model/v1"})
    assert c == Config(upstream=UPSTREAM)
    assert c.listen == (Listen("127.0.0.1", 8080),)
    assert (c.provider, c.api_key, c.max_body, c.drain) == ("auto", "", 64 * 2**20, 30)
    assert (c.forwarded, c.ca_file, c.api_version, c.sse_keepalive) == (True, "", "", 0)
    t = c.timeouts
    assert (t.connect, t.first_byte, t.idle, t.total, t.pool) == (10, 600, 300, 3600, 10)
    assert (t.header, t.body, t.keepalive, t.upstream_keepalive, t.close) == (10, 30, 75, 4, 5)
    n = c.limits
    assert (n.connections, n.requests, n.upstream_connections) == (4096, 2048, 2048)
    assert (n.header_bytes, n.header_count, n.body_rate, n.retry_body) == (65536, 128, 256, 2**20)
    assert (c.compression.requests, c.compression.responses) == ("off", "off")
    assert (c.security.enabled, c.security.blocking, c.security.threshold) == (False, True, 0.8)
    assert (c.logging.format, c.logging.level, c.logging.access) == ("text", "info", True)


def dataclasses_of_config():
    return [v for v in vars(config).values() if isinstance(v, type) and is_dataclass(v)]


@pytest.mark.parametrize("kind", dataclasses_of_config(), ids=lambda kind: kind.__name__)
def test_dataclasses_are_frozen_and_slotted(kind):
    sample = Config(upstream=UPSTREAM)
    values = (sample, sample.upstream, sample.listen[0], *map(sample.__getattribute__, SUBSECTIONS))
    instance = next(value for value in values if type(value) is kind)
    assert not hasattr(instance, "__dict__")
    with pytest.raises(FrozenInstanceError):
        setattr(instance, fields(kind)[0].name, None)


SUBSECTIONS = ("timeouts", "limits", "compression", "security", "logging")


def test_every_field_has_a_docstring():
    tree = ast.parse(inspect.getsource(config))
    names = {kind.__name__ for kind in dataclasses_of_config()}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name not in names:
            continue
        for this, following in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(this, ast.AnnAssign) and this.target.id not in SUBSECTIONS:
                documented = isinstance(following, ast.Expr)
                assert documented and isinstance(following.value.value, str), this.target.id


def test_the_key_is_not_in_the_repr():
    assert "sk-secret" not in repr(Config(upstream=UPSTREAM, api_key="sk-secret"))


def test_importing_and_loading_stays_lean(file):
    heavy = ["asyncio", "difflib", "json", "logging", "m2mproxy.service.server", "ssl"]
    loaded = "print([m for m in {} if m in sys.modules]);"
    code = "import sys, m2mproxy.cli.tool;" + loaded.format([*heavy, "tomllib"])
    code += f"m2mproxy.config.load({file()!r}, {{}}, {{}});" + loaded.format(heavy)
    # -S: the editable install's hook, in site, has imports of its own.
    root = str(Path(config.__file__).parents[1])
    run = [sys.executable, "-S", "-c", code]
    out = subprocess.run(run, env={"PYTHONPATH": root}, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["[]", "[]"]


# ---- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:8080", Listen("127.0.0.1", 8080)),
        ("localhost:0", Listen("localhost", 0)),
        ("my_box.example.com.:65535", Listen("my_box.example.com.", 65535)),
        ("[::1]:8080", Listen("::1", 8080)),
        ("[::]:80", Listen("::", 80)),
        ("unix:/run/m2m.sock", Listen(path="/run/m2m.sock")),
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
        ("http://a:8080", "IPv6 address goes in brackets"),
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
    ],
)
def test_listen_refused_in_a_file(file, toml, reason):
    error = refusal(file(f"[proxy]\n{BASE}\nlisten = {toml}"))
    assert (error.key, error.reason) == ("proxy.listen", reason)


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
def test_upstream_refuses(text, reason):
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
    ],
)
def test_a_password_in_the_upstream_is_not_repeated(text):
    error = refusal(flags={"proxy.upstream": text})
    assert "sk-secret" not in str(error) and "sk-secret" not in str(error.value)


def test_an_upstream_is_required(file):
    error = refusal()
    assert (error.source, error.key) == ("command line", "--upstream")
    assert str(error).startswith("command line: --upstream: not given, and neither is M2M_UPSTREAM")
    path = file("[proxy]\n")
    error = refusal(path)
    assert (error.source, error.key, error.value) == (path, "proxy.upstream", None)


# ---- every key, from every source ----------------------------------------------------------------

# path: (TOML, text of a variable or flag, the field's value)
SAMPLES: dict[str, tuple[str, str, object]] = {
    "proxy.listen": ('"localhost:99"', "localhost:99", (Listen("localhost", 99),)),
    "proxy.upstream": ('"https://h/v2"', "https://h/v2", Upstream("https", "h", 443, "/v2")),
    "proxy.provider": ('"azure-2"', "azure-2", "azure-2"),
    "proxy.api_key": ('"sk-{}"', "sk-{}", "sk-{}"),
    "proxy.max_body": ('"1MiB"', "1MiB", 2**20),
    "proxy.drain": ('"1m"', "1m", 60.0),
    "proxy.forwarded": ("false", "false", False),
    "proxy.api_version": ('"2024-10-21"', "2024-10-21", "2024-10-21"),
    "proxy.sse_keepalive": ("15", "15", 15.0),
    "proxy.timeouts.connect": ("1.5", "1.5", 1.5),
    "proxy.timeouts.first_byte": ('"5m"', "5m", 300.0),
    "proxy.timeouts.idle": ('"500ms"', "500ms", 0.5),
    "proxy.timeouts.total": ("0", "0", 0.0),
    "proxy.timeouts.pool": ("1", "1", 1.0),
    "proxy.timeouts.header": ("2", "2", 2.0),
    "proxy.timeouts.body": ("3", "3", 3.0),
    "proxy.timeouts.keepalive": ("4", "4", 4.0),
    "proxy.timeouts.upstream_keepalive": ("5", "5", 5.0),
    "proxy.timeouts.close": ("6", "6", 6.0),
    "proxy.limits.connections": ("7", "7", 7),
    "proxy.limits.requests": ("8", "8", 8),
    "proxy.limits.upstream_connections": ("9", "9", 9),
    "proxy.limits.header_bytes": ('"32 KiB"', "32 KiB", 32768),
    "proxy.limits.header_count": ("64", "64", 64),
    "proxy.limits.body_rate": ("0", "0", 0),
    "proxy.limits.retry_body": ("0", "0", 0),
    "proxy.compression.requests": ("false", "false", "off"),
    "proxy.compression.responses": ('"off"', "off", "off"),
    "proxy.security.enabled": ("false", "false", False),
    "proxy.security.blocking": ("false", "false", False),
    "proxy.security.threshold": ("0.5", "0.5", 0.5),
    "logging.format": ('"json"', "json", "json"),
    "logging.level": ('"debug"', "debug", "debug"),
    "logging.access": ("false", "false", False),
}
# These two name files, and have tests of their own.
NAMING_FILES = {"proxy.api_key_file", "proxy.ca_file"}


def test_the_samples_are_all_the_keys():
    assert SAMPLES.keys() | NAMING_FILES == KEYS.keys()


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
        ("logging.format", "M2M_LOGGING_FORMAT", "--log-format"),
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


# ---- numbers -------------------------------------------------------------------------------------

NUMERIC = [path for path, key in KEYS.items() if "number" in key.kind.allowed]


def bounds(key: Key) -> tuple[float, float]:
    low, high = re.search(r"from (\S+?) to ([^\s,]+)", key.kind.allowed).groups()
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

    def number(text: str) -> float:
        return float(text[:-3]) * units[text[-3:]] if text[-3:] in units else float(text)

    return number(low), number(high)


@pytest.mark.parametrize("path", NUMERIC)
def test_numbers_have_bounds(path):
    key = KEYS[path]
    low, high = bounds(key)
    whole = isinstance(key.default, int)
    step = 1 if whole else 0.01
    for good in (low, high):
        assert key.kind.read(int(good) if whole else good) == good
    off = "or 0 for off" in key.kind.allowed
    for bad in (low - step, high + step, -1, 10**400):
        if not (off and bad == 0):
            with pytest.raises(ValueError):
                key.kind.read(int(bad) if whole else bad)
    if low > 0:
        assert off is (path in {
            "proxy.sse_keepalive", "proxy.timeouts.total", "proxy.limits.body_rate",
        })  # fmt: skip


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf", "true", '"soon"', '""', "[]", "{}", '"10"'])
@pytest.mark.parametrize("path", NUMERIC)
def test_what_is_no_number_is_refused(tmp_path, path, bad):
    key = KEYS[path]
    text = f"proxy.{BASE}\n{path} = {bad}"
    error = refusal(write(tmp_path / "c.toml", text))
    assert (error.key, error.allowed) == (path, key.kind.allowed)


@pytest.mark.parametrize(
    ("toml", "seconds"),
    [
        ("10", 10),
        ("0.5", 0.5),
        ('"10s"', 10),
        ('"10 s"', 10),
        ('"1.5m"', 90),
        ('"1h"', 3600),
        ('"700ms"', 0.7),
    ],
)
def test_durations(file, toml, seconds):
    loaded = load(file(f"[proxy.timeouts]\nconnect = {toml}"), {}, {})
    assert loaded.timeouts.connect == seconds


@pytest.mark.parametrize(
    "text", ["-1s", "+1s", "1d", "1S", "1M", "1  s", " 1s", "1s ", "1e2s", "1s1s", "٣s", "s", ".5s"]
)
def test_durations_refused(file, text):
    error = refusal(file(f'[proxy.timeouts]\nconnect = "{text}"'))
    assert error.value == text


@pytest.mark.parametrize(
    ("toml", "size"),
    [
        ("100", 100),
        ('"100B"', 100),
        ('"64kB"', 64_000),
        ('"64 KiB"', 65536),
        ('"1.5MiB"', 3 * 2**19),
        ('"2MB"', 2_000_000),
        ('"3GB"', 3 * 10**9),
        ('"3GiB"', 3 * 2**30),
        ('"1TiB"', 2**40),
    ],
)
def test_sizes(file, toml, size):
    assert load(file(f"[proxy]\n{BASE}\nmax_body = {toml}"), {}, {}).max_body == size


@pytest.mark.parametrize("toml", ["1.0", '"1.5B"', '"1kib"', '"1K"', '"-1B"', '"1 2B"', '"2TiB"'])
def test_sizes_refused(file, toml):
    error = refusal(file(f"[proxy]\n{BASE}\nmax_body = {toml}"))
    assert error.allowed == 'a number of bytes from 1 to 1TiB, such as 65536 or "64KiB"'


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (1, "1"), (1024, "1KiB"), (1025, "1025"), (64 * 2**20, "64MiB"), (2**40, "1TiB")],
)
def test_size_text(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize("path", ["proxy.limits.requests", "proxy.limits.header_count"])
@pytest.mark.parametrize("bad", ["64.0", '"64"', '"64B"'])
def test_a_count_is_a_whole_number(file, path, bad):
    assert refusal(file(f"[proxy.limits]\n{KEYS[path].name} = {bad}")).key == path


# ---- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "bad"),
    [
        ("proxy.provider", ["1", '""', '"Azure"', '"a b"', '"' + "a" * 65 + '"']),
        ("proxy.api_key", ["1", '""', '"a b"', '"ü"', '"a\\u0000"', '"a\\n"', "true"]),
        ("proxy.api_key_file", ["1", '""', '"a\\u0000"']),
        ("proxy.ca_file", ["1", '"a\\u0000"', "false"]),
        ("proxy.api_version", ["1", "2024-10-21", '"a&b"']),
        ("proxy.forwarded", ["1", "0", '"true"', '"yes"']),
        ("proxy.security.enabled", ['"false"', "0"]),
        ("proxy.security.blocking", ['"true"', "1"]),
        ("proxy.compression.requests", ['"brotli"', "0", '"true"', '""', '"OFF"']),
        ("proxy.compression.responses", ['"zstd"', '"auto"', "1"]),
        ("logging.format", ['"xml"', "1", '"JSON"', "true"]),
        ("logging.level", ['"warn"', '""', "10"]),
        ("logging.access", ['"on"', "1"]),
    ],
)
def test_words_refused(tmp_path, path, bad):
    key = KEYS[path]
    for toml in bad:
        text = f"proxy.{BASE}\n{path} = {toml}"
        error = refusal(write(tmp_path / "c.toml", text))
        assert (error.key, error.allowed, error.reason) == (path, key.kind.allowed, ""), toml


@pytest.mark.parametrize(
    ("path", "later"),
    [
        ("proxy.compression.requests", ["true", '"auto"', '"zstd"', '"gzip"', '"m2m"']),
        ("proxy.compression.responses", ["true", '"on"']),
        ("proxy.security.enabled", ["true"]),
    ],
)
def test_what_is_not_built_yet(tmp_path, path, later):
    key = KEYS[path]
    for toml in later:
        text = f"proxy.{BASE}\n{path} = {toml}"
        error = refusal(write(tmp_path / "c.toml", text))
        assert error.reason == "not built yet", toml
        variable = {"M2M_UPSTREAM": "http://m", key.variable: toml.strip('"')}
        assert refusal(environ=variable).reason == "not built yet", toml


# ---- the order -----------------------------------------------------------------------------------


def test_flags_over_environment_over_file_over_defaults(file):
    path = file("[proxy.limits]\nconnections = 1\nrequests = 1\nupstream_connections = 1")
    environ = {"M2M_LIMITS_REQUESTS": "2", "M2M_LIMITS_UPSTREAM_CONNECTIONS": "2"}
    flags = {"proxy.limits.upstream_connections": 3}
    limits = load(path, environ, flags).limits
    assert (limits.connections, limits.requests, limits.upstream_connections) == (1, 2, 3)
    assert limits.header_count == 128


def test_a_replaced_value_is_still_checked(file):
    path = file("[proxy.limits]\nrequests = 0")
    assert refusal(path, {}, {"proxy.limits.requests": 5}).source == path


def test_the_environment_names_the_file(file, tmp_path):
    path = file("[logging]\nlevel = 'error'")
    assert load(None, {"M2M_CONFIG": path}, {}).logging.level == "error"
    other = write(tmp_path / "other.toml", f"[proxy]\n{BASE}\n")
    assert load(other, {"M2M_CONFIG": path}, {}).logging.level == "info"


def test_variables_of_others_are_left_alone():
    assert load(None, {"M2M_UPSTREAM": "http://m", "m2m_x": "", "XM2M_Y": "", "M2M": ""}, {})


def test_the_mappings_are_not_changed(file):
    environ, flags = {"M2M_API_KEY": "a"}, {"proxy.api_key": "b"}
    load(file(), environ, flags)
    assert (environ, flags) == ({"M2M_API_KEY": "a"}, {"proxy.api_key": "b"})


# ---- keys and the files that hold them -----------------------------------------------------------


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"from-file\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("data", [b"sk-1", b"sk-1\n", b"sk-1\r\n"])
def test_a_key_file(file, key_file, data):
    key_file.write_bytes(data)
    notices: list[str] = []
    loaded = load(file(f"[proxy]\n{BASE}\napi_key_file = '{key_file}'"), {}, {}, notices)
    assert (loaded.api_key, notices) == ("sk-1", [])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\r\n", "is empty"),
        (b"sk-secret\n\n", "more than one line"),
        (b"sk-secret\nsk-other\n", "more than one line"),
        (b"sk secret", "visible ASCII"),
        (b"sk-secret \n", "visible ASCII"),
        (b"sk-secret\x00", "visible ASCII"),
        ("sk-secr\u00e9t".encode(), "visible ASCII"),
        (b"sk-secret\xff", "visible ASCII"),
    ],
)
def test_a_key_file_that_cannot_be_used(key_file, data, reason):
    key_file.write_bytes(data)
    environ = {"M2M_UPSTREAM": "http://m", "M2M_API_KEY_FILE": str(key_file)}
    error = refusal(environ=environ)
    assert (error.source, error.key, error.value) == (
        "environment", "M2M_API_KEY_FILE", str(key_file),
    )  # fmt: skip
    assert reason in error.reason and "sk-" not in str(error)


@pytest.mark.parametrize("path", ["proxy.api_key_file", "proxy.ca_file"])
def test_a_file_that_cannot_be_read(tmp_path, path):
    flags = {"proxy.upstream": "https://m", path: str(tmp_path / "none")}
    error = refusal(flags=flags)
    assert (error.key, error.reason) == (
        KEYS[path].flag, "cannot be read: No such file or directory",
    )  # fmt: skip
    assert refusal(flags=flags | {path: str(tmp_path)}).reason == "cannot be read: Is a directory"


LAYERS = ("file", "environment", "flags")


@pytest.mark.parametrize(
    ("given", "winner"),
    [
        ({"file": "api_key", "environment": "api_key_file"}, "environment"),
        ({"file": "api_key_file", "environment": "api_key"}, "environment"),
        ({"file": "api_key_file", "flags": "api_key"}, "flags"),
        ({"environment": "api_key", "flags": "api_key_file"}, "flags"),
        ({"file": "api_key", "environment": "api_key_file", "flags": "api_key"}, "flags"),
        ({"file": "api_key_file", "environment": "api_key_file"}, "environment"),
    ],
)
def test_either_form_of_the_key_replaces_both(file, tmp_path, given, winner):
    values = {}
    for layer, name in given.items():
        values[layer] = f"key-of-{layer}"
        if name == "api_key_file":
            # Only the winner's file exists: a replaced one is not read.
            path = tmp_path / f"key-{layer}"
            if layer == winner:
                path.write_text(values[layer])
            values[layer] = str(path)
    path = file(f"[proxy]\n{BASE}\n{given['file']} = '{values['file']}'" if "file" in given else "")
    environ, flags = {}, {}
    if "environment" in given:
        environ[f"M2M_{given['environment'].upper()}"] = values["environment"]
    if "flags" in given:
        flags[f"proxy.{given['flags']}"] = values["flags"]
    assert load(path, environ, flags).api_key == f"key-of-{winner}"


def both_keys(layer: str, file, key_file):
    values = {"api_key": "sk-secret", "api_key_file": str(key_file)}
    lines = "".join(f"{name} = '{value}'\n" for name, value in values.items())
    return {
        "file": lambda: refusal(file(f"[proxy]\n{BASE}\n{lines}")),
        "environment": lambda: refusal(
            file(), {f"M2M_{name.upper()}": value for name, value in values.items()}
        ),
        "flags": lambda: refusal(
            file(), {}, {f"proxy.{name}": value for name, value in values.items()}
        ),
    }[layer]()


@pytest.mark.parametrize("layer", LAYERS)
def test_both_forms_of_the_key_in_one_place(layer, file, key_file):
    error = both_keys(layer, file, key_file)
    names = {"file": "proxy.api_key", "environment": "M2M_API_KEY", "flags": "--api-key"}
    assert error.reason == f"{names[layer]} is given too, and only one can be"
    assert "sk-secret" not in str(error)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_refused_key_is_not_repeated(file, layer):
    secret = "sk-secret with spaces"
    error = {
        "file": lambda: refusal(file(f"[proxy]\n{BASE}\napi_key = '{secret}'")),
        "environment": lambda: refusal(file(), {"M2M_API_KEY": secret}),
        "flags": lambda: refusal(file(), {}, {"proxy.api_key": secret}),
    }[layer]()
    assert error.allowed == "visible ASCII characters without spaces"
    assert "sk-secret" not in f"{error} {error!r} {error.args} {error.value}"


def test_a_key_under_a_misspelt_name_is_not_repeated(file):
    error = refusal(file(f"[proxy]\n{BASE}\napikey = 'sk-secret'"))
    assert "sk-secret" not in f"{error!r}" and "did you mean proxy.api_key?" in str(error)
    error = refusal(file(), {"M2M_APIKEY": "sk-secret"})
    assert "sk-secret" not in f"{error!r}" and "did you mean M2M_API_KEY?" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "[[proxy]]\napi_key = 'sk-secret'",
        "proxy = 'sk-secret'",
        "[proxy]\nupstream = ['http://sk-secret@h']",
        "[proxy.upstream]\nurl = 'http://sk-secret@h'",
    ],
)
def test_a_key_in_a_misplaced_table_is_not_repeated(tmp_path, text):
    error = refusal(write(tmp_path / "c.toml", text))
    assert error.key.startswith("proxy") and "sk-secret" not in f"{error} {error!r}"


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1)])
def test_a_key_that_everybody_can_read_is_noticed(file, key_file, mode, warned):
    key_file.chmod(mode)
    notices: list[str] = []
    load(file(), {}, {"proxy.api_key_file": str(key_file)}, notices)
    assert len(notices) == warned and all(str(key_file) in notice for notice in notices)

    path = file(f"[proxy]\n{BASE}\napi_key = 'sk-secret'")
    Path(path).chmod(mode)
    notices = []
    load(path, {}, {}, notices)
    assert len(notices) == warned and "sk-secret" not in str(notices)


def test_ca_file(tmp_path):
    flags = {"proxy.upstream": "https://m", "proxy.ca_file": str(tmp_path / "ca.pem")}
    write(tmp_path / "ca.pem", "# ours\n-----BEGIN CERTIFICATE-----\n")
    assert load(None, {}, flags).ca_file == str(tmp_path / "ca.pem")
    write(tmp_path / "ca.pem", "no certificate")
    assert refusal(flags=flags).reason == "the file has no certificate in PEM"
    assert load(None, {}, flags | {"proxy.ca_file": ""}).ca_file == ""


# ---- names and files that are wrong --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("[proxy]\nlistne = 'x'", "proxy.listne", "unknown key; did you mean proxy.listen?"),
        ("[proxy.timeouts]\nconect = 1", "proxy.timeouts.conect",
         "unknown key; did you mean proxy.timeouts.connect?"),
        ("[proxy]\nconnect = 1", "proxy.connect",
         "unknown key; did you mean proxy.timeouts.connect?"),
        ("upstream = 'http://h'", "upstream", "unknown key; did you mean proxy.upstream?"),
        ("[proxy]\nzzzzzzzzzzzzzz = 1", "proxy.zzzzzzzzzzzzzz",
         "unknown key; m2m.toml(5) has them all"),
        ("[proxy.timeout]\nconnect = 1", "proxy.timeout",
         "unknown section; did you mean proxy.timeouts?"),
        ("[loging]\nformat = 'json'", "loging", "unknown section; did you mean logging?"),
        ("[proxy.logging]", "proxy.logging", "unknown section; did you mean logging?"),
        ("[proxy.limits.more]", "proxy.limits.more", "unknown section; did you mean proxy.limits?"),
        ("[[server]]", "server", "unknown key; m2m.toml(5) has them all"),
    ],
)  # fmt: skip
def test_unknown_names(tmp_path, text, key, message):
    path = write(tmp_path / "m2m.toml", text)
    error = refusal(path)
    assert (error.source, error.key, error.reason) == (path, key, message)
    assert str(error) == f"{path}: {key}: {message}"


@pytest.mark.parametrize("name", ["M2M_TIMEOUT_IDLE", "M2M_PROXY_UPSTREAM", "M2M_Q", "M2M_"])
def test_unknown_variables(name):
    error = refusal(environ={"M2M_UPSTREAM": "http://m", name: "1"})
    assert (error.source, error.key) == ("environment", name)
    assert error.reason.startswith("unknown variable; ")
    if name == "M2M_TIMEOUT_IDLE":
        assert error.reason == "unknown variable; did you mean M2M_TIMEOUTS_IDLE?"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("proxy = 1", "proxy"),
        ("[[proxy]]", "proxy"),
        ("[proxy]\ntimeouts = 5", "proxy.timeouts"),
        ("logging = 'json'", "logging"),
    ],
)
def test_a_section_has_to_be_one(tmp_path, text, key):
    error = refusal(write(tmp_path / "m2m.toml", text))
    assert (error.key, error.allowed) == (key, f"a section, written [{key}]")


def test_a_key_has_to_be_none(file):
    error = refusal(file("[proxy.timeouts.idle]\nseconds = 1"))
    assert str(error).endswith(f"proxy.timeouts.idle = {{...}}: must be {error.allowed}")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[proxy]\nlisten = \n", r"not TOML: Invalid value \(at line 2, column 10\)"),
        (b"[proxy]\na = 1\na = 2\n", r"not TOML: Cannot overwrite a value \(at line 3, column 6\)"),
        (b"[proxy]\na = 'x", r"not TOML: .*line 2, the end of the file\)"),
        (b"[proxy]\n# caf\xe9\n", r"not UTF-8 \(at line 2\)"),
        (b"a = " + b"1" * 5000, r"not TOML: Exceeds the limit .*"),
        (b"a = " + b"[" * 100_000, r"not TOML: maximum recursion depth .*"),
    ],
)
def test_a_file_that_is_not_toml(tmp_path, data, reason):
    path = tmp_path / "m2m.toml"
    path.write_bytes(data)
    error = refusal(str(path))
    assert error.source == str(path) and re.fullmatch(reason, error.reason)


def test_a_file_that_is_not_there(tmp_path):
    path = str(tmp_path / "none.toml")
    assert str(refusal(path)) == f"{path}: cannot be read: No such file or directory"
    assert str(refusal(None, {"M2M_CONFIG": path})).startswith(path)
    assert str(refusal(str(tmp_path))) == f"{tmp_path}: cannot be read: Is a directory"
    assert str(refusal("")) == '"": cannot be read: No such file or directory'


# ---- the words of an error -----------------------------------------------------------------------


def test_the_line_of_an_error(file):
    path = file('[proxy.timeouts]\nconnect = "soon"')
    assert str(refusal(path)) == (
        f'{path}: proxy.timeouts.connect = "soon": '
        'must be a number of seconds from 0.1 to 3600, such as 10 or "10s"'
    )


@pytest.mark.parametrize(
    ("toml", "shown"),
    [
        ("true", "true"),
        ("-1", "-1"),
        ("1979-05-27", "1979-05-27"),
        ('[1, "a"]', '[1, "a"]'),
        ("{a = 1}", "{...}"),
        ('"a\\nb\\u001b"', r'"a\nb\x1b"'),
        ('"é"', '"é"'),
        (f'"{"x" * 300}"', f'"{"x" * 200}..."'),
    ],
)
def test_how_an_error_shows_a_value(file, toml, shown):
    error = refusal(file(f"[proxy.timeouts]\nconnect = {toml}"))
    assert f"proxy.timeouts.connect = {shown}: must" in str(error)


def test_an_odd_name_stays_on_one_line(file):
    assert "\\n" in str(refusal(file('[proxy]\n"a\\nb" = 1')))
