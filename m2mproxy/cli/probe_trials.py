"""The trials of `m2m probe --trial`: whether an origin reads coded requests.

A trial is three chat requests of the same size for each coding: an empty JSON object, which names
neither model nor messages, so that whoever reads it refuses it before any model runs; the same
object coded; and its coded bytes without a word about their coding, which is what an origin sees
that does not decode.

The one rule: an origin reads a coding if it answers the coded request as the plain one, and the
undeclared bytes differently; whatever is less clear is called unclear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from m2mproxy.cli.probe_client import ProbeClient
from m2mproxy.codec import coding
from m2mproxy.http.faults import Fault
from m2mproxy.http.headers import Field
from m2mproxy.proxy.router import DeploymentError

CHAT = b"/v1/chat/completions"
_TRIED = (coding.ZSTD, coding.GZIP)
_EMPTY = b"{" + b" " * 2046 + b"}"  # above the size from which requests are coded
# An origin that is busy says nothing about a coding.
_BUSY = (429, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class _Heard:
    """An answer as far as it is compared: `status` 0 is none at all."""

    status: int
    words: bytes

    def __str__(self) -> str:
        return str(self.status) if self.status else "no answer"


async def try_codings(client: ProbeClient) -> list[dict[str, Any]]:
    """A verdict on each coding, and why, as JSON has it."""
    try:
        target = client.parts.router.target(CHAT)
    except DeploymentError:
        why = "the URL has to name a deployment"
        return [_verdict(name, "not tried", why) for name in _TRIED]
    plain = await _hear(client, target, _EMPTY)
    return [await _trial(client, target, name, plain) for name in _TRIED]


async def _trial(client: ProbeClient, target: bytes, name: bytes, plain: _Heard) -> dict[str, Any]:
    body, profile = coding.encode(name, _EMPTY), client.parts.profile
    undeclared = await _hear(client, target, body)
    said = [(b"content-encoding", name)]
    if name in (*profile.reads, *profile.tries):
        said += profile.coded_headers
    coded = await _hear(client, target, body, *said)
    return {
        **_judged(name, plain, coded, undeclared),
        "plain_status": plain.status,
        "coded_status": coded.status,
        "undeclared_status": undeclared.status,
    }


async def _hear(client: ProbeClient, target: bytes, body: bytes, *fields: Field) -> _Heard:
    kind = (b"content-type", b"application/json")
    size = (b"content-length", str(len(body)).encode())
    try:
        answer = await client.ask(b"POST", target, kind, size, *fields, body=body)
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
