"""What can go wrong with an exchange, by who is to blame, and what each of them tells the client.

The one rule: a fault is one of five kinds, and everything an outsider sees of it (status, code,
`Retry-After`, `Allow`, whether it may be retried) is fixed where the fault is made or in the tables
here. Any other exception is a bug of ours.
"""

from __future__ import annotations

from collections.abc import Mapping


class Fault(Exception):
    """The base of the five. `code` is machine-readable, `message` is for a person."""

    status: int = 500
    code: str = "internal_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def settle(self) -> None:
        """It has been caught, and its kind and message are all that anybody asks for now. What it
        came through would hold the exchange that keeps it, until the cycle collector came by."""
        self.__traceback__ = self.__cause__ = self.__context__ = None


class ClientFault(Fault):
    """The client broke the protocol or a limit: `status` is 4xx (or 501, 505). `details` are more
    members of the error that it gets."""

    def __init__(
        self, status: int, code: str, message: str, details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details


class WrongMethod(ClientFault):
    """A path of ours has other `methods` only, and the reply lists them (RFC 9110 15.5.6)."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, methods: bytes) -> None:
        message = f"the methods of this path: {methods.decode()}"
        super().__init__(self.status, self.code, message)
        self.methods = methods


class ClientGone(Fault):
    """The client left; nobody is there to be told. 499 is what the log says, as nginx does."""

    status = 499
    code = "client_gone"

    def __init__(self, message: str = "the client closed the connection") -> None:
        super().__init__(message)


_UPSTREAM_CODES = {
    "resolve": "upstream_not_resolved",
    "connect": "upstream_unreachable",
    "tls": "upstream_tls_error",
    "disconnected": "upstream_disconnected",
    "protocol": "upstream_protocol_error",
    "unsealed": "upstream_not_sealed",
}


class UpstreamFault(Fault):
    """The upstream failed in `phase`: resolve, connect, tls, disconnected, protocol or
    unsealed.

    `retry` says that a connection used before died with no byte of this response seen, so that
    the same request may be sent once more on a fresh one (RFC 9112 9.3.1). `unseen` says that the
    upstream has not looked at the request, by its own word (RFC 9113 8.7) or since none of it was
    sent, so that it may be sent again as often as that is of use.
    """

    status = 502

    def __init__(
        self, phase: str, message: str, retry: bool = False, unseen: bool = False
    ) -> None:
        super().__init__(message)
        self.phase = phase
        self.code = _UPSTREAM_CODES[phase]
        self.retry = retry or unseen
        self.unseen = unseen


_LATE_CODES = {
    "connect": "upstream_connect_timeout",
    "first_byte": "upstream_timeout",
    "idle": "upstream_idle_timeout",
    "total": "upstream_total_timeout",
}


class TooLate(Fault):
    """A deadline passed: connect, first_byte, idle or total."""

    status = 504

    def __init__(self, phase: str, message: str) -> None:
        super().__init__(message)
        self.phase = phase
        self.code = _LATE_CODES[phase]


class Busy(Fault):
    """A limit of ours is reached, or we are stopping: come back after `retry_after` seconds."""

    status = 503
    retry_after = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
