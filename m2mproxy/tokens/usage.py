"""How many tokens a reply reports, and what it cost, read as its bytes pass.

Every API that speaks OpenAI's dialects or Anthropic's puts an object "usage" somewhere into a
reply: at the end of a JSON body, into the last event of a stream, or (Anthropic) half into the
first event and half into the last but one. It is found by its name, without reading the JSON around
it: inside a JSON string quotes are escaped, so `"usage"` before a colon and a brace is a key. A
stream of llama.cpp has none unless it was asked for; its last event has "timings", which say it.
Gemini's own API calls the object "usageMetadata"; Bedrock's and Cohere's have names of their own in
it. Cohere's embeddings and its older chat have only the "billed_units" that others of its replies
have in there, in an object "meta". Where one reply has several (Groq's systems say besides what
each of their models took), the last of those counts that lie least deep.

The one rule: what is read depends on nothing but the bytes, however they were cut into pieces, and
at most twice MOST of them are held.

Sources: OpenAI's API reference (chat completions, completions, responses, embeddings), Anthropic's
(messages; prompt caching; compaction), DeepSeek's (context caching), OpenRouter's (usage
accounting: the cost in credits, which are US dollars), Gemini's (UsageMetadata), Bedrock's
(Converse, TokenUsage), Cohere's (v2 chat, embed), the README of llama.cpp's server (timings).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import orjson

# Bytes from the key to the end of its object. The longest seen in the field has 700.
MOST = 4096
# Objects that do not end within that; each takes up to 0.3 ms to see. After them only those are
# read that are as most are, with no objects in them.
_MOST_BROKEN = 16
# No reply takes more tokens; what says so is no count.
_MOST_TOKENS = 1 << 40

# No request costs more, in any currency.
_MOST_COST = 1e9

# As all keys begin that are looked for, and how they go on.
_KEY: Final = b'"usage'
_TIMINGS: Final = b'"timings"'
_BILLED: Final = b'"billed_units"'
_KEYS: Final = (b'"usage"', b'"usageMetadata"', _TIMINGS, _BILLED)
_LONGEST: Final = max(map(len, _KEYS))
# White space within bounds, so that what is held for more of it is bounded, too.
_opening = re.compile(
    rb'"(?:usage(?:Metadata)?|timings|billed_units)"[ \t\r\n]{0,64}+'
    rb"(?:\Z|:[ \t\r\n]{0,64}+(?:\Z|\{))"
)
_OBJECT, _OF_USAGE, _OF_BILLED = ord("{"), ord("u"), ord("b")  # the first letters of keys
_LETTERS: Final = frozenset(b"".join(_KEYS))
# What is in every usage of OpenAI's dialects and Anthropic's, in those of others, in all timings.
_TOKENS: Final = b'_tokens"'
_other_tokens = re.compile(rb'Token(?:s|Count)"').search
_PREDICTED: Final = b'"predicted_n"'

# One of these is in every usage but Anthropic's.
_OPENAI = frozenset(("prompt_tokens", "completion_tokens", "total_tokens"))
_COUNTS = _OPENAI | {"input_tokens", "output_tokens"}
# All that are looked at.
_NAMES = _COUNTS | {
    "billed_units",
    "cacheReadInputTokens",
    "cacheWriteInputTokens",
    "cache_creation",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cachedContentTokenCount",
    "cached_tokens",
    "candidatesTokenCount",
    "completion_tokens_details",
    "cost",
    "inputTokens",
    "input_tokens_details",
    "iterations",
    "num_cached_tokens",
    "outputTokens",
    "output_tokens_details",
    "promptTokenCount",
    "prompt_cache_hit_tokens",
    "prompt_tokens_details",
    "thoughtsTokenCount",
    "tokens",
    "toolUsePromptTokenCount",
}
# Where tokens are that were read from a cache, of OpenAI's, DeepSeek's, Mistral's and Together's.
_CACHED = ("prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens")


def _braces(depth: int) -> str:
    """A pattern of an object with others in it, which never goes back."""
    inner = rf"|{_braces(depth - 1)}" if depth else ""
    return rf'\{{(?:[^{{}}"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"{inner})*+\}}'


# Four objects deep: none has been seen with more than two.
_braced = re.compile(_braces(3).encode(), re.DOTALL).match
# And with its key, as most write it.
_whole = re.compile(rf'"usage": ?({_braces(3)})'.encode(), re.DOTALL).match

_string = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def _object(text: bytes, brace: int, stop: int) -> bytes | None:
    """The object that begins at `brace`, if it ends before `stop`."""
    found = _braced(text, brace, stop)
    return None if found is None else found[0]


def _plain_object(text: bytes, brace: int, stop: int) -> bytes | None:
    """The same for one with no objects and no escapes in it."""
    end = text.find(b"}", brace, stop) + 1
    if not end or text.find(b"{", brace + 1, end) >= 0:
        return None
    whole = text[brace:end]
    # An odd number of quotes: the brace is in a string. Escaped ones are not told apart here.
    return whole if whole.count(b'"') & 1 == 0 and b"\\" not in whole else None


class Usage(NamedTuple):
    """Tokens, None where nothing is said of them. `input` includes `cached`, and `output` includes
    `reasoning`. Unless `is_final` more was to come after `output`. `cost` is what the provider
    says that all of it costs, in its currency. Of `input`, too, are the tokens that were `written`
    to a cache, and of these the ones that it keeps for an hour."""

    input: int | None
    output: int | None
    cached: int | None
    reasoning: int | None
    is_final: bool
    cost: float | None = None
    written: int = 0
    written_1h: int = 0


# As Usage._make does it, without a line of Python: a quarter of what a call of Usage takes.
_usage: Callable[[tuple[object, ...]], Usage] = partial(tuple.__new__, Usage)


class UsageReader:
    """Looks at one reply's plain bytes."""

    __slots__ = (
        "_after", "_billed", "_broken", "_deeper", "_events", "_held", "_last", "_said", "_seen",
        "_timings",
    )

    def __init__(self, events: bool) -> None:
        """`events` tells an event stream, whose events may each say a part, from a JSON body, where
        the last one counts."""
        self._events = events
        self._held = b""  # what may be the beginning of more
        # What came after the last usage, behind as many spaces as that has bytes, as far as it is
        # looked at to see how deep the next one is; None before there is one.
        self._after: bytes | None = None
        # How much deeper than the last usage it was where what is kept of that begins.
        self._deeper = 0
        self._said: dict[str, Any] = {}
        self._last = b""  # of a body, the last usage; it is parsed when somebody asks
        # The last objects of those names, for where there is no usage.
        self._timings = self._billed = b""
        self._seen = 0
        self._broken = 0

    def feed(self, chunk: bytes | memoryview) -> None:
        """`chunk` passed."""
        text = chunk if type(chunk) is bytes else bytes(chunk)
        if self._held:
            text, self._held = self._held + text, b""
        # From the end, where it is. `in` would try the key as a number first.
        last, seen = text.rfind(_KEY), 0
        if last >= 0:
            if not self._events and self._is_plain(text, last):
                return
            seen = self._look(text, max(last, text.rfind(_TIMINGS)))
        elif (last := text.rfind(_TIMINGS)) >= 0 or (
            not self._events and (last := text.rfind(_BILLED)) >= 0
        ):
            seen = self._look(text, last)
        elif text and text[-1] in _LETTERS:
            self._hold(text, 0)
        if self._after is not None:
            self._pass(text, seen, len(text) - len(self._held))

    def _is_plain(self, text: bytes, at: int) -> bool:
        """Take the only usage of a body, if it is as most are: all there, and with tokens in it.
        That is a third of the work."""
        if self._after is not None or text[-1] in _LETTERS:
            return False
        found = _whole(text, at, at + MOST)
        # An earlier one that is further away does not matter, see _depth.
        if found is None or text.find(_KEY, max(0, at - MOST), at) >= 0:
            return False
        if not self._take(found[1]):
            return False
        self._after = b" " * (found.end() - at) + text[found.end() : at + MOST]
        return True

    def _look(self, text: bytes, last: int) -> int:
        """Take every usage, up to the key at `last`; hold what is not all there. Returns where the
        last one ends."""
        at, seen = _first(text, last), 0
        # For most replies it is the only one, and there is nothing to search for.
        found = _opening.match(text, at) if at == last else _opening.search(text, at)
        while found:
            start, end = found.span()
            brace = end - 1
            if text[brace] != _OBJECT:
                self._held = text[start:]
                return seen
            find = _object if self._broken < _MOST_BROKEN else _plain_object
            whole = find(text, brace, start + MOST)
            if whole is not None:
                at = brace + len(whole)
                if text[start + 1] == _OF_USAGE:
                    self._found(text, seen, start, whole, at - start)
                    seen = at
                elif text[start + 1] == _OF_BILLED:
                    self._billed = whole
                elif _PREDICTED in whole:
                    self._timings = whole
            elif len(text) < start + MOST:
                self._held = text[start:]
                return seen
            else:
                self._broken += 1
                at = end
            found = _opening.search(text, at) if at <= last else None
        self._hold(text, at)
        return seen

    def _hold(self, text: bytes, after: int) -> None:
        """Keep the end of `text` if a key may begin there."""
        at = text.rfind(b'"', max(after, len(text) - _LONGEST + 1))
        if at >= 0 and any(key.startswith(text[at:]) for key in _KEYS):
            self._held = text[at:]

    def _found(self, text: bytes, seen: int, start: int, whole: bytes, size: int) -> None:
        """Take the usage whose key is at `start`, `size` bytes in all, unless it lies deeper than
        the one before. That one, if it is in this text, ends at `seen`."""
        if self._after is not None:
            self._pass(text, seen, start)
            if (depth := self._depth()) > 0:
                self._deeper, self._after = depth, b""
                return
        if self._take(whole):
            self._deeper, self._after = 0, b" " * size

    def _pass(self, text: bytes, start: int, end: int) -> None:
        """No usage is between the two."""
        after = self._after or b""
        room = max(MOST - self._deeper - len(after), 0)
        self._after = after + text[start : min(end, start + room)]

    def _depth(self) -> int:
        """How much deeper we are than the last usage; 0, too, where that began far away, or is in
        another event."""
        after = self._after or b""
        is_far = self._deeper + len(after) >= MOST
        if is_far or (self._events and after.find(b"\n") >= 0):
            return 0
        bare = _string.sub(b"", after)
        return self._deeper + bare.count(b"{") - bare.count(b"}")

    def _take(self, text: bytes) -> bool:
        """Whether it says something."""
        if text.find(_TOKENS) < 0 and not _other_tokens(text):
            return False
        if not self._events:
            self._last = text
            return True
        said = _parsed(text)
        self._seen += bool(said)
        if self._said:  # which grows by no other names, however many events there are
            said = {name: said[name] for name in said if name in _NAMES and said[name] is not None}
        self._said.update(said)
        return True

    @property
    def usage(self) -> Usage | None:
        """What was said so far; None for nothing."""
        said = self._said if self._events else _parsed(self._last)
        if not said:
            return _timed(self._timings) if self._timings else _billed(self._billed)
        if not _OPENAI.isdisjoint(said):
            usage = _openai(said)
        elif (another := next(filter(said.__contains__, _OTHERS), None)) is not None:
            usage = _OTHERS[another](said)
        else:
            # Anthropic's first event has the input and what little there is of the output.
            usage = _anthropic(said, not self._events or self._seen > 1)
        known = usage.input is not None or usage.output is not None
        return usage if known or usage.cached is not None else None


