"""After what a reply may be coded: both ends know it of every request, or nobody could read it."""

from __future__ import annotations

import json
import random

import pytest
from conversations import ONE, Ends, Sent, body, ends, said, words

from m2mproxy.codec import after
from m2mproxy.codec.after import Before
from m2mproxy.link.edge import Isolation
from m2mproxy.link.reply import render

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


# -- what a user of a credential can find out of another's reply by the sizes of their own ---------

TRIALS, CANDIDATES, MOST_BY_CHANCE = 200, 20, 20  # as in test_isolation.py


def completion(number: int, content: str) -> bytes:
    message = said("assistant", content)
    return json.dumps({"id": f"chatcmpl-{number:012}", "choices": [{"message": message}]}).encode()


def guessed_id(known: int, seed: int) -> bool:
    """Whether B finds the number in the id of the reply to A, which no text of it has. B knows all
    of the request and so many characters of what was said, and has the model say each guess, in
    requests of which none has an answer before all are sent."""
    rng = random.Random(seed)
    link, secret = ends(), rng.randrange(10**12)
    asked, answer = [SYSTEM, said("user", words(rng, 300))], words(rng, 300)
    sent = link.send(body(asked))
    link.receive(sent)
    link.have(sent)
    text = render([said("assistant", answer)], body(asked))
    assert sent.entry is not None
    link.edge.replied(sent.entry, text, [], ends=completion(secret, answer))
    candidates = [secret, *(rng.randrange(10**12) for _ in range(CANDIDATES - 1))]
    rng.shuffle(candidates)
    mine = body([*asked, said("assistant", answer[:known]), MORE])
    before = Before.of(mine, link.code(mine).ends)

    def size(guess: int) -> int:
        return len(after.encode(completion(0, completion(guess, "").decode()), before))

    return min(candidates, key=size) == secret


def test_who_does_not_say_what_was_said_does_not_find_out_what_came_with_it() -> None:
    assert sum(guessed_id(290, seed) for seed in range(TRIALS)) <= MOST_BY_CHANCE


def test_who_says_all_that_was_said_may_find_out_what_came_with_it() -> None:
    """m2m-link(7) says so; and so that the test above can fail."""
    assert sum(guessed_id(300, seed) for seed in range(TRIALS)) >= 0.9 * TRIALS


def test_whose_request_was_answered_goes_on_from_no_other_reply_any_more() -> None:
    """So that nobody makes the next guess after what came of the one before."""
    link = ends()
    asked(link)
    at_once = [link.send(body([SYSTEM, QUESTION, ANSWER, MORE])) for _ in range(2)]
    assert all(each.crossing.ends for each in at_once)
    for each in at_once:
        link.receive(each)
    link.have(at_once[0])
    for more in (MORE, said("user", "Say it again")):
        assert link.code(body([SYSTEM, QUESTION, ANSWER, more])).ends == b""
