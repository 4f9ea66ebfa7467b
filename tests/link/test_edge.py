"""An edge with a core at the other end: what is decoded is what was sent, or a Miss."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from conversations import LIMIT, ONE, TWO, Clock, Ends, Sent, body, ends, said, words
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.link.core import Core, Miss
from m2mproxy.link.edge import Isolation
from m2mproxy.link.match import Run
from m2mproxy.link.message import Coded, Known, encode, read_head
from m2mproxy.link.scope import scope
from m2mproxy.link.use import Use
from m2mproxy.link.window import Bounds, Memory

rng = random.Random(3)
PROMPT = said("system", words(rng, 6000))
PARTS = [said("assistant" if n % 2 else "user", words(rng, 900)) for n in range(40)]


def turn(number: int, *more: dict[str, Any]) -> bytes:
    """The body of a conversation with that many messages behind its prompt."""
    return body([PROMPT, *PARTS[:number], *more], stream=True)


# The same conversation, as its application has rewritten it.
DATED = body([said("system", "It is ten."), *PARTS[:9]])

# -- what goes well ------------------------------------------------------------------------------


def test_a_turn_is_coded_after_the_one_before() -> None:
    link = ends()
    first = link.exchange(turn(1), [PARTS[1]])
    second = link.exchange(turn(3))
    assert first.crossing.base is None
    assert second.crossing.base is first.entry
    assert second.crossing.use == Use(reply=True, replaces=True, tail=second.crossing.use.tail)
    assert second.crossing.use.tail is not None
    assert len(second.message) < 700
    third = link.exchange(turn(5))
    assert third.crossing.use == replace(second.crossing.use, reply=False, where_before=True)
    assert read_head(third.message).use.tail is None


def test_a_reply_crosses_once() -> None:
    sizes = []
    for reply in ([PARTS[1]], []):
        link = ends()
        link.exchange(turn(1), reply)
        sizes.append(len(link.exchange(turn(2)).message))
    assert sizes[0] < 60
    assert sizes[1] > 300


def test_nothing_is_referred_to_before_the_core_has_said_that_it_has_it() -> None:
    link = ends()
    first = link.send(turn(1))
    link.receive(first)
    assert link.send(turn(1)).crossing.base is None
    link.have(first)
    assert link.send(turn(1)).crossing.base is first.entry


def test_the_turn_before_goes_at_both_ends_once_its_successor_is_in_use() -> None:
    link = ends()
    for number in range(1, 12, 2):
        link.exchange(turn(number), [PARTS[number]])
        assert len(link.edge._window) == 1
        assert len(link.core._window) <= 2


def test_short_conversations_of_one_application_find_their_own_first_turns() -> None:
    """They differ by less than a block, and each adds what the next one's chain begins with."""
    link = ends()
    firsts = []
    for number in range(20):
        question, answer = said("user", f"question {number}?"), said("assistant", words(rng, 700))
        sent = link.exchange(body([PROMPT, question]), [answer])
        firsts.append((sent, question, answer))
    for sent, question, answer in firsts:
        again = link.send(body([PROMPT, question, answer, said("user", "and?")]))
        assert again.crossing.base is sent.entry
        assert again.crossing.use.reply


def test_of_many_conversations_a_turns_own_is_known_before_its_scope() -> None:
    """All of the others were used since: none of them is compared with it."""
    link = ends()
    each = [[said("user", words(rng, 400)) for _ in range(5)] for _ in range(20)]
    for number in (1, 3):
        before = [link.exchange(turn(0, *messages[:number])) for messages in each]
    crossing = link.exchange(turn(0, *each[0])).crossing
    assert crossing.look.within is not None
    assert crossing.look.within.entry is before[0].entry is crossing.base


def test_a_turn_is_found_although_a_fork_of_it_goes_further() -> None:
    link = ends(Bounds(seconds=1e9))
    first = link.exchange(turn(2))
    fork = link.send(turn(3, said("user", "one way")))
    link.receive(fork)
    link.have(fork)  # which drops the first
    other = link.send(turn(3, said("user", "the other way")))
    assert other.crossing.base is fork.entry
    assert other.crossing.use.runs
    assert link.receive(other) == other.crossing.look.body
    assert first.number


def test_a_changed_beginning_does_not_hide_the_messages() -> None:
    link = ends()

    def dated(hour: int, number: int) -> bytes:
        return body([said("system", f"It is {hour}:00. {PROMPT['content']}"), *PARTS[:number]])

    first = link.exchange(dated(10, 12))
    second = link.send(dated(11, 13))
    assert second.crossing.base is first.entry
    assert second.crossing.use.runs
    assert len(second.message) < len(encode(second.crossing.look.body).blocks) * 0.6
    assert link.receive(second) == second.crossing.look.body


