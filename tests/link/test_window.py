"""What is kept is counted; what is too much or too old goes, the longest unused first."""

from __future__ import annotations

from m2mproxy.link.window import Bounds, Entry, Memory, Window

KiB = 1024
BOUNDS = Bounds(entry=8 * KiB, scope=16 * KiB, connection=32 * KiB, seconds=100)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def entry(number: int, size: int = 4 * KiB, scope: bytes = b"s") -> Entry:
    """One that takes `size` bytes in all."""
    bare = Entry(number, scope, b"")
    return Entry(number, scope, bytes(size - bare.size))


def window(memory: int = 1 << 20, bounds: Bounds = BOUNDS) -> tuple[Window, Memory, Clock]:
    clock, of = Clock(), Memory(memory)
    return Window(bounds, of, clock), of, clock


def numbers(of: Window) -> list[int]:
    return [number for number in range(1, 100) if of.get(number) is not None]


def test_a_scope_forgets_its_longest_unused_first() -> None:
    held, memory, _ = window()
    entries = [entry(number) for number in range(1, 5)]
    assert all(map(held.add, entries))
    held.use(entries[0])
    assert held.add(entry(5))
    assert numbers(held) == [1, 3, 4, 5]
    assert held.size == memory.used == 16 * KiB


def test_other_scopes_are_left_alone_while_the_connection_has_room() -> None:
    held, _, _ = window()
    for number in range(1, 4):
        held.add(entry(number, scope=b"other"))
    for number in range(4, 10):
        held.add(entry(number))
    assert numbers(held) == [1, 2, 3, 6, 7, 8, 9]


def test_a_connection_forgets_of_any_scope() -> None:
    held, memory, _ = window()
    for number in range(1, 10):
        held.add(entry(number, scope=b"%d" % number))
    assert numbers(held) == list(range(2, 10))
    assert held.size == memory.used == 32 * KiB


def test_what_is_forgotten_is_empty_for_whoever_still_holds_it() -> None:
    held, _, _ = window()
    entries = [entry(1), entry(3)]
    assert all(map(held.add, entries))
    assert held.hear(entries[1], b"reply")
    held.drop(entries[0])
    assert (entries[0].body, entries[1].reply) == (b"", b"reply")
    held.end()
    assert (entries[1].body, entries[1].reply) == (b"", b"")


def test_a_body_has_to_fit_in_every_bound() -> None:
    held, memory, _ = window(bounds=Bounds(entry=100 * KiB, scope=8 * KiB, connection=32 * KiB))
    overhead = entry(1).size - len(entry(1).body)
    assert held.takes(8 * KiB - overhead)
    assert not held.takes(8 * KiB - overhead + 1)
    assert held.add(entry(1, 8 * KiB))
    assert not held.add(entry(2, 8 * KiB + 1))
    assert numbers(held) == [1]
    assert memory.used == 8 * KiB
    held, _, _ = window(bounds=Bounds(entry=10, scope=8 * KiB, connection=32 * KiB))
    assert held.takes(10)
    assert not held.takes(11)


def test_what_does_not_fit_costs_nobody_a_place() -> None:
    held, _, _ = window()
    held.add(entry(1))
    large = entry(2)
    large.extra = 14 * KiB
    assert not held.add(large)
    assert numbers(held) == [1]


def test_a_number_is_taken_once() -> None:
    held, memory, _ = window()
    assert held.add(entry(1))
    assert not held.add(entry(1))
    assert memory.used == 4 * KiB


def test_a_reply_makes_its_entry_larger_and_others_go() -> None:
    held, memory, _ = window()
    first, *_ = entries = [entry(number) for number in range(1, 5)]
    for each in entries:
        held.add(each)
    assert held.hear(first, bytes(KiB - 100), bytes(100), 10)
    assert numbers(held) == [1, 3, 4]
    assert held.size == memory.used == 13 * KiB + 10


def test_a_second_reply_takes_the_place_of_the_first() -> None:
    held, memory, _ = window()
    held.add(one := entry(1))
    held.hear(one, bytes(KiB))
    held.hear(one, bytes(10))
    assert held.size == memory.used == one.size == 4 * KiB + 10
    held.drop(one)
    assert held.size == memory.used == 0


