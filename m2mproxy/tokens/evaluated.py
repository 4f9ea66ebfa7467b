"""How many tokens a reply of Ollama's own API reports, read as its bytes pass.

It is an object in JSON, or a line with one for each piece of a stream. The last of them says at its
end how many tokens were read and written; where that was none it leaves the count out, so that what
is embedded has the first only. A prompt that was in a cache has none in older versions. Who else is
asked at these paths may say its usage as others do.

The one rule: what is read depends on nothing but the bytes, however they were cut into pieces, and
no more than MOST of them are held, beside what usage.py holds.

Sources: Ollama's API reference (chat, generate, embed) and `Metrics` in its api/types.go.
"""

from __future__ import annotations

import re
from typing import Final

from m2mproxy.tokens.usage import Usage, UsageReader

# How the paths end at which a model is asked.
CHAT: Final = (b"/api/chat", b"/api/generate")
EMBED: Final = b"/api/embed"
# The counts and times of a reply take 200 bytes at its end.
MOST: Final = 1024
# Inside a string the quotes would be escaped.
_counts = re.compile(rb'"(prompt_eval_count|eval_count)" ?: ?(\d{1,12})(?=[,}\s])').findall


class EvaluationReader:
    """Looks at one reply's plain bytes."""

    __slots__ = ("_end", "_others")

    def __init__(self, events: bool) -> None:
        """`events` tells an event stream."""
        self._end = b""
        self._others = UsageReader(events)

    def feed(self, chunk: bytes | memoryview) -> None:
        """`chunk` passed."""
        self._end = (self._end + bytes(chunk[-MOST:]))[-MOST:]
        self._others.feed(chunk)

    @property
    def usage(self) -> Usage | None:
        """What was said; None for nothing."""
        last = self._end.rstrip().rpartition(b"\n")[2]
        said = {name: int(number) for name, number in _counts(last)}
        if not said:
            return self._others.usage
        taken = said.get(b"prompt_eval_count")
        return Usage(taken, said.get(b"eval_count", 0), None, None, True)
