"""What is remembered of an upstream is bounded, whatever it says and clients ask for."""

from __future__ import annotations

from m2mproxy.http.headers import Headers
from m2mproxy.proxy.readable import Readable


def test_no_more_refusals_are_remembered_than_sixty_four() -> None:
    readable = Readable(lambda: 0.0, known=(b"zstd",))
    for number in range(100):
        readable.refused(b"/v1/%d" % number, b"zstd", 415)
    refused = readable.report()["refused"]
    assert isinstance(refused, list) and len(refused) == 64
    assert readable.choose(b"/v1/0", (b"zstd",), False).coding == b"zstd"  # the oldest went first
    assert readable.choose(b"/v1/99", (b"zstd",), False).why == "refused with 415"


def test_a_path_that_is_refused_again_takes_no_other_ones_place() -> None:
    readable = Readable(lambda: 0.0, known=(b"zstd",))
    for number in (*range(64), 0, 0):
        readable.refused(b"/v1/%d" % number, b"zstd", 415)
    choices = [readable.choose(b"/v1/%d" % number, (b"zstd",), False) for number in range(64)]
    assert not any(choice.coding for choice in choices)


def test_no_more_codings_are_believed_than_sixteen() -> None:
    readable = Readable(lambda: 0.0)
    named = b", ".join(b"x-%d" % number for number in range(100))
    readable.learn(Headers([(b"accept-encoding", named)]))
    assert readable.shown == {b"x-%d" % number for number in range(16)}
