"""Which rules a text matches: one pass of the engine, then the rules of words near each other.

The one rule: after the pass, the work is linear in what the pass has found; where each list was
seen last is all that is remembered.
"""

from __future__ import annotations

from itertools import product

from m2mproxy.guard.engine import Engine, Sets
from m2mproxy.guard.rules import Rules, Search, patterns


class Matcher:
    """All rules and signs, compiled."""

    def __init__(self, rules: Rules) -> None:
        searches: tuple[Search, ...] = (*rules.rules, *rules.signs)
        self._ids = tuple(search.id for search in searches)
        self.signs = frozenset(sign.id for sign in rules.signs)
        steps = [step for search in searches for step in search.near]
        names = list(dict.fromkeys(name for step in steps for name in step))
        self._lists = tuple(names)
        self._engine = Engine(self._patterns)
        self._steps: list[list[tuple[int, int, int, int]]] = [[] for _ in names]
        """For each list: (the state before, bytes since then, the state reached, the search or -1).
        States are lists seen, then the beginnings of longer searches."""
        self._states = len(names)
        self._alone = [-1] * len(names)
        """For each list, the search that it fulfils by itself."""
        for number, search in enumerate(searches):
            for path in _paths(search):
                self._add([names.index(name) for name in path], search.within, number)

    def _patterns(self) -> tuple[Sets, Sets]:
        """Those of the searches, of which some have none, and those of the lists."""
        found = patterns()
        once = [found.searches[each] for each in self._ids]
        return once, [found.lists[each] for each in self._lists]

    def _add(self, path: list[int], within: int, number: int) -> None:
        before = path[0]
        if len(path) == 1:
            self._alone[before] = number
        for at, step in enumerate(path[1:], 2):
            last = at == len(path)
            reached = before if last else self._states
            self._steps[step].append((before, within, reached, number if last else -1))
            if not last:
                before, self._states = self._states, self._states + 1

    def match(self, folded: bytes) -> tuple[list[str], list[str]]:
        """The ids of the rules and signs that match, in the order of the data; lists seen."""
        hits = self._engine.scan(folded)
        if not hits:
            return [], []
        matched: set[int] = set()
        last: dict[int, int] = {}
        steps, alone = self._steps, self._alone
        first = len(self._ids)
        for number, end in hits:
            if number < first:
                matched.add(number)
                continue
            number -= first
            if alone[number] >= 0:
                matched.add(alone[number])
            for before, within, reached, search in steps[number]:
                if before in last and 0 < end - last[before] <= within:
                    if search < 0:
                        last[reached] = end
                    else:
                        matched.add(search)
            last[number] = end
        ids, names = self._ids, self._lists
        seen = [names[number] for number in sorted(last) if number < len(names)]
        return [ids[number] for number in sorted(matched)], seen


def _paths(search: Search) -> list[tuple[str, ...]]:
    """All sequences of lists that fulfil the search."""
    if not search.near:
        return []
    paths = set(product(*search.near))
    if search.either:
        paths |= set(product(*reversed(search.near)))
    return sorted(paths)
