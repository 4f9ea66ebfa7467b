"""Has an upstream show that it has the key, before the first body goes to it, with `peer.required`.

The one rule: the question has no body and no credential, and what it brings back is only what the
upstream names in Accept-Encoding.
"""

from __future__ import annotations

from m2mproxy.http.faults import UpstreamFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request
from m2mproxy.net.connection import Stream
from m2mproxy.proxy.routes import UpstreamRoute

# A path of the API that every core forwards, so that its answer shows what the core reads.
_ASKED = b"/v1/models"


async def prove(stream: Stream, route: UpstreamRoute) -> None:
    """Ask over `stream`, which is used up.

    Raises:
        UpstreamFault: the upstream does not show the key.
        Fault: what ended the stream.
    """
    fields = Headers([(b"accept-encoding", route.responses.forms.readable)])
    request = Request(b"HEAD", route.target(_ASKED, None), route.authority, fields, 0, route.scheme)
    stream.on_informational = None
    stream.send_request(request)
    stream.finish()
    response = await stream.head
    stream.reset()
    route.requests.readable.learn(response.headers)
    if not route.requests.readable.shown.intersection(route.responses.forms.sealed):
        raise UpstreamFault(
            "unsealed", "the upstream has not shown the key of peer.psk_file (peer.required)"
        )
