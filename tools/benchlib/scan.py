"""The part `scan`: what a scan of a whole request costs, and whether malformed bodies are told.

`validation` is everything but the scoring of texts; `scanner` is all of it, as the proxy has it. A
later turn is a conversation whose turn before was scanned. The bodies are of
../shared/data/scanner; where that is not, the part says so and measures nothing.
"""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import corpora

from m2mproxy.cli.guard import build
from m2mproxy.config import Security
from m2mproxy.guard.finding import Finding
from m2mproxy.guard.scanner import Scanner
from m2mproxy.guard.scorer import Looked

from .results import Results, Row, Target
from .servers import Bench

DATA = Path(__file__).parents[3] / "shared" / "data" / "scanner"
KiB = 1024
SCANNER, VALIDATION = COLUMNS = "scanner", "validation"
_ROUNDS = 5

FIRST = "first scan"
LATER = "later turns"
SMALL = Row("scan", "a request of 1 KiB, first scan", "µs", 1)
SHARE = Row("scan", "conversations of agents: later turns, of the first scan", "%", 1)
FOUND = Row("scan", "malformed bodies that are refused", "%", 1)
ALARMS = Row("scan", "good bodies that are refused as malformed", "%", 1)
MEMORY = Row("scan", "memory that a scanner takes", "MiB", 1)


def cost_row(kind: str, what: str) -> Row:
    return Row("scan", f"{kind}: {what}", "µs/KiB", 2)


AGENTS, FILES, CHATS, LANGUAGES = "agents", "files of code and docs", "chats", "other languages"
KINDS = {
    FILES: ("code_file", "docs"),
    CHATS: ("chat", "code", "trigger_hard"),
    LANGUAGES: ("multilingual",),
}


class _Nothing:
    """A scorer that finds nothing, at no cost."""

    def score(self, texts: Sequence[tuple[str, str]]) -> list[tuple[Finding, ...]]:
        return [()] * len(texts)

    def look(self, texts: Sequence[tuple[str, str]]) -> Looked:
        return Looked(0, lambda: self.score(texts))


def _rows(name: str) -> list[dict[str, Any]]:
    return corpora.read(DATA / f"{name}.jsonl.zst")


def measure(bench: Bench) -> None:
    if not DATA.is_dir():
        print(f"scan: {DATA} is not there; skipped", file=sys.stderr)
        return
    results = bench.results
    results.notes["scan"] = "one process, no thread; the least of some rounds"
    _malformed(results)
    texts: dict[str, list[str]] = {}
    for row in _rows("dev"):
        if row["label"] == 0:
            texts.setdefault(row["category"], []).append(row["text"])
    share = 24 if bench.short else 1
    for kind, categories in KINDS.items():
        each = [text for category in categories for text in texts.get(category, ())]
        _cost(results, kind, [_asked(text) for text in each[::share]])
    _small(results)
    _conversations(results, texts["agent_request"][:: min(share, 8)])
    _memory(results)


def _asked(text: str) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": True}
    return json.dumps(body, ensure_ascii=False).encode()


@cache
def _scanners() -> dict[str, Callable[[], Scanner]]:
    scorer = build(Security())._scorer  # loaded once, as in a proxy: it takes seconds
    return {
        SCANNER: lambda: Scanner(scorer, cache=1_000_000),
        VALIDATION: lambda: Scanner(_Nothing(), cache=1_000_000),
    }


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _scan_all(scanner: Scanner, bodies: Iterable[bytes]) -> None:
    for body in bodies:
        scanner.read(body).verdict()


def _cost(results: Results, kind: str, bodies: list[bytes]) -> None:
    size = sum(map(len, bodies)) / KiB
    for name, make in _scanners().items():
        least = min(_seconds(lambda: _scan_all(make(), bodies)) for _ in range(_ROUNDS))  # noqa: B023
        results.add(cost_row(kind, FIRST), name, least * 1e6 / size)


