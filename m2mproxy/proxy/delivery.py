"""A response on its way to the client: its coding is changed, and whoever wants to sees it pass.

The one rule: the head that the client gets is true for the bytes that follow, and whoever looks at
them sees them plain, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable

from m2mproxy.http.faults import Fault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Response
from m2mproxy.proxy.coder import Coder
from m2mproxy.proxy.context import Context
from m2mproxy.proxy.injector import Injector
from m2mproxy.proxy.linked import take_link_field
from m2mproxy.proxy.pump import Pump
from m2mproxy.proxy.record import Record
from m2mproxy.proxy.response_coding import MARKS, NOT_SHARED, is_near
from m2mproxy.proxy.sending import Sending
from m2mproxy.proxy.sse import is_event_stream
from m2mproxy.proxy.tap import Tap, tap_of


def deliver(
    context: Context,
    record: Record,
    sending: Sending,
    response: Response,
    on_end: Callable[[Fault | None], None],
) -> Injector | None:
    """Begin to pass the response on; `on_end` as of `Pump`. What can speak in it for us, where it
    is a stream of events.

    Raises:
        UpstreamFault: it is not coded as it should be. Nothing of it has gone anywhere.
    """
    assert record.upstream is not None
    downstream, linked = record.downstream, record.linked
    download = record.download = Pump(record.upstream.body, on_end, context.clock)
    marks = response.headers.named(MARKS)
    is_coded = marks.get(b"content-encoding") is not None
    if marks:
        sending.route.requests.readable.learn(marks)
        take_link_field(response, marks, sending.route.links)
    coder = download.coder = _coder(record, sending, response, marks)
    is_plain = coder is not None or not is_coded
    taps: list[Tap] = []
    if is_plain:
        for reader in (record.inspection, linked):
            if reader is not None:
                taps += reader.taps(response)
    if record.tally is not None:
        taps += record.tally.taps(response, is_plain, context.forms)
    if linked is not None:
        linked.acknowledge(response)
    injector = None
    if is_event_stream(response) or (coder is not None and coder.carries_events):
        injector = Injector(download, downstream, context.config.sse_keepalive)
    boundary = injector.boundary.feed if injector is not None else None
    (coder or download).tap = tap_of(boundary, taps, context.later)
    record.response = response
    downstream.send_response(response)
    record.relayed = context.clock()
    download.start(downstream)
    return injector


def _coder(
    record: Record, sending: Sending, response: Response, marks: Headers
) -> Coder | None:
    """What changes the response's coding."""
    accepted, coding = sending.accepted, sending.route.responses
    near = is_near(record.downstream.client)
    if not coding.may_change(accepted, near, response, marks, sending.offers_link):
        return None
    linked = record.linked
    shared = linked.shared(response) if linked is not None else NOT_SHARED
    return coding.plan(record.method, accepted, near, response, record.books, shared)
