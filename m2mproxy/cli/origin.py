"""What `m2m probe` asks an origin, and what the answers show.

The one rule: it asks as an m2mproxy would, over the same connections, and concludes nothing that an
answer, a profile or a trial does not say.

A trial is three chat requests of the same size for each coding: an empty JSON object, which names
neither model nor messages, so that whoever reads it refuses it before any model runs; the same
object coded; and its coded bytes without a word about their coding, which is what an origin sees
that does not decode. It reads a coding if it answers the coded request as the plain one, and the
undeclared bytes differently.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from m2mproxy import __version__
from m2mproxy.cli import offer
from m2mproxy.codec import coding, static
from m2mproxy.codec.base import Limits, WireError
from m2mproxy.codec.forms import decode_any
from m2mproxy.config import Config
from m2mproxy.http.body import Body
from m2mproxy.http.faults import Fault, TooLate, UpstreamFault
from m2mproxy.http.flow import Signal
from m2mproxy.http.headers import Field, Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.http.negotiation import weights
from m2mproxy.net.connection import Session, Stream, Turn
from m2mproxy.net.dial import Dialler
from m2mproxy.net.pool import Pool
from m2mproxy.proxy import codings, links
from m2mproxy.proxy.providers import key_field
from m2mproxy.proxy.readable import Readable
from m2mproxy.proxy.router import DeploymentError
from m2mproxy.service.upstream import Parts

T = TypeVar("T")

_MODELS, _CHAT = b"/v1/models", b"/v1/chat/completions"
_MOST = 8 << 20  # bytes of an answer, and of what it decodes to
_CONNECTIONS = 8
_LONGEST_SAID = 300
_TRIED = (coding.ZSTD, coding.GZIP)
_EMPTY = b"{" + b" " * 2046 + b"}"  # above the size from which requests are coded
_DICTIONARIES = re.compile(r"m2m-[0-9a-f]{8}")
# An origin that is busy says nothing about a coding.
_BUSY = (429, 502, 503, 504)


async def look(config: Config, parts: Parts, trial: bool) -> dict[str, Any]:
    """Everything that is found out, as JSON has it; `reachable` is there always."""
    url = f"{parts.origin}{config.upstream.path}"  # a query may hold a key
    asker = _Asker(config, parts)
    try:
        seen = await _first(asker, config, parts)
        if trial:
            seen["trials"] = await _trials(asker, config, parts)
        return {"url": url, "reachable": True, **seen}
    except Fault as fault:
        return {"url": url, "reachable": False, "error": fault.code, "message": fault.message}
    finally:
        asker.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `cut` says why the body is not whole, where it is not; `session` is None for
    HTTP/1.1."""

    session: Session | None
    response: Response
    body: bytes
    cut: str

    @property
    def http(self) -> str:
        """The version."""
        return "1.1" if self.session is None else "2"


class _Watched(ssl.SSLContext):
    """Stands for another context, and keeps the last connection that began (see net.tls)."""

    last: ssl.SSLObject | None = None

    def __init__(self, _: int, context: ssl.SSLContext) -> None:
        self._context = context

    def __new__(cls, protocol: int, _: ssl.SSLContext) -> _Watched:
        return super().__new__(cls, protocol)

    def wrap_bio(self, *arguments: Any, **settings: Any) -> ssl.SSLObject:
        self.last = self._context.wrap_bio(*arguments, **settings)
        return self.last


class _Asker:
    """Sends requests to one origin, each over a connection of its own."""

    def __init__(self, config: Config, parts: Parts) -> None:
        loop = asyncio.get_running_loop()
        self._origin = parts.origin
        self._seconds = config.timeouts.connect
        tls = parts.client_tls
        self.tls = _Watched(ssl.PROTOCOL_TLS_CLIENT, tls.context) if tls is not None else None
        self._dialler = Dialler(
            Turn(loop), loop, config.timeouts, config.limits, self.tls, config.upstream_http
        )
        self._pool = Pool(loop, self._dialler, _CONNECTIONS, config.timeouts)

    def close(self) -> None:
        """Close every connection."""
        self._dialler.close()
        self._pool.close()

    async def ask(self, method: bytes, target: bytes, fields: Headers, body: bytes = b"") -> Answer:
        """One request and its answer.

        Raises:
            Fault: there is none.
        """
        origin = self._origin
        scheme = origin.scheme.encode()
        request = Request(method, target, origin.authority, fields, len(body), scheme)
        stream = await _known(self._pool.to(origin).stream(fresh=True))
        try:
            response = await self._head(stream, request, body)
            data, cut = await self._body(stream.body)
        finally:
            stream.reset()
        return Answer(stream.session, response, data, cut)

    async def session(self) -> Session:
        """That of a connection on which nothing is asked, with the origin's SETTINGS.

        Raises:
            Fault: there is none.
        """
        stream = await _known(self._pool.to(self._origin).stream(fresh=True))
        try:
            async with asyncio.timeout(self._seconds):
                if stream.session is None or not await _known(stream.session.opened):
                    silent = f"{self._origin} does not speak HTTP/2: something stands between"
                    raise UpstreamFault("protocol", silent)
                return stream.session
        except TimeoutError:
            late = f"{self._origin} sent no SETTINGS within {self._seconds:g} s"
            raise TooLate("first_byte", late) from None
        finally:
            stream.reset()

    async def _head(self, stream: Stream, request: Request, body: bytes) -> Response:
        try:
            async with asyncio.timeout(self._seconds):
                stream.send_request(request)
                if body:
                    stream.write(body)
                stream.finish()
                return await _known(stream.head)
        except TimeoutError:
            late = f"{self._origin} did not answer within {self._seconds:g} s"
            raise TooLate("first_byte", late) from None

    async def _body(self, body: Body) -> tuple[bytes, str]:
        data = bytearray()
        changed = asyncio.Event()
        body.on_change = changed.set
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    changed.clear()
                    while (chunk := body.take()) is not None:
                        data += chunk
                    if len(data) > _MOST:
                        return bytes(data), f"longer than {_MOST} bytes, and left"
                    if body.ended or body.fault is not None:
                        return bytes(data), body.fault.message if body.fault else ""
                    await changed.wait()
        except TimeoutError:
            return bytes(data), f"not whole within {self._seconds:g} s"


