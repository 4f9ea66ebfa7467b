"""Requests that ask about a conversation, such as how many tokens it has: they refer to it, keep
what they need of their own, and the conversation goes on as if there were none."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from conversations import Ends, ends, words

from m2mproxy.link.edge import Isolation
from m2mproxy.link.window import Bounds

Json = dict[str, Any]
RNG = random.Random(7)
SYSTEM = words(RNG, 6000)
TOOLS = [{"name": name, "description": words(RNG, 2000)} for name in "fghi"]


def written(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def turn(messages: list[Json]) -> bytes:
    """As an agent asks for a reply."""
    return written({"model": "m", "messages": messages, "system": SYSTEM, "tools": TOOLS})


def count(messages: list[Json]) -> bytes:
    """And for the number of tokens: without the prompt."""
    return written({"model": "m", "messages": messages, "tools": TOOLS})


def talk(turns: int, calls: bool) -> Iterator[tuple[list[Json], Json]]:
    """Messages, and the reply to them."""
    rng = random.Random(turns)
    messages: list[Json] = [{"role": "user", "content": [_text(rng, 300)]}]
    for _ in range(turns):
        call = f"toolu_{rng.getrandbits(80):x}"
        block = _text(rng, 200)
        if calls:
            block = {"type": "tool_use", "id": call, "name": "f", "input": {"q": words(rng, 20)}}
        reply = {"role": "assistant", "content": [block]}
        yield list(messages), reply
        result = _text(rng, 3000)
        if calls:
            result = {"type": "tool_result", "tool_use_id": call, "content": words(rng, 3000)}
        messages += [reply, {"role": "user", "content": [result]}]


def _text(rng: random.Random, size: int) -> Json:
    return {"type": "text", "text": words(rng, size)}


def play(both: Ends, calls: bool, counts: bool, turns: int = 6) -> tuple[list[int], list[int]]:
    """The sizes of the turns, and of what was asked before each."""
    sizes: tuple[list[int], list[int]] = [], []
    for messages, reply in talk(turns, calls):
        if counts:
            sizes[1].append(len(both.exchange(count(messages), aside=True).message))
        sizes[0].append(len(both.exchange(turn(messages), [reply]).message))
    return sizes


@pytest.mark.parametrize("isolation", list(Isolation))
@pytest.mark.parametrize("calls", [True, False])
def test_the_conversation_goes_on_as_if_nobody_asked(calls: bool, isolation: Isolation) -> None:
    alone, _ = play(ends(isolation=isolation), calls, counts=False)
    turns, counts = play(ends(isolation=isolation), calls, counts=True)
    assert [abs(a - b) < 4 for a, b in zip(turns[1:], alone[1:], strict=True)] == [True] * 5
    # What is new twice, and the reply, which is known only where it is part of the conversation.
    assert all(a < b + 260 for a, b in zip(counts[2:], alone[2:], strict=True))


@pytest.mark.parametrize("calls", [True, False])
def test_of_a_conversation_two_bodies_are_kept(calls: bool) -> None:
    both = ends()
    play(both, calls, counts=True, turns=12)
    for window in (both.edge._window, both.core._window):
        assert len(window) <= 4  # and what each was made after, until the next one is
        assert len({len(entry.body) for entry in window._all.entries.values()}) == len(window)


@pytest.mark.parametrize("calls", [True, False])
def test_the_first_one_refers_to_the_conversation_and_leaves_it_there(calls: bool) -> None:
    both = ends()
    for messages, reply in talk(3, calls):
        last = both.exchange(turn(messages), [reply])
    asked = both.exchange(count(messages), aside=True)
    most = 500 if calls else 1500  # without a call's id what is less than a block crosses again
    assert len(asked.message) < most < len(count(messages)) / 9
    assert last.entry is not None and not asked.crossing.use.replaces
    assert both.edge._window.get(last.number) is last.entry
    assert both.core._window.get(last.number) is not None
    again = both.exchange(count(messages), aside=True)
    assert len(again.message) < 20
    assert again.crossing.use.replaces and again.crossing.base is asked.entry


def test_a_conversation_that_begins_with_a_question_borrows_from_it() -> None:
    both = ends()
    messages, reply = next(talk(1, calls=True))
    both.exchange(count(messages), aside=True)
    begun = both.exchange(turn(messages), [reply])
    assert begun.crossing.use.runs and not begun.crossing.use.replaces
    fresh = ends().exchange(turn(messages), [reply])
    assert len(begun.message) < len(fresh.message) * 0.75


def test_marks_of_what_is_cached_may_move_in_both() -> None:
    both, sizes = ends(), []
    for messages, reply in talk(6, calls=True):
        last = messages[-1]
        marked = [last["content"][0] | {"cache_control": {"type": "ephemeral"}}]
        shown = [*messages[:-1], last | {"content": marked}]
        asked = both.exchange(count(shown), aside=True)
        made = both.exchange(turn(shown), [reply])
        sizes.append((len(asked.message), len(made.message)))
    assert all(max(each) < 2400 for each in sizes[2:])  # 3000 letters are 1900
    assert len(both.core._window) <= 4


def test_what_is_asked_with_the_very_same_body_costs_next_to_nothing() -> None:
    both = ends()
    for number, (messages, reply) in enumerate(talk(5, calls=True)):
        body = turn(messages)
        made = both.exchange(body, [reply])
        asked = both.exchange(body, aside=True)
        if number:
            assert len(asked.message) < 2600
        assert made.entry is not None and made.entry.body == body


def test_a_small_window_forgets_what_is_aside_like_everything_else() -> None:
    bounds = Bounds(scope=80_000, connection=80_000)
    both = ends(bounds)
    for messages, reply in talk(8, calls=True):
        both.exchange(count(messages), aside=True)
        both.exchange(turn(messages), [reply])
    assert both.edge.size <= 80_000 and both.core.size <= 80_000