def _parsed(text: bytes) -> dict[str, Any]:
    """An object; an empty one for what is no JSON."""
    try:
        said: dict[str, Any] = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {}
    return said


def _first(text: bytes, last: int) -> int:
    """Where the first key is, not after `last`, where one is."""
    for key in (_KEY, _TIMINGS, _BILLED):
        at = text.find(key, 0, last)
        last = last if at < 0 else at
    return last


def _openai(said: dict[str, Any]) -> Usage:
    """Chat's names, or those of the Responses API."""
    taken, made = _count(said, "prompt_tokens"), _count(said, "completion_tokens")
    if taken is None and "input_tokens" in said:
        taken = _count(said, "input_tokens")
    if made is None and "output_tokens" in said:
        made = _count(said, "output_tokens")
    if made is None and (total := _count(said, "total_tokens")) is not None:  # embeddings
        taken = total if taken is None else taken
        made = max(0, total - taken)
    if said.keys() <= _COUNTS:  # as most have
        return _usage((taken, made, None, None, True, None, 0, 0))
    of_input = said.get("prompt_tokens_details") or said.get("input_tokens_details")
    of_output = said.get("completion_tokens_details") or said.get("output_tokens_details")
    reasoning = _count(of_output, "reasoning_tokens")
    cached = _count(of_input, "cached_tokens")
    if cached is None:
        said_so = (_count(said, name) for name in _CACHED)
        cached = max((count for count in said_so if count is not None), default=None)
    written = _count(of_input, "cache_write_tokens") or 0  # OpenRouter
    return _usage((taken, made, cached, reasoning, True, _cost(said.get("cost")), written, 0))


