"""What a body has in common with others than its own conversation's."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from conversations import body, said, words

from m2mproxy.link import borrow
from m2mproxy.link.borrow import Other, Places, Survey, places
from m2mproxy.link.match import BLOCK
from m2mproxy.link.window import Entry

rng = random.Random(2)
parts = [said("user", words(rng, 1500)) for _ in range(12)]


def entry(number: int, content: bytes) -> Entry:
    return Entry(number, b"scope", content)


def survey(
    text: bytes,
    entries: Iterable[Entry],
    known: dict[Entry, Places] | None = None,
    nearest: Entry | None = None,
    in_blocks: bool = True,
) -> Survey:
    known = known or {}
    others = [Other(each, each.body, known.get(each)) for each in entries]
    made = Survey(text, nearest, others, in_blocks)
    made.find()
    return made


def conversations() -> list[Entry]:
    return [
        entry(1, body([said("system", "a"), *parts[:4]])),
        entry(3, body([said("system", "b"), *parts[:8]])),
        entry(5, body([said("system", "c"), *parts[6:]])),
    ]


NEW = body([said("system", "it is 10:31"), *parts[:8], said("user", "x")])
STRANGE = body([said("user", words(rng, 5000))])


def test_the_vote_goes_to_whoever_has_most_of_the_messages() -> None:
    entries = conversations()
    made = survey(NEW, entries)
    assert made.best is entries[1]
    for run in made.runs:
        for at in range(run.start, run.end, BLOCK):
            assert entries[1].body[at : at + BLOCK] in NEW
    assert sum(run.blocks for run in made.runs) >= 8
    assert survey(STRANGE, entries).best is None


def test_who_has_no_vote_can_be_the_nearest() -> None:
    one, other = entry(1, NEW[:5000]), entry(3, STRANGE)
    assert survey(NEW, [other], nearest=one).best is one
    made = survey(NEW, [], nearest=one)
    assert (made.best, made.runs) == (one, [(0, 4)])
    assert survey(NEW, [], nearest=one, in_blocks=False).runs == []


def test_a_message_is_no_vote_without_the_block_that_follows() -> None:
    one = entry(1, body([said("user", "x"), said("user", words(rng, 100)), *parts[:2]]))
    shared = one.body[: one.body.index(b"},{") + 600]
    assert survey(shared + words(rng, 3000).encode(), [one]).best is None


def test_what_is_known_is_not_looked_for_again() -> None:
    entries = conversations()
    first = survey(NEW, entries)
    assert [each for each, _ in first.learnt] == entries
    assert first.work == len(NEW) + sum(len(each.body) for each in entries)
    again = survey(NEW, entries, dict(first.learnt))
    assert (again.best, again.runs, again.learnt) == (first.best, first.runs, [])
    assert again.work == len(NEW)


def test_an_entry_that_goes_meanwhile_is_as_it_was() -> None:
    """The window clears it, perhaps in the middle of it all."""
    entries = conversations()
    others = [Other(each, each.body, None) for each in entries]
    made = Survey(NEW, None, others, True)
    for each in entries:
        each.clear()
    made.find()
    assert made.best is entries[1] and made.runs


def test_so_much_is_looked_through_and_the_rest_with_the_next_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = conversations()[::-1]
    most = max(len(each.body) for each in entries) + 100
    monkeypatch.setattr(borrow, "_MOST_AT_ONCE", most)
    known: dict[Entry, Places] = {}
    best = []
    for _ in range(3):
        made = survey(NEW, entries, known)
        assert made.work <= len(NEW) + most
        best.append(made.best)
        known.update(made.learnt)
    assert best == [entries[0], entries[1], entries[1]]
    assert len(known) == 3


def test_of_many_small_messages_the_same_ones_are_places_in_all_bodies() -> None:
    """So a shared part is found whatever is around it, though not each of its messages counts."""
    small = [said("user", words(rng, rng.randrange(10, 60))) for _ in range(1500)]
    one, other = body(small), body([said("system", "x" * 500), *small[300:], *parts])
    for text in (one, other):
        found = places(text)
        assert len(found) == len(text) // BLOCK
        assert all(hash(text[at : at + BLOCK]) == mark for mark, at in found.items())
    assert len(places(one).keys() & places(other).keys()) > len(one) // BLOCK // 2
    made = survey(other, [entry(1, one)])
    assert sum(run.blocks for run in made.runs) >= len(body(small[300:])) // BLOCK - 1


def tools_behind(text: str, tools: str) -> bytes:
    return b'{"messages":[{"role":"user","content":"%b"}],"system":"%b"}' % (
        text.encode(), tools.encode()
    )


def test_what_stands_behind_the_messages_of_another_conversation_is_borrowed() -> None:
    """It begins with nothing that is the same, and has no list of which a message could vote."""
    same, other = words(rng, 9000), words(rng, 9000)
    entries = [
        entry(1, tools_behind("one" * 100, other)),
        entry(3, tools_behind("two" * 100, same)),
        entry(5, tools_behind("three" * 100, words(rng, 9000))),
    ]
    text = tools_behind("a" * 333, same)
    made = survey(text, entries)
    assert made.best is entries[1]
    assert sum(run.blocks for run in made.runs) == 8
    near = survey(text, entries, nearest=entries[0])
    assert near.best is entries[1]
    assert survey(text, entries[:1]).best is None


@pytest.mark.parametrize("guess", [True, False])
def test_less_than_a_block_at_the_end_does_not_decide_what_is_borrowed(guess: bool) -> None:
    """One entry has a block in front, one just less than a block at the end: a guess adds to it."""
    front = words(rng, BLOCK)
    end = words(rng, BLOCK - 8)
    one, two = front + words(rng, 2000), words(rng, 2000) + "4711" + end
    entries = [entry(1, one.encode()), entry(3, two.encode())]
    text = front + words(rng, 500) + ("4711" if guess else "4712") + end
    made = survey(text.encode(), entries, nearest=entries[0])
    assert made.best is entries[0]
    assert [run.blocks for run in made.runs] == [1]


def test_a_prompt_in_which_something_changes_is_borrowed_around_it() -> None:
    """It is no list of messages, and what is new is of another length."""
    one, two = "\n\n".join(words(rng, 1500) for _ in range(3)), words(rng, 5000)
    old = body([said("system", f"{words(rng, 300)}\n\n{one}\n\nIt is 9:59.\n\n{two}\n\nGo.")])
    new = body([said("system", f"{words(rng, 500)}\n\n{one}\n\nIt is 10:00.\n\n{two}\n\nNo.")])
    made = survey(new, [entry(1, old)])
    assert len(made.runs) == 2
    assert sum(run.blocks for run in made.runs) >= 7


def test_an_image_is_borrowed_wherever_it_stands() -> None:
    image = f"data:image/png;base64,{rng.randbytes(6000).hex()}"
    old = b'{"a":"what?","url":"%b"}' % image.encode()
    new = b'{"input":[{"b":"is this","image_url":"%b","c":1}]}' % image.encode()
    assert sum(run.blocks for run in survey(new, [entry(1, old)]).runs) >= 10
