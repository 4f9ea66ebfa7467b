"""Requests that go by no link: coded, if the upstream reads that, or else as they come.

To code a body all of it is needed, within bounds, since the upstream is told its true length; what
is not coded streams through untouched. As the configuration has it: "auto" uses what the upstream
has shown that it reads; the name of a coding that one, on the operator's word; "off" none.

The one rule: the upstream gets the client's bytes, or a coding of them that something speaks for
(readable.py), and when it refuses that it gets the bytes after all, once, in the same exchange.
"""

from __future__ import annotations

from collections.abc import Callable

from m2mproxy.config import Compression
from m2mproxy.http.body import Body
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request, Response
from m2mproxy.proxy import codings
from m2mproxy.proxy.forms import Forms, is_of_a_key
from m2mproxy.proxy.gather import chunks, gather, whole
from m2mproxy.proxy.held import MOST_HELD
from m2mproxy.proxy.providers import Profile
from m2mproxy.proxy.readable import Readable
from m2mproxy.proxy.upload import AsItComes, Sender, Upload

# A trial of a coding that nothing speaks for is worth an exchange from so many bytes on.
_TRIAL_FROM = 16 * 1024
_FIELD = len(b"content-encoding: \r\n")  # what else the coding costs
_REFUSED = (400, 415, 422)
NOT_SHOWN, OTHER_KEY = "not shown", "other key"


class RequestCoding:
    """How requests to one upstream are coded."""

    def __init__(
        self, config: Compression, profile: Profile, clock: Callable[[], float], forms: Forms
    ) -> None:
        """For an upstream of that `profile`; `clock` is in seconds."""
        self._wanted: tuple[bytes, ...] = ()  # best first
        configured: tuple[bytes, ...] = ()
        if config.requests == "auto":
            self._wanted = codings.requests()
        elif config.requests != "off":
            self._wanted = configured = (config.requests.encode(),)
        self.readable = Readable(clock, profile.reads, profile.tries, configured)
        self._min_size = config.min_size
        self._level = config.level
        self._extra = Headers(profile.coded_headers)  # go with a coded request
        self._forms = forms
        self._most = min(profile.decodes, MOST_HELD)
        self._may_try = self.readable.knows_something

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
            self._wanted
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
            return sender.as_it_comes(Body.complete(taken, body.trailers))
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
        if not self._wanted:
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
        if status in _REFUSED:
            self.readable.refused(path, coding, status)
            self.readable.learn(response.headers)
            return True
        if 200 <= status < 300:
            self.readable.accepted(coding)
        return False


class CodedUpload(AsItComes):
    """A body as it is coded for the upstream; it is held plain until that has read it."""

    __slots__ = ("_coding", "_headers", "_plain", "_refused_with", "_rules", "_sender")

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
        self._refused_with = 0  # that status: it goes plain
        sender.show(plain)
        sender.request.set_length(len(coded))

    def judge(self, response: Response) -> bool:
        """See `Upload`. What is refused plain as it was coded is not the coding's fault."""
        rules, sender, status = self._rules, self._sender, response.status
        request, coding = sender.request, self._coding
        if self._refused_with:
            if status == self._refused_with:
                rules.readable.forgive(request.path, coding)
            return False
        if not rules.is_refused(request.path, coding, response):
            return False
        sender.refused(response)
        request.headers = self._headers
        request.set_length(len(self._plain))
        self._pump = sender.pump(whole(self._plain))
        self._refused_with = status
        return True
