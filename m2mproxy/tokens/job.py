"""A job for the process that counts: the bodies of an exchange whose reply did not report its
tokens, and how they are counted.

The one rule: a job refers to bytes that have passed, and costs nothing until somebody counts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson

from m2mproxy.tokens.written import written

Chunk = bytes | memoryview


class Counted(Protocol):
    """See count.Count."""

    @property
    def tokens(self) -> int: ...
    @property
    def is_exact(self) -> bool: ...


class TokenCounter(Protocol):
    """See count.Counter."""

    def request(self, body: object, model: str) -> Counted: ...
    def answer(self, text: str, model: str) -> Counted: ...


class TokenCount(NamedTuple):
    """How many, and whether that is just so."""

    number: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Job:
    """`asked` are the chunks of the request's body, `replied` those of the reply, as far as it
    came; None where they need not be counted. The sizes are their bytes. `events` is whether the
    reply is an event stream."""

    model: str
    asked: Sequence[Chunk] | None
    asked_size: int
    replied: Sequence[Chunk] | None
    replied_size: int
    events: bool

    @classmethod
    def of(
        cls,
        model: str,
        asked: Sequence[Chunk] | None,
        replied: Sequence[Chunk] | None,
        events: bool,
    ) -> Job:
        """With the sizes taken, which is work where there are thousands of chunks."""
        sizes = (sum(map(len, asked or ())), sum(map(len, replied or ())))
        return cls(model, asked, sizes[0], replied, sizes[1], events)


@dataclass(frozen=True, slots=True)
class Result:
    """What was counted of a job."""

    input: TokenCount | None = None
    output: TokenCount | None = None


def run(job: Job, counter: TokenCounter) -> Result:
    """Count. This takes as long as it takes, milliseconds for much text: never on the event loop.

    A request that is no JSON has no input tokens that could be known.
    """
    asked = output = None
    if job.asked is not None and (body := _parsed(b"".join(job.asked))) is not None:
        asked = _tokens(counter.request(body, job.model))
    if job.replied is not None:
        text = written(b"".join(job.replied), job.events)
        output = None if text is None else _tokens(counter.answer(text, job.model))
    return Result(asked, output)


def _tokens(counted: Counted) -> TokenCount:
    return TokenCount(counted.tokens, counted.is_exact)


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
