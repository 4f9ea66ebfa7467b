"""What a user of a credential can find out about another user of it, from the sizes of their own
messages. Each trial is a guess among twenty; what is random is seeded."""

from __future__ import annotations

import random
from typing import Any

import pytest
from conversations import Ends, Sent, body, ends, said, words

from m2mproxy.link.edge import Isolation

TRIALS, CANDIDATES = 200, 20
# Of 200 guesses with a chance of one in twenty each, 21 or more are right once in a thousand times.
MOST_BY_CHANCE = 20


def number(rng: random.Random) -> str:
    return f"{rng.randrange(10**12):012}"


def texts(rng: random.Random) -> tuple[dict[str, Any], str, str]:
    """An application's prompt, how A begins, and A's secret."""
    prompt = said("system", words(rng, rng.randrange(200, 6000)))
    return prompt, words(rng, rng.randrange(1, 2000)), number(rng)


def size_of(link: Ends, text: bytes) -> int:
    plan = link.choose(text)
    return len(plan.encode().message(2 if plan.entry else 0))


def guessed(isolation: Isolation, seed: int) -> bool:
    """Whether B finds A's number, by saying the same with each of the candidates in its place."""
    rng = random.Random(seed)
    link = ends(isolation=isolation)
    prompt, before, secret = texts(rng)
    own = said("user", f"{before}My number is {secret}. {words(rng, 600)}")
    link.exchange(body([prompt, own]), [said("assistant", words(rng, 300))])
    candidates = [secret, *(number(rng) for _ in range(CANDIDATES - 1))]
    rng.shuffle(candidates)
    rest = words(rng, 50)
    sizes = {
        each: size_of(link, body([prompt, said("user", f"{before}My number is {each}. {rest}")]))
        for each in candidates
    }
    return min(candidates, key=lambda each: sizes[each]) == secret


def right(isolation: Isolation) -> int:
    return sum(guessed(isolation, seed) for seed in range(TRIALS))


@pytest.mark.parametrize("isolation", [Isolation.BLOCK, Isolation.CONVERSATION])
def test_sizes_tell_no_more_than_chance(isolation: Isolation) -> None:
    assert right(isolation) <= MOST_BY_CHANCE


def test_sizes_tell_nearly_all_where_the_operator_lets_them() -> None:
    """So that the test above can fail. Not quite all: a number may be like another's digits."""
    assert right(Isolation.CREDENTIAL) >= 0.9 * TRIALS


def guessed_reply(isolation: Isolation, seed: int) -> bool:
    """The same for a number in A's reply, where B has asked the very same as A."""
    rng = random.Random(seed)
    link = ends(isolation=isolation)
    prompt, question, secret = texts(rng)
    asked = [prompt, said("user", question)]
    begin = "Your number is "
    link.exchange(body(asked), [said("assistant", f"{begin}{secret}. {words(rng, 200)}")])
    candidates = [secret, *(number(rng) for _ in range(CANDIDATES - 1))]
    rng.shuffle(candidates)
    rest = words(rng, 50)
    sizes = {
        each: size_of(link, body([*asked, said("assistant", f"{begin}{each}. {rest}")]))
        for each in candidates
    }
    return min(candidates, key=lambda each: sizes[each]) == secret


def test_who_asks_the_same_does_not_find_out_the_reply() -> None:
    assert sum(guessed_reply(Isolation.BLOCK, seed) for seed in range(TRIALS)) <= MOST_BY_CHANCE


def test_who_asks_the_same_finds_out_the_reply_where_the_operator_lets_them() -> None:
    found = sum(guessed_reply(Isolation.CREDENTIAL, seed) for seed in range(TRIALS))
    assert found >= 0.9 * TRIALS


# -- what is chosen, not only how large it is ------------------------------------------------------

rng = random.Random(4)
TOOLS = [said("tool", words(rng, 1500)) for _ in range(6)]

PINS = (1234, 4711, 9999)


def pin_is(pin: int) -> dict[str, Any]:
    return said("user", f"My PIN is {pin}, keep it for me, please.")


