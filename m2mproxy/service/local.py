"""The paths that the proxy answers itself: health and figures.

The one rule: answers are made from what is in memory; only readiness asks the upstream.
"""

from __future__ import annotations

from collections.abc import Callable

from m2mproxy.http.faults import Fault
from m2mproxy.http.message import Response
from m2mproxy.proxy.reply import json_reply, whole_reply
from m2mproxy.proxy.routes import Asked, LocalRoute, UpstreamRoute
from m2mproxy.service import exposition
from m2mproxy.service.access import check, check_page
from m2mproxy.service.metrics import families

Reply = tuple[Response, bytes]

_READ = (b"GET", b"HEAD")
_KEY = "stats.access"


class Endpoints:
    """`/health`, `/health/ready`, `/stats`, `/stats/reset`, `/metrics`."""

    def __init__(
        self,
        snapshot: Callable[[], dict[str, object]],
        reset: Callable[[], None],
        upstream: UpstreamRoute,
        who: str,
    ) -> None:
        """`upstream` is what readiness is about; `who` may see and reset the figures: "loopback",
        "on" for all or "off" for nobody."""
        self._who = who
        self._snapshot = snapshot
        self._reset_stats = reset
        self._upstream = upstream

    def table(self) -> dict[bytes, LocalRoute]:
        """Path to endpoint."""
        health = {
            b"/health": LocalRoute(_READ, self._health),
            b"/health/ready": LocalRoute(_READ, self._ready),
        }
        if self._who == "off":
            return health
        return {
            **health,
            b"/stats": LocalRoute(_READ, self._stats),
            b"/stats/reset": LocalRoute((b"POST",), self._reset),
            b"/metrics": LocalRoute(_READ, self._metrics),
        }

    async def _health(self, _: Asked) -> Reply:
        return json_reply(200, {"status": "ok"})

    async def _ready(self, _: Asked) -> Reply:
        """Ready when a connection to the upstream is there, or can be made."""
        report: dict[str, object] = {"url": str(self._upstream.origin), "reachable": True}
        try:
            await self._upstream.destination.reached()
        except Fault as fault:
            report.update(reachable=False, code=fault.code, reason=fault.message)
        ready = bool(report["reachable"])
        status = "ready" if ready else "not ready"
        return json_reply(200 if ready else 503, {"status": status, "upstreams": [report]})

    async def _stats(self, asked: Asked) -> Reply:
        check(self._who, asked, _KEY)
        return json_reply(200, self._snapshot())

    async def _metrics(self, asked: Asked) -> Reply:
        check(self._who, asked, _KEY)
        accept = b",".join(asked.request.headers.values_of(b"accept"))
        is_open = exposition.wants_open_metrics(accept.decode("latin-1"))
        text = exposition.written(families(self._snapshot()), is_open)
        return whole_reply(200, exposition.OPEN_METRICS if is_open else exposition.TEXT, text)

    async def _reset(self, asked: Asked) -> Reply:
        check(self._who, asked, _KEY)
        check_page(asked)
        self._reset_stats()
        return json_reply(200, {"status": "reset"})
