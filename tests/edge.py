"""Two proxies in a row in memory: a world whose upstream is the proxy of another world."""

from __future__ import annotations

from typing import Any

from ends import Ask, Call
from link import Transport, join
from world import World

from m2mproxy.net.h1_client import H1Client
from m2mproxy.net.h2_client import H2Client
from m2mproxy.net.tcp import Tcp

ON = {"compression_requests": "auto", "compression_responses": "auto"}
SSE = (b"content-type", b"text/event-stream")
JSON = (b"content-type", b"application/json")


class Edge(World):
    """A proxy whose upstream is the proxy of another world."""

    def __init__(self, core: World, http: str = "1.1", **more: Any) -> None:
        self.core, self.http = core, http
        core.neutral = True
        super().__init__(pair=(core.pair[0], http), loop=core.loop, **{**ON, **more})
        self.wires: list[Transport] = []

    def dial(self, origin: Any, owner: Any, report: Any, http2: bool = False) -> None:
        kind = H2Client if http2 or self.http == "2" else H1Client
        near = Tcp(lambda _: kind(owner, self.runtime))
        self.wires.append(join(self.loop, near, self.core.proxy.accept())[0])
        self.loop.call_soon(lambda: report(near.connection))

    def may_be_http2(self, origin: Any) -> bool:
        return self.http == "2"

    def exchange(
        self,
        body: bytes,
        reply: bytes,
        *fields: tuple[bytes, bytes],
        path: bytes = b"/v1/chat/completions",
    ) -> tuple[Ask, Call]:
        """One through both."""
        ask = self.ask(body, path, JSON, *fields)
        call = self.core.call()
        call.reply(reply, JSON)
        self.run()
        return ask, call
