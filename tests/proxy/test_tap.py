"""What looks at a body as it passes: in which order, and when."""

from __future__ import annotations

from collections.abc import Callable

from m2mproxy.http.body import Chunk
from m2mproxy.proxy.tap import Tap, all_of, tap_of


def taps(seen: list[tuple[str, Chunk]], names: str) -> list[Tap]:
    def named(name: str) -> Tap:
        return lambda chunk: seen.append((name, chunk))

    return [named(name) for name in names]


def test_several_taps_see_a_chunk_in_their_order() -> None:
    seen: list[tuple[str, Chunk]] = []
    all_of(taps(seen, "ab"))(b"x")
    assert seen == [("a", b"x"), ("b", b"x")]


def test_one_tap_is_not_wrapped() -> None:
    (tap,) = taps([], "a")
    assert all_of([tap]) is tap


def test_only_the_first_tap_sees_a_chunk_before_it_has_left() -> None:
    seen: list[tuple[str, Chunk]] = []
    waiting: list[Callable[[], None]] = []
    first, *others = taps(seen, "abc")
    tap = tap_of(first, others, waiting.append)
    assert tap is not None
    tap(b"x")
    assert seen == [("a", b"x")]
    (look,) = waiting
    look()
    assert seen == [("a", b"x"), ("b", b"x"), ("c", b"x")]


def test_without_taps_nothing_is_called_for_a_chunk() -> None:
    assert tap_of(None, [], lambda _: None) is None
