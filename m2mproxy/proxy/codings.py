"""Every coding that a body can have on either wire, as the proxy uses them.

The one rule: what is written here can be read by whoever named it, and is decoded within a limit.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial

from m2mproxy.codec import after, coding, dictionaries, frame, static
from m2mproxy.codec.after import Before
from m2mproxy.codec.base import DecodeLimits, Form, Transform, WireError, sniff
from m2mproxy.codec.events import FILLER, EventsDecoder, EventsEncoder
from m2mproxy.codec.forms import NO_VOCABULARIES, decode_any
from m2mproxy.codec.routing import Schema
from m2mproxy.codec.token_native import Vocabularies
from m2mproxy.http.headers import Headers

M2M = b"m2m"
LINK = b"m2m-link"
STANDARD = (coding.ZSTD, coding.BR, coding.GZIP)
MOST_CODINGS = 3
FRAME_TYPES = (b"application/x-m2m",)

# A reply that grows beyond this while it is decoded is no reply of a model.
_MOST_DECODED = 256 << 20
# Forms that are made of a whole body, which waits for its end, are for bodies up to this; others
# may make them of a little more. Both are done on the event loop.
MOST_WAITING = 256 * 1024
_MOST_WHOLE = 2 << 20
# Token ids take 80 µs a KiB and abbreviated JSON up to 180, many times as long as other forms; so
# many bytes take 0.6 to 1.5 ms.
_MOST_SLOW = 8 * 1024
_SLOW = (Form.TOKENS, Form.ABBREVIATED)

_TEXT = frozenset((b"application/json", b"application/x-ndjson", b"application/xml"))


@cache
def static_form() -> bytes:
    """The form with static dictionaries, by their name: whoever has other ones has another form."""
    return b"m2m-" + dictionaries.version().encode()


@cache
def events_form() -> bytes:
    """The form of event streams alone in which words are spelt, by the name of what that takes.
    Whoever does not know it has the static form of them."""
    return b"m2m-events-" + dictionaries.events_version().encode()


@cache
def peer_forms() -> tuple[bytes, ...]:
    """What another m2mproxy reads of requests, best first."""
    return (static_form(), M2M)


@cache
def peer_replies() -> tuple[bytes, ...]:
    """What another m2mproxy reads of responses, best first."""
    return (events_form(), *peer_forms())


@cache
def requests() -> tuple[bytes, ...]:
    """What requests are coded in, best first, where all of it is read."""
    return (*peer_forms(), *STANDARD)


def responses(kind: Kind, size: int | None) -> tuple[bytes, ...]:
    """What a response of that kind and size can be coded in, best first."""
    if kind is Kind.EVENTS:
        return (events_form(), static_form(), *STANDARD, coding.DEFLATE)
    if size is None or size > MOST_WAITING:
        return (static_form(), *STANDARD, coding.DEFLATE)
    return (static_form(), *STANDARD, coding.DEFLATE, M2M)


class Kind(enum.Enum):
    """What a response carries."""

    EVENTS = "events"
    BODY = "body"

    @classmethod
    def of(cls, media: bytes) -> Kind:
        """By its media type."""
        return cls.EVENTS if media == b"text/event-stream" else cls.BODY


def applied(headers: Headers) -> list[bytes]:
    """The codings of a body, in the order in which they were applied."""
    return [name for name in headers.tokens(b"content-encoding") if name != b"identity"]


def media_type(headers: Headers) -> bytes:
    """The content type without its parameters."""
    return (headers.get(b"content-type") or b"").partition(b";")[0].strip().lower()


def compresses(kind: bytes) -> bool:
    """Whether bodies of this media type are text, more or less."""
    return kind in _TEXT or kind.startswith(b"text/") or kind.endswith(b"+json")


def can_read(name: bytes) -> bool:
    """Whether a body of this coding can be decoded."""
    return coding.is_standard(name) or name in peer_forms()


def can_read_reply(name: bytes) -> bool:
    """Whether a response's body of this coding can be decoded."""
    return can_read(name) or name == events_form()


def is_quick(names: Sequence[bytes], body: bytes) -> bool:
    """Whether `decode_request` keeps the event loop no longer than a body of that size should."""
    if M2M in names[:-1]:
        return False  # what is inside another coding may be slow
    if names and names[-1] != M2M:
        return True
    return sniff(body) not in _SLOW or len(body) <= _MOST_SLOW


def decode_request(
    names: Sequence[bytes],
    body: bytes,
    limit: int,
    seals: Sequence[frame.Seal],
    vocabularies: Vocabularies = NO_VOCABULARIES,
) -> bytes:
    """A request's body, decoded; `names` are its codings in the order in which they were applied,
    `seals` what frames may be secured with.

    Raises:
        NoVocabulary: it is in token ids of another one than `vocabularies`.
        TooLarge: more than `limit` bytes.
        WireError: it cannot be decoded.
    """
    for name in reversed(names):
        if name == M2M:
            body = _decode_frame(body, limit, seals, vocabularies)
        elif name == static_form():
            body = static.decode(body, static.Way.REQUEST, limit)
        else:
            body = coding.decode(name, body, limit)
    return body if names else _decode_frame(body, limit, seals, vocabularies)


