"""What a user of a credential can find out about another user of it, from the sizes of their own
messages. Each trial is a guess among twenty; what is random is seeded."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from conversations import ONE, Ends, Searched, Sent, body, ends, said, words

from m2mproxy.link import match
from m2mproxy.link.edge import Crossing, Isolation
from m2mproxy.link.look import Look
from m2mproxy.link.match import without_marks
from m2mproxy.link.shown import MOST_SEARCHED

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
    crossing = link.code(text)
    return len(crossing.message(crossing.base.number + 2 if crossing.base else 0))


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


# -- what stands where the other's body is known but for some of it --------------------------------

Json = dict[str, Any]


def written(messages: list[Json], prompt: str, tools: list[Json], api: str) -> bytes:
    """A body as applications order it."""
    system = said("system", prompt)
    if api == "chat":
        return body([system, *messages])
    if api == "tools last":
        return body([system, *messages], tools=tools)
    if api == "tools first":
        return json.dumps({"tools": tools, "messages": [system, *messages]}).encode()
    return body(messages, system=prompt, tools=tools)  # the Messages API's


def short_reply(kind: int, start: str, pin: str) -> Json:
    """Less than a block that has a number, in the shapes that replies have."""
    return (
        said("assistant", f"{start}{pin}."),
        said("assistant", "") | {"reasoning_content": start + pin},
        paid("call_1", pin, ""),
        paid("call_1", pin, start),
    )[kind % 4]


def guessed_beside(api: str, seed: int) -> bool:
    """Whether B finds the number in the reply to A, of whose request B knows all but the question,
    which is all that comes after what both have of the application."""
    rng = random.Random(f"{api} {seed}")
    prompt, question, secret = words(rng, rng.randrange(1500, 6000)), number(rng), number(rng)
    tools = [{"name": name, "description": words(rng, 1500)} for name in "fg"]
    start = words(rng, rng.randrange(0, 900))
    link = ends()
    asked = written([said("user", question)], prompt, tools, api)
    link.exchange(asked, [short_reply(seed, start, secret)])
    candidates = [secret, *(number(rng) for _ in range(CANDIDATES - 1))]
    rng.shuffle(candidates)

    def probe(guess: str) -> int:
        messages = [said("user", "x"), short_reply(seed, start, guess), said("user", "y")]
        return size_of(link, written(messages, prompt, tools, api))

    return min(candidates, key=probe) == secret


@pytest.mark.parametrize("api", ["chat", "tools last", "tools first", "prompt last"])
def test_who_knows_only_what_the_application_says_does_not_find_out_a_short_reply(api: str) -> None:
    assert sum(guessed_beside(api, seed) for seed in range(TRIALS)) <= MOST_BY_CHANCE


WHERE = ["text", "paragraph", "picture", "prompt", "tool"]


def guessed_within(where: str, seed: int) -> bool:
    """Whether B finds a number of which less than a block around it is known, and all of the rest:
    in a text, a paragraph, a picture, the prompt, or a tool."""
    rng = random.Random(f"{where} {seed}")
    around, secret = words(rng, rng.randrange(900)), number(rng)
    cut = rng.randrange(len(around) + 1)
    prompt, before, after = (words(rng, rng.randrange(1, 4000)) for _ in range(3))
    link = ends()

    def asked(start: str, pin: str, end: str) -> bytes:
        text = start + around[:cut] + pin + around[cut:] + end
        inner = {
            "text": f"{before}{text}{after}",
            "paragraph": f"{before}\n\n{text}\n\n{after}",
            "picture": f"data:image/png;base64,{text}{after}",
        }.get(where, before)
        tools = [{"name": "f", "description": text if where == "tool" else after}]
        system = prompt + (text if where == "prompt" else "")
        return written([said("user", inner), said("user", "?")], system, tools, "tools last")

    unknown, mine = ([words(rng, rng.randrange(12, 40)) for _ in range(2)] for _ in range(2))
    link.exchange(asked(unknown[0], secret, unknown[1]), [said("assistant", "ok")])
    candidates = [secret, *(number(rng) for _ in range(CANDIDATES - 1))]
    rng.shuffle(candidates)
    sizes = {each: size_of(link, asked(mine[0], each, mine[1])) for each in candidates}
    return min(candidates, key=lambda each: sizes[each]) == secret


def test_what_stands_in_no_block_that_is_known_is_not_found_out() -> None:
    """Wherever that is: were it found in one of the five, forty guesses would be right."""
    found = [guessed_within(WHERE[seed % len(WHERE)], seed) for seed in range(TRIALS)]
    assert sum(found) <= MOST_BY_CHANCE


SEALED = "Ev+A/b9q" * 20
ENDS = ("Q1x+y/Zk4" * 6)[:48]


@pytest.mark.parametrize(
    "reply",
    [
        {"parts": [{"text": "4", "thoughtSignature": SEALED + ENDS}], "role": "model"},
        {"type": "reasoning", "summary": [], "encrypted_content": SEALED + ENDS},
        {"role": "assistant", "content": "4", "x": {"g": {"thought_signature": SEALED + ENDS}}},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "so", "signature": SEALED + ENDS},
                {"type": "text", "text": "4"},
            ],
        },
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": SEALED + ENDS}]},
        {
            "role": "assistant",
            "content": "4",
            "reasoning_details": [{"type": "reasoning.encrypted", "data": SEALED + ENDS}],
        },
    ],
)
def test_who_has_what_the_model_sealed_has_the_reply(reply: dict[str, Any]) -> None:
    """However the application writes the rest of it; who has all but the end of it has not."""

    def refers(rest: dict[str, Any]) -> bool:
        link = ends()
        link.exchange(body([said("user", "2 + 2?")]), [reply])
        again = [said("user", "2 + 2?"), {"x": 1, **rest}, said("user", "?")]
        return link.code(body(again)).use.reply

    assert refers(reply)
    assert not refers(json.loads(json.dumps(reply).replace(ENDS, ENDS[::-1])))
    assert not refers(said("assistant", SEALED))


def test_a_seal_that_both_turns_have_shows_nothing() -> None:
    """It may be of an earlier reply, which a model server repeats."""
    link = ends()
    signed = {"role": "assistant", "signature": SEALED + ENDS}
    link.exchange(body([said("user", "2 + 2?"), signed]), [signed])
    again = body([said("user", "2 + 2?"), signed, said("user", "?")])
    assert not link.code(again).use.reply


@pytest.mark.parametrize("before", range(0, 300, 20))
def test_what_the_request_has_already_shows_nothing_of_its_reply(before: int) -> None:
    """B asks the same as A, which has what the model repeats, wherever that stands."""
    link = ends()
    text = words(rng, 100).strip()
    signed = said("assistant", "x" * before) | {"signature": SEALED + ENDS}
    asked = [signed, said("user", f"Say this, and pay: {text}")]
    link.exchange(body(asked), [paid("call_1", "4711", text) | {"signature": SEALED + ENDS}])
    for pin in ("4711", "4712"):
        again = [*asked, paid("call_1", pin, ""), said("tool", "paid")]
        assert not link.code(body(again)).use.reply


def test_what_is_no_seal_shows_nothing_by_its_end() -> None:
    for other in ({"data": SEALED + ENDS}, {"signature": ENDS}, {"id": SEALED + ENDS}):
        link = ends()
        link.exchange(body([said("user", "2 + 2?")]), [said("assistant", "4") | other])
        again = body([said("user", "2 + 2?"), said("assistant", ENDS), said("user", "?")])
        assert not link.code(again).use.reply


# -- what is chosen, not only how large it is ------------------------------------------------------

rng = random.Random(4)
TOOLS = [said("tool", words(rng, 1500)) for _ in range(6)]

PINS = (1234, 4711, 9999)


def pin_is(pin: int) -> dict[str, Any]:
    return said("user", f"My PIN is {pin}, keep it for me, please.")


def choice(link: Ends, text: bytes) -> object:
    crossing = link.code(text)
    return crossing.base.number if crossing.base is not None else None, crossing.use


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
    crossing = link.send(result(RANDOM)).crossing
    assert crossing.base is sent.entry
    assert crossing.use.reply and not crossing.use.runs


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
    assert link.send(result(guess)).crossing.base is None


ANSWER = said("assistant", "It is forty-two, as it always was and will be.")


def after_a_call(link: Ends) -> Sent:
    """The second turn of a conversation that began with a call, and an answer."""
    first = called(link, RANDOM)
    history = json.loads(first.crossing.look.body)["messages"]
    return link.exchange(body([*history, *json.loads(result(RANDOM))["messages"]]), [ANSWER])


def test_an_id_shows_whose_conversation_it_is_after_later_turns_too() -> None:
    link = ends()
    sent = after_a_call(link)
    for _ in range(3):
        history = json.loads(sent.crossing.look.body)["messages"]
        sent = link.exchange(body([*history, ANSWER, said("user", "why?")]), [ANSWER])
        crossing = link.code(result(RANDOM))
        assert crossing.base is sent.entry and not crossing.use.runs
    assert link.edge.size == link.memory[0].used


def test_such_an_id_shows_nothing_of_a_later_reply() -> None:
    link = ends()
    sent = after_a_call(link)
    for text, has_reply in ((result(RANDOM), False), (body([ANSWER, *_messages(RANDOM)]), True)):
        crossing = link.code(text)
        assert crossing.base is sent.entry
        assert crossing.use.reply == has_reply


def _messages(name: str) -> list[dict[str, Any]]:
    return list(json.loads(result(name))["messages"])


def test_who_goes_on_without_the_id_is_not_found_by_it() -> None:
    """B has asked the same as A, and goes on: A's turn is replaced, B has not seen A's id."""
    link = ends()
    first = called(link, RANDOM)
    history = json.loads(first.crossing.look.body)["messages"]
    link.exchange(body([*history, said("assistant", "B"), said("user", "B's secret")]))
    assert link.code(result(RANDOM)).base is None


def test_a_reply_without_a_text_is_known_by_the_id_of_its_call() -> None:
    block = {"type": "tool_use", "id": RANDOM, "name": "f", "input": {}}
    reply = {"role": "assistant", "content": [block]}
    link = ends()
    history = [said("system", words(rng, 3000)), said("user", "x")]
    sent = link.exchange(body(history), [reply])

    def goes_on(name: str) -> Crossing:
        block = {"type": "tool_result", "tool_use_id": name, "content": "42"}
        return link.code(body([*history, {"role": "user", "content": [block]}]))

    for name, is_known in ((RANDOM, True), (RANDOM[:-1], False)):
        crossing = goes_on(name)
        assert crossing.base is sent.entry
        assert crossing.use.reply == is_known


def test_a_reply_that_cannot_be_written_is_not_referred_to_though_its_call_is_known() -> None:
    link = ends()
    sent = called(link, RANDOM)
    assert sent.entry is not None
    link.edge.replied(sent.entry, b"", [RANDOM.encode()])
    crossing = link.code(result(RANDOM))
    assert crossing.base is sent.entry and not crossing.use.reply


def paid(name: str, pin: str, text: str) -> dict[str, Any]:
    call = {"name": "pay", "arguments": f'{{"pin":"{pin}"}}'}
    calls = [{"id": name, "type": "function", "function": call}]
    return {"role": "assistant", "content": text, "tool_calls": calls}


@pytest.mark.parametrize("text", ["Sure.", "no", "", "n" * 63])
@pytest.mark.parametrize("name, whole", [(RANDOM, False), ("call_1", True)])
def test_what_follows_a_short_text_that_was_guessed_is_not_found_piece_by_piece(
    text: str, name: str, whole: bool
) -> None:
    """B asks the same as A, knows how the reply begins, and has another id or that of any."""
    link = ends()
    asked = [said("system", words(rng, 3000)), said("user", "pay")]
    link.exchange(body(asked), [paid(name, "4711", text)])
    name = name.replace(RANDOM, "call_Ab3Cd4Ef5Gh6Ij7Kl8Mn")
    for pin in ("4711", "4712", "4799", "9999"):
        guess = body([*asked, paid(name, pin, text), said("tool", "paid")])
        assert link.code(guess).use.reply == (whole and pin == "4711")


@pytest.mark.parametrize("around", ["", " ", "\n\n"])
def test_a_long_text_shows_the_reply_although_its_reasoning_is_left_out(around: str) -> None:
    text = words(rng, 80).strip()
    link = ends()
    asked = [said("system", words(rng, 3000)), said("user", "why?")]
    reply = {**said("assistant", around + text + around), "reasoning_content": words(rng, 500)}
    link.exchange(body(asked), [reply])
    for answer, is_known in ((text, True), (text[:-9], False)):
        crossing = link.code(body([*asked, said("assistant", answer), said("user", "and?")]))
        assert crossing.use.reply == is_known


CACHED = {"cache_control": {"type": "ephemeral"}}


def marked(contents: list[str], *at: int, **more: object) -> bytes:
    """A body of the Messages API, some of whose messages are marked as what is to be cached."""
    blocks = [
        {"type": "text", "text": text, **(CACHED if number in at else {})}
        for number, text in enumerate(contents)
    ]
    return body([{"role": "user", "content": [block]} for block in blocks], **more)


LONG = [words(rng, 700) for _ in range(6)]


@pytest.mark.parametrize("isolation", list(Isolation))
@pytest.mark.parametrize("tools", [{}, {"tools": [{"name": "f", **CACHED}]}])
def test_marks_of_what_is_to_be_cached_may_move(
    isolation: Isolation, tools: dict[str, object]
) -> None:
    link = ends(isolation=isolation)
    sent = link.exchange(marked(LONG[:4], 1, 3, **tools))
    for text in (
        marked(LONG, 3, 5, **tools),
        marked(LONG, **tools),
        marked(LONG[:4], 0, **tools),
        marked(LONG, 3, 5, **tools).replace(b'"ephemeral"', b'"ephemeral","ttl":"1h"'),
    ):
        crossing = link.code(text)
        assert crossing.base is sent.entry
        assert crossing.use.replaces and crossing.use.adds


def test_nothing_else_may_have_changed_with_the_marks() -> None:
    link = ends(isolation=Isolation.CONVERSATION)
    link.exchange(marked([*LONG[:3], "PIN 4711"], 1, 3))
    for pin in PINS:
        assert (link.code(marked([*LONG[:3], f"PIN {pin}", "x"], 2, 4)).base is None) == (
            pin != 4711
        )
    quoted = json.dumps(CACHED)
    link.exchange(marked([*LONG[:3], f"x{quoted}"], 1))
    assert link.code(marked([*LONG[:3], "x", "y"], 1)).base is None


def test_marks_are_looked_for_in_a_bounded_part_of_a_body() -> None:
    link = ends(isolation=Isolation.CONVERSATION)
    long = words(rng, 300_000)
    link.exchange(marked(["a" * 600, "b", long], 1))
    assert link.code(marked(["a" * 600, "b", long, "x"], 3)).base is None
    link.exchange(marked([long, "a" * 600, "b"], 2))
    assert link.code(marked([long, "a" * 600, "b", "x"], 3)).base is not None


def test_all_that_may_be_marked_anew_is_compared_in_a_bounded_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no beginning is the same, several entries may be the one."""
    looked_at: list[int] = []

    def without(part: bytes) -> bytes:
        looked_at.append(len(part))
        return without_marks(part)

    monkeypatch.setattr(match, "without_marks", without)
    link = ends()
    long = words(rng, 100_000)

    def asked(first: str) -> bytes:
        return body([{"role": "user", **CACHED, "content": first}, said("user", long)]).replace(
            b'{"model":"m","messages":[', b'{"messages":['
        )

    for number in range(6):
        link.exchange(asked(str(number)))
    looked_at.clear()
    link.code(asked("x"))
    assert 0 < sum(looked_at) <= 2 * MOST_SEARCHED


