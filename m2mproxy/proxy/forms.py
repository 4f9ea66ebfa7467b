"""What this instance reads and writes: the codings of codings.py, which every instance has.

Made once from the configuration, and handed to all that decode, code, or say what can be read.

The one rule: who asks here gets the answer of this instance; codings.py knows of none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from m2mproxy.codec import coding
from m2mproxy.codec.base import Transform
from m2mproxy.codec.token_native import Vocabularies
from m2mproxy.proxy import codings
from m2mproxy.proxy.codings import Kind


@dataclass(frozen=True, slots=True)
class Forms:
    """The forms of one instance. `vocabularies` are what token ids are read with."""

    vocabularies: Vocabularies = field(default_factory=dict)

    def peers(self) -> tuple[bytes, ...]:
        """What another m2mproxy may send us, best first."""
        return codings.peer_forms()

    def readable(self) -> bytes:
        """Accept-Encoding for requests to us."""
        return b", ".join([*self.peers(), *codings.STANDARD, coding.DEFLATE])

    def can_read_all(self, names: Sequence[bytes]) -> bool:
        """Whether a body can be decoded to which these were applied. Honest ones have few."""
        return codings.can_read_all(names)

    def read_request(self, names: Sequence[bytes], body: bytes, limit: int) -> bytes:
        """See `codings.read_request`."""
        return codings.read_request(names, body, limit, self.vocabularies)

    def writer(self, name: bytes, kind: Kind, level: int) -> Transform:
        """What codes a response."""
        return codings.writer(name, kind, level)

    def reader(self, names: Sequence[bytes], kind: Kind) -> Transform:
        """What decodes a response; `names` in the order in which they were applied."""
        return codings.reader(names, kind)
