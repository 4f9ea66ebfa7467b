"""Can every case fail? Runs the suite against three bad servers.

Each case must fail on the sloppy server, which answers every HEADERS with 200 and knows no errors,
or on the grumpy one, which ends every connection with an error that fits nothing; of those about
the preface, on the rude one. A case that wants an error must fail on the sloppy server.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading

from h2lib import client, run, wire
from h2lib.client import Target
from h2lib.suite import CASES

ECHO = {"length": -1, "fields": {}, "padding": "x" * 40_000}
BODY = json.dumps(ECHO).encode()
BLOCK = b"\x88\x40\x01a\x01b"  # :status 200, and a field for the table
SETTINGS = wire.settings({wire.MAX_STREAMS: 10}) + wire.settings({}, wire.ACK)
WANTS_ERROR = re.compile(r"malformed$|(is|:) (a|an)?.*(_ERROR|CLOSED|REFUSED)|: the connection is")
MAY_ALSO = re.compile(r"accepted|no error|answered|or as good|or PROTOCOL_ERROR \(RFC")


def answer(stream: int) -> bytes:
    """A 200 response, whatever the windows are."""
    parts = [BODY[at : at + 16_384] for at in range(0, len(BODY), 16_384)]
    data = b"".join(wire.frame(wire.DATA, part is parts[-1], stream, part) for part in parts)
    return wire.frame(wire.HEADERS, wire.END_HEADERS, stream, BLOCK) + data


def sloppy(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Answers every HEADERS with 200, SETTINGS and PING as it must, and ignores all else."""
    if kind == wire.HEADERS:
        return answer(stream)
    if kind == wire.SETTINGS and not flags & wire.ACK:
        return wire.settings({}, wire.ACK)
    return wire.frame(wire.PING, wire.ACK, 0, payload) if kind == wire.PING else b""


def grumpy(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Ends the connection with an error that fits nothing, at the first frame after SETTINGS."""
    return b"" if kind == wire.SETTINGS else wire.goaway(wire.HTTP_1_1_REQUIRED)


def rude(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Says something else before its SETTINGS, and answers nothing."""
    return b""


def serve(listener: socket.socket, behave: object) -> None:
    """One connection after the other, each in a thread."""
    while True:
        connection = listener.accept()[0]
        threading.Thread(target=talk, args=(connection, behave), daemon=True).start()


def talk(connection: socket.socket, behave: object) -> None:
    """Read frames and answer each as the server does."""
    assert callable(behave)
    with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
        stream.read(len(wire.PREFACE))
        first = wire.frame(wire.PING, 0, 0, b"rudeness") if behave is rude else b""
        connection.sendall(first + SETTINGS)
        while len(head := stream.read(9)) == 9:
            payload = stream.read(wire.number(b"\0" + head[:3]))
            said = behave(head[3], head[4], wire.number(head[5:]), payload)
            connection.sendall(said)
            if said.startswith(b"\0\0\x08\x07"):  # GOAWAY
                return


def failures(behave: object) -> set[str]:
    """The cases that fail on this server."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    threading.Thread(target=serve, args=(listener, behave), daemon=True).start()
    port = listener.getsockname()[1]
    target = Target("127.0.0.1", port, "/", "/post", echoes=True, size=len(BODY))
    cases = [case for case in CASES if behave is not rude or case.settings is None]
    results = [run.run_case(case, target) for case in cases]
    return {one.name for one in results if one.outcome in ("failed", "advised")}


def main() -> int:
    client.DEADLINE, client.GRACE = 0.2, 0.005
    found = {behave.__name__: failures(behave) for behave in (sloppy, grumpy, rude)}
    for name, failed in found.items():
        print(f"selftest: {len(failed)} of {len(CASES)} cases fail on the {name} server")
    somewhere = set().union(*found.values())
    wrong = [case for case in CASES if case.name not in somewhere]
    for case in wrong:
        print(f"selftest: WRONG: fails nowhere: {case.name}: {case.title}")
    for case in CASES:
        errs = WANTS_ERROR.search(case.title) and not MAY_ALSO.search(case.title)
        if errs and case.name not in found["sloppy"]:
            wrong.append(case)
            print(f"selftest: WRONG: the sloppy server passes: {case.name}: {case.title}")
    print(f"selftest: {'failed' if wrong else 'every case can fail'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
