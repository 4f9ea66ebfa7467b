"""What a "usage" object says, in the dialect of each API.

A dialect is known by its names, so that no reply has to be told to be of a certain provider.

The one rule: `input` includes what was cached, and `output` what was thought, whatever the dialect
counts in them; and a figure that cannot be true is none.

Sources: OpenAI's API reference (chat completions, completions, responses, embeddings), Anthropic's
(messages; prompt caching; compaction), DeepSeek's (context caching), OpenRouter's (usage
accounting: the cost in credits, which are US dollars), Gemini's (UsageMetadata), Bedrock's
(Converse, TokenUsage), Cohere's (v2 chat), the README of llama.cpp's server (timings).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

# No reply takes more tokens; what says so is no count.
_MOST_TOKENS = 1 << 40

# No request costs more, in any currency.
_MOST_COST = 1e9

# One of these is in every usage but Anthropic's.
_OPENAI = frozenset(("prompt_tokens", "completion_tokens", "total_tokens"))
_COUNTS = _OPENAI | {"input_tokens", "output_tokens"}
# All that are looked at.
NAMES = _COUNTS | {
    "billed_units",
    "cacheReadInputTokens",
    "cacheWriteInputTokens",
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


def usage_of(said: dict[str, Any], is_last: bool) -> Usage | None:
    """The usage that an object, or several of one stream, says; None where it says none. `is_last`
    is False for the first of several, which may have only a part of the output (Anthropic's)."""
    if not _OPENAI.isdisjoint(said):
        usage = _openai(said)
    elif (another := next(filter(said.__contains__, _OTHERS), None)) is not None:
        usage = _OTHERS[another](said)
    else:
        usage = _anthropic(said, is_last)
    known = usage.input is not None or usage.output is not None
    return usage if known or usage.cached is not None else None


def usage_of_timings(said: dict[str, Any]) -> Usage | None:
    """The usage that llama.cpp's "timings" say: `prompt_n` is what was not in its cache, of which
    versions before the middle of 2025 say nothing."""
    made, fresh, cached = (_count(said, name) for name in ("predicted_n", "prompt_n", "cache_n"))
    taken = None if fresh is None or cached is None else fresh + cached
    return None if made is None else Usage(taken, made, cached, None, True)


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
        said_so = (_count(said, name) for name in _CACHED)
        cached = max((count for count in said_so if count is not None), default=None)
    return _usage((taken, made, cached, reasoning, True, _cost(said.get("cost"))))


def _anthropic(said: dict[str, Any], is_final: bool) -> Usage:
    """Its input is what was neither read from the cache nor written to it. Where the server made a
    summary of the request before, that is in none of these figures, but in `iterations`."""
    taken, made, read = _of_claude(said)
    iterations = said.get("iterations")
    for each in iterations if type(iterations) is list else ():
        if type(each) is dict and each.get("type") == "compaction":
            more = _of_claude(each)
            taken, made, read = (
                a if b is None else (a or 0) + b
                for a, b in zip((taken, made, read), more, strict=True)
            )
    thought = _count(said.get("output_tokens_details"), "thinking_tokens")
    return Usage(taken, made, read, thought, is_final)


def _of_claude(said: dict[str, Any]) -> tuple[int | None, int | None, int | None]:
    """Input, output, and what of the input was read from the cache."""
    read, fresh = _count(said, "cache_read_input_tokens"), _count(said, "input_tokens")
    if fresh is not None:
        fresh += (read or 0) + (_count(said, "cache_creation_input_tokens") or 0)
    return fresh, _count(said, "output_tokens"), read


def _gemini(said: dict[str, Any]) -> Usage:
    """What is 0 is left out. What its own tools found is read by the model, too."""
    taken = _sum(said, "promptTokenCount", "toolUsePromptTokenCount")
    made = _sum(said, "candidatesTokenCount", "thoughtsTokenCount")
    thought = _count(said, "thoughtsTokenCount")
    return Usage(taken, made or 0, _count(said, "cachedContentTokenCount"), thought, True)


def _converse(said: dict[str, Any]) -> Usage:
    """Bedrock's, which counts the input as Anthropic does."""
    taken = _sum(said, "inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    return Usage(
        taken, _count(said, "outputTokens"), _count(said, "cacheReadInputTokens"), None, True
    )


def _cohere(said: dict[str, Any]) -> Usage:
    """What is billed, which is less than the model has read and written; what was cached of that
    is no part of it."""
    units = said.get("billed_units") or said.get("tokens")
    return Usage(_count(units, "input_tokens"), _count(units, "output_tokens"), None, None, True)


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
