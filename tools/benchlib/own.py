"""The part `own`: what the link saves of sessions of one's own, and what the scanner, as it ships,
says of texts of one's own. It needs --sessions or --texts, and measures nothing without.

Texts are JSON lines, each an object: `text`, `label` (1 for an attack, 0 for what is harmless), and
a `category` by which they are reported, if there is one. A text that is itself a request's body is
scanned as that, any other as what a user says.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import corpora
import sessions

from . import link
from .results import Results, Row
from .servers import Bench

SHIPPED, COUNT = "shipped", "texts"
COLUMNS = (SHIPPED, COUNT)
_WORDS = ("false positives", "recall")


def measure(bench: Bench) -> None:
    # All is read before anything is measured.
    some = [sessions.own(path) for path in bench.sessions]
    texts = {path: list(_texts(path)) for path in bench.texts}
    if some:
        asyncio.run(link.play(bench, some))
    if texts:
        scan = _scanner()
        for path, each in texts.items():
            _scan(bench.results, path.name, each, scan)


class _Text(NamedTuple):
    text: str
    label: int
    category: str


def _texts(path: Path) -> Iterator[_Text]:
    for number, row in enumerate(corpora.read(path), 1):
        text, label = row.get("text"), row.get("label")
        if not isinstance(text, str) or label not in (0, 1):
            raise corpora.BadData(f"{path}: row {number} has no text, or no label of 0 or 1")
        yield _Text(text, label, str(row.get("category", "")))


def _scanner() -> Any:
    # Loaded here: other parts do without what it needs.
    from m2mproxy.cli.guard import build
    from m2mproxy.config import Security

    return build(Security())


def _scan(results: Results, name: str, texts: list[_Text], scanner: Any) -> None:
    stopped: Counter[tuple[str, int]] = Counter()
    seen: Counter[tuple[str, int]] = Counter()
    for each in texts:
        refused = bool(scanner.read(_asked(each.text)).verdict().refuses)
        for category in dict.fromkeys(("all", each.category)):
            seen[category, each.label] += 1
            stopped[category, each.label] += refused
    results.notes[f"own, {name}"] = "the scanner as it ships, at its default threshold"
    for (category, label), count in sorted(seen.items()):
        row = Row(f"own, {name}", f"{category or 'without a category'}: {_WORDS[label]}", "%", 2)
        results.add(row, SHIPPED, 100 * stopped[category, label] / count)
        results.add(row, COUNT, count)


def _asked(text: str) -> bytes:
    """The body that is scanned."""
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, dict) and ("messages" in whole or "input" in whole):
        return text.encode("utf-8", "surrogatepass")
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