def _decode_frame(
    body: bytes, limit: int, seals: Sequence[frame.Seal], vocabularies: Vocabularies
) -> bytes:
    if sniff(body) is None:
        raise WireError("it begins like none of the M2M forms")
    return decode_any(body, DecodeLimits(limit, limit), seals, vocabularies)[1]


def rivals(chosen: bytes, shown: frozenset[bytes]) -> tuple[bytes, ...]:
    """The codings of which the smallest is sent: a frame may be larger than zstd."""
    if chosen == M2M and coding.ZSTD in shown:
        return (M2M, coding.ZSTD)
    return (chosen,)


def encode_request(names: Sequence[bytes], body: bytes, level: int) -> tuple[bytes, bytes]:
    """The smallest of these codings of `body`, and its name."""
    made = [(name, _encode(name, body, level)) for name in names]
    return min(made, key=lambda each: len(each[1]))


def _encode(name: bytes, body: bytes, level: int) -> bytes:
    if name == static_form():
        return static.encode(body, static.Way.REQUEST)
    return frame.encode(body) if name == M2M else coding.encode(name, body, level)


def after_request(names: Sequence[bytes], kind: Kind, size: int | None) -> list[bytes]:
    """What a response goes in if both ends have its request: LINK in place of a form of ours, but
    for what waits for nobody."""
    if names == [events_form()]:
        return [LINK]
    is_whole = kind is Kind.BODY and size is not None and size <= MOST_WAITING
    return [LINK] if names == [static_form()] and is_whole else list(names)


def encoder(
    name: bytes, kind: Kind, size: int | None, level: int, before: Before | None = None
) -> Transform:
    """What codes a response of `size` bytes, None where nobody knows. `before` is for LINK."""
    if name == LINK and before is not None:
        if kind is Kind.EVENTS:
            return EventsEncoder(before=before)
        return Whole(partial(after.encode, before=before))
    if name == M2M:
        return Whole(lambda body: frame.encode(body, schema=Schema.RESPONSE))
    if name == events_form():
        return EventsEncoder()
    if name == static_form():
        if kind is Kind.EVENTS:
            return EventsEncoder(spells=False)
        if size is None or size > MOST_WAITING:
            return static.StaticEncoder()
        return Whole(lambda body: static.encode(body, static.Way.RESPONSE))
    return coding.encoder(name, level)


def filler(names: Sequence[bytes], kind: Kind) -> bytes:
    """What may stand between two flushes of a body in these codings; nothing in most."""
    has_one = kind is Kind.EVENTS and names and names[-1] in (events_form(), LINK)
    return FILLER if has_one else b""


def decoder(
    name: bytes, kind: Kind, head: bytes = b"", before: Before | None = None
) -> Transform:
    """What decodes a response; `head` as of `coding.decoder`, `before` as of `encoder`."""
    if name == LINK and before is not None:
        if kind is Kind.EVENTS:
            return EventsDecoder(_MOST_DECODED, before=before)
        return Whole(partial(after.decode, before=before, limit=MOST_WAITING))
    if name == M2M:
        return Whole(_response_of)
    if name == events_form():
        return EventsDecoder(_MOST_DECODED)
    if name == static_form():
        if kind is Kind.EVENTS:
            return EventsDecoder(_MOST_DECODED, spells=False)
        return static.StaticDecoder(_MOST_DECODED, MOST_WAITING)
    return coding.decoder(name, _MOST_DECODED, head)


def _response_of(message: bytes) -> bytes:
    if sniff(message) not in (Form.M2M, Form.M2M_TEXT):
        raise WireError("it is no M2M frame")
    return decode_any(message, DecodeLimits(message=_MOST_WHOLE, decoded=_MOST_WHOLE))[1]


class Steps:
    """Several steps, one after the other."""

    def __init__(self, steps: Sequence[Transform]) -> None:
        self._steps = steps

    def feed(self, chunk: bytes | memoryview) -> Iterable[bytes]:
        """See `Transform`."""
        pieces = self._steps[0].feed(chunk)
        for step in self._steps[1:]:
            pieces = _through(step, pieces)
        return pieces

    def flush(self) -> list[bytes]:
        """See `Transform`."""
        chunks: list[bytes] = []
        for step in self._steps:
            chunks = [piece for each in chunks for piece in step.feed(each)] + list(step.flush())
        return chunks

    def finish(self) -> list[bytes]:
        """See `Transform`."""
        chunks: list[bytes] = []
        for step in self._steps:
            chunks = [piece for each in chunks for piece in step.feed(each)] + list(step.finish())
        return chunks


def _through(step: Transform, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from step.feed(piece)


class Whole:
    """What is made of a body when all of it is there."""

    def __init__(self, make: Callable[[bytes], bytes]) -> None:
        self._make = make
        self._body = bytearray()

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """See `Transform`. Nothing leaves before the end."""
        self._body += chunk
        if len(self._body) > _MOST_WHOLE:
            raise WireError("it is too long")
        return []

    def flush(self) -> list[bytes]:
        """See `Transform`. It has no middle."""
        return []

    def finish(self) -> list[bytes]:
        """See `Transform`."""
        return [self._make(bytes(self._body))]