async def _known(signal: Signal[T]) -> T:
    """Wait for a Signal in a Task."""
    if not signal.done:
        known = asyncio.get_running_loop().create_future()
        signal.subscribe(lambda: known.set_result(None))
        try:
            await known
        finally:
            signal.subscribe(None)
    return signal.result()


# ---- the first question -------------------------------------------------------------------------


async def _first(asker: _Asker, config: Config, parts: Parts) -> dict[str, Any]:
    target = parts.router.target(_MODELS)
    # As for a client that takes nothing, of an upstream elsewhere.
    asked = b", ".join((*codings.peer_forms(), *codings.STANDARD))
    fields = _fields(config, parts, (b"accept-encoding", asked))
    answer = await asker.ask(b"GET", target, fields)
    headers = answer.response.headers
    weighed = weights(headers.values_of(b"accept-encoding")).items()
    shown = [name.decode("latin-1") for name, weight in weighed if weight > 0]
    profile = parts.profile
    readable = Readable(time.monotonic, profile.reads, profile.tries)
    readable.learn(headers)
    choice = readable.choose(parts.router.target(_CHAT, "model"), codings.requests(), large=False)
    return {
        "path": _path(target),
        "status": answer.response.status,
        "said": _said(answer),
        "server": (headers.get(b"server") or b"").decode("latin-1"),
        "http": answer.http,
        "tls": _tls(asker.tls, not config.tls.insecure),
        "m2mproxy": _peer(shown),
        "link": await _link(answer, config, parts),
        "shown": shown,
        "asked": asked.decode(),
        "response": _response(answer),
        "profile": {
            "name": profile.name,
            "reads": [name.decode() for name in profile.reads],
            "tries": [name.decode() for name in profile.tries],
        },
        "requests": {"coding": choice.coding.decode(), "why": choice.why},
    }


async def _link(answer: Answer, config: Config, parts: Parts) -> dict[str, Any]:
    """Where a response over HTTP/1.1 says that there is a link, it is looked for as a proxy does:
    on a connection of its own, with prior knowledge."""
    if answer.session is not None:
        return offer.of_session(answer.session, offer.SETTINGS)
    said = answer.response.headers.get(links.FIELD) == links.OFFER
    if not said or parts.origin.scheme != "http":
        return offer.unseen()
    if config.upstream_http == "1.1":
        return offer.unseen("HTTP/2 was not to be asked for")
    asker = _Asker(replace(config, upstream_http="2"), parts)
    try:
        return offer.of_session(await asker.session(), offer.PRIOR_KNOWLEDGE)
    except Fault as fault:
        return offer.unseen(fault.message)
    finally:
        asker.close()


def _fields(config: Config, parts: Parts, *more: Field) -> Headers:
    agent = f"m2m/{__version__} (probe)".encode()
    fields = Headers([(b"accept", b"application/json"), (b"user-agent", agent), *more])
    if config.api_key:
        fields.append(key_field(parts.profile, config.api_key.encode("ascii")))
    return fields


def _path(target: bytes) -> str:
    """Without the query, which may hold a key."""
    return target.partition(b"?")[0].decode("ascii")


def _tls(watched: _Watched | None, verified: bool) -> dict[str, object] | None:
    if watched is None or watched.last is None:
        return None
    cipher = watched.last.cipher()
    return {
        "version": watched.last.version() or "",
        "cipher": cipher[0] if cipher else "",
        "verified": verified,
    }


