"""Every string of a request, with whose words it is.

Nothing here knows an endpoint. A request is an object; a list of objects in it that have a role is
a conversation, and each of them a message; everything else of it is one part for each of its keys.
Whose words a string is, is said by the message's role, by the kind of the block that it is in (what
a tool returned is the tool's, whoever passes it on), or by the key. What is within a message is
often not the application's own: nothing in there says that it is the system's.

The one rule: every string is counted and its characters are checked; only names, ids and data that
is no text are not handed on as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from m2mproxy.guard.attachments import DATA_KEYS, is_data, text_in
from m2mproxy.guard.document import MAX_DEPTH

# Whose words: as the roles of a message, and of what stands beside the conversation.
ROLES = ("user", "assistant", "tool", "system", "definition")
"""`system` is the developer's, too; `definition` is what tools and formats are described with."""

_GROUPS = {
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
    "environment": "tool",
    "observation": "tool",
    "system": "system",
    "developer": "system",
    "context": "tool",
    "documents": "tool",
}
KNOWN_ROLES = frozenset(_GROUPS)
_BY_KEY = {
    "documents": "tool",
    "tool_results": "tool",
    "instructions": "system",
    "system": "system",
    "system_instruction": "system",
    "systemInstruction": "system",
    "preamble": "system",
    "tools": "definition",
    "tool_config": "definition",
    "toolConfig": "definition",
    "output_config": "definition",
    "outputConfig": "definition",
    "generation_config": "definition",
    "generationConfig": "definition",
    "functions": "definition",
    "tool_choice": "definition",
    "function_call": "definition",
    "response_format": "definition",
    "json_schema": "definition",
    "guided_json": "definition",
    "guided_grammar": "definition",
    "grammar": "definition",
}
_CONVERSATIONS = ("messages", "input", "contents")
KEYS = frozenset((*_BY_KEY, *_CONVERSATIONS))
# Others that hold messages, and those that hold whole requests or conversations.
_MESSAGES = frozenset((*_CONVERSATIONS, "additional_messages", "chat_history", "items"))
_HOLDERS = frozenset(("thread", "requests"))
_ITEMS = frozenset((dict, str))
_NUMBERS = frozenset((int, float))
# Above so many items, each has to have so many bytes on average; above so many keys, there is one
# part for all of them.
_MANY_ITEMS, _WORTH, _MOST_KEYS = 256, 256, 64
# Strings that are no text, unless they are longer than any of these, or of several words: the name
# of a document is a few words of anybody's, which the model reads.
_LABELS = frozenset(
    (
        "background", "call_id", "container", "detail", "effort", "encoding_format", "file_id",
        "finish_reason", "format", "id", "index", "item_id", "language", "media_type",
        "mimeType", "mime_type", "mode", "model", "moderation", "name", "object",
        "previous_response_id", "prompt_cache_key", "quality", "reasoning_effort", "role",
        "safety_identifier", "service_tier", "size", "status", "stop", "stopSequences",
        "stop_sequences", "style", "toolUseId", "tool_call_id", "tool_use_id", "type", "user",
        "verbosity", "voice",
    )
)
_LONGEST_LABEL, _MOST_GAPS = 128, 2
_OFTEN_NO_TEXT = _LABELS | DATA_KEYS
# A key of more characters is a text, and so is one with spaces that is longer than a name.
_LONGEST_KEY, _LONGEST_NAME = 64, 16
# What is in these is somebody's own, and its keys mean nothing to us.
_FREE = frozenset(
    (
        "args", "arguments", "documents", "input", "json", "output", "outputs", "parsed_arguments",
        "response", "structuredContent", "structured_content", "tool_results",
    )
)
# What is in these is a tool's, where blocks have no kind but a key; in those of a call, too, which
# holds what came back beside what was asked.
_RETURNED = frozenset(
    (
        "codeExecutionResult", "code_execution_result", "functionResponse", "function_response",
        "toolResult", "tool_result",
    )
)  # fmt: skip
_RETURNED_TO_CALL = _RETURNED | frozenset(("output", "outputs", "results"))
# What the keys of an object mean: in what holds messages a role says whose words they are, in a
# message only the kind of a block does, and elsewhere nothing.
_HOLDING, _SAYING, _WITHIN, _OWN = range(4)
_NO_KEYS: frozenset[str] = frozenset()


Texts = dict[str, list[str]]  # whose: what


Said = tuple[str, str]
"""Whose text it is, and the text: a plain tuple, since there are many."""


class Part(NamedTuple):
    """What one key of the request holds."""

    key: str
    role: str
    """Whose words it is, where nothing in it says otherwise."""
    value: Any
    is_conversation: bool = False
    """Whether it is a list of messages, or of inputs, each of which is worth a look of its own."""
    within: int = 1
    """How many objects and lists it is in."""