def test_a_reply_that_is_too_large_is_left_out() -> None:
    held, memory, _ = window()
    held.add(one := entry(1))
    held.add(entry(2))
    assert not held.hear(one, bytes(12 * KiB + 1))
    assert not one.reply
    assert numbers(held) == [1, 2]
    assert memory.used == 8 * KiB


def test_a_reply_of_an_entry_that_is_gone_is_not_counted() -> None:
    held, memory, _ = window()
    held.add(one := entry(1))
    held.drop(one)
    held.drop(one)
    assert not held.hear(one, bytes(KiB))
    assert memory.used == held.size == 0


def test_what_is_not_used_for_too_long_goes() -> None:
    held, memory, clock = window()
    held.add(one := entry(1))
    held.add(entry(2))
    clock.now += 60
    held.use(one)
    clock.now += 41
    assert numbers(held) == [1]
    clock.now += 60
    assert numbers(held) == []
    assert memory.used == 0


def test_a_continuation_that_is_in_use_lets_what_it_contains_go() -> None:
    held, _, _ = window()
    held.add(entry(1))
    second = entry(3)
    second.successor_of = 1
    held.add(second)
    assert numbers(held) == [1, 3]
    held.use(second)
    assert numbers(held) == [3]


def test_what_is_replaced_goes_before_what_was_unused_for_longer() -> None:
    """And before all others of its scope, whichever scope wants room; what was replaced first goes
    first, though it is used again."""
    for bounds in (Bounds(8 * KiB, 20 * KiB, 32 * KiB), Bounds(8 * KiB, 32 * KiB, 20 * KiB)):
        held, memory, _ = window(bounds=bounds)
        held.add(entry(1))
        for number, before in ((2, 0), (3, 0), (4, 3), (5, 2)):
            each = entry(number)
            each.successor_of = before
            held.add(each)
        third = next(each for each in held.newest(b"s") if each.number == 3)
        held.use(third)
        for number, left in ((6, [1, 2, 4, 5, 6]), (7, [1, 4, 5, 6, 7]), (8, [4, 5, 6, 7, 8])):
            held.add(entry(number))
            assert numbers(held) == left
        assert held.size == memory.used == 20 * KiB


def test_the_newest_of_a_scope_come_first() -> None:
    held, _, _ = window()
    entries = [entry(number, scope=b"s" if number != 2 else b"other") for number in range(1, 5)]
    for each in entries:
        held.add(each)
    held.use(entries[0])
    assert [each.number for each in held.newest(b"s")] == [1, 4, 3]
    assert list(held.newest(b"nobody")) == []


def test_windows_share_a_memory_and_the_longest_unused_one_gives() -> None:
    memory, clock = Memory(20 * KiB), Clock()
    a, b = (Window(BOUNDS, memory, clock) for _ in range(2))
    for number in range(1, 4):
        a.add(entry(number))
    for number in range(1, 4):
        b.add(entry(number))
    assert (numbers(a), numbers(b)) == ([2, 3], [1, 2, 3])
    assert memory.used == a.size + b.size == 20 * KiB
    a.add(entry(4))
    assert (numbers(a), numbers(b)) == ([2, 3, 4], [2, 3])


def test_a_memory_smaller_than_an_entry_holds_nothing() -> None:
    memory = Memory(KiB)
    a, b = (Window(BOUNDS, memory, Clock()) for _ in range(2))
    assert not a.add(entry(1))
    assert not b.add(entry(1))
    assert memory.used == a.size == b.size == 0
    assert a.add(entry(2, KiB))


def test_an_ended_window_holds_nothing_and_takes_nothing() -> None:
    held, memory, _ = window()
    other = Window(BOUNDS, memory, Clock())
    other.add(entry(1))
    held.add(one := entry(1))
    held.end()
    held.end()
    assert held.size == 0
    assert memory.used == other.size == 4 * KiB
    assert not held.takes(1)
    assert not held.add(entry(2))
    assert not held.hear(one, b"x")
    held.use(one)
    held.drop(one)
    assert memory.used == 4 * KiB
    assert len(held) == 0


def test_whatever_goes_is_told() -> None:
    gone: list[int] = []
    memory, clock = Memory(12 * KiB), Clock()
    held = Window(BOUNDS, memory, clock, lambda each: gone.append(each.number))
    for number in range(1, 5):
        held.add(entry(number))
    assert gone == [1]
    held.drop(entry(2))  # not that one
    assert gone == [1]
    clock.now += 101
    held.expire()
    assert gone == [1, 2, 3, 4]
