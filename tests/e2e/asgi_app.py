"""A model server for the tests of HTTP/2, as an ASGI application for hypercorn.

It answers what the tests ask for: which protocol a request came in by, its body back, events that
leave one at a time and only when they are asked for, and whether the client of a stream has left.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LEFT_TIMEOUT = 10.0

# By the name that a test has given its stream: how many events may leave, and has its client left?
permits: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(1))
left: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
begun: set[str] = set()  # streams that are endless


def event(number: int) -> bytes:
    """What the test must receive: lengths differ, and not all of it is ASCII."""
    words = "wörter " * (number * 37 % 101)
    return f"id: {number}\ndata: {json.dumps({'n': number, 'text': words})}\n\n".encode()


def front_protocol(scope: Message) -> str:
    """What the proxy spoke: a server in front of us says so, without one it is our own."""
    fields = dict(scope["headers"])
    own = "HTTP/" + scope["http_version"]
    return str(fields.get(b"x-front-protocol", own.encode()).decode())


async def read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def start(send: Send, kind: str, status: int = 200, **fields: str) -> None:
    headers = [(b"content-type", kind.encode())]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    await start(send, "application/json", status, content_length=str(len(body)))
    await send({"type": "http.response.body", "body": body})


async def send_events(send: Send, name: str, count: int) -> None:
    """The first may leave at once; each other needs a permit (POST /next/NAME)."""
    await start(send, "text/event-stream")
    for number in range(count):
        await permits[name].acquire()
        await send({"type": "http.response.body", "body": event(number), "more_body": True})
    await send({"type": "http.response.body"})


async def send_endlessly(receive: Receive, send: Send, name: str) -> None:
    """One event, and then nothing for as long as the client stays."""
    begun.add(name)
    await start(send, "text/event-stream")
    await send({"type": "http.response.body", "body": event(0), "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
    left[name].set()


async def has_left(name: str) -> bool:
    try:
        await asyncio.wait_for(left[name].wait(), LEFT_TIMEOUT)
    except TimeoutError:
        return False
    return True


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    match scope["method"], scope["path"].removeprefix("/v1/").split("/"):
        case ("GET" | "HEAD"), ["models"]:
            told = {"object": "list", "data": [], "protocol": front_protocol(scope)}
            await answer(send, json.dumps(told).encode())
        case "POST", ["echo"]:
            await answer(send, await read_body(receive))
        case "POST", ["digest"]:
            body = await read_body(receive)
            told = {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            await answer(send, json.dumps(told).encode())
        case "GET", ["events", name, count]:
            await send_events(send, name, int(count))
        case "POST", ["next", name]:
            permits[name].release()
            await answer(send, b"{}")
        case "GET", ["endless", name]:
            await send_endlessly(receive, send, name)
        case "GET", ["begun", name]:
            await answer(send, json.dumps(name in begun).encode())
        case "GET", ["left", name]:
            await answer(send, json.dumps(await has_left(name)).encode())
        case _:
            await answer(send, b'{"error": {"message": "no such thing"}}', status=404)
