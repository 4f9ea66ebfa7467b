"""Edits make the new body of the old one, whatever the two are; where an application has changed
little they are few."""

from __future__ import annotations

import random
from typing import Any

import pytest
from conversations import Searched, body, said, words
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.link.edits import MOST_EDITS, Edit, edits

rng = random.Random(5)
TALK = [said(role, words(rng, 700)) for _ in range(8) for role in ("user", "assistant")]
NEW = [said("user", words(rng, 300)), said("assistant", words(rng, 40)), said("user", "Go on.")]
PROMPT = words(rng, 3000)


def applied(old: bytes, new: bytes) -> bytes:
    """The new body, of the old one and what the edits say of the new one."""
    out, at_old, at_new = b"", 0, 0
    for kept, dropped, added in edits(old, new):
        out += old[at_old : at_old + kept] + new[at_new + kept : at_new + kept + added]
        at_old += kept + dropped
        at_new += kept + added
    assert at_old <= len(old) and at_new <= len(new)
    return out + old[at_old:]


def at(clock: str, messages: list[dict[str, Any]], last: bool = False) -> bytes:
    """A body with the time in its prompt, which is in front of the messages, or behind them."""
    prompt = f"It is {clock}. {PROMPT}"
    if last:
        return body(messages, max_tokens=100, system=[{"type": "text", "text": prompt}])
    return body([said("system", prompt), *messages])


def sizes(old: bytes, new: bytes) -> list[tuple[int, int]]:
    assert applied(old, new) == new
    return [(edit.dropped, edit.added) for edit in edits(old, new)]


def length(messages: list[dict[str, Any]]) -> int:
    """How many bytes more a body has by these."""
    return len(body([*TALK, *messages])) - len(body(TALK))


@pytest.mark.parametrize("last", [False, True])
def test_the_time_in_the_prompt_is_an_edit_of_its_own(last: bool) -> None:
    found = sizes(at("09:41", TALK, last), at("09:42", [*TALK, *NEW], last))
    assert sorted(found) == [(0, length(NEW)), (1, 1)]


def test_what_is_left_out_of_a_history_is_dropped() -> None:
    found = sizes(body([TALK[0], *TALK[3:]]), body([TALK[0], *TALK[5:], *NEW]))
    assert found == [(length(TALK[3:5]), 0), (0, length(NEW))]


def test_the_results_that_are_cleared_are_an_edit_each() -> None:
    few = [said("user", "[cleared]") if at in (4, 10) else each for at, each in enumerate(TALK)]
    found = sizes(body(TALK), body([*few, *NEW]))
    assert len(found) == 3
    assert sum(added for _, added in found) < length(NEW) + 40


def test_a_mark_that_moves_is_an_insertion_and_two_of_them_an_edit_more() -> None:
    def marked(messages: list[dict[str, Any]], *last: int) -> bytes:
        texts = [{"type": "text", "text": each["content"]} for each in messages]
        for each in last:
            texts[each]["cache_control"] = {"type": "ephemeral"}
        return body([{"role": "user", "content": [text]} for text in texts])

    (one,) = sizes(marked(TALK, -1), marked([*TALK, *NEW], -1))
    assert not one[0]
    found = sizes(marked(TALK, -1, -2), marked([*TALK, *NEW], -1, -2))
    assert sum(dropped for dropped, _ in found) < 50
    assert sum(added for _, added in found) < one[1] + 200


def test_what_has_nothing_in_common_is_one_edit() -> None:
    assert edits(b"abc", b"xyz") == (Edit(0, 3, 3),)
    assert edits(b"", b"") == edits(b"", b"")[:1] == (Edit(0, 0, 0),)
    assert edits(b"same", b"same") == (Edit(4, 0, 0),)


def test_too_many_are_none() -> None:
    many = [said("user", f"{at} {words(rng, 150)}") for at in range(MOST_EDITS + 2)]
    changed = [said("user", each["content"][:-1] + "!") for each in many]
    assert edits(body(many), body(changed)) == ()
    assert len(edits(body(many[2:]), body(changed[2:]))) == MOST_EDITS


text = st.text(alphabet='{},"ab', max_size=60).map(str.encode)


@given(st.lists(text, max_size=8), st.lists(text, max_size=8))
def test_they_always_make_the_new_body(some: list[bytes], others: list[bytes]) -> None:
    old, new = b"},{".join(some), b"},{".join(others)
    if edits(old, new):
        assert applied(old, new) == new


@given(st.lists(text.map(lambda each: each * 3), min_size=3, max_size=12), st.data())
def test_they_make_a_body_that_was_changed_here_and_there(
    some: list[bytes], data: st.DataObject
) -> None:
    places = data.draw(st.sets(st.integers(0, len(some) - 1), max_size=3))
    others = [data.draw(text) if at in places else each for at, each in enumerate(some)]
    old, new = b"},{".join(some), b"},{".join(others)
    assert applied(old, new) == new


@pytest.mark.parametrize("seam", [b',{"', b'],"'])
def test_a_body_that_has_only_one_kind_of_seam_is_searched_once_for_the_other(seam: bytes) -> None:
    texts = [words(rng, 300).replace(" ", "").encode() for _ in range(60)]
    changed = list(texts)
    changed[::2] = [b"It is another" for _ in texts[::2]]
    rest = b"," * 500_000
    old = b'{"a":"' + seam.join(texts) + rest
    new = Searched(b'{"a":"' + seam.join(changed) + rest + b"}")
    assert len(edits(old, new)) == 31
    assert new.count < 4 * len(new)


def test_the_interpreter_is_not_held_by_a_search_of_all_of_a_body() -> None:
    """What nearly is in it everywhere takes 80 ms in 8 MiB."""
    old = Searched(b'{"x":1' + b"a" * 3_000_000)
    new = Searched(b'{"y":1' + b"".join([b',{"' + b"a" * 124 + b"b" for _ in range(20_000)]))
    assert len(edits(old, new)) == 1
    assert old.count > 2 * len(old)
    assert 0 < old.longest < 300_000 and 0 < new.longest < 300_000
