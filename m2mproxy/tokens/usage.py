"""How many tokens a reply says that it took, read as its bytes pass.

Every API that speaks OpenAI's dialects or Anthropic's puts an object "usage" somewhere into a
reply: at the end of a JSON body, into the last event of a stream, or (Anthropic) half into the
first event and half into the last but one. It is found by its name, without reading the JSON around
it: inside a JSON string quotes are escaped, so `"usage"` before a colon and a brace is a key.

The one rule: what is read depends on nothing but the bytes, however they were cut into pieces, and
at most MOST of them are held.

Sources: OpenAI's API reference (chat completions, completions, responses, embeddings), Anthropic's
(messages; prompt caching), DeepSeek's (context caching).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import orjson

# Bytes from the key to the end of its object. The longest seen in the field has 700.
MOST = 4096
# No reply takes more tokens; what says so is no count.
_MOST_TOKENS = 1 << 40

_KEY: Final = b'"usage"'
# White space within bounds, so that what is held for more of it is bounded, too.
_opening = re.compile(rb'"usage"[ \t\r\n]{0,64}+(?:\Z|:[ \t\r\n]{0,64}+(?:\Z|\{))').search
_LETTERS: Final = frozenset(_KEY)
_TOKENS: Final = b'_tokens"'

_COUNTS = frozenset(
    (
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "prompt_cache_hit_tokens",
    )
)
# One of these is in every usage but Anthropic's.
_OPENAI = frozenset(("prompt_tokens", "completion_tokens", "total_tokens"))
# Where there is more about a count, and what of it is wanted.
_DETAILS = {
    "prompt_tokens_details": "cached_tokens",
    "input_tokens_details": "cached_tokens",
    "completion_tokens_details": "reasoning_tokens",
    "output_tokens_details": "reasoning_tokens",
}


def _braces(depth: int) -> str:
    """A pattern of an object with others in it, which never goes back."""
    inner = rf"|{_braces(depth - 1)}" if depth else ""
    return rf'\{{(?:[^{{}}"]++|"(?:[^"\\]++|\\.)*+"{inner})*+\}}'


# Four objects deep: none has been seen with more than two.
_object = re.compile(_braces(3).encode(), re.DOTALL).match


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, None where nothing is said of them. `input` includes `cached`, and `output` includes
    `reasoning`. Unless `is_final` more was to come after `output`."""

    input: int | None
    output: int | None
    cached: int | None
    reasoning: int | None
    is_final: bool


class UsageReader:
    """Looks at one reply's plain bytes."""

    __slots__ = ("_counts", "_events", "_held", "_seen")

    def __init__(self, events: bool) -> None:
        """`events` tells an event stream, whose events may each say a part, from a JSON body, where
        the last one counts."""
        self._events = events
        self._held = b""  # what may be the beginning of more
        self._counts: dict[str, int] = {}
        self._seen = 0

    def feed(self, chunk: bytes | memoryview) -> None:
        """`chunk` passed."""
        text = chunk if type(chunk) is bytes else bytes(chunk)
        if self._held:
            text, self._held = self._held + text, b""
        if text.rfind(_KEY) >= 0:  # from the end: a third of the time of `in`
            self._look(text)
        elif text and text[-1] in _LETTERS:
            self._hold(text, 0)

    def _look(self, text: bytes) -> None:
        """Take every usage; hold what is not all there."""
        at = 0
        while found := _opening(text, at):
            start, end = found.span()
            brace = end - 1
            if text[brace] != 0x7B:
                self._held = text[start:]
                return
            whole = _object(text, brace, start + MOST)
            if whole is not None:
                self._take(whole[0])
                at = whole.end()
            elif len(text) < start + MOST:
                self._held = text[start:]
                return
            else:
                at = end
        self._hold(text, at)

    def _hold(self, text: bytes, after: int) -> None:
        """Keep the end of `text` if the key may begin there."""
        at = text.rfind(b'"', max(after, len(text) - len(_KEY) + 1))
        if at >= 0 and _KEY.startswith(text[at:]):
            self._held = text[at:]

    def _take(self, text: bytes) -> None:
        if _TOKENS not in text:
            return
        try:
            counts = _counts(orjson.loads(text))
        except orjson.JSONDecodeError:
            return
        if not counts:
            return
        self._seen += 1
        if self._events:
            self._counts.update(counts)
        else:
            self._counts = counts

    @property
    def usage(self) -> Usage | None:
        """What was said so far; None for nothing."""
        if not self._counts:
            return None
        counts = self._counts
        if _OPENAI.isdisjoint(counts):
            # Anthropic's first event has the input and what little there is of the output.
            is_final = not self._events or self._seen > 1
            return Usage(*_anthropic(counts), counts.get("reasoning_tokens"), is_final)
        taken = counts.get("prompt_tokens", counts.get("input_tokens"))
        made = counts.get("completion_tokens", counts.get("output_tokens"))
        total = counts.get("total_tokens")
        if made is None and total is not None:  # embeddings
            taken = total if taken is None else taken
            made = max(0, total - taken)
        cached = counts.get("cached_tokens", counts.get("prompt_cache_hit_tokens"))
        return Usage(taken, made, cached, counts.get("reasoning_tokens"), True)


def _anthropic(counts: dict[str, int]) -> tuple[int | None, int | None, int | None]:
    """Its input is what was neither read from the cache nor written to it."""
    read = counts.get("cache_read_input_tokens")
    fresh = counts.get("input_tokens")
    if fresh is not None:
        fresh += (read or 0) + counts.get("cache_creation_input_tokens", 0)
    return fresh, counts.get("output_tokens"), read


def _counts(said: dict[str, Any]) -> dict[str, int]:
    """The counts of one object by their names."""
    counts = {name: value for name, value in said.items() if name in _COUNTS and _is_count(value)}
    for name in _DETAILS.keys() & said.keys():
        details, wanted = said[name], _DETAILS[name]
        if isinstance(details, dict) and _is_count(details.get(wanted)):
            counts[wanted] = details[wanted]
    return counts


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST_TOKENS
