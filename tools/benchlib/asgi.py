"""What hypercorn serves in part `h2`: an application that does the least a model server must.

It reads the request's body to its end and answers what `reply` answers, but with the same digits
every time: the header compression of hypercorn may make the most of that.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from .messages import REPLY_FIELDS, reply_body

Message = dict[str, Any]

# A connection field has no place in HTTP/2.
HEADERS = [
    (name.lower().encode(), value.replace("#", "0").encode())
    for name, value in REPLY_FIELDS.items()
    if name != "Connection"
]
START = {"type": "http.response.start", "status": 200, "headers": HEADERS}
BODY = {"type": "http.response.body", "body": reply_body()}


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send(START)
    await send(BODY)
