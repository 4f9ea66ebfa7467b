"""Replies of our own, which are there as a whole before they leave.

The one rule: HEAD gets the head that GET would get, and no body: a client would take that for the
beginning of its next answer (RFC 9110 9.3.2).
"""

from __future__ import annotations

import orjson

from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Response
from m2mproxy.net.connection import Stream


def json_reply(
    status: int, content: object, extra: Headers | None = None
) -> tuple[Response, bytes]:
    """The head and the body of a reply in JSON. `extra` fields come last."""
    return whole_reply(status, b"application/json", orjson.dumps(content) + b"\n", extra)


def whole_reply(
    status: int, content_type: bytes, body: bytes, extra: Headers | None = None
) -> tuple[Response, bytes]:
    """The same, of a body that is made already."""
    headers = Headers(
        (
            (b"server", b"m2mproxy"),
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
        )
    )
    headers.extend(extra or ())
    return Response(status, headers, len(body)), body


def send_reply(stream: Stream, method: bytes, response: Response, body: bytes) -> None:
    """Answer a request of that `method`, b"" where none could be read, on its `stream`."""
    if method == b"HEAD":
        response.length, body = 0, b""
    stream.send_response(response)
    stream.write(body)
    stream.finish()