def choice(link: Ends, text: bytes) -> object:
    plan = link.choose(text)
    return plan.entry.number if plan.entry is not None else None, plan.use


def test_a_short_message_that_was_guessed_does_not_decide_whose_entry_it_is() -> None:
    """B has an entry of its own with the same tools. Was the guess right, A's has more messages in
    common; what of it is borrowed then is not what B's own would give."""
    link = ends()
    link.exchange(body([said("system", "a"), *TOOLS, pin_is(4711), said("user", "x")]))
    link.exchange(body([said("system", "bb"), *TOOLS, said("user", words(rng, 3000))]))

    def probe(pin: int) -> object:
        long = said("user", "x" * 2500)
        return choice(link, body([said("system", "c"), *TOOLS, pin_is(pin), long]))

    assert len({str(probe(pin)) for pin in PINS}) == 1


@pytest.mark.parametrize("before", range(0, 1024, 128))
def test_a_short_message_that_was_guessed_does_not_change_what_is_borrowed(before: int) -> None:
    """It is followed by the beginning of a tool that the body has in full elsewhere: was the guess
    right, that place is found too, and must not stand in for the other."""
    link = ends()
    link.exchange(body([said("system", "a" * before), pin_is(4711), *TOOLS, said("user", "x")]))

    def probe(pin: int) -> object:
        cut = said("tool", TOOLS[0]["content"][:700])
        messages = [said("system", "c"), TOOLS[2], pin_is(pin), cut, *TOOLS]
        return choice(link, body([*messages, said("user", "y")]))

    assert len({str(probe(pin)) for pin in PINS}) == 1


def test_a_block_of_the_chain_that_was_guessed_does_not_decide_whose_entry_it_is() -> None:
    """Its blocks are shorter than what is borrowed, and B may know what stands around the PIN."""
    link = ends()
    prompt = said("system", words(rng, 1200))

    def asked(pin: int, more: str) -> bytes:
        return body([prompt, said("user", f"PIN {pin}. " + "z" * 300 + more)])

    link.exchange(asked(4711, "a"))
    link.exchange(body([prompt, said("user", words(rng, 3000))]))
    assert len({str(choice(link, asked(pin, "b" * 200))) for pin in PINS}) == 1


# -- what shows that a body is of a conversation ---------------------------------------------------


def called(link: Ends, name: str, function: str = "f") -> Sent:
    call = {"id": name, "type": "function", "function": {"name": function, "arguments": "{}"}}
    return link.exchange(
        body([said("system", words(rng, 3000)), said("user", "x")]),
        [{"role": "assistant", "content": None, "tool_calls": [call]}],
    )


def result(name: str) -> bytes:
    """Of a call, in a body that has nothing else of the conversation."""
    return body([said("system", "in short"), {**said("tool", "42"), "tool_call_id": name}])


RANDOM = "call_q7Zk2Lx9Vb4Nn8Ty1RwE"


@pytest.mark.parametrize("isolation", list(Isolation))
def test_the_random_id_of_a_tool_call_shows_whose_conversation_it_is(isolation: Isolation) -> None:
    link = ends(isolation=isolation)
    sent = called(link, RANDOM)
    plan = link.send(result(RANDOM)).plan
    assert plan.entry is sent.entry
    assert plan.use.reply and not plan.use.runs


@pytest.mark.parametrize(
    "name, function, guess",
    [
        (RANDOM, "f", "call_q7Zk2Lx9Vb4Nn8Ty1RwF"),
        (RANDOM, "f", RANDOM[:-1]),
        ("call_1", "f", "call_1"),
        ("functions.get_weather:0", "get_weather", "functions.get_weather:0"),
        ("sha256sum:0", "sha256sum", "sha256sum:0"),
    ],
)
def test_a_made_up_id_shows_nothing(name: str, function: str, guess: str) -> None:
    link = ends()
    called(link, name, function)
    assert link.send(result(guess)).plan.entry is None
