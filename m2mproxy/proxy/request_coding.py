"""Requests: what a client coded is decoded, what the upstream reads is coded.

Both need the whole body, within bounds, since the next hop is told its true length; what is not
coded streams through untouched.

The one rule: the upstream gets the client's bytes, or a coding of them that something speaks for
(readable.py), and when it refuses that it gets the bytes after all, once, in the same exchange.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.token_native import NoVocabulary
from m2mproxy.http.body import Body
from m2mproxy.http.faults import ClientFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.proxy import codings
from m2mproxy.proxy.errors import not_loaded
from m2mproxy.proxy.forms import Forms, is_of_a_key
from m2mproxy.proxy.gather import again, chunks, gather
from m2mproxy.proxy.held import Held
from m2mproxy.proxy.ledger import Ledger
from m2mproxy.proxy.offload import Run
from m2mproxy.proxy.pump import Pump, too_large
from m2mproxy.proxy.readable import Readable
from m2mproxy.proxy.upload import AsItComes, Sender, Upload

# A trial of a coding that nothing speaks for is worth an exchange from so many bytes on.
_TRIAL_FROM = 16 * 1024
# What is held to be coded, and to be sent plain after all. Larger bodies pass as they are.
MOST_HELD = 8 << 20
_FIELD = len(b"content-encoding: \r\n")  # what else the coding costs
# What is decoded without asking for a thread, in plain bytes.
_AT_ONCE = 128 * 1024
REFUSED = (400, 415, 422)
NOT_SHOWN, OTHER_KEY = "not shown", "other key"

# What of a request's head is looked at.
WATCHED = frozenset((b"accept-encoding", b"content-encoding", b"content-type", b"range"))


def is_coded(watched: Headers) -> bool:
    """Whether the client coded the body, by what is WATCHED of its head."""
    for name, value in watched:
        if name == b"content-encoding" and codings.applied(watched):
            return True
        if name == b"content-type" and b"x-m2m" in value.lower() and _is_frame(watched):
            return True
    return False


def _is_frame(watched: Headers) -> bool:
    return codings.media_type(watched) in codings.FRAME_TYPES


async def decode(
    request: Request,
    body: Body,
    limit: int,
    ledger: Ledger,
    run: Run,
    forms: Forms,
    held: Held | None = None,
) -> Body:
    """The body as the client meant it, in place of what it sent; `request` says so.

    Raises:
        Busy: there is no room for it (503).
        ClientFault: 415 an unknown coding or vocabulary, 400 it cannot be decoded, 413 it is too
            large.
    """
    headers = request.headers
    names = codings.applied(headers)
    if not forms.can_read_all(names):
        raise ClientFault(415, "unsupported_coding", forms.why_not(names))
    coded = await gather(body, limit, held)
    try:
        plain = await _read(names, coded, limit, run, forms)
    except TooLarge:
        raise too_large(limit) from None
    except NoVocabulary as error:
        raise not_loaded(error) from None
    except WireError as error:
        raise ClientFault(400, "undecodable_body", f"the body cannot be decoded: {error}") from None
    if held is not None:
        held.read(len(plain))
    ledger.client_in.coding = forms.label(names) or "m2m"
    ledger.client_in.add(len(coded), len(plain))
    headers.drop((b"content-encoding",))
    if codings.media_type(headers) in codings.FRAME_TYPES:
        put(headers, b"content-type", b"application/json")
    set_length(request, len(plain))
    return whole(plain)


async def _read(
    names: list[bytes], coded: bytes, limit: int, run: Run, forms: Forms
) -> bytes:
    """Here if it is not much, however little it looks: a few KiB can make many MiB."""

    def read(limit: int) -> bytes:
        return forms.decode_request(names, coded, limit)

    if len(coded) <= _AT_ONCE and codings.is_quick(names, coded):
        with contextlib.suppress(TooLarge):
            return read(min(limit, _AT_ONCE))
    return await run(limit, lambda: read(limit))


def whole(data: bytes) -> Body:
    """A body that is all there."""
    body = Body(credit=lambda: None)
    if data:
        body.feed(data)
    body.end()
    return body


def put(headers: Headers, name: bytes, value: bytes) -> None:
    """Change a field where it is, or add it."""
    at = next((i for i, field in enumerate(headers) if field[0] == name), len(headers))
    headers[at : at + 1] = [(name, value)]


def set_length(request: Request, size: int) -> None:
    """Say how long the body is."""
    put(request.headers, b"content-length", b"%d" % size)
    request.length = size


class RequestCoding:
    """How requests to one upstream are coded."""

    def __init__(
        self,
        readable: Readable,
        wanted: tuple[bytes, ...],
        min_size: int,
        level: int,
        extra: Headers,
        forms: Forms,
        most: int = MOST_HELD,
    ) -> None:
        """`wanted` are codings, best first, none for "off"; `extra` goes with a coded request;
        `most` is the largest body that the upstream decodes."""
        self.readable = readable
        self._wanted = wanted
        self._min_size = min_size
        self._level = level
        self._extra = extra
        self._forms = forms
        self._most = min(most, MOST_HELD)
        self._is_on = bool(wanted)
        self._may_try = readable.knows_something

    def reads(self, request: Request) -> bool:
        """Whether the upstream reads `request` as the client coded it."""
        names = codings.applied(request.headers)
        if len(names) != 1 or not self._wanted or self._seals(request):
            return False
        return bool(self.readable.choose(request.path, names, large=False).coding)

    def considers(self, request: Request, watched: Headers) -> bool | None:
        """Whether `request` is to be coded, as far as is known before anything waits. None: it
        would be, if the upstream had shown that it reads anything."""
        if self._seals(request):
            return True
        size = request.length
        if size is None or not self._min_size <= size <= self._most:
            return False
        return self.codes(request, watched)

    def codes(self, request: Request, watched: Headers) -> bool | None:
        """As `considers`, but however large the body is, and whether or not it is to be sealed."""
        if not (
            self._is_on
            and watched.get(b"content-encoding") is None
            and codings.compresses(codings.media_type(watched))
        ):
            return False
        if not (self._may_try or self.readable.shown):
            return None
        return not request.expects_continue

    def _seals(self, request: Request) -> bool:
        """Whether the body goes sealed, whatever it is: the upstream has shown our key, or nothing
        else may go."""
        sealed = self._forms.sealed
        if not sealed or request.length == 0:
            return False
        if self._forms.is_required:
            return True
        return bool(self.readable.choose(request.path, sealed, large=False).coding)

    @property
    def _has_other_key(self) -> bool:
        """Whether we have a key, and the upstream has shown another one: nothing goes sealed, which
        is more than an operator expects to find out by the sizes of bodies."""
        sealed, shown = self._forms.sealed, self.readable.shown
        return bool(sealed) and shown.isdisjoint(sealed) and any(map(is_of_a_key, shown))

    def is_unproven(self, request: Request) -> bool:
        """Whether the upstream has to show our key before this request may go."""
        forms = self._forms
        return (
            forms.is_required
            and request.length != 0
            and not self.readable.shown.intersection(forms.sealed)
        )

    async def upload(self, sender: Sender, body: Body) -> Upload:
        """How `body` goes: sealed if the upstream has our key, else coded if that is read, makes it
        smaller, and may be held; else as it comes."""
        request = sender.request
        if self._seals(request):
            return await self._sealed(sender, body)
        size, ledger = request.length or 0, sender.ledger
        choice = self.readable.choose(request.path, self._wanted, large=size >= _TRIAL_FROM)
        ledger.why = OTHER_KEY if self._has_other_key else choice.why
        if not choice.coding:
            return sender.as_it_comes(body)
        if not sender.held.take(size):
            ledger.why = "no room"
            return sender.as_it_comes(body)
        taken = await chunks(body, size)
        plain = b"".join(taken)
        also = codings.rivals(choice.coding, self.readable.shown)
        coding, coded = await sender.run(
            size, lambda: codings.encode_request(also, plain, self._level)
        )
        if len(coded) + len(coding) + _FIELD >= size:
            ledger.why = "no gain"
            return sender.as_it_comes(again(taken, body.trailers))
        ledger.coded(coding.decode(), size)
        upload = CodedUpload(self, sender, coding, plain, coded)
        request.headers.append((b"content-encoding", coding))
        request.headers.extend(self._extra)
        return upload

    async def _sealed(self, sender: Sender, body: Body) -> Upload:
        """`body` sealed, and made smaller before where that is wanted and can be read."""
        seal, request = self._forms.seal, sender.request
        assert seal is not None
        plain = await gather(body, self._forms.most, sender.held)
        size = len(plain)
        wanted = [name for name in self._wanted if name == codings.static_form()]
        choice = self.readable.choose(request.path, wanted, large=False)
        shrinks = bool(choice.coding) and size >= self._min_size
        names, sealed = await sender.run(size, lambda: self._forms.seal_request(plain, shrinks))
        ledger = sender.ledger
        ledger.why = "shown"
        ledger.coded(seal.label, size)
        upload = CodedUpload(self, sender, seal.name, plain, sealed)
        request.headers.append((b"content-encoding", b", ".join(names)))
        return upload

    def why_not(self, request: Request, watched: Headers, considered: bool | None) -> str:
        """Why a request that is not `considered` goes as it is, in a word; "" without a body."""
        size = request.length
        if size == 0:
            return ""
        if considered is None:
            return NOT_SHOWN
        if self._has_other_key:
            return OTHER_KEY
        if not self._is_on:
            return "off"
        if watched.get(b"content-encoding") is not None:
            return "coded by the client"
        if not codings.compresses(codings.media_type(watched)):
            return "content type"
        if size is None:
            return "no length"
        if not self._min_size <= size <= self._most:
            return "small" if size < self._min_size else "too large"
        return "waits for 100"

    def is_refused(self, path: bytes, coding: bytes, response: Response) -> bool:
        """The upstream answered a request in that coding: whether the plain one has to be sent
        after all. Never where the key is required, nor when the answer, being sealed, shows that it
        was opened."""
        status = response.status
        if coding in self._forms.sealed and (
            self._forms.is_required or self._forms.is_sealed(response.headers)
        ):
            return False
        if status in REFUSED:
            self.readable.refused(path, coding, status)
            self.readable.learn(response.headers)
            return True
        if 200 <= status < 300:
            self.readable.accepted(coding)
        return False


class CodedUpload(AsItComes):
    """A body as it is coded for the upstream; it is held plain until that has read it."""

    __slots__ = ("_coding", "_headers", "_plain", "_rules", "_sender")

    def __init__(
        self, rules: RequestCoding, sender: Sender, coding: bytes, plain: bytes, coded: bytes
    ) -> None:
        """The request's fields are still those of the `plain` body, but for its length, which they
        say from now on."""
        super().__init__(sender.pump(whole(coded)))
        self._rules = rules
        self._sender = sender
        self._coding = coding
        self._plain = plain
        self._headers = Headers(sender.request.headers)
        sender.show(plain)
        set_length(sender.request, len(coded))

    def judge(self, response: Response) -> Upload | None:
        """See `Upload`."""
        rules, sender, request = self._rules, self._sender, self._sender.request
        if not rules.is_refused(request.path, self._coding, response):
            return None
        sender.refused(response)
        request.headers = self._headers
        set_length(request, len(self._plain))
        forgive = partial(rules.readable.forgive, request.path, self._coding)
        return _PlainAfterAll(sender.pump(whole(self._plain)), response.status, forgive)


class _PlainAfterAll(AsItComes):
    """What goes after a refusal: if it is answered as the coded one was, its coding is not to
    blame."""

    __slots__ = ("_forgive", "_status")

    def __init__(self, pump: Pump, status: int, forgive: Callable[[], None]) -> None:
        super().__init__(pump)
        self._status = status
        self._forgive = forgive

    def judge(self, response: Response) -> Upload | None:
        """See `Upload`."""
        if response.status == self._status:
            self._forgive()
        return None