def _small(results: Results) -> None:
    words = "The quick brown fox asks how a proxy could know what it is told. "
    body = _asked((words * 20)[: KiB - 80])
    for name, make in _scanners().items():
        least = min(_seconds(lambda: _scan_all(make(), [body])) for _ in range(50))  # noqa: B023
        results.add(SMALL, name, least * 1e6)


def _conversations(results: Results, texts: list[str]) -> None:
    """Each agent's request, and the one before it, which lacks the last two messages."""
    turns: list[tuple[bytes, bytes]] = []
    for text in texts:
        try:
            body = json.loads(text)
        except ValueError:
            continue
        messages = body.get("messages") if isinstance(body, dict) else None
        if isinstance(messages, list) and len(messages) >= 6 and len(text) >= 8 * KiB:
            before = {**body, "messages": messages[:-2]}
            turns.append((json.dumps(before).encode(), json.dumps(body).encode()))
    size = sum(len(body) for _, body in turns) / KiB
    for name, make in _scanners().items():
        bodies = [body for _, body in turns]
        first = min(_seconds(lambda: _scan_all(make(), bodies)) for _ in range(_ROUNDS))  # noqa: B023
        same = []
        for _ in range(_ROUNDS):
            scanner = make()
            _scan_all(scanner, bodies)
            same.append(_seconds(lambda: _scan_all(scanner, bodies)))  # noqa: B023
        grown = []
        for _ in range(_ROUNDS):
            scanner = make()
            _scan_all(scanner, [before for before, _ in turns])
            grown.append(_seconds(lambda: _scan_all(scanner, bodies)))  # noqa: B023
        results.add(cost_row(AGENTS, FIRST), name, first * 1e6 / size)
        results.add(cost_row(AGENTS, LATER + ", all known"), name, min(same) * 1e6 / size)
        results.add(cost_row(AGENTS, LATER + ", two messages new"), name, min(grown) * 1e6 / size)
        results.add(SHARE, name, 100 * min(same) / first)


def _malformed(results: Results) -> None:
    for name, make in _scanners().items():
        told: dict[int, list[bool]] = {0: [], 1: []}
        for row in _rows("malformed"):
            verdict = make().read(_body(row)).verdict()
            told[row["label"]].append(
                any(each.finding.category == "malformed_input" for each in verdict.over)
            )
        results.add(FOUND, name, 100 * sum(told[1]) / len(told[1]))
        results.add(ALARMS, name, 100 * sum(told[0]) / len(told[0]))


def _body(row: dict[str, Any]) -> bytes:
    if "raw_b64" in row:
        return base64.b64decode(row["raw_b64"])
    return b"".join(base64.b64decode(piece) * count for piece, count in row["parts"])


_WEIGH = """
import re
from m2mproxy.service import server
from m2mproxy.config import Security
def resident():
    return int(re.search(r"VmRSS:\\s*(\\d+)", open("/proc/self/status").read())[1])
before = resident()
from m2mproxy.cli.guard import build
scanner = build(Security())
for _ in range(50):
    scanner.read(b'{"prompt":"how are you?"}').verdict()
print(resident() - before)
"""


def _memory(results: Results) -> None:
    """Beside a program that has everything else."""
    command = [sys.executable, "-c", _WEIGH]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    results.add(MEMORY, SCANNER, int(done.stdout) / KiB)


def targets(results: Results) -> list[Target]:
    def value(row: Row) -> float | None:
        return results.value(row, SCANNER)

    kinds = (FILES, CHATS, AGENTS)
    return [
        *(
            Target(f"first scan of {kind}", value(cost_row(kind, FIRST)), 40, "µs/KiB")
            for kind in kinds
        ),
        Target("first scan of 1 KiB", value(SMALL), 200, "µs"),
        Target("later turns of agents, of the first scan", value(SHARE), 10, "%"),
        Target("malformed bodies refused", value(FOUND), 100, "%", at_most=False),
        Target("good bodies refused as malformed", value(ALARMS), 0, "%"),
        Target("memory of a scanner", value(MEMORY), 20, "MiB"),
    ]
