"""Byte identity over real LLM traffic: the corpora's bodies, and their streams event by event.

The proxy runs in memory between two scripted ends (tests/world.py), so that a whole corpus takes
seconds; what it is made of is the product's own code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corpora
from corpora import raw

ROOT = Path(__file__).resolve().parents[1]
SHORT_ROWS = 40

sys.path.insert(0, str(ROOT / "tests"))

from edge import JSON, ON, SSE, Edge  # type: ignore[import-not-found]  # noqa: E402
from wire import read_request, read_response  # type: ignore[import-not-found]  # noqa: E402
from world import (  # type: ignore[import-not-found]  # noqa: E402
    SSE_HEAD,
    World,
    chunk,
    post,
    reply,
)


def rows(name: str, short: bool) -> list[dict[str, Any]]:
    """The rows of a corpus, or the first of them."""
    return corpora.rows(name)[: SHORT_ROWS if short else None]


def requests(short: bool) -> Iterator[bytes]:
    """Every request body."""
    for row in rows("C1", short):
        yield raw(row["body"])
    for name in ("C2", "C3"):
        for row in rows(name, short):
            yield from map(raw, row["turns"])


def replies(short: bool) -> Iterator[bytes]:
    """Every plain reply."""
    for name in ("C5", "C6"):
        for row in rows(name, short):
            yield raw(row["body"])


class Ends:
    """One client and one upstream that go on for thousands of exchanges."""

    def __init__(self) -> None:
        self.world = World(max_body="256MiB")
        self.client = self.world.client()

    def exchange(self, body: bytes, response: list[bytes]) -> tuple[bytes, bytes]:
        """The request body that arrived, and what the client received."""
        self.client.send(post(body))
        upstream = self.world.upstream()
        sent = read_request(upstream.take())[1]
        for piece in response:
            upstream.send(piece)
            self.world.run()
        self.world.ended.clear()
        return sent, self.client.take()


def check(short: bool) -> dict[str, int]:
    """Run everything; an AssertionError names the first difference."""
    ends = Ends()
    counts = {"requests": 0, "replies": 0, "streams": 0, "events": 0, "bytes": 0}
    for body in requests(short):
        assert ends.exchange(body, [reply(b"{}")])[0] == body, f"request {counts['requests']}"
        counts["requests"] += 1
        counts["bytes"] += len(body)
    for body in replies(short):
        answer = ends.exchange(b"{}", [reply(body)])[1]
        assert read_response(answer)[1] == body, f"reply {counts['replies']}"
        counts["replies"] += 1
        counts["bytes"] += len(body)
    for row in rows("C4", short):
        events = [raw(event) for event in row["events"]]
        answer = ends.exchange(b"{}", [SSE_HEAD, *map(chunk, events), b"0\r\n\r\n"])[1]
        # Chunk for chunk: no event was merged with another, or split.
        assert answer.endswith(b"".join(map(chunk, events)) + b"0\r\n\r\n"), counts["streams"]
        counts["streams"] += 1
        counts["events"] += len(events)
        counts["bytes"] += sum(map(len, events))
    return counts


def sessions(short: bool) -> Iterator[list[tuple[bytes, list[bytes]]]]:
    """Conversations: each turn's body, and the pieces of its reply."""
    for row in rows("C2", short):
        streams = [list(map(raw, events)) for events in row["sse"]]
        yield list(zip(map(raw, row["turns"]), streams, strict=False))
    for row in rows("C3", short):
        whole = [[raw(text)] for text in row["raw_replies"]]
        yield list(zip(map(raw, row["turns"]), whole, strict=False))


def check_link(short: bool) -> dict[str, int]:
    """The conversations through two proxies with a link between them."""
    edge = Edge(World(**ON, max_body="256MiB"), "2", max_body="256MiB")
    counts = {"turns": 0, "by reference": 0}
    for session in sessions(short):
        for body, pieces in session:
            ask = edge.ask(body, b"/v1/chat/completions", JSON, (b"authorization", b"Bearer k"))
            call = edge.core.call()
            call.respond(200, JSON if len(pieces) == 1 else SSE)
            for piece in pieces:
                call.send(piece)
                edge.run()
            call.end()
            edge.run()
            assert call.body == body, f"turn {counts['turns']}: the request"
            assert ask.complete and ask.body == b"".join(pieces), f"turn {counts['turns']}"
            assert len(pieces) == 1 or ask.chunks == pieces, f"turn {counts['turns']}: its events"
            ledger = edge.ended[-1].ledger
            counts["turns"] += 1
            counts["by reference"] += ledger is not None and ledger.reference not in ("", "-")
            for world in (edge, edge.core):
                world.ended.clear()
    assert edge.upstream_links.report()["misses"] == 0
    return counts


def main() -> int:
    if not corpora.are_there():
        print("identity: no ../shared/data here, nothing compared")
        return 0
    short = "--short" in sys.argv[1:]
    for where, counts in (("a proxy", check(short)), ("a link", check_link(short))):
        told = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        print(f"identity through {where}: equal, {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