class Contents:
    """What there is in a part: how much, how deep, and its strings.

    Attributes:
        members: members of objects.
        colons: colons in keys and strings.
        depth: objects and lists inside each other, 1 for a part without any inside.
        said: the texts, those of one speaker as one, each on a line of its own: a sentence may be
            cut into several.
        labels: keys, and strings that are no text.
    """

    __slots__ = ("colons", "depth", "labels", "members", "said")

    def __init__(self, value: Any, role: str, key: str = "") -> None:
        """`role` is whose words it is, where nothing in it says otherwise; `key` what it stands
        under."""
        self.members = 0
        self.colons = 0
        self.depth = 0
        self.labels: list[str] = []
        found: Texts = {}
        means = _means(key)
        if type(value) is str:
            self._string(key, value, role, False, found)
        elif type(value) is dict:
            self._object(value, role, 1, means, found)
        elif type(value) is list:
            self._list(value, key, role, 1, means, found)
        self.colons += "\n".join(self.labels).count(":")
        self.said: list[Said] = []
        for whose, texts in found.items():
            text = "\n".join(texts)
            self.colons += text.count(":")
            self.said.append((whose, text))

    def _object(
        self, value: dict[str, Any], role: str, depth: int, means: int, found: Texts
    ) -> None:
        if depth > self.depth:
            self.depth = depth
            if depth > MAX_DEPTH:
                return
        self.members += len(value)
        self.labels.extend(value)
        if means < _OWN:
            role = speaker(value, role, means)
            if means == _SAYING or (means == _HOLDING and "role" in value):
                means = _WITHIN
        returned = _returned_in(role, means)
        speaks = role
        for key, item in value.items():
            role = "tool" if key in returned else speaks
            if len(key) > _LONGEST_NAME and (" " in key or len(key) > _LONGEST_KEY):
                found.setdefault(role, []).append(key)
                self.colons -= key.count(":")  # it is a label, too
            kind = type(item)
            if kind is str:
                self._string(key, item, role, means == _OWN, found)
            elif kind is dict:
                self._object(item, role, depth + 1, _OWN if key in _FREE else means, found)
            elif kind is list:
                self._list(item, key, role, depth + 1, _OWN if key in _FREE else means, found)

    def _list(
        self, value: list[Any], key: str, role: str, depth: int, means: int, found: Texts
    ) -> None:
        if depth > self.depth:
            self.depth = depth
            if depth > MAX_DEPTH:
                return
        if len(value) > 64 and _NUMBERS.issuperset(map(type, value)):
            return  # token ids, a vector
        for item in value:
            kind = type(item)
            if kind is str:
                self._string(key, item, role, means == _OWN, found)
            elif kind is dict:
                self._object(item, role, depth + 1, means, found)
            elif kind is list:
                self._list(item, key, role, depth + 1, means, found)

    def _string(self, key: str, item: str, role: str, free: bool, found: Texts) -> None:
        if key not in _OFTEN_NO_TEXT:
            found.setdefault(role, []).append(item)
        elif not free and key in _LABELS and _is_label(item):
            self.labels.append(item)
        elif is_data(key, item, free):
            self.labels.append(item)
            text = text_in(item)
            if text:
                found.setdefault(role, []).append(text)
                self.colons -= text.count(":")  # they are not in the body
        else:
            found.setdefault(role, []).append(item)


def parts(request: dict[str, Any], size: int, labels: list[str]) -> Iterator[Part]:
    """What a request of `size` bytes is made of, in its order. Its own `labels` are added to those,
    and what has no strings is left out.

    Each part costs something, however small it is: where they would be many for the size of the
    request, they are taken together.
    """
    rest: list[Any] | None = [] if len(request) > _MOST_KEYS else None
    for key, value in request.items():
        kind = type(value)
        if kind is list and _is_conversation(key, value, size):
            yield Part(key, _BY_KEY.get(key, "user"), value, True)
        elif kind is str and key in _LABELS and _is_label(value):
            labels.append(value)
        elif kind is str or kind is dict or kind is list:
            if rest is not None:
                rest.append(value)
            elif key == "text" and kind is dict:  # the format of a reply
                yield Part(key, "definition", value)
            else:
                yield Part(key, _BY_KEY.get(key, "user"), value)
    if rest:
        yield Part("", "user", rest, False, 0)


def _is_label(value: str) -> bool:
    """Whether what stands where a name or an id is expected is one."""
    return len(value) <= _LONGEST_LABEL and value.count(" ") <= _MOST_GAPS


def _returned_in(role: str, means: int) -> frozenset[str]:
    """The keys of an object in something of `role` under which is what a tool returned."""
    if means == _OWN:
        return _NO_KEYS
    return _RETURNED_TO_CALL if role == "assistant" else _RETURNED if role == "user" else _NO_KEYS


def _means(key: str) -> int:
    """What the keys mean in what stands under `key` of the request."""
    if key in _MESSAGES:
        return _SAYING
    if key in _HOLDERS:
        return _HOLDING
    return _OWN if key in _FREE else _WITHIN


def speaker(value: dict[str, Any], role: str, means: int) -> str:
    """Whose words are in an object that is within something of `role`. What a tool returned stays
    its words, whatever they say that they are."""
    if means == _WITHIN:
        if role == "tool":
            return role
    elif type(own := value.get("role")) is str:
        role = _GROUPS.get(own, role)
    kind = value.get("type")
    if type(kind) is str:
        if kind.endswith(("_result", "_output")):
            return "tool"
        if kind.endswith(("_call", "_use")) or kind == "reasoning":
            return "assistant"
    return role


def _is_conversation(key: str, value: list[Any], size: int) -> bool:
    """Whether a list is one of messages, or of inputs, that are worth looking at one by one."""
    if not value or (len(value) > _MANY_ITEMS and size < len(value) * _WORTH):
        return False
    if key in _CONVERSATIONS:
        return _ITEMS.issuperset(map(type, value))
    return type(value[0]) is dict and "role" in value[0] and {dict}.issuperset(map(type, value))
