"""Header fields as every layer sees them: an ordered list of (lower-case name, value).

The one rule: order and duplicates are kept, since a peer may depend on them (RFC 9110 5.2, 5.3).
What belongs to one connection only (RFC 9110 7.6.1) is named here and never leaves the connection
that received it.
"""

from __future__ import annotations

from collections.abc import Iterable

Field = tuple[bytes, bytes]

# RFC 9110 7.6.1, with the proxy credentials of RFC 9110 11.7, which are meant for us alone.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    )
)

# What says who asks, and lets whoever learns it ask in their name.
CREDENTIALS = frozenset(
    (
        b"api-key",
        b"authorization",
        b"cookie",
        b"ocp-apim-subscription-key",
        b"x-api-key",
        b"x-goog-api-key",
        b"xi-api-key",
    )
)

# What a peer may not have removed by naming it in Connection: without these a message means
# something else (RFC 9110 7.6.1: options "intended for all recipients" must not be listed).
_NEVER_NOMINATED = CREDENTIALS | {b"content-encoding", b"content-length", b"content-type", b"host"}


class Headers(list[Field]):
    """Header fields in order: lower-case names, values without surrounding space."""

    __slots__ = ()

    def get(self, name: bytes, default: bytes | None = None) -> bytes | None:
        """The first value of `name`, or `default`."""
        for field in self:
            if field[0] == name:
                return field[1]
        return default

    def values_of(self, name: bytes) -> list[bytes]:
        """Every value of `name`, in order."""
        return [field[1] for field in self if field[0] == name]

    def named(self, names: frozenset[bytes]) -> Headers:
        """The fields whose names are in `names`: one look where several would follow."""
        return Headers([field for field in self if field[0] in names])

    def tokens(self, name: bytes) -> list[bytes]:
        """The members of a comma-separated field, over all its lines."""
        values = [value for field, value in self if field == name]
        return tokens(b",".join(values)) if values else []

    def drop(self, names: Iterable[bytes]) -> None:
        """Remove every field whose name is in `names`."""
        self[:] = [field for field in self if field[0] not in names]

    def put(self, name: bytes, value: bytes) -> None:
        """Change the first field of that name where it is, or add one."""
        at = next((i for i, field in enumerate(self) if field[0] == name), len(self))
        self[at : at + 1] = [(name, value)]


def nominated(options: Iterable[bytes]) -> frozenset[bytes]:
    """The names that a Connection field makes hop-by-hop, less those nobody may nominate."""
    return frozenset(options) - _NEVER_NOMINATED


def tokens(value: bytes) -> list[bytes]:
    """The members of a comma-separated value, lower-case (RFC 9110 5.6.1)."""
    return [token for part in value.lower().split(b",") if (token := part.strip(b" \t"))]
