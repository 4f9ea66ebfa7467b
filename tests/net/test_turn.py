"""The turn of writing: what leaves in it, and what is done after that."""

from __future__ import annotations

from typing import Any

import pytest
from clock import DrivenLoop
from world import SSE_HEAD, World, chunk, get, post, reply

from m2mproxy.net.connection import LoopTurn
from m2mproxy.tokens.usage import UsageReader


class Written:
    """In place of a connection."""

    def __init__(self, done: list[Any], error: Exception | None = None) -> None:
        self._done = done
        self._error = error

    def flush(self) -> None:
        self._done.append(self)
        if self._error is not None:
            raise self._error


def test_what_nobody_waits_for_is_done_when_all_is_written() -> None:
    loop, done = DrivenLoop(), []  # type: ignore[var-annotated]
    turn = LoopTurn(loop)
    one, other = Written(done), Written(done)
    turn.add(one)  # type: ignore[arg-type]
    turn.after(lambda: done.append("first"))
    turn.after(lambda: done.append("second"))
    turn.add(other)  # type: ignore[arg-type]
    assert done == []
    while loop.turn():
        pass
    assert done == [one, other, "first", "second"]


def test_it_is_done_at_once_where_nothing_is_written() -> None:
    done: list[str] = []
    LoopTurn(DrivenLoop()).after(lambda: done.append("now"))
    assert done == ["now"]


def test_what_is_for_later_waits_for_what_is_still_to_be_written() -> None:
    loop, done = DrivenLoop(), []  # type: ignore[var-annotated]
    turn = LoopTurn(loop)
    turn.later(lambda: done.append("first"))
    one = Written(done)
    turn.add(one)  # type: ignore[arg-type]
    turn.after(lambda: done.append("second"))
    assert done == []
    while loop.turn():
        pass
    assert done == [one, "first", "second"]
    turn.later(lambda: done.append("third"))  # and nothing is written
    turn.after(lambda: done.append("fourth"))
    assert done == [one, "first", "second"]
    while loop.turn():
        pass
    assert done[3:] == ["third", "fourth"]


def test_an_event_leaves_before_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    world, written = World(), []  # type: ignore[var-annotated]
    client = world.client()
    server = client.transport.peer
    monkeypatch.setattr(UsageReader, "feed", lambda *_: written.append(len(server.writes)))
    client.send(post(b'{"model":"m"}'))
    upstream = world.upstream()
    upstream.send(SSE_HEAD)
    world.run()
    before = len(server.writes)
    for _ in range(2):
        upstream.send(chunk(b"data: {}\n\n"))
        world.run()
    assert written == [before + 1, before + 2]


def test_a_bug_in_one_holds_back_no_other() -> None:
    loop, done = DrivenLoop(), []  # type: ignore[var-annotated]
    turn = LoopTurn(loop)

    def bug() -> None:
        done.append("bug")
        raise RuntimeError

    broken, whole = Written(done, RuntimeError()), Written(done)
    turn.add(broken)  # type: ignore[arg-type]
    turn.add(whole)  # type: ignore[arg-type]
    turn.after(bug)
    turn.after(lambda: done.append("last"))
    for _ in range(2):
        with pytest.raises(RuntimeError):
            turn._end()
    turn._end()
    assert done == [broken, whole, "bug", "last"]


def test_a_reply_is_written_before_the_books_are_kept() -> None:
    world = World()
    client = world.client()
    written: list[int] = []
    server = client.transport.peer
    world.proxy._on_end = lambda _: written.append(len(server.writes))
    client.send(get())
    world.upstream().send(reply(b"[]"))
    world.run()
    assert client.take().endswith(b"[]")
    assert written == [len(server.writes)]
