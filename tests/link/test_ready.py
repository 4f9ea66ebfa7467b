"""What is made ready for the next turn of a conversation, on both ends."""

from __future__ import annotations

import random
from typing import Any

import pytest
from conversations import Ends, Sent, body, ends, said, words

from m2mproxy.codec.zstd import ReadyPacker, pack_with
from m2mproxy.link.use import Use

PARTS = [
    said("assistant" if number % 2 else "user", words(random.Random(number), 700))
    for number in range(20)
]


def turn(count: int, *, start: int = 0, **more: object) -> bytes:
    return body([said("system", f"prompt {start}"), *PARTS[start : start + count]], **more)


def talked(link: Ends, start: int = 0) -> Sent:
    """A conversation of two turns."""
    link.exchange(turn(1, start=start, tools=["t"]), [PARTS[start + 1]])
    return link.exchange(turn(3, start=start, tools=["t"]), [PARTS[start + 3]])


def is_ready(sent: Sent) -> tuple[bool, bool]:
    assert sent.entry is not None and sent.kept is not None
    return sent.entry.ready is not None, sent.kept.ready is not None


def unready(sent: Sent) -> None:
    assert sent.entry is not None and sent.kept is not None
    sent.entry.ready = sent.kept.ready = None


def test_from_the_second_reply_on_both_ends_are_ready() -> None:
    link = ends()
    first = link.exchange(turn(1, tools=["t"]), [PARTS[1]])
    assert is_ready(first) == (False, False)
    second = link.exchange(turn(3, tools=["t"]))
    assert is_ready(second) == (True, True)
    link.replied(second, [PARTS[3]])
    assert is_ready(second) == (True, True)


@pytest.mark.parametrize("edge_is", [True, False])
@pytest.mark.parametrize("core_is", [True, False])
def test_what_crosses_does_not_depend_on_who_was_ready(edge_is: bool, core_is: bool) -> None:
    link, other = ends(), ends()
    unready(talked(other))
    before = talked(link)
    assert before.entry is not None and before.kept is not None
    if not edge_is:
        before.entry.ready = None
    if not core_is:
        before.kept.ready = None
    text = turn(5, tools=["t"])
    sent = link.exchange(text)
    assert sent.message == other.exchange(text).message
    assert sent.crossing.use == Use(True, True, sent.crossing.use.tail, where_before=True)
    assert is_ready(before) == (False, False)


NEXT: dict[str, dict[str, Any]] = {
    "without the reply": {"messages": [said("system", "prompt 0"), *PARTS[:3], PARTS[6]]},
    "after a reply that was changed": {
        "messages": [said("system", "prompt 0"), *PARTS[:3], said("assistant", "x"), PARTS[6]]
    },
    "from the first turn on": {"messages": [said("system", "prompt 0"), PARTS[0], PARTS[8]]},
    "much": {"messages": [said("system", "prompt 0"), *PARTS[:4], *PARTS * 3]},
    "with more tools": {
        "messages": [said("system", "prompt 0"), *PARTS[:5]], "tools": ["t", "u"]
    },
}


@pytest.mark.parametrize("what", NEXT)
def test_another_turn_than_the_expected_one_crosses_as_if_nothing_was_ready(what: str) -> None:
    text = body(**{"tools": ["t"], **NEXT[what]})
    link, other = ends(), ends()
    talked(link)
    unready(talked(other))
    assert link.exchange(text).message == other.exchange(text).message


def test_two_requests_that_continue_one_do_not_share_what_is_ready() -> None:
    link = ends()
    before = talked(link)
    one, two = (link.send(turn(4, tools=["t"]).replace(b"]", b',{"n":%d}]' % n, 1)) for n in (1, 2))
    assert one.crossing.base is two.crossing.base is before.entry
    assert link.receive(two) == two.crossing.look.body
    assert link.receive(one) == one.crossing.look.body


def test_a_process_is_ready_for_the_conversations_that_were_last_replied_to() -> None:
    link = ends()
    sent = [talked(link, start) for start in range(12)]
    assert [is_ready(each) for each in sent] == [(False, False)] * 4 + [(True, True)] * 8


def test_what_is_forgotten_is_not_kept_ready() -> None:
    link = ends()
    sent = talked(link)
    assert sent.entry is not None
    link.edge.unread(sent.crossing)
    link.core.end()
    assert is_ready(sent) == (False, False)


@pytest.mark.parametrize("size", [0, 1, 100, 5000, 16 * 1024])
def test_a_packer_that_is_ready_packs_as_one_that_is_not(size: int) -> None:
    text = words(random.Random(size), size).encode()
    dictionary = Use(False, True, 10).dictionary(turn(8), b"")
    assert ReadyPacker(dictionary).pack(text) == pack_with(text, dictionary)