# -- what finding it out costs --------------------------------------------------------------------


def test_what_shows_a_reply_in_a_large_body_is_looked_for_in_a_step_and_piece_by_piece() -> None:
    """The event loop waits for what is done between two steps, and the interpreter for a search."""
    link = ends()
    question, reply = said("user", words(rng, 300)), said("assistant", "a" * 300 + "b")
    link.exchange(body([question]), [reply])
    text = Searched(body([question, said("user", "a" * 3_000_000)]))
    crossing, between = Crossing(Look(ONE, text)), 0
    for _, step in link.edge.steps(crossing):
        between += text.count
        text.count = text.longest = 0
        step()
        in_step, text.count = text.count, 0
    assert crossing.base is not None and not crossing.use.reply
    assert between < 300_000 and in_step > 3_000_000
    assert text.longest < 300_000


def test_calls_that_a_large_body_knows_are_looked_for_where_it_begins_with_them() -> None:
    link = ends()
    first = called(link, RANDOM)
    history = json.loads(first.crossing.look.body)["messages"]
    results = json.loads(result(RANDOM))["messages"]
    text = Searched(body([*history, *results, said("user", "a" * 3_000_000)]))
    sent = link.send(text)
    assert link.receive(sent) == text
    text.longest = 0
    link.have(sent)
    assert text.longest < 300_000
    assert link.code(result(RANDOM)).base is sent.entry
