"""The byte counts of one exchange: what crossed each wire, in which coding, and what it is plain.

The one rule: bytes are counted where they cross a wire, coded as they are there; what would have
crossed plain stands beside them, and a saving is the difference of the two and nothing else.
"""

from __future__ import annotations

IDENTITY = "identity"


class Direction:
    """One direction of one leg: payload bytes as they crossed, and as they are plain."""

    __slots__ = ("coding", "plain", "wire")

    def __init__(self) -> None:
        self.coding = IDENTITY
        self.wire = 0
        self.plain = 0

    def add(self, wire: int, plain: int) -> None:
        """`wire` bytes crossed, which are `plain` bytes decoded."""
        self.wire += wire
        self.plain += plain


def _words(request: Direction, response: Direction) -> str:
    if request.coding == response.coding == IDENTITY:
        return IDENTITY
    return f"{request.coding},{response.coding}"


class Ledger:
    """Both legs of an exchange. `why` is what spoke for the upstream request's coding, or against
    any; "" where there was nothing to decide."""

    __slots__ = (
        "_plain",
        "client_in",
        "client_out",
        "reference",
        "upstream_in",
        "upstream_out",
        "why",
    )

    def __init__(self) -> None:
        self.client_in = Direction()
        self.upstream_out = Direction()
        self.upstream_in = Direction()
        self.client_out = Direction()
        self.why = ""
        self.reference = ""  # what the request's body was coded after, on a link
        self._plain: int | None = None  # of the request, where it goes coded

    def coded(self, name: str, plain: int) -> None:
        """The request goes to the upstream in this coding, instead of `plain` bytes."""
        self.upstream_out.coding = name
        self._plain = plain

    @property
    def directions(self) -> tuple[Direction, Direction, Direction, Direction]:
        """From the client, to it, to the upstream, from it."""
        return (self.client_in, self.client_out, self.upstream_out, self.upstream_in)

    @property
    def upstream_coding(self) -> str:
        """Request and response on the upstream's leg, for people: "zstd,gzip"; one word when
        neither is coded."""
        return _words(self.upstream_out, self.upstream_in)

    @property
    def client_coding(self) -> str:
        """Request and response on the client's leg, in the same form."""
        return _words(self.client_in, self.client_out)

    @property
    def saved(self) -> int:
        """Bytes that did not cross to the upstream and from it."""
        directions = (self.upstream_out, self.upstream_in)
        return sum(each.plain - each.wire for each in directions)

    def anew(self) -> None:
        """The request goes once more, in a form that is still to be said."""
        self.upstream_out.coding, self._plain = IDENTITY, None
        self.why = self.reference = ""

    def refused(self, wire: int, status: int) -> None:
        """The upstream refused what was coded: it crossed for nothing, and plain goes after it."""
        self.anew()
        self.upstream_out.add(wire, 0)
        self.why = f"refused with {status}"

    def close(self, sent: int, received: int) -> None:
        """The exchange is over: `sent` bytes went to the upstream, and `received` came. What was
        decoded or coded on the way is here already."""
        self.upstream_out.add(sent, sent if self._plain is None else self._plain)
        if not self.client_in.wire:
            self.client_in.add(self.upstream_out.plain, self.upstream_out.plain)
        if not self.upstream_in.wire:
            self.upstream_in.add(received, received)
        if not self.client_out.wire:
            self.client_out.add(self.upstream_in.plain, self.upstream_in.plain)
