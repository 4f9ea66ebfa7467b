"""`/v1/compress` and `/v1/decompress`: what the wire forms make of some bytes, for people.

The one rule: nothing here has a part in forwarding, and every failure is a sentence for a person.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

import orjson

from m2mproxy.codec import frame, named
from m2mproxy.codec.base import CannotEncode, Codec, Form, TooLarge, WireError, sniff
from m2mproxy.codec.forms import NO_VOCABULARIES, in_json, sizes
from m2mproxy.codec.token_native import NoVocabulary, Vocabularies
from m2mproxy.http.faults import ClientFault
from m2mproxy.http.message import Response
from m2mproxy.proxy.errors import not_loaded
from m2mproxy.proxy.offload import Run
from m2mproxy.proxy.reply import json_reply
from m2mproxy.proxy.routes import Asked, LocalRoute
from m2mproxy.service.access import check

Reply = tuple[Response, bytes]
Make = Callable[[bytes, str, Vocabularies], dict[str, object]]

_MOST = 16 << 20
_FRAMES = (Form.M2M, Form.M2M_TEXT)


class Debug:
    """The two endpoints."""

    def __init__(self, who: str, run: Run, vocabularies: Vocabularies = NO_VOCABULARIES) -> None:
        """`who` may use them: "loopback", "on" for all or "off" for nobody; `run` does work
        elsewhere, by its size; `vocabularies` are those that token ids can be of."""
        self._who = who
        self._run = run
        self._vocabularies = vocabularies

    def table(self) -> dict[bytes, LocalRoute]:
        """Path to endpoint."""
        if self._who == "off":
            return {}
        return {
            b"/v1/compress": LocalRoute((b"POST",), self._compress, _MOST),
            b"/v1/decompress": LocalRoute((b"POST",), self._decompress, _MOST),
        }

    async def _compress(self, asked: Asked) -> Reply:
        return await self._answer(asked, _compressed)

    async def _decompress(self, asked: Asked) -> Reply:
        return await self._answer(asked, _plain)

    async def _answer(self, asked: Asked, make: Make) -> Reply:
        check(self._who, asked, "proxy.compression.endpoints")
        vocabularies = self._vocabularies
        # Elsewhere whatever its size is: 27 bytes of brotli can be 16 MiB, and here nobody minds
        # what a thread costs.
        return await self._run(_MOST, lambda: json_reply(200, make(*_read(asked), vocabularies)))


def _read(asked: Asked) -> tuple[bytes, str]:
    """The bytes and the algorithm: of a JSON object with `data`, else the body and the query.

    Raises:
        ClientFault: 400, what the client sent makes no sense.
    """
    query = parse_qs(asked.request.target.partition(b"?")[2].decode("latin-1"))
    algorithm = query.get("algorithm", ["auto"])[0]
    try:
        content = orjson.loads(asked.body)
    except orjson.JSONDecodeError:
        content = None
    if not isinstance(content, dict) or "data" not in content:
        return asked.body, algorithm
    algorithm = content.get("algorithm", algorithm)
    if not isinstance(algorithm, str):
        raise ClientFault(400, "bad_request", '"algorithm" must be a string')
    return _data(content), algorithm


def _data(content: dict[str, object]) -> bytes:
    data, base64 = content["data"], content.get("encoding") == "base64"
    if not isinstance(data, str):
        raise ClientFault(400, "bad_request", '"data" must be a string')
    if not base64:
        return data.encode()
    try:
        return b64decode(data, validate=True)
    except ValueError:  # binascii.Error, and its parent for what is not ASCII
        raise ClientFault(400, "bad_request", '"data" is not base64') from None


def _compressed(data: bytes, algorithm: str, vocabularies: Vocabularies) -> dict[str, object]:
    known = named.table(vocabularies=vocabularies)
    names = named.CANDIDATES if algorithm == named.AUTO else (_name(algorithm, known),)
    try:
        made = [(name, known[name].encode(data)) for name in names]
    except NoVocabulary as error:
        raise not_loaded(error) from None
    except CannotEncode as refusal:
        raise ClientFault(400, "cannot_compress", str(refusal)) from None
    name, coded = min(made, key=lambda each: len(each[1]))
    return {**sizes(name, len(data), len(coded)), **in_json(coded)}


def _plain(data: bytes, algorithm: str, vocabularies: Vocabularies) -> dict[str, object]:
    known = named.table(vocabularies=vocabularies)
    name = _recognised(data) if algorithm == named.AUTO else _name(algorithm, known)
    try:
        plain = named.decode(name, data, known, vocabularies=vocabularies)
        header = frame.peek(data).as_dict() if sniff(data) in _FRAMES else None
    except TooLarge as error:
        raise ClientFault(413, "body_too_large", str(error)) from None
    except NoVocabulary as error:
        raise not_loaded(error) from None
    except WireError as error:
        raise ClientFault(400, "undecodable_body", f"this is no {name}: {error}") from None
    report = {**sizes(name, len(plain), len(data)), **in_json(plain)}
    return {**report, "header": header} if header is not None else report


def _recognised(data: bytes) -> str:
    name = named.recognised(data)
    if name is None:
        raise ClientFault(
            400, "unknown_form", 'this begins like nothing known: name its "algorithm" if it is br'
        )
    return name


def _name(algorithm: str, known: Mapping[str, Codec]) -> str:
    name = named.canonical(algorithm)
    if name not in known:
        names = ", ".join(sorted(known))
        raise ClientFault(400, "unknown_algorithm", f"{algorithm[:40]!r} is none of: {names}")
    return name