def test_a_shortened_history_is_found() -> None:
    link = ends()
    first = link.exchange(turn(20))
    shortened = body([PROMPT, said("user", "what was before, in short"), *PARTS[8:21]], stream=True)
    second = link.send(shortened)
    assert second.crossing.base is first.entry
    assert link.receive(second) == shortened
    assert len(second.message) < len(encode(shortened).blocks) / 2


def test_what_is_gone_when_it_was_found_out_is_not_referred_to() -> None:
    """A survey is made in a thread, while the connection goes on."""
    for gone in ("entry", "window"):
        link = ends()
        first = link.exchange(turn(8))
        crossing, survey, steps = link.surveyed(DATED)
        assert first.entry is not None
        if gone == "entry":
            link.edge.unread(first.crossing)
        survey.find()
        if gone == "window":
            link.edge.end()
        next(steps)
        assert crossing.base is None
        assert link.edge.size == link.memory[0].used == 0
        assert not link.edge._index._places


def test_what_two_surveys_at_once_have_learnt_is_kept_and_counted_once() -> None:
    link = ends()
    link.exchange(turn(9))
    both = [link.surveyed(DATED) for _ in range(2)]
    sizes = []
    for _, survey, _ in both:
        survey.find()
        assert survey.learnt
    for _, _, steps in both:
        next(steps)
        sizes.append(link.edge.size)
    assert sizes[0] == sizes[1]


def test_places_are_learnt_once() -> None:
    link = ends()
    first = link.exchange(turn(8))
    work = []
    for _ in range(2):
        crossing, survey, steps = link.surveyed(DATED)
        work.append(survey.work)
        survey.find()
        next(steps)
        assert crossing.base is first.entry and crossing.use.runs
    assert work == [len(DATED) + len(turn(8)), len(DATED)]


def test_what_has_to_go_for_a_list_of_places_is_not_referred_to() -> None:
    for room in range(12_000, 24_000, 50):
        link = ends(Bounds(scope=room, connection=room), isolation=Isolation.CREDENTIAL)
        first = link.exchange(turn(8))
        crossing = link.code(DATED)
        assert crossing.base in (None, link.edge._window.get(first.number))
        assert link.receive(link.send_coded(crossing)) == DATED


@pytest.mark.parametrize("isolation", list(Isolation))
def test_another_conversation_is_borrowed_from_as_the_operator_wants(isolation: Isolation) -> None:
    link = ends(isolation=isolation)
    first = link.exchange(turn(5), [PARTS[5]])
    other = link.send(turn(0, said("user", "something else")))
    expected = {
        Isolation.BLOCK: Use(runs=(Run(0, 5),)),
        Isolation.CREDENTIAL: Use(reply=True),
        Isolation.CONVERSATION: Use(),
    }
    assert other.crossing.use == expected[isolation]
    assert (other.crossing.base is first.entry) == (isolation is not Isolation.CONVERSATION)
    assert link.receive(other) == other.crossing.look.body


def test_another_tenants_or_users_entry_is_never_referred_to() -> None:
    link = ends(isolation=Isolation.CREDENTIAL)
    link.exchange(turn(5))
    assert link.send(turn(5), TWO).crossing.base is None
    named = turn(5)[:-1] + b',"user":"u"}'
    assert link.send(named).crossing.base is None


def test_an_empty_body_crosses() -> None:
    link = ends()
    for _ in range(2):
        link.exchange(b"")
    assert link.exchange(b"x").crossing.base is None


def test_a_body_that_is_too_large_to_remember_crosses_all_the_same() -> None:
    link = ends(Bounds(entry=8000))
    sent = link.exchange(turn(5))
    assert sent.entry is None and sent.kept is None
    assert link.edge.size == link.core.size == 0
    assert link.exchange(turn(6)).crossing.base is None


def test_what_a_body_replaces_is_forgotten_though_the_body_is_too_large_to_remember() -> None:
    """The core may have room for it, and then has not what it replaced."""
    link = ends(Bounds(scope=14_000), Bounds())
    before = link.exchange(turn(1))
    more = words(random.Random(3), 12_800 - len(turn(1)))  # without what an index of it takes
    sent = link.exchange(turn(1, said("user", more)))
    assert sent.crossing.base is not None and sent.entry is None
    assert link.send(turn(2)).crossing.base is None
    assert before.entry is not None and not before.entry.body


