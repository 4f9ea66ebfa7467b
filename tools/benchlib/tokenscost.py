"""Speed and memory of counting, for the part `tokens`.

Memory is that of processes of their own: one that loads a vocabulary, and one that loads all that
are installed and then forks four workers, which count at the same time. What pages they share is
told by Pss, in which a page counts for each process by its share.
"""

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from m2mproxy.tokens.count import Counter
from m2mproxy.tokens.estimate import Classifier, features_of
from m2mproxy.tokens.known import KNOWN
from m2mproxy.tokens.pieces import count
from m2mproxy.tokens.vocabulary import is_installed, load, load_to_count, preload

from .results import Results, Row, Target
from .servers import Bench

PART = "tokens"
CLASSES, CHARACTERS, TOGETHER = "by o200k", "characters", "all"
COLUMNS = (CLASSES, CHARACTERS, TOGETHER)

SPEED = Row(PART, "English, code and JSON, 4 KiB at a time", "MB/s", 1)
LOAD = Row(PART, "to load", "ms")
RESIDENT = Row(PART, "loaded, resident", "MiB more")
ALONE = Row(PART, "preloaded and trimmed, a process", "MiB")
SHARED = Row(PART, "the same and 4 workers that count, together", "MiB")
EACH = Row(PART, "a worker's own pages", "MiB", 1)

MIB = 1 << 20
_WORKERS = 4
_REPEAT = 3
_SIZE = 4096


def request_row(size: int) -> Row:
    return Row(PART, f"a request of {size // 1024} KiB", "µs")


def measure(bench: Bench, texts: Sequence[str]) -> None:
    results = bench.results
    whole = "\n".join(texts)[: 200_000 if bench.short else 1_000_000]
    parts = [whole[at : at + _SIZE] for at in range(0, len(whole), _SIZE)]
    installed = [name for name in KNOWN if is_installed(name)]
    for name in installed:
        encoding = load_to_count(name)
        _speed(results, name, parts, lambda text, encoding=encoding: count(encoding, text))  # type: ignore[misc]
        _memory_of_one(results, name)
    _speed(results, CLASSES, parts, Classifier(load("o200k")).count)
    _speed(results, CHARACTERS, parts, features_of)
    _requests(results, whole)
    _memory_of_all(results, installed)


def _speed(
    results: Results, column: str, parts: Sequence[str], work: Callable[[str], object]
) -> None:
    def once() -> float:
        start = time.perf_counter()
        for part in parts:
            work(part)
        return time.perf_counter() - start

    size = sum(len(part.encode()) for part in parts)
    results.add(SPEED, column, size / min(once() for _ in range(_REPEAT)) / 1e6)


def _requests(results: Results, text: str) -> None:
    """Whole requests of exact and of estimated models, parsed already."""
    counter = Counter(preload(["o200k"]))
    bare = Counter({})
    for size in (2 * 1024, 100 * 1024):
        turns = [text[at : at + 1000] for at in range(0, size, 1000)]
        body = {"messages": [{"role": "user", "content": turn} for turn in turns]}
        for column, how, model in (
            ("o200k", counter, "gpt-4o"),
            (CLASSES, counter, "claude-sonnet-4-5"),
            (CHARACTERS, bare, "claude-sonnet-4-5"),
        ):
            best = float("inf")
            for _ in range(10):
                start = time.perf_counter()
                how.request(body, model)
                best = min(best, time.perf_counter() - start)
            results.add(request_row(size), column, best * 1e6)


# ---- memory -------------------------------------------------------------------------------------


def _memory_of_one(results: Results, name: str) -> None:
    seen = _in_a_process(["one", name])
    results.add(LOAD, name, seen["ms"])
    results.add(RESIDENT, name, seen["resident"] / MIB)


def _memory_of_all(results: Results, names: Sequence[str]) -> None:
    seen = _in_a_process(["all", *names])
    results.add(ALONE, TOGETHER, seen["alone"] / MIB)
    results.add(SHARED, TOGETHER, seen["shared"] / MIB)
    results.add(EACH, TOGETHER, seen["each"] / MIB)


def _in_a_process(arguments: Sequence[str]) -> dict[str, Any]:
    root = Path(__file__).parents[2]
    path = os.pathsep.join((str(root), str(root / "tools"), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, "-m", "benchlib.tokenscost", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        check=True,
    )
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def _of(pid: int, key: str) -> int:
    """Bytes, of a line of smaps_rollup."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith(f"{key}:"))
    return int(found.split()[1]) * 1024


def _one(name: str) -> dict[str, float]:
    before = _of(os.getpid(), "Rss")
    start = time.perf_counter()
    load_to_count(name)
    seconds = time.perf_counter() - start
    return {"ms": seconds * 1e3, "resident": _of(os.getpid(), "Rss") - before}


def _all(names: Sequence[str]) -> dict[str, float]:
    """As a service would: loaded, trimmed, frozen, forked."""
    loaded = preload(names)
    ctypes.CDLL(None).malloc_trim(0)
    gc.collect()
    gc.freeze()
    alone = _of(os.getpid(), "Pss")
    text = "The quick brown fox jumps over 12345 lazy dogs. Voilà: 日本語 😀\n" * 400
    ready, done = os.pipe(), os.pipe()
    workers = []
    for _ in range(_WORKERS):
        pid = os.fork()
        if pid == 0:
            for encoding in loaded.values():
                count(encoding, text)
            os.write(ready[1], b"x")
            os.close(done[1])
            os.read(done[0], 1)  # until the parent has looked
            os._exit(0)
        workers.append(pid)
    for _ in workers:
        os.read(ready[0], 1)
    shared = sum(_of(pid, "Pss") for pid in (*workers, os.getpid()))
    each = sum(_of(pid, "Private_Dirty") for pid in workers) / len(workers)
    os.close(done[1])
    for pid in workers:
        os.waitpid(pid, 0)
    return {"alone": alone, "shared": shared, "each": each}


def targets(results: Results) -> list[Target]:
    return [Target(EACH.name, results.value(EACH, TOGETHER), 8, "MiB")]


if __name__ == "__main__":
    what, *which = sys.argv[1:]
    print(json.dumps(_one(which[0]) if what == "one" else _all(which)))
