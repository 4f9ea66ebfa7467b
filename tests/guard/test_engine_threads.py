"""Threads that scan at once: the event loop scores what is small, threads what is large."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from m2mproxy.guard.engine import Engine


def test_threads_scan_at_once_and_find_the_same() -> None:
    engine = Engine(lambda: ([["needle"], ["hay{3}"]], [["n.e"]]))
    text = b"hayyy " * 40_000 + b"needle"
    expected = engine.scan(text)
    assert (0, len(text)) in expected and len(expected) == 3
    with ThreadPoolExecutor(8) as threads:
        assert all(found == expected for found in threads.map(engine.scan, [text] * 200))
