"""What a model replied, as the application will most likely send it back with its next turn.

Both ends of a link see the same response pass and make the same text of it, which then stands
behind the request's body as what the next one may refer to. It is a guess at how the application
writes its history: where it guesses wrong, bytes cross again and nothing else happens.

Streams come in the shapes of their APIs: reply_chat.py (chat completions), reply_messages.py
(Anthropic's Messages), reply_gemini.py. The Responses API says each item whole at its end.

The one rule: the text depends on nothing but the plain bytes of the complete response and of its
request, however they were cut into pieces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final, Protocol

import orjson

from m2mproxy.link.ends import Ends
from m2mproxy.link.escapes import spell
from m2mproxy.link.parsed import dicts, loads
from m2mproxy.link.reply_chat import MOST_CALLS, Choice
from m2mproxy.link.reply_gemini import MOST_CONTENTS, Contents, contents_of
from m2mproxy.link.reply_messages import Blocks, message_of

# A reply of which there is more is not remembered: neither it nor what is left of an event.
MOST = 512 * 1024
# Of each reply so many bytes take no room, its ends beside: the limit of requests is their bound.
_UNCOUNTED = 64 * 1024
# A reply of more messages is none, and of so many parts of it the ids are known: each takes 2 µs.
_MOST_MESSAGES = _MOST_PARTS = 1024
# Choices (`n`) of which the texts are kept apart.
_MOST_CHOICES = 16
_EVENT: Final = b"data:"
_SIGN_OF_LIFE: Final = b":"
# An id of more characters is nobody's secret.
_LONGEST_ID = 256
_OF_BLOCKS = ("content_block_start", "content_block_delta")
_parts = re.compile("[A-Za-z0-9]{8,}").findall
_word_and_number = re.compile("[A-Za-z]+[0-9]+|[0-9]+[A-Za-z]+").fullmatch
# One in twelve random ids of OpenAI's has no two digits. So many letters and digits in pieces of
# fewer than three are no words either.
_LONG, _OF_PIECE = 20, 3
_pieces = re.compile("[A-Z]?[a-z]+|[A-Z]+|[0-9]+").findall
# Where a message has calls.
_CALLS = ("tool_calls", "content", "parts")
# Bytes at the end of a request in which that is looked for: text of which each letter nearly is one
# takes 10 to 40 ms a MiB, while everybody waits.
_MOST_SEEN = 256 * 1024
_escaped = re.compile(rb"\\u(?!00)[0-9A-Fa-f]{4}").search
_digit, _letter = re.compile("[0-9]"), re.compile("[A-Za-z]")


class Room(Protocol):
    """Memory that all readers share, in bytes."""

    def take(self, size: int) -> bool:
        """Take so much; False, and none taken, where there is less."""

    def give(self, size: int) -> None:
        """Give so much back."""


class ReplyReader:
    """Reads one response as it passes. `feed` never fails: what is not understood is no reply, nor
    is what there is no room for. Whoever does not come to `finish` has to `drop` it."""

    __slots__ = (
        "_ends", "_events", "_given_up", "_held", "_of", "_room", "_speaks", "_taken", "ends",
    )  # fmt: skip

    def __init__(self, events: bool, room: Room | None = None) -> None:
        """`events` tells an event stream from a JSON body."""
        self._events = events
        self._room = room
        self._taken = _UNCOUNTED
        self._held = bytearray()  # the line, or the body, so far
        self._of: _Stream | None = None  # made for the first event
        self._given_up = False
        self._speaks = False  # an instance, in between
        self._ends = Ends()
        self.ends = b""
        """What is kept of it as it came, when it is complete: nothing where there is a comment as
        instances put between events (proxy/injector.py), of which those who see it come before
        and behind one of them know different things."""

    def feed(self, chunk: bytes | memoryview) -> None:
        """`chunk` passed, in plain."""
        if self._given_up or not chunk:
            return
        piece = bytes(chunk)
        self._ends.feed(piece)
        if self._events and b"\n" in piece:
            first, *lines = piece.split(b"\n")
            self._line(bytes(self._held + first) if self._held else first)
            for line in filter(None, lines[:-1]):
                self._line(line)
            self._held = bytearray(lines[-1])
        else:
            self._held += piece
        size = len(self._held) + (self._of.size if self._of is not None else 0)
        if len(self._held) > MOST or (size > self._taken and not self._grow(size)):
            self.drop()

    def _grow(self, size: int) -> bool:
        """Whether there is room for `size` bytes in all. It is asked for in steps."""
        more = size - self._taken + _UNCOUNTED
        if self._room is not None and not self._room.take(more):
            return False
        self._taken += more
        return True

    @property
    def _stream(self) -> _Stream:
        if self._of is None:
            self._of = _Stream()
        return self._of

    def drop(self) -> None:
        """Hold nothing any more: there is no reply."""
        self._given_up = True
        self._held, self._of, self._ends = bytearray(), None, Ends()
        if self._room is not None:
            self._room.give(self._taken - _UNCOUNTED)
        self._taken = _UNCOUNTED

    def _line(self, line: bytes) -> None:
        if len(line) > MOST or self._stream.size > MOST:
            self.drop()
        elif line.endswith(_SIGN_OF_LIFE) and line.rpartition(b"\r")[2] == _SIGN_OF_LIFE:
            self._speaks = True  # it may stand after an event that ends with two carriage returns
        elif line.startswith(_EVENT) and not self._given_up:
            self._stream.take(_parsed(line[len(_EVENT) :]), len(line))

    def finish(self) -> list[dict[str, Any]]:
        """The response is complete: its messages, or what else the application sends back."""
        if self._given_up or self._stream.size > MOST:
            self.drop()
            return []
        messages = self._stream.messages() if self._events else _of_body(_parsed(self._held))
        self.ends = b"" if self._speaks else self._ends.finish()
        self.drop()
        return messages if len(messages) <= _MOST_MESSAGES else []


def _parsed(text: bytes | bytearray) -> Any:
    try:
        return loads(text)
    except ValueError:
        return None


def _of_body(body: Any) -> list[dict[str, Any]]:
    """What a JSON response brings: items of its output, messages of its choices, the contents of
    its candidates, its message, or one of its blocks of content. One that is a list is a stream,
    as Gemini's is that was not asked for events."""
    if isinstance(body, list):
        return _of_list(body)
    if not isinstance(body, dict):
        return []
    output = body.get("output")
    if isinstance(output, list):
        return dicts(output)
    messages = []
    for choice in dicts(body.get("choices"))[:_MOST_CHOICES]:
        message = choice.get("message")
        if isinstance(message, dict):
            messages.append(_message(message))
        elif isinstance(choice.get("text"), str):
            messages.append({"content": choice["text"]})
    if not messages:
        candidates = dicts(body.get("candidates"))[:MOST_CONTENTS]
        messages = contents_of(dicts([each.get("content") for each in candidates]))
    if not messages and isinstance(body.get("message"), dict):
        messages = [_message(body["message"])]
    return messages or message_of(dicts(body.get("content")))


