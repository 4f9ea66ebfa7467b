"""What a client sees of a fault: OpenAI's error object, as a reply or as an event of a stream.

The one rule: nothing of a request's content and no key is ever part of an error.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from m2mproxy.codec.token_native import NoVocabulary
from m2mproxy.http.faults import Busy, ClientFault, Fault, WrongMethod
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Response
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.links import FIELD, MISS, MISSED
from m2mproxy.proxy.reply import json_reply

_TYPES = {500: "proxy_error", 502: "upstream_error", 503: "overloaded_error", 504: "upstream_error"}


def error_object(
    status: int, code: str, message: str, details: Mapping[str, object] | None = None
) -> dict[str, object]:
    """OpenAI's error shape: {"error": {"message", "type", "param", "code"}}, and `details`."""
    kind = _TYPES.get(status, "invalid_request_error")
    error = {"message": message, "type": kind, "param": None, "code": code}
    return {"error": {**error, **details} if details else error}


def fault_reply(fault: Fault, forms: Forms) -> tuple[Response, bytes]:
    """The reply that tells a client of `fault`."""
    extra = Headers()
    if isinstance(fault, Busy):
        extra.append((b"retry-after", b"%d" % fault.retry_after))
    if isinstance(fault, WrongMethod):
        extra.append((b"allow", fault.methods))
    if fault.code == MISSED:
        extra.append((FIELD, MISS))
    if fault.status == 415:
        extra.append((b"accept-encoding", forms.readable))  # RFC 9110 12.5.3
    details = fault.details if isinstance(fault, ClientFault) else None
    content = error_object(fault.status, fault.code, fault.message, details)
    return json_reply(fault.status, content, extra)


def not_loaded(error: NoVocabulary) -> ClientFault:
    """For a client that sent token ids, or asks for them, of a vocabulary that is not loaded."""
    key = "proxy.compression.vocabularies"
    message = f"the vocabulary {error.name} is not loaded: {key} has to name it"
    return ClientFault(415, "unsupported_coding", message)


def fault_event(fault: Fault, path: bytes) -> bytes:
    """The last event of a stream that was cut: an error in place of a silent end.

    Anthropic's clients read errors from events of that name, OpenAI's from the data of any.
    """
    content = error_object(fault.status, fault.code, fault.message)
    if path.partition(b"?")[0].endswith(b"/messages"):
        return b"event: error\ndata: " + orjson.dumps({"type": "error", **content}) + b"\n\n"
    return b"data: " + orjson.dumps(content) + b"\n\n"
