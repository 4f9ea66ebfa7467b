"""After what a reply may be coded: both ends know it of every request, or nobody could read it."""

from __future__ import annotations

import random

import pytest
from conversations import ONE, Ends, Sent, body, ends, said, words

from m2mproxy.link.edge import Isolation

SYSTEM = said("system", words(random.Random(1), 5100))  # its last whole block is known
QUESTION = said("user", words(random.Random(2), 300))
ANSWER = said("assistant", words(random.Random(3), 1500))
MORE = said("user", words(random.Random(4), 300))


def asked(link: Ends) -> Sent:
    return link.exchange(body([SYSTEM, QUESTION]), [ANSWER])


def test_who_goes_on_with_a_reply_has_its_ends_on_both_sides() -> None:
    link = ends()
    first = asked(link)
    assert first.entry is not None and first.entry.ends
    assert first.crossing.ends == b""
    second = link.exchange(body([SYSTEM, QUESTION, ANSWER, MORE]))
    assert second.crossing.ends.startswith(b'[{"role": "assistant"')


@pytest.mark.parametrize("isolation", [Isolation.BLOCK, Isolation.CREDENTIAL])
def test_who_has_blocks_of_a_body_has_no_ends_of_its_reply(isolation: Isolation) -> None:
    """They may say more than the reply's text, such as what the request said."""
    link = ends(isolation=isolation)
    asked(link)
    other = link.exchange(body([SYSTEM, MORE, ANSWER]))
    if isolation is Isolation.BLOCK:
        assert other.crossing.use.runs and other.crossing.use.reply
        assert other.crossing.ends == b""
    same = link.exchange(body([SYSTEM, QUESTION, said("assistant", "B")]))
    assert isolation is Isolation.CREDENTIAL or same.crossing.ends == b""


def test_the_ends_are_as_they_were_when_the_message_came() -> None:
    """The entry goes while the body is decoded: the edge has not heard of it."""
    link = ends()
    first = asked(link)
    sent = link.send(body([SYSTEM, QUESTION, ANSWER, MORE]))
    received = link.core.receive(sent.number, ONE, sent.message)
    assert first.kept is not None
    kept = first.kept.ends
    link.core._window.drop(first.kept)
    received.decode(1 << 20)
    assert received.ends == kept == sent.crossing.ends != b""


def test_what_is_sent_again_goes_on_from_nothing() -> None:
    link = ends()
    asked(link)
    sent = link.send(body([SYSTEM, QUESTION, ANSWER, MORE]), fresh=True)
    assert link.receive(sent) and sent.crossing.ends == b""


def test_a_reply_that_has_no_text_has_no_ends() -> None:
    link = ends()
    sent = link.exchange(body([SYSTEM, QUESTION]), [])
    assert sent.entry is not None and sent.kept is not None
    assert sent.entry.ends == sent.kept.ends == b""
    assert link.edge.size >= link.core.size
