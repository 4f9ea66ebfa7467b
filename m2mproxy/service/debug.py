"""`/v1/compress` and `/v1/decompress`: what the wire forms make of some bytes, for people.

The one rule: nothing of it has a part in forwarding, and what cannot be done is said in a sentence.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

import orjson

from m2mproxy.codec import coding, static
from m2mproxy.codec.base import CannotEncode, Limits, TooLarge, WireError, sniff
from m2mproxy.codec.forms import codecs, decode_any, inspect
from m2mproxy.http.faults import ClientFault
from m2mproxy.http.message import Response
from m2mproxy.proxy.errors import json_reply
from m2mproxy.proxy.response_coding import is_near
from m2mproxy.proxy.routes import Asked, Local

Reply = tuple[Response, bytes]
Run = Callable[[int, Callable[[], dict[str, object]]], Awaitable[dict[str, object]]]

_MOST = 16 << 20
_STATIC = "m2m-static"
# What "auto" compares: what the proxy itself would send.
_AUTO = ("m2m", "zstd", "br", "gzip", _STATIC)
# What says by its first bytes what it is.
_MAGIC = ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\x1f\x8b", "gzip"))


class Debug:
    """The two endpoints."""

    def __init__(self, who: str, run: Run) -> None:
        """`who` may use them: "loopback", "on" for all or "off" for nobody; `run` is for work that
        takes longer."""
        self._who = who
        self._run = run

    def table(self) -> dict[bytes, Local]:
        """Path to endpoint."""
        if self._who == "off":
            return {}
        return {
            b"/v1/compress": Local((b"POST",), self._compress, _MOST),
            b"/v1/decompress": Local((b"POST",), self._decompress, _MOST),
        }

    async def _compress(self, asked: Asked) -> Reply:
        data, algorithm = self._read(asked)
        return json_reply(200, await self._run(len(data), lambda: _compressed(data, algorithm)))

    async def _decompress(self, asked: Asked) -> Reply:
        data, algorithm = self._read(asked)
        return json_reply(200, await self._run(len(data), lambda: _plain(data, algorithm)))

    def _read(self, asked: Asked) -> tuple[bytes, str]:
        """The bytes and the algorithm: of a JSON object with `data`, else the body and the query.

        Raises:
            ClientFault: 403 the client may not, 400 what it sent makes no sense.
        """
        if self._who == "loopback" and not is_near(asked.peer):
            raise ClientFault(403, "loopback_only", "this path is for clients on the same machine")
        query = parse_qs(asked.request.target.partition(b"?")[2].decode("latin-1"))
        algorithm = query.get("algorithm", ["auto"])[0]
        try:
            content = orjson.loads(asked.body)
        except orjson.JSONDecodeError:
            content = None
        if not isinstance(content, dict) or "data" not in content:
            return asked.body, algorithm
        return _data(content), str(content.get("algorithm", algorithm))


def _data(content: dict[str, object]) -> bytes:
    data, base64 = content["data"], content.get("encoding") == "base64"
    if not isinstance(data, str):
        raise ClientFault(400, "bad_request", '"data" must be a string')
    if not base64:
        return data.encode()
    try:
        return b64decode(data, validate=True)
    except binascii.Error:
        raise ClientFault(400, "bad_request", '"data" is not base64') from None


def _compressed(data: bytes, algorithm: str) -> dict[str, object]:
    names = _AUTO if algorithm == "auto" else (algorithm,)
    try:
        made = [(name, _encode(name, data)) for name in names]
    except CannotEncode as refusal:
        raise ClientFault(400, "cannot_compress", str(refusal)) from None
    name, coded = min(made, key=lambda each: len(each[1]))
    return {**_report(name, len(data), len(coded)), **_shown(coded)}


def _encode(name: str, data: bytes) -> bytes:
    if coding.is_standard(name.encode()):
        return coding.encode(name.encode(), data)
    if name == _STATIC:
        return static.encode(data, static.Way.REQUEST)
    codec = codecs().get(name)
    if codec is None:
        raise _unknown(name)
    return codec.encode(data)


def _plain(data: bytes, algorithm: str) -> dict[str, object]:
    name = _recognised(data) if algorithm == "auto" else algorithm
    try:
        plain = _decode(name, data)
    except TooLarge as error:
        raise ClientFault(413, "body_too_large", str(error)) from None
    except WireError as error:
        raise ClientFault(400, "undecodable_body", f"this is no {name}: {error}") from None
    report = {**_report(name, len(plain), len(data)), **_shown(plain)}
    header = inspect(data).get("header") if sniff(data) is not None else None
    return {**report, "header": header} if header is not None else report


def _recognised(data: bytes) -> str:
    form = sniff(data)
    if form is not None:
        return form.value
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    raise ClientFault(
        400, "unknown_form", 'this begins like nothing known: name its "algorithm" if it is br'
    )


def _decode(name: str, data: bytes) -> bytes:
    if coding.is_standard(name.encode()):
        return coding.decode(name.encode(), data, _MOST)
    if name == _STATIC:
        return static.decode(data, static.Way.REQUEST, _MOST)
    form, plain = decode_any(data, Limits())
    if form is None:
        if name not in codecs():
            raise _unknown(name)
        raise WireError("it has another beginning")
    return plain


def _unknown(name: str) -> ClientFault:
    known = ", ".join(sorted({*codecs(), *_AUTO, "deflate"}))
    return ClientFault(400, "unknown_algorithm", f"{name[:40]!r} is none of: {known}")


def _report(name: str, original: int, compressed: int) -> dict[str, object]:
    return {
        "algorithm": name,
        "original_bytes": original,
        "compressed_bytes": compressed,
        "ratio": round(compressed / original, 4) if original else 1.0,
    }


def _shown(data: bytes) -> dict[str, object]:
    try:
        return {"data": data.decode(), "encoding": "text"}
    except UnicodeDecodeError:
        return {"data": b64encode(data).decode(), "encoding": "base64"}
