"""How the cost of what a client, an upstream or a peer can feed grows with what it is fed.

Each case is fed with so many bytes, and with four times as many. What takes much more than four
times as long for these takes more than its share of the event loop for larger ones, and fails. The
time is that of the thread, the least of several, and what would fail is measured again first. The
table has what a KiB costs: the dearest shape of each case, or all of them.

The one rule: it fails for what grows too fast, never for what a busy machine made slow once.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import growth_codec
import growth_link
import growth_net
import growth_rest
from growth_case import Case

KiB = 1024
_TIMES = 4  # as many bytes
_FACTOR = 8.0  # as long
# µs a KiB. What costs less for the most that it is ever fed is left alone, however it came to that.
_CHEAP = 10.0
_AGAIN = 3
# What a run should take at least: the clock, and what is done once for any size, are in it.
_LEAST = 300e-6
# And at most.
_LONGEST = 0.25


class Measured(NamedTuple):
    """What a case costs."""

    name: str
    size: int
    seconds: float
    ratio: float
    """For four times as much as `size` / 4."""

    @property
    def each(self) -> float:
        """µs a KiB."""
        return self.seconds * 1e6 / (self.size / KiB)


def cases(is_short: bool) -> Iterator[Case]:
    """All of them, or those that need nothing loaded for seconds."""
    for of in (
        growth_net.http1, growth_net.http2, growth_codec.streams, growth_codec.forms,
        growth_link.link, growth_link.replies, growth_link.whole, growth_rest.tokens,
        growth_rest.small, growth_rest.guard,
    ):  # fmt: skip
        yield from of()
    if not is_short:
        yield from growth_rest.scorer()


def _seconds(case: Case, fed: object, rounds: int) -> float:
    least = float("inf")
    for _ in range(rounds):
        start = time.thread_time()
        case(fed)
        least = min(least, time.thread_time() - start)
        if least > _LONGEST:
            break
    return least


def measure(case: Case, size: int, rounds: int) -> Measured:
    """Feed it, with more where that takes no time yet, or would fail: what costs much once, up to a
    bound, does not grow any more then."""
    before = _seconds(case, case.made(size), rounds)
    while True:
        larger = size * _TIMES
        after = _seconds(case, case.made(larger), rounds)
        found = Measured(case.name, larger, after, after / max(before, 1e-7))
        is_enough = after > _LEAST and found.ratio <= _FACTOR
        if is_enough or larger * _TIMES > case.most or after > _LONGEST:
            return found
        size, before = larger, after


def judged(case: Case, size: int, rounds: int) -> Measured:
    """The least of what grows too fast, measured again."""
    found = measure(case, size, rounds)
    for _ in range(_AGAIN):
        if not _is_wrong(found):
            break
        found = min(found, measure(case, size, 2 * rounds + 1), key=lambda each: each.ratio)
    return found


def _is_wrong(found: Measured) -> bool:
    return found.ratio > _FACTOR and found.each > _CHEAP


def _print(group: Iterable[Measured], whole: bool) -> None:
    """The dearest of a group, and what is wrong; or all of it."""
    for at, each in enumerate(sorted(group, key=lambda each: -each.each)):
        if whole or at == 0 or _is_wrong(each):
            mark = "  GROWS TOO FAST" if _is_wrong(each) else ""
            size = each.size / KiB
            print(f"{each.each:9.1f} {each.ratio:6.1f} {size:6.0f}  {each.name}{mark}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="only cases whose names have one of these")
    parser.add_argument("--short", action="store_true", help="smaller inputs, fewer rounds")
    parser.add_argument("--all", action="store_true", help="every shape of each case")
    options = parser.parse_args()
    found: list[Measured] = []
    size, rounds = (4 * KiB, 1) if options.short else (16 * KiB, 5)
    wanted = (
        case
        for case in cases(options.short)
        if not options.names or any(name in case.name for name in options.names)
    )
    print(f"{'µs/KiB':>9} {'x 4':>6} {'KiB':>6}  case")
    gc.disable()
    for _, some in groupby(wanted, key=lambda case: case.name.partition(":")[0]):
        group = [judged(case, size, rounds) for case in some]
        gc.collect()
        _print(group, options.all)
        found += group
    wrong = [each for each in found if _is_wrong(each)]
    for each in wrong:
        print(f"{each.name}: {each.ratio:.1f} times as long for 4 times as much", file=sys.stderr)
    print(f"{len(found)} cases, {len(wrong)} grow too fast")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
