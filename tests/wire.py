"""Reading what came over the wire with h11, which the proxy itself does not use for bodies."""

from __future__ import annotations

from typing import Any

import h11


def read_request(data: bytes) -> tuple[h11.Request, bytes]:
    """The one request in `data` and its body."""
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(data)
    request = reader.next_event()
    assert isinstance(request, h11.Request), data[:200]
    return request, _body(reader)


def read_response(data: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    """The one response in `data` and its body, which must be complete."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(data)
    response = reader.next_event()
    assert isinstance(response, h11.Response), data[:200]
    return response, _body(reader)


def is_complete(data: bytes) -> bool:
    """Whether `data` holds a whole response, whatever follows."""
    try:
        read_response(data)
    except (h11.RemoteProtocolError, AssertionError):
        return False
    return True


def _body(reader: h11.Connection) -> bytes:
    pieces = []
    while True:
        event: Any = reader.next_event()
        if isinstance(event, h11.EndOfMessage):
            return b"".join(pieces)
        assert isinstance(event, h11.Data), event
        pieces.append(bytes(event.data))
