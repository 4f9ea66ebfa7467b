"""How values are read: numbers with their bounds and units, words."""

import re

import pytest
from config_cases import BASE, refusal, write

from m2mproxy.config import KEYS, ConfigError, Key, load, size_text

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


@pytest.mark.parametrize("text", [" 12", "12 ", "1_2", "\u0661\u0662", "\uff11\uff12"])
def test_what_is_a_number_to_python_alone_is_none_in_a_variable(text):
    with pytest.raises(ConfigError) as caught:
        load(None, {"M2M_UPSTREAM": "http://h", "M2M_LIMITS_REQUESTS": text}, {})
    assert caught.value.value == text


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
def test_a_size_that_is_not_allowed_is_refused(file, toml):
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
        ("proxy.upstream_http", ["2", "1.1", '""', '"3"']),
        ("proxy.provider", ["1", '""', '"Azure"', '"a b"', '"' + "a" * 65 + '"']),
        ("proxy.api_key", ["1", '""', '"a b"', '"ü"', '"a\\u0000"', '"a\\n"', "true"]),
        ("proxy.api_key_file", ["1", '""', '"a\\u0000"']),
        ("proxy.ca_file", ["1", '"a\\u0000"', "false"]),
        (
            "proxy.tls.cert",
            ["1", "true", "false", "{}", "[1]", '["a", ""]', '"a\\n"', '["a", "b\\u0000"]'],
        ),
        (
            "proxy.web_origins",
            ["1", "true", '"chat.example"', '"https://chat.example/"', '"https://Chat.example"',
             '"https://chat.example:443"', '"http://[::1]:80"', '"https://*.example"',
             '["null", ""]', '"https://a b"', '"https://a,b"', '"https://"', '"https://ü.example"'],
        ),
        ("proxy.tls.client_ca", ["1", '["a"]', '"a\\n"']),
        ("proxy.tls.insecure", ["1", '"true"', '"yes"']),
        ("proxy.api_version", ["1", "2024-10-21", '"a&b"']),
        ("proxy.forwarded", ["1", "0", '"true"', '"yes"']),
        ("proxy.security.enabled", ['"false"', "0"]),
        ("proxy.security.roles", ['"admin"', '["user", ""]', "1", "true"]),
        ("proxy.security.off", ['"NUL"', '[""]', "1", '"a b"']),
        (
            "proxy.security.thresholds",
            ["0.5", '"jailbreak"', "[]", "{jailbreak = 2}", "{jailbreak = true}", "{x = 0.5}",
             '{jailbreak = "0.5"}'],
        ),
        ("proxy.security.blocking", ['"true"', "1"]),
        ("proxy.compression.requests", ['"brotli"', "0", '"true"', '""', '"OFF"']),
        ("proxy.compression.responses", ['"zstd"', '"true"', "1"]),
        ("proxy.compression.endpoints", ['"remote"', "1"]),
        (
            "proxy.compression.vocabularies",
            ["1", '"cl100k_base"', '"O"', '["cl100k", ""]', "[1]", "true"],
        ),
        ("logging.format", ['"xml"', "1", '"JSON"', "true"]),
        ("logging.level", ['"warn"', '""', "10"]),
        ("logging.access", ['"on"', "1"]),
    ],
)
def test_a_word_that_is_not_allowed_is_refused(tmp_path, path, bad):
    key = KEYS[path]
    for toml in bad:
        text = f"proxy.{BASE}\n{path} = {toml}"
        error = refusal(write(tmp_path / "c.toml", text))
        assert (error.key, error.allowed, error.reason) == (path, key.kind.allowed, ""), toml
