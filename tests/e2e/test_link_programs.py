"""Two real programs as edge and core of a link: found without being told, over TLS, and not where
nginx or HAProxy stands between them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from http2_clients import curl
from http2_upstreams import FRONTS, Server
from test_peer_programs import Between, echo
from test_token_figures import until
from upstream import Upstream

KIND = ("-H", "content-type: application/json", "-H", "authorization: Bearer k")


@pytest.fixture
def model() -> Iterator[Upstream]:
    """A model that answers a request with its own body."""
    with Upstream(echo) as server:
        yield server


def turns(count: int) -> Iterator[bytes]:
    """The bodies of a conversation, each a few KiB of which 200 bytes are new."""
    source = random.Random(count)
    history = [{"role": "system", "content": source.randbytes(1500).hex()}]
    for _ in range(count):
        history.append({"role": "user", "content": source.randbytes(100).hex()})
        yield json.dumps({"model": "m", "messages": history}).encode()


def talk(url: str, count: int, between: Between | None = None) -> list[int]:
    """Send a conversation, and check that it comes back. Bytes that crossed at each turn."""
    crossed = []
    for body in turns(count):
        before = len(between.seen) if between is not None else 0
        to = f"{url}/chat/completions"
        said = curl(*KIND, "--data-binary", "@-", to, stdin=body, http2=False)
        assert said == (200, body)
        crossed.append(len(between.seen) - before if between is not None else 0)
    return crossed


def links(url: str) -> dict[str, Any]:
    """What an edge says of its links."""
    _, said = curl(url.removesuffix("/v1") + "/stats", http2=False)
    [found] = [each for each in json.loads(said)["links"].values() if isinstance(each, dict)]
    return dict(found)


def test_two_programs_find_their_link(model: Upstream, start_proxy: Any) -> None:
    core = start_proxy(model.url)
    with Between(core.url) as between:
        edge = start_proxy(between.url)
        crossed = talk(edge.url, 8, between)
        said = links(edge.url)
        assert (said["links"], said["misses"]) == (1, 0)
        assert said["turns"] >= 5
        # What is new is 100 random bytes; the answer, which is no reply of a model, crosses coded.
        assert said["wire_bytes"] < said["conversation_bytes"] / 3
        assert crossed[-1] < crossed[0]
        reset = edge.url.removesuffix("/v1") + "/stats/reset"
        assert curl("-X", "POST", reset, http2=False)[0] == 200
        assert (links(edge.url)["turns"], links(edge.url)["links"]) == (0, 1)
        assert " why=linked " in (line := edge.line("m2m-link")) and " ref=" in line


def logged(program: Any, *names: str) -> list[list[str]]:
    """The values of these fields in the lines of three exchanges."""

    def read() -> list[str]:
        found = [line for line in program.lines if " path=/v1/chat/completions " in line]
        return found if len(found) == 3 else []

    lines = until(read)
    return [re.findall(rf" {name}=(\S+)", "".join(lines)) for name in names]


def test_the_lines_of_both_programs_can_be_brought_together(
    model: Upstream, start_proxy: Any
) -> None:
    core = start_proxy(model.url)
    edge = start_proxy(core.url)
    talk(edge.url, 3)
    [via], came = logged(edge, "via"), logged(core, "client", "stream")
    assert via == [f"{at}/{each}".removesuffix("/-") for at, each in zip(*came, strict=True)]
    assert "/" in via[-1]


def test_a_link_over_tls(
    model: Upstream, start_proxy: Any, authority: Authority, tmp_path: Path
) -> None:
    paths = authority.issue("localhost", "127.0.0.1").save(tmp_path, "core")
    core = start_proxy(model.url, "--cert", paths[0], "--key", paths[1])
    edge = start_proxy(core.url, M2M_CA_FILE=str(authority.path))
    talk(edge.url, 5)
    said = links(edge.url)
    assert said["links"] == 1
    assert said["turns"] >= 3


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_no_link_through_somebody_else(
    kind: str, model: Upstream, start_proxy: Any, tmp_path: Path
) -> None:
    """SETTINGS are for one connection, and neither passes on what it does not know."""
    core = start_proxy(model.url)
    port = int(core.url.rpartition(":")[2].partition("/")[0])
    with Server(kind, tmp_path, port, FRONTS) as front:
        edge = start_proxy(front.url, M2M_UPSTREAM_HTTP="2" if kind == "nginx" else "auto")
        talk(edge.url, 5)
        said = links(edge.url)
        assert (said["links"], said["turns"]) == (0, 0)
        assert edge.line("coding=m2m-")  # what an intermediary lets pass