def _timed(text: bytes) -> Usage | None:
    """llama.cpp's: `prompt_n` is what was not in its cache, of which versions before the middle of
    2025 say nothing."""
    said = _parsed(text)
    made, fresh, cached = (_count(said, name) for name in ("predicted_n", "prompt_n", "cache_n"))
    taken = None if fresh is None or cached is None else fresh + cached
    return None if made is None else Usage(taken, made, cached, None, True)


def _anthropic(said: dict[str, Any], is_final: bool) -> Usage:
    """Its input is what was neither read from the cache nor written to it. Where the server made a
    summary of the request before, that is in none of these figures, but in `iterations`."""
    counts = _of_claude(said)
    iterations = said.get("iterations")
    for each in iterations if type(iterations) is list else ():
        if type(each) is dict and each.get("type") == "compaction":
            more = _of_claude(each)
            counts = [
                a if b is None else (a or 0) + b for a, b in zip(counts, more, strict=True)
            ]
    taken, made, read, written, written_1h = counts
    thought = _count(said.get("output_tokens_details"), "thinking_tokens")
    return Usage(taken, made, read, thought, is_final, None, written or 0, written_1h or 0)


def _of_claude(said: dict[str, Any]) -> list[int | None]:
    """Input, output, and what of the input was read from the cache, written to it, and that for an
    hour."""
    read, fresh = _count(said, "cache_read_input_tokens"), _count(said, "input_tokens")
    written = _count(said, "cache_creation_input_tokens")
    if fresh is not None:
        fresh += (read or 0) + (written or 0)
    long = _count(said.get("cache_creation"), "ephemeral_1h_input_tokens")
    return [fresh, _count(said, "output_tokens"), read, written, long]