def _of_list(body: list[Any]) -> list[dict[str, Any]]:
    stream = _Stream()
    for each in body:
        stream.take(each, 0)  # the whole body was not too much
    return stream.messages()


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """A message without what nobody sends back: what is null or empty."""
    return {name: value for name, value in message.items() if value or name == "content"}


class _Stream:
    """The texts of a stream, put together."""

    __slots__ = ("_blocks", "_choices", "_contents", "_items", "size")

    def __init__(self) -> None:
        self._blocks, self._contents = Blocks(), Contents()
        self._choices: dict[int, Choice] = {}
        self._items: list[dict[str, Any]] = []
        self.size = 0

    def take(self, event: Any, size: int) -> None:
        """One event's JSON, of which the text has `size` bytes."""
        if not isinstance(event, dict):
            return
        kind = event.get("type")
        if kind in _OF_BLOCKS:  # the Messages API
            self.size += self._blocks.take(event, size)
            return
        if kind == "response.output_item.done":  # the Responses API
            item = event.get("item")
            if isinstance(item, dict):
                self._items.append(item)
                self.size += size
            return
        if "candidates" in event:  # Gemini
            self.size += self._contents.take(event, size)
        for choice in dicts(event.get("choices")):
            number = choice.get("index", 0)
            if isinstance(number, int) and 0 <= number < _MOST_CHOICES:
                of = self._choices.setdefault(number, Choice())
                self.size += of.take(choice, size)

    def messages(self) -> list[dict[str, Any]]:
        if self._items:
            return self._items
        messages = [choice.message() for _, choice in sorted(self._choices.items())]
        return messages or self._contents.messages() or self._blocks.messages()


