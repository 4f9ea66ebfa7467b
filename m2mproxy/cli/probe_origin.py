"""What `m2m probe` asks an origin, and what the answers show.

The one rule: it asks as an m2mproxy would, over the same connections, and concludes nothing that an
answer, a profile or a trial does not say.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from m2mproxy.cli import probe_link
from m2mproxy.cli.probe_client import MOST, Answer, ProbeClient, Watched
from m2mproxy.cli.probe_trials import CHAT, try_codings
from m2mproxy.codec import coding, static
from m2mproxy.codec.base import DecodeLimits, WireError
from m2mproxy.codec.forms import decode_any
from m2mproxy.config import Config
from m2mproxy.http.faults import Fault
from m2mproxy.http.negotiation import weights
from m2mproxy.proxy import codings, links
from m2mproxy.proxy.readable import Readable
from m2mproxy.service.upstream import Parts

_MODELS = b"/v1/models"
_LONGEST_SAID = 300
_DICTIONARIES = re.compile(r"m2m-[0-9a-f]{8}")


async def look(config: Config, parts: Parts, trial: bool) -> dict[str, Any]:
    """Everything that is found out, as JSON has it; `reachable` is there always."""
    url = f"{parts.origin}{config.upstream.path}"  # a query may hold a key
    client = ProbeClient(config, parts)
    try:
        seen = await _first(client, config)
        if trial:
            seen["trials"] = await try_codings(client)
        return {"url": url, "reachable": True, **seen}
    except Fault as fault:
        return {"url": url, "reachable": False, "error": fault.code, "message": fault.message}
    finally:
        client.close()


# ---- the first question -------------------------------------------------------------------------


async def _first(client: ProbeClient, config: Config) -> dict[str, Any]:
    parts = client.parts
    target = parts.router.target(_MODELS)
    # As for a client that takes nothing, of an upstream elsewhere.
    asked = b", ".join((*codings.peer_forms(), *codings.STANDARD))
    answer = await client.ask(b"GET", target, (b"accept-encoding", asked))
    headers = answer.response.headers
    weighed = weights(headers.values_of(b"accept-encoding")).items()
    shown = [name.decode("latin-1") for name, weight in weighed if weight > 0]
    profile = parts.profile
    readable = Readable(time.monotonic, profile.reads, profile.tries)
    readable.learn(headers)
    choice = readable.choose(parts.router.target(CHAT, "model"), codings.requests(), large=False)
    return {
        "path": _path(target),
        "status": answer.response.status,
        "said": _said(answer),
        "server": (headers.get(b"server") or b"").decode("latin-1"),
        "http": answer.http,
        "tls": _tls(client.tls, not config.tls.insecure),
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
        return probe_link.of_session(answer.session, probe_link.SETTINGS)
    said = answer.response.headers.get(links.FIELD) == links.OFFER
    if not said or parts.origin.scheme != "http":
        return probe_link.unseen()
    if config.upstream_http == "1.1":
        return probe_link.unseen("HTTP/2 was not to be asked for")
    client = ProbeClient(replace(config, upstream_http="2"), parts)
    try:
        return probe_link.of_session(await client.session(), probe_link.PRIOR_KNOWLEDGE)
    except Fault as fault:
        return probe_link.unseen(fault.message)
    finally:
        client.close()


def _path(target: bytes) -> str:
    """Without the query, which may hold a key."""
    return target.partition(b"?")[0].decode("ascii")


def _tls(watched: Watched | None, verified: bool) -> dict[str, object] | None:
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
    names = codings.applied(answer.response.headers)
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
    if answer.response.status < 400 or answer.cut:
        return ""
    try:
        said = json.loads(_decoded(codings.applied(answer.response.headers), answer.body))
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
            body = decode_any(body, DecodeLimits(decoded=MOST))[1]
        elif name == codings.static_form():
            body = static.decode(body, static.Way.RESPONSE, MOST)
        else:
            body = coding.decode(name, body, MOST)
    return body