def test_what_the_core_does_not_keep_is_not_said_to_be_had() -> None:
    link = ends(core_bounds=Bounds(entry=100))
    sent = link.send(turn(5))
    assert link.receive(sent) == turn(5)
    assert sent.kept is None


def test_a_core_whose_memory_is_full_says_that_it_has_nothing() -> None:
    link = ends(memory=1000)
    sent = link.send(turn(5))
    assert link.receive(sent) == turn(5)
    assert sent.entry is None and sent.kept is None


def test_as_many_conversations_as_there_is_room_for_at_the_edge_go_on_without_a_miss() -> None:
    """The core keeps what a turn replaces until it knows that the edge has heard of the turn. That
    is twice as much, and what goes for it must not be what the edge still refers to."""
    room = 400_000
    link = ends(Bounds(scope=room * 7 // 8), Bounds(scope=room))
    of_one = random.Random(4)
    talks = [[said("system", words(of_one, 20_000))] for _ in range(10)]
    for number in range(4):
        for talk in talks:
            talk.append(said("user", words(of_one, 200)))
            sent = link.exchange(body(talk))
            assert (sent.crossing.base is not None) == (number > 0)


def test_a_miss_is_sent_again_after_the_dictionary() -> None:
    link = ends()
    link.exchange(turn(1))
    link.core = Core(Bounds(), Memory(1 << 20), link.clock)
    second = link.send(turn(2))
    with pytest.raises(Miss):
        link.receive(second)
    link.edge.miss(second.crossing)
    again = link.send(turn(2), fresh=True)
    assert again.crossing.base is None
    assert link.receive(again) == turn(2)
    assert len(list(link.edge._window.newest(scope(ONE, turn(2))))) == 1


def test_after_three_misses_in_a_row_no_reply_is_referred_to_any_more() -> None:
    """Not of entries that have one already either, nor once one that was on its way is read."""
    link = ends()
    prompts = [said("system", words(rng, 500)) for _ in range(5)]
    sent = []
    for prompt in prompts[:3]:
        link.exchange(body([prompt]), [PARTS[1]])
        sent.append(link.send(body([prompt, PARTS[1], PARTS[2]])))
        assert sent[-1].crossing.use.reply
        if len(sent) < 3:
            link.edge.miss(sent[-1].crossing)
    for prompt in prompts[3:]:
        link.exchange(body([prompt]), [PARTS[1]])
    on_its_way = link.send(body([prompts[3], PARTS[1], PARTS[2]]))
    assert on_its_way.crossing.use.reply
    link.edge.miss(sent[-1].crossing)
    assert link.receive(on_its_way)
    link.have(on_its_way)
    last = link.send(body([prompts[4], PARTS[1], PARTS[2]]))
    assert last.crossing.base is not None and not last.crossing.use.reply


def test_a_core_that_has_forgotten_many_conversations_at_once_is_doubted_once() -> None:
    link = ends()
    prompts = [said("system", words(rng, 500)) for _ in range(6)]
    for prompt in prompts:
        link.exchange(body([prompt]), [PARTS[1]])
    link.core = Core(Bounds(), Memory(1 << 20), link.clock)
    for prompt in prompts:
        turn_two = body([prompt, PARTS[1], PARTS[2]])
        missed = link.send(turn_two)
        assert missed.crossing.use.reply
        with pytest.raises(Miss):
            link.receive(missed)
        link.edge.miss(missed.crossing)
        link.have(link.send(turn_two, fresh=True))


def test_ids_of_replies_are_counted_with_their_entries() -> None:
    link = ends()
    sent = link.exchange(turn(1))
    before = link.edge.size
    assert sent.entry is not None
    link.edge.replied(sent.entry, b"", [b"call_%040d" % number for number in range(1000)])
    assert link.edge.size > before + 16 * 45
    assert link.edge.size == link.memory[0].used
    assert link.edge.size < before + 16 * 400


def test_nothing_is_left_at_the_end_whatever_comes_after() -> None:
    link = ends()
    sent = link.exchange(turn(5))
    on_its_way = link.send(turn(6))
    link.edge.end()
    link.core.end()
    assert link.code(turn(6)).base is None
    assert sent.entry is not None and on_its_way.entry is not None
    link.edge.have(on_its_way.crossing)
    link.edge.replied(on_its_way.entry, b"late", [b"call_1a2b3c4d"])
    link.edge.miss(on_its_way.crossing)
    with pytest.raises(Miss):
        link.receive(on_its_way)
    assert link.send(turn(7)).entry is None
    assert (link.edge.size, link.core.size) == (0, 0)
    assert [memory.used for memory in link.memory] == [0, 0]


def test_hostile_bodies_are_chosen_for_in_bounded_steps() -> None:
    """Their seams alone would be millions. No time is measured: it would take minutes."""
    link = ends(Bounds(entry=8 << 20, scope=64 << 20, connection=64 << 20))
    seams = b"},{" * (2 << 20)
    for text in (seams, b"x" + seams, b"xy" + seams, b'"user":' + seams, b'"call_id"' * 500_000):
        sent = link.send(text)
        assert link.receive(sent) == text
        link.have(sent)
    assert link.edge.size == link.memory[0].used


def test_what_a_body_says_of_whose_it_is_takes_no_memory_that_is_not_counted() -> None:
    """A long value would be kept twice, and counted once."""
    link = ends()
    for user, is_kept in (("u" * 400, True), ("u" * 100_000, False)):
        sent = link.exchange(body([PROMPT], user=user))
        assert sent.entry is not None and sent.kept is not None
        assert bool(sent.entry.names.found) == bool(sent.kept.names.found) == is_kept
        again = link.send(body([PROMPT, *PARTS[:2]], user=user))
        assert again.crossing.base is sent.entry
        assert link.receive(again) == again.crossing.look.body


# -- what is hostile -----------------------------------------------------------------------------


def receive(core: Core, number: int, tenant: bytes, message: bytes) -> bytes:
    received = core.receive(number, tenant, message)
    text = received.decode(LIMIT)
    received.check(scope(tenant, text))
    core.keep(number, tenant, scope(tenant, text), received, text)
    return text


def with_entry(tenant: bytes = ONE) -> tuple[Core, bytes]:
    core = Core(Bounds(), Memory(1 << 20), Clock())
    text = turn(2)
    receive(core, 5, tenant, encode(text).message(0))
    return core, text


@pytest.mark.parametrize("distance", [4, 6, 8, 100, 1 << 32, (1 << 61) - 2])
def test_a_reference_to_another_stream_is_a_miss(distance: int) -> None:
    core, text = with_entry()
    size = core.size
    with pytest.raises(Miss):
        receive(core, 7, ONE, encode(text, Use(), Known(text)).message(distance))
    assert core.size == size


def test_a_reference_to_what_comes_later_cannot_be_said() -> None:
    core, text = with_entry()
    with pytest.raises(Miss):  # an earlier stream of which the body comes late
        receive(core, 3, ONE, encode(text, Use(), Known(text)).message(2))


def test_a_reference_to_another_tenants_entry_is_a_miss_like_any() -> None:
    core, text = with_entry(TWO)
    size = core.size
    for use in (Use(), Use(reply=True), Use(runs=(Run(0, 1),)), Use(runs=(Run(0, 1 << 40),))):
        with pytest.raises(Miss):  # before anything is decoded after it
            core.receive(7, ONE, encode(text, use, Known(text, b"reply")).message(2))
    assert core.size == size


def test_a_reference_to_a_reply_that_is_not_there_is_a_miss() -> None:
    core, text = with_entry()
    with pytest.raises(Miss):
        receive(core, 7, ONE, encode(text, Use(reply=True), Known(text, b"reply")).message(2))


def test_a_reference_beyond_the_entry_is_a_miss() -> None:
    core, text = with_entry()
    blocks = len(text) // 1024
    for runs in ((Run(0, blocks + 1),), (Run(1 << 60, 1),), (Run(0, 1 << 60),)):
        with pytest.raises(Miss):
            receive(core, 7, ONE, Coded(Use(runs=runs), 5, True, 0, b"").message(2))


@pytest.mark.parametrize("use", [Use(), Use(runs=(Run(0, 1),)), Use(tail=2)])
def test_what_a_few_bytes_continue_is_work_for_who_reads_them(use: Use) -> None:
    """All of that is copied, and an edge may send a hundred bytes at a time."""
    core, text = with_entry()
    received = core.receive(7, ONE, encode(text[:2000], use, Known(text)).message(2))
    assert received.work >= len(text)


def test_a_body_of_another_user_of_the_tenant_is_a_miss_after_all() -> None:
    core, text = with_entry()
    size = core.size
    other = text[:-1] + b',"user":"u"}'
    with pytest.raises(Miss):
        receive(core, 7, ONE, encode(other, Use(), Known(text)).message(2))
    assert core.size == size


def test_damage_is_a_miss_with_a_reference_and_an_error_without() -> None:
    core, text = with_entry()
    size = core.size
    coded = encode(text, Use(), Known(text))
    wrong = replace(coded, checksum=coded.checksum ^ 1)
    with pytest.raises(Miss):
        receive(core, 7, ONE, wrong.message(2))
    coded = encode(text)
    wrong = replace(coded, checksum=coded.checksum ^ 1)
    with pytest.raises(WireError):
        receive(core, 7, ONE, wrong.message(0))
    too_large = replace(coded, size=LIMIT + 1)
    for distance in (0, 2):
        with pytest.raises(TooLarge):
            receive(core, 7, ONE, too_large.message(distance))
    assert core.size == size


def test_an_entry_is_used_by_any_message_that_refers_to_it() -> None:
    """m2m-link(7), what is remembered: whatever becomes of the message after step 5."""
    link = ends()
    old, entry, other = link.exchange(turn(1)), link.exchange(turn(2)), link.exchange(b"x" * 100)
    assert old.kept is not None and entry.kept is not None and other.kept is not None
    text = turn(2)
    with pytest.raises(Miss):  # step 5
        link.core.receive(7, ONE, encode(text, Use(True), Known(text, b"reply")).message(4))
    assert old.kept.body
    link.clock.now += Bounds().seconds / 2
    damaged = encode(text, Use(), Known(text)).message(4)[:-1]
    with pytest.raises(Miss):
        link.core.receive(7, ONE, damaged).decode(LIMIT)
    assert not old.kept.body
    link.clock.now += Bounds().seconds * 3 / 4
    assert receive(link.core, 9, ONE, encode(text, Use(), Known(text)).message(6)) == text
    assert not other.kept.body


def test_an_entry_is_held_while_its_reference_is_decoded() -> None:
    """Others may push it out meanwhile."""
    link = ends(Bounds(scope=14_000, connection=14_000))
    link.exchange(turn(1))
    second = link.send(turn(2))
    received = link.core.receive(second.number, ONE, second.message)
    for _ in range(3):
        link.receive(link.send(words(rng, 8000).encode(), TWO))
    assert received.decode(LIMIT) == turn(2)


# -- everything together -------------------------------------------------------------------------

SMALL = Bounds(entry=6000, scope=12_000, connection=20_000, seconds=100)
SYSTEM = said("system", words(rng, 2100))


class Machine(RuleBasedStateMachine):
    """Conversations of two tenants over one connection on which anything is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.link: Ends = ends(SMALL, Bounds(6000, 9000, 18_000, 90), memory=16_000)
        self.other = ends(SMALL, memory=1)
        # Another connection of the same two processes.
        self.other.edge = type(self.link.edge)(SMALL, self.link.memory[0], self.link.clock)
        self.other.core = Core(SMALL, self.link.memory[1], self.link.clock)
        self.talks: dict[int, list[dict[str, Any]]] = {}
        self.on_the_way: list[tuple[Ends, Sent]] = []
        self.answered: list[tuple[Ends, Sent]] = []
        self.count = 0

    def said(self, role: str, size: int) -> dict[str, Any]:
        self.count += 1
        message = said(role, f"{self.count} " + words(random.Random(self.count), size))
        if self.count % 3 == 0 and role == "assistant":
            function = {"name": "f", "arguments": "{}"}
            message["tool_calls"] = [{"id": f"call_a1b2c3{self.count:04}", "function": function}]
        return message

    @rule(
        talk=st.integers(0, 5),
        size=st.sampled_from([1, 50, 400, 1500]),
        link=st.booleans(),
        what=st.sampled_from(["", "", "", "dated", "cut", "again"]),
    )
    def turn(self, talk: int, size: int, link: bool, what: str) -> None:
        messages = self.talks.setdefault(talk, [SYSTEM])
        if what != "again":
            calls = messages[-1].get("tool_calls")
            message = self.said("tool" if calls else "user", size)
            if calls:
                message["tool_call_id"] = calls[0]["id"]
            messages.append(message)
        if what == "cut":
            del messages[1:3]
        if what == "dated":
            messages[0] = said("system", f"{self.count} {SYSTEM['content']}")
        more = {"user": "somebody"} if talk == 5 else {}
        text = body(messages, stream=True, **more)
        over = self.link if link else self.other
        sent = over.send(text, ONE if talk % 2 else TWO)
        self.on_the_way.append((over, sent))

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.on_the_way) - 1))
        over, sent = self.on_the_way.pop(at)
        try:
            assert over.receive(sent) == sent.crossing.look.body
        except Miss:
            assert sent.crossing.base is not None
            over.edge.miss(sent.crossing)
            sent = over.send(sent.crossing.look.body, sent.tenant, fresh=True)
            assert over.receive(sent) == sent.crossing.look.body
        self.answered.append((over, sent))

    @precondition(lambda self: self.on_the_way)
    @rule()
    def lose(self) -> None:
        self.on_the_way.pop()

    @precondition(lambda self: self.answered)
    @rule(
        data=st.data(),
        acknowledged=st.sampled_from([True, True, True, False]),
        size=st.sampled_from([0, 30, 900, 5000]),
        ends_well=st.sampled_from(["both", "both", "core", "neither"]),
        talk=st.integers(0, 5),
    )
    def answer(
        self, data: st.DataObject, acknowledged: bool, size: int, ends_well: str, talk: int
    ) -> None:
        over, sent = self.answered.pop(data.draw(st.integers(0, len(self.answered) - 1)))
        if acknowledged:
            over.have(sent)
        message = self.said("assistant", size)
        self.talks.setdefault(talk, [SYSTEM]).append(message)
        if ends_well == "core":
            sent.crossing.entry = None
        if ends_well != "neither":
            over.replied(sent, [message])

    @rule(seconds=st.sampled_from([1.0, 40.0, 95.0, 101.0]))
    def wait(self, seconds: float) -> None:
        self.link.clock.now += seconds

    @rule()
    def restart_core(self) -> None:
        self.link.core.end()
        self.link.core = Core(SMALL, self.link.memory[1], self.link.clock)
        for over, sent in self.answered:
            if over is self.link:
                sent.kept = None

    @invariant()
    def what_is_kept_is_counted_and_bounded(self) -> None:
        for which, memory in enumerate(self.link.memory):
            windows = [(over.edge, over.core)[which]._window for over in (self.link, self.other)]
            for window in windows:
                held = list(window._all.entries.values())
                assert window.size == sum(each.size for each in held) <= SMALL.connection
                for whose in {each.scope for each in held}:
                    mine = [each for each in held if each.scope == whose]
                    assert sum(each.size for each in mine) <= SMALL.scope
                    assert {*window.newest(whose)} == {*mine}
                assert len(window._scopes) == len({each.scope for each in held})
                for some in (window._all, *window._scopes.values()):
                    assert (some.replaced or {}).items() <= some.entries.items()
            assert memory.used == sum(window.size for window in windows) <= 16_000

    @invariant()
    def nothing_is_found_that_is_not_kept(self) -> None:
        for over in (self.link, self.other):
            index, window = over.edge._index, over.edge._window
            for table in (index._by_mark, index._by_secret):
                assert all(window._has(each) for each in table.values())
            assert all(map(window._has, index._places))

    def teardown(self) -> None:
        for over in (self.link, self.other):
            over.edge.end()
            over.core.end()
            assert (over.edge.size, over.core.size) == (0, 0)
        assert [memory.used for memory in self.link.memory] == [0, 0]


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_bodies_that_are_no_json_cross_as_well() -> None:
    link = ends()
    for text in (b"\xff" * 5000, b"\xff" * 6000, json.dumps("x").encode(), b"\0"):
        link.exchange(text)


def test_a_prompt_that_changes_with_each_turn_crosses_as_what_has_changed() -> None:
    """As long as the ids of calls show whose conversation it is, also where a turn had none."""
    link, rng = ends(), random.Random(8)
    messages = [said("user", words(rng, 3000))]
    for turn in range(6):
        clock = f"It is 09:{turn:02}:{rng.randrange(60):02}. " + words(random.Random(1), 5000)
        sent = link.send(body([said("system", clock), *messages]))
        assert link.receive(sent) == sent.crossing.look.body
        link.have(sent)
        call = {"id": f"call_{rng.getrandbits(99):x}", "type": "function"}
        call |= {"function": {"name": "f", "arguments": words(rng, 50)}}
        reply = said("assistant", words(rng, 90))
        if turn != 3:
            reply["tool_calls"] = [call]
        link.replied(sent, [reply])
        more = {"role": "tool", "tool_call_id": call["id"], "content": words(rng, 40)}
        messages += [reply, more if turn != 3 else said("user", words(rng, 40))]
        if turn:
            assert sent.crossing.use.edits and sent.crossing.use.reply
            assert len(sent.message) < 250
