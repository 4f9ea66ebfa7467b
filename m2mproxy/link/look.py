"""What is found out about a request's body before it is coded for a link: whose it is, and the
marks and ids by which what it continues is found.

None of it depends on the connection that the request gets, so it is found out once. Most bodies are
an earlier one with more, and what is known of that one does not have to be found out again.

The one rule: what is known of an earlier body changes how long it takes, never what is found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from m2mproxy.link.index import Within, chain, last_calls, whole_blocks
from m2mproxy.link.match import insertion, same_before
from m2mproxy.link.scope import NOTHING, Earlier, Names, names_in, scope
from m2mproxy.link.window import Entry

# Entries that are compared to find what a body continues, before its scope is known.
_MOST_COMPARED = 8


@dataclass(slots=True)
class Look:
    """A body, and what is found out about it."""

    tenant: bytes
    body: bytes
    aside: bool = False
    """Whether it only asks about a conversation: it is no turn of it, and replaces none."""
    within: Within | None = None
    """The entry that it most likely continues, whoever's that is."""
    _earlier: Earlier | None = None  # that one's body; the entry may be dropped at any time
    _known: tuple[bytes, list[int]] = (b"", [])  # its scope, and the marks that this has, too
    is_done: bool = False
    names: Names = NOTHING
    scope: bytes = b""
    marks: list[int] = field(default_factory=list)
    _calls: list[bytes] | None = None

    @property
    def calls(self) -> list[bytes]:
        """The ids of the last tool calls that the body has the result of."""
        if self._calls is None:
            self._calls = last_calls(self.body)
        return self._calls

    def begin(self, entries: Iterable[Entry]) -> None:
        """Is it one of these `entries`, and more? Most are passed over: it would have the same
        where they went on last. Of first turns that is not known."""
        left = _MOST_COMPARED
        for entry in entries:
            if entry.tenant != self.tenant:
                continue
            place = entry.grown_to
            if not same_before(entry.body, self.body, place):
                continue
            at = insertion(entry.body, self.body, place)
            if at >= 0:
                self.within = Within(entry, at)
                self._earlier = Earlier(entry.names, len(entry.body), at)
                self._known = entry.scope, entry.marks[: whole_blocks(at)]
                return
            left -= 1
            if not left:
                return

    def find(self) -> None:
        """Find it out. May take long, and touches nothing else."""
        body = self.body
        names = names_in(body, self._earlier)
        self.scope, self.names = scope(self.tenant, body, names), names.to_keep(body)
        whose, marks = self._known
        self.marks = chain(self.scope, body, marks if whose == self.scope else ())
        if self._earlier is None:  # else it most likely goes on, and nobody asks
            self._calls = last_calls(body)
        self.is_done = True
