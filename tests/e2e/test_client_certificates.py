"""Clients that only their certificates tell apart, at a real program that asks for them: what one
of them has sent is never referred to for another, nor taken as already scanned."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from http2_clients import curl
from test_link_programs import KIND, turns
from test_peer_programs import echo
from upstream import Upstream

Say = Callable[[str, bytes], None]
NAMES = ("one", "other")


@pytest.fixture
def model() -> Iterator[Upstream]:
    """A model that answers a request with its own body."""
    with Upstream(echo) as server:
        yield server


@pytest.fixture
def asking(authority: Authority, tmp_path: Path) -> tuple[str, ...]:
    """The flags of a program that asks clients for a certificate."""
    cert, key = authority.issue("localhost", "127.0.0.1").save(tmp_path, "server")
    config = tmp_path / "m2m.toml"
    config.write_text(f"[proxy.tls]\nclient_ca = {json.dumps(str(authority.path))}\n")
    return ("--config", str(config), "--cert", cert, "--key", key)


@pytest.fixture(params=[False, True], ids=["http1", "http2"])
def speaking(request: Any, authority: Authority, tmp_path: Path) -> Callable[[str], Say]:
    """Clients of a program: who says what to it. All send the same key."""
    shown = {name: authority.issue(name).save(tmp_path, name) for name in NAMES}

    def to(url: str) -> Say:
        def say(who: str, body: bytes) -> None:
            cert, key = shown[who]
            tls = ("--cacert", authority.path, "--cert", cert, "--key", key)
            where = f"{url}/chat/completions"
            flags = (*KIND, *tls, "--data-binary", "@-", where)
            assert curl(*flags, stdin=body, http2=request.param) == (200, body)

        return say

    return to


def stats(url: str, authority: Authority, tmp_path: Path) -> dict[str, Any]:
    one = ("--cert", tmp_path / "one.pem", "--key", tmp_path / "one.key")
    where = url.removesuffix("/v1") + "/stats"
    _, said = curl("--cacert", authority.path, *one, where, http2=False)
    return dict(json.loads(said))


def links(url: str, authority: Authority, tmp_path: Path) -> dict[str, Any]:
    said = stats(url, authority, tmp_path)["links"]
    [found] = [each for each in said.values() if isinstance(each, dict)]
    return dict(found)


def test_a_link_refers_to_nothing_of_another_certificates(
    model: Upstream,
    start_proxy: Any,
    asking: tuple[str, ...],
    speaking: Callable[[str], Say],
    authority: Authority,
    tmp_path: Path,
) -> None:
    edge = start_proxy(start_proxy(model.url).url, *asking)
    say = speaking(edge.url)

    def crossed(who: str, body: bytes) -> int:
        before = links(edge.url, authority, tmp_path)
        say(who, body)
        after = links(edge.url, authority, tmp_path)
        assert (after["turns"] - before["turns"], after["misses"]) == (1, 0)
        return int(after["wire_bytes"] - before["wire_bytes"])

    *first, fifth, sixth = turns(6)  # 1,500 random bytes to begin with, 100 more at each turn
    for body in first:
        say("one", body)
    assert crossed("other", fifth) > 2000
    assert crossed("one", fifth) < 700
    assert crossed("other", sixth) < 700


@pytest.mark.parametrize("speaking", [True], ids=["http2"], indirect=True)
@pytest.mark.skipif(importlib.util.find_spec("hyperscan") is None, reason="no hyperscan here")
def test_nothing_counts_as_scanned_for_another_certificate(
    model: Upstream,
    start_proxy: Any,
    asking: tuple[str, ...],
    speaking: Callable[[str], Say],
    authority: Authority,
    tmp_path: Path,
) -> None:
    proxy = start_proxy(model.url, *asking, M2M_SECURITY_ENABLED="true")
    say = speaking(proxy.url)
    (body,) = turns(1)
    cached = []
    for who in ("one", "other", "one", "other"):
        say(who, body)
        cached.append(stats(proxy.url, authority, tmp_path)["guard"]["cached_parts"])
    assert cached[0] == cached[1] == 0 < cached[2] < cached[3]


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_an_edge_without_a_certificate_is_told_so(
    model: Upstream,
    start_proxy: Callable[..., Any],
    asking: tuple[str, ...],
    authority: Authority,
    http: str,
) -> None:
    core = start_proxy(model.url, *asking)
    trusting = {"SSL_CERT_FILE": str(authority.path)}
    edge = start_proxy(core.url, "--upstream-http", http, **trusting)
    for _ in range(3):
        status, body = curl(*KIND, "--data-binary", "{}", f"{edge.url}/chat/completions")
        assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_disconnected")
        assert "certificate required" in json.loads(body)["error"]["message"]
    assert edge.line("certificate required")
