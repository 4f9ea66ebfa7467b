"""What this instance reads and writes: the codings of codings.py, which every instance has, and the
one that its key makes (sealing.py).

Made once from the configuration, and handed to all that decode, code, or say what can be read.

The one rule: what depends on the configuration of this instance is here; codings.py knows none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from m2mproxy.codec import coding, frame, static
from m2mproxy.codec.after import Before
from m2mproxy.codec.base import Form, Transform, WireError, sniff
from m2mproxy.codec.header import FrameSecurity
from m2mproxy.codec.routing import Schema
from m2mproxy.codec.token_native import Vocabularies
from m2mproxy.config import Config
from m2mproxy.http.faults import UpstreamFault
from m2mproxy.http.headers import Headers
from m2mproxy.proxy import codings
from m2mproxy.proxy.codings import Kind, Steps
from m2mproxy.proxy.sealing import BothSeal, PeerSeal

# A reply that grows beyond this while it is opened is no reply of a model.
_MOST_OPENED = 256 << 20
# Bytes of a request that is sealed: it is held whole, and no frame carries more than 1 GiB.
_MOST_SEALED = 1 << 29
_ONLY_PLAIN = (frame.PLAIN,)
_SEALED = (b"m2m-aead-", b"m2m-hmac-")
_LONGEST_LABEL = 100


def is_of_a_key(name: bytes) -> bool:
    """Whether `name` is the coding of a key, whoever has it."""
    return name.startswith(_SEALED)


@dataclass(frozen=True, slots=True)
class Forms:
    """The forms of one instance. `is_required` says that nothing else than what is sealed goes to
    the upstream or is taken from it; `most` is the largest request, in bytes; `vocabularies` are
    what token ids are read with."""

    seal: PeerSeal | None = None
    is_required: bool = False
    most: int = 0
    vocabularies: Vocabularies = field(default_factory=dict)
    sealed: tuple[bytes, ...] = field(init=False)
    """The coding of the key, if there is one."""
    peers: tuple[bytes, ...] = field(init=False)
    """What another m2mproxy may answer us in, best first."""
    readable: bytes = field(init=False)
    """Accept-Encoding for requests to us."""

    @classmethod
    def of(cls, config: Config, aead: BothSeal | None, vocabularies: Vocabularies) -> Forms:
        """As the configuration has it. `aead` has the key of `peer.psk_file`, where one is set;
        whoever loaded that made it, since it takes ten megabytes that few need."""
        peer = config.peer
        if aead is None:
            return cls(vocabularies=vocabularies)
        seal = PeerSeal(peer.psk, peer.seal, aead)
        return cls(seal, peer.required, min(config.max_body, _MOST_SEALED), vocabularies)

    def __post_init__(self) -> None:
        sealed = () if self.seal is None else (self.seal.name,)
        reads = (*sealed, *codings.peer_forms(), *codings.STANDARD, coding.DEFLATE)
        object.__setattr__(self, "sealed", sealed)
        object.__setattr__(self, "peers", (*sealed, *codings.peer_replies()))
        object.__setattr__(self, "readable", b", ".join(reads))

    def can_read(self, names: Sequence[bytes]) -> bool:
        """Whether a request's body can be decoded to which these were applied. Honest ones have
        few."""
        return self._knows_all(names, codings.can_read)

    def can_read_reply(self, names: Sequence[bytes]) -> bool:
        """Whether a response's body can be decoded to which these were applied."""
        return self._knows_all(names, codings.can_read_reply)

    def _knows_all(self, names: Sequence[bytes], knows: Callable[[bytes], bool]) -> bool:
        return len(names) <= codings.MOST_CODINGS and all(
            name in self.sealed or knows(name) for name in names
        )

    def why_not(self, names: Sequence[bytes]) -> str:
        """What to tell of codings that cannot all be read."""
        what = b", ".join(names).decode("latin-1")[:_LONGEST_LABEL]
        if not any(map(is_of_a_key, names)):
            return f"the content-encoding {what} is not supported"
        mine = "this proxy has another key" if self.seal is not None else "this proxy has no key"
        return f"the content-encoding {what} cannot be opened: {mine}"

    def label(self, names: Sequence[bytes]) -> str:
        """The codings for people: one that is sealed is that above all. Others have any name."""
        if self.seal is not None and self.seal.name in names:
            return self.seal.label
        return b",".join(names).decode("latin-1")[:_LONGEST_LABEL]

    # -- requests -------------------------------------------------------------------------------

    def decode_request(self, names: Sequence[bytes], body: bytes, limit: int) -> bytes:
        """A request's body, decoded; `names` in the order in which they were applied.

        Raises:
            TooLarge: more than `limit` bytes.
            WireError: it cannot be decoded, or does not open.
        """
        if not names:
            return self._decode_here((), body, limit)
        for at, name in reversed(list(enumerate(names))):
            if self.seal is not None and name == self.seal.name:
                body = self.seal.open(body, Schema.REQUEST, names[:at], limit)
            else:
                body = self._decode_here((name,), body, limit)
        return body

    def _decode_here(self, names: Sequence[bytes], body: bytes, limit: int) -> bytes:
        if self.seal is not None:
            return codings.decode_request(names, body, limit, self.seal.opened, self.vocabularies)
        if names in ((), (codings.M2M,)):
            _refuse_secured(body, limit)
        return codings.decode_request(names, body, limit, _ONLY_PLAIN, self.vocabularies)

    def seal_request(self, body: bytes, shrinks: bool) -> tuple[list[bytes], bytes]:
        """The codings and the sealed body; one that `shrinks` is coded with the static dictionary
        before."""
        assert self.seal is not None
        inner: list[bytes] = []
        if shrinks:
            inner.append(codings.static_form())
            body = static.encode(body, static.Way.REQUEST)
        return [*inner, self.seal.name], self.seal.close(body, Schema.REQUEST, inner)

    # -- responses ------------------------------------------------------------------------------

    def encoder(
        self,
        names: Sequence[bytes],
        kind: Kind,
        size: int | None,
        level: int,
        before: Before | None = None,
    ) -> Transform:
        """What codes a response of that size. `names` has a coding, or the key's, or both;
        `before` as of `codings.encoder`."""
        inner = [name for name in names if name not in self.sealed]
        steps = [codings.encoder(name, kind, size, level, before) for name in inner]
        if self.seal is not None and self.seal.name in names:
            whole = kind is Kind.BODY and size is not None and size <= codings.MOST_WAITING
            steps.append(self.seal.sealer(whole, inner))
        return steps[0] if len(steps) == 1 else Steps(steps)

    def decoder(
        self, names: Sequence[bytes], kind: Kind, head: bytes = b"", before: Before | None = None
    ) -> Transform:
        """What decodes a response; `names` in the order in which they were applied; `head` is how
        it begins, see `coding.decoder`; `before` is what it may be coded after, on a link."""
        if before is not None and names == [codings.LINK]:
            return codings.decoder(codings.LINK, kind, before=before)
        steps = [self._decoder(names, at, kind, head) for at in reversed(range(len(names)))]
        return steps[0] if len(steps) == 1 else Steps(steps)

    def _decoder(self, names: Sequence[bytes], at: int, kind: Kind, head: bytes) -> Transform:
        if self.seal is not None and names[at] == self.seal.name:
            return self.seal.opener(names[:at], _MOST_OPENED)
        return codings.decoder(names[at], kind, head if at == len(names) - 1 else b"")

    def check_response(self, headers: Headers) -> None:
        """A response with a body came from the upstream.

        Raises:
            UpstreamFault: it is not sealed, and has to be.
        """
        if self.is_required and not self.is_sealed(headers):
            raise UpstreamFault("unsealed", "the upstream's response is not sealed (peer.required)")

    def is_sealed(self, headers: Headers) -> bool:
        """Whether a message says that its body is sealed with the key."""
        return self.seal is not None and self.seal.name in codings.applied(headers)


def _refuse_secured(body: bytes, limit: int) -> None:
    """Say of a secured frame that there is no key, rather than that it is not accepted."""
    if len(body) > limit or sniff(body) not in (Form.M2M, Form.M2M_TEXT):
        return
    security = frame.peek(body).security
    if security is not FrameSecurity.NONE:
        raise WireError(f"it is secured with {security.name}, and this proxy has no key")
