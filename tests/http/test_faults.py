"""Faults: who is to blame decides what everyone outside sees."""

from __future__ import annotations

import pytest

from m2mproxy.http.faults import Busy, ClientFault, ClientGone, Fault, TooLate, UpstreamFault


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (ClientFault(431, "headers_too_large", "m"), 431, "headers_too_large"),
        (ClientGone(), 499, "client_gone"),
        (UpstreamFault("resolve", "m"), 502, "upstream_not_resolved"),
        (UpstreamFault("connect", "m"), 502, "upstream_unreachable"),
        (UpstreamFault("tls", "m"), 502, "upstream_tls_error"),
        (UpstreamFault("disconnected", "m"), 502, "upstream_disconnected"),
        (UpstreamFault("protocol", "m"), 502, "upstream_protocol_error"),
        (TooLate("connect", "m"), 504, "upstream_connect_timeout"),
        (TooLate("first_byte", "m"), 504, "upstream_timeout"),
        (TooLate("idle", "m"), 504, "upstream_idle_timeout"),
        (TooLate("total", "m"), 504, "upstream_total_timeout"),
        (Busy("shutting_down", "m"), 503, "shutting_down"),
        (Fault("m"), 500, "internal_error"),
    ],
    ids=lambda value: value.code if isinstance(value, Fault) else "",
)
def test_each_fault_has_its_status_and_code(fault: Fault, status: int, code: str) -> None:
    assert (fault.status, fault.code) == (status, code)


def test_every_fault_has_a_message_for_a_person() -> None:
    assert Fault("what happened").message == "what happened"
    assert str(UpstreamFault("tls", "bad certificate")) == "bad certificate"
    assert ClientGone().message


def test_only_what_says_so_may_be_retried() -> None:
    assert not UpstreamFault("disconnected", "m").retry
    assert UpstreamFault("disconnected", "m", retry=True).retry


def test_busy_says_when_to_come_back() -> None:
    assert Busy("c", "m").retry_after == 1


@pytest.mark.parametrize("make", [UpstreamFault, TooLate])
def test_an_unknown_phase_is_a_bug(make: type[UpstreamFault] | type[TooLate]) -> None:
    with pytest.raises(KeyError):
        make("lunch", "m")
