"""The recorded traffic of ../shared/data/corpora, by what a dictionary or a bench wants of it.

A sample's source names a project and a file of it, `project:path`. Whoever compares sizes holds out
whole projects: tests of one project repeat its prompts.
"""

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CORPORA = Path(__file__).parents[2] / "shared" / "data" / "corpora"


class Sample(NamedTuple):
    """One body."""

    source: str
    body: bytes

    @property
    def project(self) -> str:
        return project(self.source)


class Stream(NamedTuple):
    """One event stream."""

    source: str
    events: list[bytes]


def project(source: str) -> str:
    return source.partition(":")[0]


def are_there() -> bool:
    return CORPORA.is_dir()


class BadData(ValueError):
    """A file is not what it should be; says which, where, and why."""


@cache
def rows(name: str) -> list[dict[str, Any]]:
    """The rows of a corpus."""
    return read(CORPORA / f"{name}.jsonl.zst")


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; one whose name ends in .zst is compressed.

    Raises:
        BadData: a line is no JSON object, or the file is not zstd.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        text = zstd.decompress(data) if path.suffix == ".zst" else data
    except zstd.ZstdError as error:
        raise BadData(f"{path}: {error}") from None
    return [_row(path, number, line) for number, line in enumerate(text.splitlines(), 1) if line]


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadData(f"{path}: line {number}: {error}") from None
    if not isinstance(row, dict):
        raise BadData(f"{path}: line {number} is no JSON object")
    return row


def raw(body: Any) -> bytes:
    """A body as bytes; the corpora hold them as text."""
    return (body if isinstance(body, str) else json.dumps(body)).encode("utf-8", "surrogatepass")


def singles() -> list[Sample]:
    """Request bodies that stand alone."""
    return [Sample(row["source"], row["body"].encode()) for row in rows("C1")]


def turns() -> list[Sample]:
    """Request bodies of conversations: every turn holds those before it."""
    return [
        Sample(row["source"], raw(turn))
        for name in ("C2", "C3")
        for row in rows(name)
        for turn in row["turns"]
    ]


def replies() -> list[Sample]:
    """Response bodies."""
    return [Sample(row["source"], row["body"].encode()) for row in rows("C5")]


def agent_replies() -> list[Sample]:
    """Response bodies within agent sessions; streams are left out."""
    return [
        Sample(row["source"], raw(reply))
        for row in rows("C3")
        for reply in row["raw_replies"]
        if raw(reply).lstrip().startswith(b"{")
    ]


def embeddings() -> list[Sample]:
    """Bodies of embedding requests and responses."""
    return [Sample(row["source"], row["body"].encode()) for row in rows("C6")]


def streams() -> list[Stream]:
    """Event streams, an event each."""
    return [
        Stream(row["source"], [event.encode() for event in row["events"]]) for row in rows("C4")
    ]


def chat_streams() -> list[Stream]:
    """The same of the replies to chats."""
    return [
        Stream(row["source"], [raw(event) for event in reply])
        for row in rows("C2")
        for reply in row["sse"]
    ]


def contents(samples: list[Sample]) -> Iterator[Sample]:
    """The texts that models wrote, as they are spelt in JSON: later requests have them."""
    for sample in samples:
        try:
            text = json.loads(sample.body)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError):
            continue
        if isinstance(text, str) and text:
            yield Sample(sample.source, json.dumps(text, ensure_ascii=False).encode())