def _gemini(said: dict[str, Any]) -> Usage:
    """What is 0 is left out. What its own tools found is read by the model, too."""
    taken = _sum(said, "promptTokenCount", "toolUsePromptTokenCount")
    made = _sum(said, "candidatesTokenCount", "thoughtsTokenCount")
    thought = _count(said, "thoughtsTokenCount")
    return Usage(taken, made or 0, _count(said, "cachedContentTokenCount"), thought, True)


def _converse(said: dict[str, Any]) -> Usage:
    """Bedrock's, which counts the input as Anthropic does."""
    taken = _sum(said, "inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    made, read = _count(said, "outputTokens"), _count(said, "cacheReadInputTokens")
    written = _count(said, "cacheWriteInputTokens") or 0
    return Usage(taken, made, read, None, True, None, written)


def _cohere(said: dict[str, Any]) -> Usage:
    """What is billed, which is less than the model has read and written; what was cached of that
    is no part of it."""
    units = said.get("billed_units") or said.get("tokens")
    return Usage(_count(units, "input_tokens"), _count(units, "output_tokens"), None, None, True)


def _billed(text: bytes) -> Usage | None:
    """What is billed where there is no more: nothing is put out for what is embedded."""
    units = _parsed(text)
    taken = _count(units, "input_tokens")
    made = _count(units, "output_tokens") or 0
    return None if taken is None else Usage(taken, made, None, None, True)


# By what each has, and nobody else.
_OTHERS: Final[dict[str, Callable[[dict[str, Any]], Usage]]] = {
    "promptTokenCount": _gemini,
    "candidatesTokenCount": _gemini,
    "inputTokens": _converse,
    "billed_units": _cohere,
    "tokens": _cohere,
}


def _sum(of: dict[str, Any], *names: str) -> int | None:
    """Of the counts of those names that are there; None where none is."""
    found = [count for name in names if (count := _count(of, name)) is not None]
    return sum(found) if found else None


def _count(of: Any, name: str) -> int | None:
    """The count of that name in an object, if there is one."""
    if type(of) is not dict:
        return None
    value = of.get(name)
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


def _cost(value: Any) -> float | None:
    """A cost, if it is one."""
    is_number = type(value) is float or type(value) is int
    return float(value) if is_number and 0 <= value <= _MOST_COST else None
