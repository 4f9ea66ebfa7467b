"""What shows, in a body, whose conversation it goes on with, where the rest has changed."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from conversations import Ends, Sent, body, ends, said, words

from m2mproxy.link.edge import Crossing, Isolation
from m2mproxy.link.shown import MOST_SEARCHED, last_ids, last_seals

rng = random.Random(11)
SEAL = "Ev+A/b9q" * 20 + "Q1x+y/Zk4" * 6
IN_URLS = SEAL.replace("+", "-").replace("/", "_")
SEARCHED, RAN = "srvtoolu_01Kq7Zk2Lx9Vb4Nn8Ty1", {"query": "m2m"}
FOUND = {
    "type": "web_search_tool_result",
    "tool_use_id": SEARCHED,
    "content": [{"type": "web_search_result", "encrypted_content": SEAL}],
}
ITEM = "rs_05cdfcc11457b63e006993"
QUESTION = said("user", words(rng, 200))

# Replies, and what of each shows that one has it.
REPLIES: list[tuple[dict[str, Any], str]] = [
    ({"role": "assistant", "content": [{"type": "thinking", "thinking": "so", "signature": SEAL}]},
     SEAL),
    ({"role": "model", "parts": [{"text": "4", "thoughtSignature": SEAL}]}, SEAL),
    ({"type": "reasoning", "summary": [], "encrypted_content": SEAL}, SEAL),
    ({"type": "reasoning", "id": ITEM, "summary": []}, ITEM),
    ({"role": "assistant", "content": [
        {"type": "server_tool_use", "id": SEARCHED, "name": "web_search", "input": RAN}, FOUND
    ]}, SEARCHED),
]


def asked(link: Ends, reply: dict[str, Any]) -> Sent:
    return link.exchange(body([QUESTION], max_tokens=100, stream=True), [reply])


def goes_on(link: Ends, reply: dict[str, Any]) -> Crossing:
    """The next turn, whose parameters behind the messages are other ones."""
    more = [QUESTION, reply, said("user", "and?")]
    return link.code(body(more, max_tokens=4096, stream=False, tools=[{"id": {"type": "a"}}]))


@pytest.mark.parametrize("isolation", list(Isolation))
@pytest.mark.parametrize("reply, shows", REPLIES)
def test_what_only_a_reply_had_finds_the_conversation_whose_parameters_change(
    reply: dict[str, Any], shows: str, isolation: Isolation
) -> None:
    link = ends(isolation=isolation)
    sent = asked(link, reply)
    crossing = goes_on(link, reply)
    assert crossing.base is sent.entry
    assert crossing.use.reply and not crossing.use.runs
    without = json.loads(json.dumps(reply).replace(shows, shows[::-1]).replace(SEAL, SEAL[::-1]))
    if isolation is not Isolation.CREDENTIAL:
        assert goes_on(link, without).base is None


def test_a_seal_is_known_in_either_alphabet() -> None:
    link = ends()
    sent = asked(link, {"role": "model", "parts": [{"text": "4", "thoughtSignature": SEAL}]})
    again = {"role": "model", "parts": [{"thoughtSignature": IN_URLS, "text": "4"}]}
    assert goes_on(link, again).base is sent.entry


def test_nothing_finds_another_tenants_conversation() -> None:
    link = ends()
    reply = REPLIES[0][0]
    asked(link, reply)
    more = body([QUESTION, reply, said("user", "and?")], max_tokens=1)
    assert link.code(more, b"two").base is None


def test_what_was_found_by_it_is_forgotten_with_its_entry() -> None:
    link = ends()
    sent = asked(link, REPLIES[0][0])
    assert sent.entry is not None
    link.edge.unread(sent.crossing)
    assert goes_on(link, REPLIES[0][0]).base is None


def test_an_id_that_the_model_wrote_shows_nothing() -> None:
    """An argument of a call may be known to others."""
    link = ends()
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"id": "67cd9e6afeb48191"}}
    reply = {"role": "assistant", "content": [call]}
    asked(link, reply)
    assert goes_on(link, {"role": "user", "content": [{"id": "67cd9e6afeb48191"}]}).base is None


def test_a_long_thought_shows_the_reply_whose_id_can_be_guessed() -> None:
    thought = words(rng, 100).strip()
    function = {"name": "f", "arguments": "{}"}
    calls = [{"id": "call_8", "type": "function", "function": function}]
    reply = {"role": "assistant", "content": "", "reasoning_content": thought, "tool_calls": calls}
    for said_again in (thought, thought[:-1]):
        link = ends()
        link.exchange(body([QUESTION]), [reply])
        again = {"tool_calls": calls, "role": "assistant", "reasoning_content": said_again}
        assert link.code(body([QUESTION, again])).use.reply == (said_again == thought)


def test_the_last_ones_are_found_in_a_bounded_part() -> None:
    seal = b'"signature": "%b"' % SEAL.encode()
    assert last_seals(seal + b" " * 1000) == [SEAL.encode()[-48:]]
    assert last_seals(seal + b" " * MOST_SEARCHED) == []
    assert last_ids(b'"id":"abcdefgh" "id":{} "id":"12345678"') == [b"12345678", b"abcdefgh"]
    assert last_ids(b'"id":"abcdefgh"' + b'"id":{}' * 8) == []
    assert last_ids(b'"id":"abcdefgh"' + b" " * MOST_SEARCHED) == []


CACHED = {"cache_control": {"type": "ephemeral"}}


def as_text(text: str) -> dict[str, Any]:
    return said("user", text)


def as_block(text: str, last: bool = False) -> dict[str, Any]:
    block = {"text": text, "type": "text"} if last else {"type": "text", "text": text}
    return {"role": "user", "content": [{**block, **CACHED}]}


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("size", [20, 3000])
def test_a_mark_may_come_with_a_list_of_blocks_and_go_with_it(size: int, last: bool) -> None:
    """Also where it is in the first bytes of a body, so that nothing before it is the same."""
    link = ends()
    one, two = words(rng, size) + '"\\', "x"
    answer = said("assistant", words(rng, 100))
    sent = link.exchange(body([as_block(one, last)]), [answer])
    crossing = link.code(body([as_text(one), answer, as_block(two, last)]))
    assert crossing.base is sent.entry and crossing.use.reply and crossing.use.replaces
    other = body([as_text(one + "!"), answer, as_block(two, last)])
    assert link.code(other).use.tail is None and not link.code(other).use.reply


# ---- The reply to a conversation of which the beginning has changed ----

LONG = [said("user", words(random.Random(5), 4000)), said("assistant", "ok"), said("user", "go on")]
LAST = said("user", words(random.Random(6), 1500))
ANSWER = said("assistant", words(random.Random(7), 2000))


def at_time(minute: int, *messages: dict[str, Any]) -> bytes:
    return body([said("system", f"It is 10:{minute}. Be brief."), *messages])


def test_a_chat_whose_prompt_has_the_time_refers_to_its_blocks_and_its_reply() -> None:
    link = ends()
    link.exchange(at_time(31, *LONG, LAST), [ANSWER])
    sent = link.exchange(at_time(32, *LONG, LAST, ANSWER, said("user", "more")))
    assert sent.crossing.use.runs and sent.crossing.use.reply
    assert len(sent.message) < 1024  # the reply alone has twice as much
    sent = link.exchange(at_time(33, *LONG, LAST, ANSWER, said("user", "more"), ANSWER))
    assert sent.crossing.use.runs


def test_a_reply_is_not_referred_to_with_blocks_unless_all_that_it_says_is_there() -> None:
    link = ends()
    link.exchange(at_time(31, *LONG, LAST), [ANSWER])
    for part in (ANSWER["content"][:-1], ANSWER["content"][:100], "no"):
        crossing = link.code(at_time(32, *LONG, LAST, said("assistant", part)))
        assert crossing.use.runs and not crossing.use.reply


def test_a_reply_is_not_referred_to_with_blocks_unless_they_go_to_the_end() -> None:
    link = ends()
    link.exchange(at_time(31, *LONG, LAST), [ANSWER])
    crossing = link.code(at_time(32, *LONG, said("user", words(random.Random(8), 1500)), ANSWER))
    assert crossing.use.runs and not crossing.use.reply


@pytest.mark.parametrize("size, is_known", [(1023, False), (1024, True)])
def test_a_reply_is_referred_to_with_blocks_only_where_as_much_of_it_is_there(
    size: int, is_known: bool
) -> None:
    """All else that is known may be the prompt, which others have, too."""
    text = words(random.Random(size), size - 1) + "."
    link = ends()
    link.exchange(at_time(31, *LONG, LAST), [{"content": text, "tool_calls": [], "x": "y" * size}])
    crossing = link.code(at_time(32, *LONG, LAST, said("assistant", text), said("user", "more")))
    assert crossing.use.runs and crossing.use.reply is is_known
