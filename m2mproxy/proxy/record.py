"""What is known of an exchange: what the log, the figures and the accounts say of it.

The one rule: it says what happened, and makes nothing happen.
"""

from __future__ import annotations

from m2mproxy.http.faults import Fault
from m2mproxy.http.message import Request, Response
from m2mproxy.net.connection import Stream
from m2mproxy.proxy.ledger import Ledger
from m2mproxy.proxy.linked import Linked
from m2mproxy.proxy.model import ModelFinder, model_in
from m2mproxy.proxy.pump import Pump
from m2mproxy.proxy.scanning import Inspection
from m2mproxy.proxy.tally import Tally


class Record:
    """One exchange; complete once that has ended, but for tokens that are still being counted.

    Attributes:
        method, target: of the request, as the client sent it.
        downstream: the client's stream.
        upstream: the last stream to the upstream; None where there was none.
        response: the head that the client got; None where it got none.
        fault: what ended the exchange before its time; None for nothing.
        bug: an exception that should not have been; None for none.
        forwarded: whether the request was one for the upstream.
        retried: whether it was sent there more than once.
        ledger: what crossed the wires; None where no coding was used or considered.
        why_plain: why no coding was considered for the request's body; "" where one was.
        tally: its tokens; None where nobody wants to know, or there can be none.
        inspection: its scan; None where requests are not scanned.
        linked: what links remember of it; None where it has nothing to do with any.
        upload: what moves the request's body, as far as that may still move, or go again.
        download: what moves the response's; None before there is one.
        finder: what looks for the model in the request's body; None where nobody does.
        started: when the request came. This and the next are seconds by the context's clock, 0
            where it did not come so far.
        sent: when the request's head went to the upstream.
        answered: when the response's head came from there.
        relayed: when that went to the client.
        ended: when all was over.
    """

    __slots__ = (
        "_bytes_up", "_model", "answered", "bug", "download", "downstream", "ended", "fault",
        "finder", "forwarded", "inspection", "ledger", "linked", "method", "relayed", "response",
        "retried", "sent", "started", "tally", "target", "upload", "upstream", "why_plain",
    )  # fmt: skip

    def __init__(
        self, downstream: Stream, request: Request, started: float, tally: Tally | None
    ) -> None:
        self.downstream = downstream
        self.upstream: Stream | None = None
        self.method = request.method
        self.target = request.target
        self.response: Response | None = None
        self.fault: Fault | None = None
        self.bug: BaseException | None = None
        self.forwarded = self.retried = False
        self.started = started
        self.sent = self.answered = self.relayed = self.ended = 0.0
        self.ledger: Ledger | None = None
        self.tally = tally
        self.inspection: Inspection | None = None
        self.why_plain = ""
        self.linked: Linked | None = None
        self.upload: Pump | None = None
        self.download: Pump | None = None
        self.finder: ModelFinder | None = None
        self._bytes_up, self._model = 0, ""  # of an upload that has ended

    @property
    def books(self) -> Ledger:
        """The ledger, begun if there was none."""
        ledger = self.ledger = self.ledger or Ledger()
        return ledger

    @property
    def status(self) -> int:
        """The status that the client got; 499 when it left before it got one."""
        if self.response is not None:
            return self.response.status
        return self.fault.status if self.fault is not None else 500

    @property
    def error(self) -> str:
        """The code of what went wrong, "" for nothing."""
        if self.fault is not None:
            return self.fault.code
        return "internal_error" if self.bug is not None else ""

    @property
    def why(self) -> str:
        """Why the request's body went as it did, "" without one."""
        return (self.ledger.why if self.ledger is not None else "") or self.why_plain

    @property
    def model(self) -> str:
        """The model that the request names; "" when it was not seen."""
        exact = self.inspection.model if self.inspection is not None else ""
        named = self.finder.model if self.finder is not None else self._model
        return exact or named or model_in(self.target)

    @property
    def bytes_up(self) -> int:
        """Bytes of the request's body sent to the upstream."""
        return self.upload.moved if self.upload is not None else self._bytes_up

    @property
    def bytes_down(self) -> int:
        """Bytes of the response's body received from the upstream."""
        return self.download.moved if self.download is not None else 0

    @property
    def added(self) -> float:
        """Seconds that the proxy kept the head of the request and that of the response."""
        up = self.sent - self.started if self.sent else 0.0
        return up + (self.relayed - self.answered if self.relayed else 0.0)

    def close_books(self) -> None:
        """Nothing crosses any more."""
        if self.ledger is not None:
            self.ledger.close(self.bytes_up, self.bytes_down)

    def end_upload(self, moved: int = 0) -> None:
        """Nothing moves the request's body any more, of which `moved` bytes have gone."""
        if self.upload is not None:
            self.upload.close()
            self.upload = None
        self._bytes_up = moved

    def put_away(self) -> None:
        """Keep of a finished upload what is said of it: the download may go on for an hour."""
        self._model, self.finder = self.model, None
        self.end_upload(self.bytes_up)