def _peer(shown: Sequence[str]) -> dict[str, Any] | None:
    """What it shows of M2M, if anything: no other server has such names."""
    own = codings.static_form().decode()
    found = [name for name in shown if name == "m2m" or name.startswith("m2m-")]
    if not found:
        return None
    other = any(map(_DICTIONARIES.fullmatch, found))
    return {
        "forms": found,
        "dictionaries": "same" if own in found else "other" if other else "none",
    }


def _response(answer: Answer) -> dict[str, Any]:
    headers = answer.response.headers
    names = [name for name in headers.tokens(b"content-encoding") if name != b"identity"]
    seen: dict[str, Any] = {
        "coding": b", ".join(names).decode("latin-1"),
        "bytes": len(answer.body),
    }
    if answer.cut:
        return {**seen, "error": answer.cut}
    try:
        return {**seen, "decoded_bytes": len(_decoded(names, answer.body))}
    except WireError as error:
        return {**seen, "error": f"not decoded: {error}"}


def _said(answer: Answer) -> str:
    """What an error says of itself, in the form that OpenAI's have, or one of the usual others."""
    names = answer.response.headers.tokens(b"content-encoding")
    if answer.response.status < 400 or answer.cut:
        return ""
    try:
        said = json.loads(_decoded([name for name in names if name != b"identity"], answer.body))
    except (WireError, ValueError, RecursionError):
        return ""
    for key in ("error", "message", "detail"):
        if isinstance(said, dict):
            said = said.get(key, said)
    return said[:_LONGEST_SAID] if isinstance(said, str) else ""


def _decoded(names: Sequence[bytes], body: bytes) -> bytes:
    for name in reversed(names):
        if not codings.can_read(name):
            raise WireError("the coding is not known here")
        if name == codings.M2M:
            body = decode_any(body, Limits(decoded=_MOST))[1]
        elif name == codings.static_form():
            body = static.decode(body, static.Way.RESPONSE, _MOST)
        else:
            body = coding.decode(name, body, _MOST)
    return body


# ---- trials -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Heard:
    """An answer as far as it is compared: `status` 0 is none at all."""

    status: int
    words: bytes

    def __str__(self) -> str:
        return str(self.status) if self.status else "no answer"


async def _trials(asker: _Asker, config: Config, parts: Parts) -> list[dict[str, Any]]:
    try:
        target = parts.router.target(_CHAT)
    except DeploymentError:
        why = "the URL has to name a deployment"
        return [_verdict(name, "not tried", why) for name in _TRIED]
    plain = await _hear(asker, config, parts, target, _EMPTY)
    return [await _trial(asker, config, parts, target, name, plain) for name in _TRIED]


async def _trial(
    asker: _Asker, config: Config, parts: Parts, target: bytes, name: bytes, plain: _Heard
) -> dict[str, Any]:
    body = coding.encode(name, _EMPTY)
    undeclared = await _hear(asker, config, parts, target, body)
    said = [(b"content-encoding", name)]
    if name in (*parts.profile.reads, *parts.profile.tries):
        said += parts.profile.coded_headers
    coded = await _hear(asker, config, parts, target, body, *said)
    return {
        **_judged(name, plain, coded, undeclared),
        "plain_status": plain.status,
        "coded_status": coded.status,
        "undeclared_status": undeclared.status,
    }


async def _hear(
    asker: _Asker, config: Config, parts: Parts, target: bytes, body: bytes, *fields: Field
) -> _Heard:
    kind = (b"content-type", b"application/json")
    size = (b"content-length", str(len(body)).encode())
    try:
        known = _fields(config, parts, kind, size, *fields)
        answer = await asker.ask(b"POST", target, known, body)
    except Fault:
        return _Heard(0, b"")
    # Numbers of requests and times are of no interest.
    return _Heard(answer.response.status, re.sub(rb"[\w-]*\d[\w-]*", b"#", answer.body))


def _judged(name: bytes, plain: _Heard, coded: _Heard, undeclared: _Heard) -> dict[str, Any]:
    against = f"the same request plain ({plain})"
    if any(heard.status in _BUSY for heard in (plain, coded, undeclared)):
        return _verdict(name, "unclear", f"it is busy: {coded}, and {against}")
    if not plain.status or plain == coded == undeclared:
        why = (
            f"it answers {plain} whatever it is sent" if plain.status else f"{plain} to a plain one"
        )
        return _verdict(name, "unclear", f"{why} (--key-file?)" if plain.status == 401 else why)
    if coded == plain:
        why = f"answered as {against}; its bytes undeclared: {_beside(undeclared, plain)}"
        return _verdict(name, "read", why)
    return _verdict(name, "refused", f"{_beside(coded, plain)}, unlike {against}")


def _beside(heard: _Heard, plain: _Heard) -> str:
    return f"{heard} in other words" if heard.status == plain.status else str(heard)


def _verdict(name: bytes, verdict: str, why: str) -> dict[str, Any]:
    return {"coding": name.decode(), "verdict": verdict, "why": why}
