"""How many tokens a reply says that it took, and what it cost, read as its bytes pass.

Every API that speaks OpenAI's dialects or Anthropic's puts an object "usage" somewhere into a
reply: at the end of a JSON body, into the last event of a stream, or (Anthropic) half into the
first event and half into the last but one. It is found by its name, without reading the JSON around
it: inside a JSON string quotes are escaped, so `"usage"` before a colon and a brace is a key. A
stream of llama.cpp has none unless it was asked for; its last event has "timings", which say it.

The one rule: what is read depends on nothing but the bytes, however they were cut into pieces, and
at most MOST of them are held.

Sources: OpenAI's API reference (chat completions, completions, responses, embeddings), Anthropic's
(messages; prompt caching), DeepSeek's (context caching), OpenRouter's (usage accounting: the cost
in credits, which are US dollars), the README of llama.cpp's server (timings).
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

_KEY: Final = b'"usage"'
_TIMINGS: Final = b'"timings"'
# White space within bounds, so that what is held for more of it is bounded, too.
_opening = re.compile(rb'"(?:usage|timings)"[ \t\r\n]{0,64}+(?:\Z|:[ \t\r\n]{0,64}+(?:\Z|\{))')
_LETTERS: Final = frozenset(_KEY + _TIMINGS)
# What is in every usage, and in all timings.
_TOKENS: Final = b'_tokens"'
_PREDICTED: Final = b'"predicted_n"'

# One of these is in every usage but Anthropic's.
_OPENAI = frozenset(("prompt_tokens", "completion_tokens", "total_tokens"))
_COUNTS = _OPENAI | {"input_tokens", "output_tokens"}
# All that are looked at.
_NAMES = _COUNTS | {
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "completion_tokens_details",
    "cost",
    "input_tokens_details",
    "output_tokens_details",
    "prompt_cache_hit_tokens",
    "prompt_tokens_details",
}


def _braces(depth: int) -> str:
    """A pattern of an object with others in it, which never goes back."""
    inner = rf"|{_braces(depth - 1)}" if depth else ""
    return rf'\{{(?:[^{{}}"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"{inner})*+\}}'


# Four objects deep: none has been seen with more than two.
_braced = re.compile(_braces(3).encode(), re.DOTALL).match
# And with its key, as most write it.
_whole = re.compile(rf'"usage": ?({_braces(3)})'.encode(), re.DOTALL).match


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
    says that all of it costs, in its currency."""

    input: int | None
    output: int | None
    cached: int | None
    reasoning: int | None
    is_final: bool
    cost: float | None = None


# As Usage._make does it, without a line of Python: a quarter of what a call of Usage takes.
_usage: Callable[[tuple[object, ...]], Usage] = partial(tuple.__new__, Usage)


class UsageReader:
    """Looks at one reply's plain bytes."""

    __slots__ = ("_broken", "_events", "_held", "_last", "_said", "_seen", "_timings")

    def __init__(self, events: bool) -> None:
        """`events` tells an event stream, whose events may each say a part, from a JSON body, where
        the last one counts."""
        self._events = events
        self._held = b""  # what may be the beginning of more
        self._said: dict[str, Any] = {}
        self._last = b""  # of a body, the last usage; it is parsed when somebody asks
        self._timings = b""  # the last object of that name, for where there is no usage
        self._seen = 0
        self._broken = 0

    def feed(self, chunk: bytes | memoryview) -> None:
        """`chunk` passed."""
        text = chunk if type(chunk) is bytes else bytes(chunk)
        if self._held:
            text, self._held = self._held + text, b""
        # From the end, where it is. `in` would try the key as a number first.
        last = text.rfind(_KEY)
        if last >= 0:
            if self._events or not self._is_plain(text, last):
                self._look(text, max(last, text.rfind(_TIMINGS)))
        elif (last := text.rfind(_TIMINGS)) >= 0:
            self._look(text, last)
        elif text and text[-1] in _LETTERS:
            self._hold(text, 0)

    def _is_plain(self, text: bytes, at: int) -> bool:
        """Take the last usage of a body, if it is as most are: all there, and with tokens in it.
        That is a third of the work."""
        found = _whole(text, at, at + MOST)
        if found is None or text[-1] in _LETTERS:
            return False
        # It could be in another usage.
        return text.find(_KEY, max(0, at - MOST), at) < 0 and self._take(found[1])

    def _look(self, text: bytes, last: int) -> None:
        """Take every usage, up to the key at `last`; hold what is not all there."""
        at = _first(text, last)
        # For most replies it is the only one, and there is nothing to search for.
        found = _opening.match(text, at) if at == last else _opening.search(text, at)
        while found:
            start, end = found.span()
            brace = end - 1
            if text[brace] != 0x7B:
                self._held = text[start:]
                return
            find = _object if self._broken < _MOST_BROKEN else _plain_object
            whole = find(text, brace, start + MOST)
            if whole is not None:
                if text[start + 1] == 0x75:
                    self._take(whole)
                elif _PREDICTED in whole:
                    self._timings = whole
                at = brace + len(whole)
            elif len(text) < start + MOST:
                self._held = text[start:]
                return
            else:
                self._broken += 1
                at = end
            found = _opening.search(text, at) if at <= last else None
        self._hold(text, at)

    def _hold(self, text: bytes, after: int) -> None:
        """Keep the end of `text` if a key may begin there."""
        at = text.rfind(b'"', max(after, len(text) - len(_TIMINGS) + 1))
        if at >= 0 and (_KEY.startswith(text[at:]) or _TIMINGS.startswith(text[at:])):
            self._held = text[at:]

    def _take(self, text: bytes) -> bool:
        """Whether it says something."""
        if text.find(_TOKENS) < 0:
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
            return _timed(self._timings) if self._timings else None
        if _OPENAI.isdisjoint(said):
            # Anthropic's first event has the input and what little there is of the output.
            usage = _anthropic(said, not self._events or self._seen > 1)
        else:
            usage = _openai(said)
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
    for key in (_KEY, _TIMINGS):
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
        return _usage((taken, made, None, None, True, None))
    of_input = said.get("prompt_tokens_details") or said.get("input_tokens_details")
    of_output = said.get("completion_tokens_details") or said.get("output_tokens_details")
    reasoning = _count(of_output, "reasoning_tokens")
    cached = _count(of_input, "cached_tokens")
    if cached is None:
        cached = _count(said, "prompt_cache_hit_tokens")
    return _usage((taken, made, cached, reasoning, True, _cost(said.get("cost"))))


def _timed(text: bytes) -> Usage | None:
    """llama.cpp's: `prompt_n` is what was not in its cache, of which versions before the middle of
    2025 say nothing."""
    said = _parsed(text)
    made, fresh, cached = (_count(said, name) for name in ("predicted_n", "prompt_n", "cache_n"))
    taken = None if fresh is None or cached is None else fresh + cached
    return None if made is None else Usage(taken, made, cached, None, True)


def _anthropic(said: dict[str, Any], is_final: bool) -> Usage:
    """Its input is what was neither read from the cache nor written to it."""
    read = _count(said, "cache_read_input_tokens")
    fresh = _count(said, "input_tokens")
    if fresh is not None:
        fresh += (read or 0) + (_count(said, "cache_creation_input_tokens") or 0)
    return Usage(fresh, _count(said, "output_tokens"), read, None, is_final)


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