def secrets(messages: list[dict[str, Any]]) -> list[bytes]:
    """The ids of tool calls that nobody can know who did not see the reply: random ones. An id that
    is made of the function's name and a number is none."""
    parts = chain.from_iterable(map(_candidates, messages))
    ids = (_random_id(part) for part in islice(parts, _MOST_PARTS))
    return [name.encode() for name in ids if name is not None][:MOST_CALLS]


def _candidates(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What of a message may be a call: itself, or what it has."""
    yield message
    for at in _CALLS:
        yield from dicts(message.get(at))


def others(messages: list[dict[str, Any]]) -> list[bytes]:
    """The random ids of what is no call of a function: of the Responses API's items, and of what
    the provider's own tools did in the Messages API."""
    found = []
    for message in messages:
        blocks = dicts(message.get("content"))[:_MOST_PARTS]
        ran = [each for each in blocks if _is_of_provider(each)]
        items = [message] if isinstance(message.get("type"), str) else []
        for each in (*items, *ran):
            name = each.get("id")
            if isinstance(name, str) and _is_random(name, ""):
                found.append(name.encode())
    return found[:MOST_CALLS]


def _is_of_provider(block: dict[str, Any]) -> bool:
    kind = block.get("type")
    return isinstance(kind, str) and kind.endswith("_tool_use")


def _random_id(call: dict[str, Any]) -> str | None:
    """That of a tool call, if it has one."""
    if isinstance(of := call.get("functionCall"), dict):
        name, function = of.get("id"), of.get("name")
    else:
        of = call.get("function")
        function = of.get("name") if isinstance(of, dict) else call.get("name")
        is_call = "function" in call or call.get("type") == "tool_use"
        name = call.get("call_id") or (call.get("id") if is_call else None)
    called = function if isinstance(function, str) else ""
    return name if isinstance(name, str) and _is_random(name, called) else None


def _is_random(name: str, function: str) -> bool:
    """Whether a part of it has letters and digits mixed as no word has, nor a word and a number,
    which may be a counter or the time; or small letters and capitals as no words have."""
    return name.isascii() and len(name) <= _LONGEST_ID and any(
        part not in function and (_is_mixed(part) or _is_in_pieces(part)) for part in _parts(name)
    )


def _is_mixed(part: str) -> bool:
    digits, letters = len(_digit.findall(part)), len(_letter.findall(part))
    return digits >= 2 and letters >= 2 and not _word_and_number(part)


def _is_in_pieces(part: str) -> bool:
    return len(part) >= _LONG and _OF_PIECE * len(_pieces(part)) > len(part)


def render(messages: list[dict[str, Any]], request: bytes) -> bytes:
    """`messages` as the writer of `request` writes JSON: with or without spaces, in UTF-8 or ASCII,
    with the letters escaped that it escapes (escapes.py).

    The text begins in the midst of a list, where the application will put it. There is none for
    what is nested too deeply to be written.
    """
    try:
        compact = b"".join(b"," + orjson.dumps(message) for message in messages)
    except orjson.JSONEncodeError:
        return b""
    colon = request.find(b'":') + 2
    spaced = request[colon : colon + 1] == b" "
    if not spaced and not _escapes(request):
        return spell(compact, request)
    ascii_only = request.isascii()  # Python's own writer escapes where it puts spaces
    marks = (", ", ": ") if spaced else (",", ":")
    text = "".join(
        marks[0] + json.dumps(message, ensure_ascii=ascii_only, separators=marks)
        for message in messages
    )
    return spell(text.encode(), request)


def _escapes(request: bytes) -> bool:
    """Whether its writer writes no other letters than those of ASCII, as far as its end shows."""
    return request.isascii() and _escaped(request, max(len(request) - _MOST_SEEN, 0)) is not None
