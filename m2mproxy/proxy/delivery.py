"""The upstream's response becomes the client's: how it is coded, and who sees it pass.

The one rule: the head that the client gets is true for the bytes that follow, and whoever looks at
them sees them plain, or not at all.
"""

from __future__ import annotations

from m2mproxy.http.faults import UpstreamFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Response
from m2mproxy.proxy.coder import Coder
from m2mproxy.proxy.codings import Kind, applied, media_type
from m2mproxy.proxy.context import Context
from m2mproxy.proxy.injector import Injector
from m2mproxy.proxy.pump import Pump
from m2mproxy.proxy.record import Record
from m2mproxy.proxy.response_coding import MARKS, NOT_SHARED
from m2mproxy.proxy.sending import Sending
from m2mproxy.proxy.sse import is_event_stream
from m2mproxy.proxy.tap import tap_of

_BODILESS = (204, 205, 304)


def adapt(
    context: Context, record: Record, sending: Sending, response: Response, download: Pump
) -> Injector | None:
    """Make the upstream's response the client's, and `download` what makes that of its body. What
    can speak in it for us, where it is a stream of events.

    Raises:
        UpstreamFault: it is not coded as it should be, or has lost its body.
    """
    marks = response.headers.named(MARKS)
    is_coded = marks.get(b"content-encoding") is not None
    if marks:
        sending.route.requests.readable.learn(marks)
        sending.route.links.take_field(response, marks)
    if is_coded and response.length == 0 and not _is_bodiless(record, response):
        _settle_empty(sending, response)
    media = media_type(response.headers)
    coder = download.coder = _coder(record, sending, response, marks, media)
    is_plain = coder is not None or not is_coded
    readers = (record.inspection, record.linked) if is_plain else ()
    kind = Kind.of(media)
    taps = [tap for each in readers if each is not None for tap in each.taps(response, kind)]
    if record.tally is not None:
        taps += record.tally.taps(response, is_plain, context.forms)
    if record.linked is not None:
        record.linked.acknowledge(response)
    injector = None
    has_events = kind is Kind.EVENTS if coder is not None else is_event_stream(response)
    if has_events:
        injector = Injector(download, record.downstream, context.config.sse_keepalive)
    boundary = injector.boundary.feed if injector is not None else None
    (coder or download).tap = tap_of(boundary, taps, context.later)
    return injector


def _is_bodiless(record: Record, response: Response) -> bool:
    """Whether there is no body to a response, whatever its head says (RFC 9110 6.4.1)."""
    return record.method == b"HEAD" or response.status in _BODILESS


def _settle_empty(sending: Sending, response: Response) -> None:
    """A response has no body. Where it lost one the client could not tell; of an error it has what
    counts, which is the status.

    Raises:
        UpstreamFault: it lost one, and is no error.
    """
    names = applied(response.headers)
    if not sending.route.responses.only_we_asked(sending.reader, names):
        return
    if response.status < 400:
        raise UpstreamFault("protocol", "the upstream's reply cannot be decoded: it is empty")
    response.headers.drop((b"content-encoding",))


def _coder(
    record: Record, sending: Sending, response: Response, marks: Headers, media: bytes
) -> Coder | None:
    """What changes the response's coding."""
    reader, coding = sending.reader, sending.route.responses
    if not coding.may_change(reader, response, marks):
        return None
    linked = record.linked
    shared = linked.shared(response) if linked is not None else NOT_SHARED
    return coding.plan(reader, response, media, record.books, shared)
