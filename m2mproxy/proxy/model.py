"""The request's model, for the log line and the tokens' figures, without parsing the body.

The one rule: looking costs one search of bytes that pass anyway. Inside a JSON string quotes are
escaped, so `"model"` followed by a colon and a string is a key; the first one is taken, which
could be a nested object's: good enough for a log, not for a decision. So is a form's, as files come
with (RFC 7578): there it is the name of a part, and the value follows after an empty line.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from m2mproxy.codec.base import WireError
from m2mproxy.codec.jsontext import read_json
from m2mproxy.http.body import Chunk

_KEY = b'"model"'
_value = re.compile(
    rb'"model"(?:\s*:\s*"([^"\\\x00-\x1f]{1,200})"|'
    rb'(?:\r\n[ -~]{1,60})?\r\n\r\n([^"\\\x00-\x1f]{1,200})\r\n)'
).match
# The longest match that is still found when it lies across two chunks.
_OVERLAP = 280
# As in a body: a target can have anything, escaped.
_is_name = re.compile(r"[^\"\\\x00-\x1f\x7f-\x9f\ufffd]{1,200}").fullmatch
# Azure's deployments, Gemini's models, which a method's name follows, and Bedrock's.
_in_target = re.compile(rb"/(?:deployments|models?)/([^/]{1,300}?)(?::[A-Za-z]+)?(?:/|\Z)").search


class ModelFinder:
    """Looks at chunks of a JSON body until it has seen the model."""

    __slots__ = ("_tail", "model")

    def __init__(self) -> None:
        self._tail = b""
        self.model = ""

    def feed(self, chunk: Chunk) -> None:
        """Look at the next chunk."""
        if self.model:
            return
        text = bytes(chunk)  # the same object where it is bytes already
        if self._tail:
            self._look(self._tail + text[:_OVERLAP])
        if not self.model:
            self._look(text)
        if not self.model:
            self._tail = (self._tail + text[-_OVERLAP:])[-_OVERLAP:]

    def _look(self, text: bytes) -> None:
        at = text.find(_KEY)
        while at >= 0:
            if found := _value(text, at):
                self.model = (found[1] or found[2]).decode("utf-8", "replace")
                return
            at = text.find(_KEY, at + 1)


def model_in(target: bytes) -> str:
    """The model that a request's target names, "" where it names none."""
    found = _in_target(target.partition(b"?")[0])
    name = unquote(found[1].decode("ascii", "replace")) if found is not None else ""
    return name if _is_name(name) else ""


# A part of a form, and its field in that: `name` alone, beside other parameters.
_boundary = re.compile(rb'(?i);[ \t]*boundary="?([^"; ]{1,70})').search
_named = re.compile(rb'(?i)\r\ncontent-disposition:[^\r]*;[ \t]*+name="?model"?(?=[;\r])').search
# Parts of a form that are looked at, bytes of the head of each, and of a name: 200
# characters.
_MOST_PARTS, _MOST_HEAD, _MOST_NAME = 64, 1024, 800


def model_of(body: bytes, content_type: bytes = b"") -> str | None:
    """The top-level "model" of a JSON body, or that of a form; None when there is none, or it
    cannot be read."""
    if content_type.lower().startswith(b"multipart/form-data"):
        return _model_of_form(body, content_type)
    try:
        content = read_json(body)
    except WireError:
        return None
    model = content.get("model") if isinstance(content, dict) else None
    return model if isinstance(model, str) else None


def _model_of_form(body: bytes, content_type: bytes) -> str | None:
    said = _boundary(content_type)
    mark = b"--" + said[1] if said is not None else b""
    at = body.find(mark) if mark else -1
    for _ in range(_MOST_PARTS):
        head = body.find(b"\r\n\r\n", at, at + len(mark) + _MOST_HEAD)
        if at < 0 or head < 0:
            return None
        end = body.find(b"\r\n" + mark, head + 2)
        if _named(body, at, head + 2):
            if not 0 < end - head - 4 <= _MOST_NAME:
                return None  # no end, or nothing to decode, or too much: it could be a file
            name = body[head + 4 : end].decode("utf-8", "replace")
            return name if _is_name(name) else None
        at = end + 2 if end >= 0 else -1
    return None
