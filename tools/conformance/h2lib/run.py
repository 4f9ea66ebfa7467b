"""Runs the cases and says what was wrong. Exit 0: every MUST that was tried is met; 1: not so."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from h2lib import (  # noqa: F401 (the modules of cases register themselves)
    cases_flow,
    cases_frames,
    cases_hpack,
    cases_http,
    cases_legal,
    cases_start,
    cases_streams,
    upstream,
)
from h2lib.client import DEADLINE, Client, Target
from h2lib.suite import CASES, Case, Skip, Wrong

PATH, POST_PATH = "/v1/models", "/v1/echo-length"


@dataclass
class Result:
    """What came of a case. `outcome`: passed, failed, advised (an unmet SHOULD) or skipped."""

    name: str
    title: str
    outcome: str = "passed"
    note: str = ""
    expected: str = ""
    came: str = ""
    milliseconds: int = 0


def run_case(case: Case, target: Target) -> Result:
    """One case, on a connection of its own."""
    result, started = Result(case.name, case.title), time.monotonic()
    client = None
    try:
        client = Client(target)
        if case.settings is not None:
            client.start(case.settings)
        case.run(client)
        result.note = client.note
    except Skip as skip:
        result.outcome, result.note = "skipped", str(skip)
    except (Wrong, OSError) as error:
        result.outcome = "advised" if case.should else "failed"
        wrong = error if isinstance(error, Wrong) else Wrong("a connection", repr(error))
        result.expected, result.came = wrong.expected, wrong.came
    finally:
        if client:
            client.sock.close()
    result.milliseconds = round((time.monotonic() - started) * 1000)
    return result


def chosen(only: Sequence[str], short: bool) -> list[Case]:
    """The cases of these sections; `6.5` has those of 6.5.2 as well, `6.5/1` is one case."""

    def wanted(case: Case) -> bool:
        return any(f"{case.name}.".startswith((f"{name}.", f"{name}/")) for name in only)

    cases = [case for case in CASES if (wanted(case) if only else not (short and case.slow))]
    return sorted(cases, key=lambda case: [int(part) for part in re.findall(r"\d+", case.section)])


def prepare(target: Target) -> None:
    """Wait for the server, and see that the path is one to test with."""
    until = time.monotonic() + DEADLINE
    while True:
        try:
            client = Client(target)
            client.start({})
            target.size = len(client.get().streams[1].body)
            client.sock.close()
            return
        except (OSError, Wrong) as error:
            if time.monotonic() > until:
                raise SystemExit(f"h2: GET {target.path} does not work at all: {error}") from None
            time.sleep(0.05)


@contextlib.contextmanager
def proxy() -> Iterator[int]:
    """The real program before our upstream; its port."""
    base = f"http://127.0.0.1:{upstream.start()}/v1"
    process = subprocess.Popen(
        (sys.executable, "-m", "m2mproxy", "--listen", "127.0.0.1:0", "--upstream", base),
        stderr=subprocess.PIPE,
        # Off, so that fields arrive as they were sent.
        env={
            **os.environ,
            "M2M_LOGGING_ACCESS": "false",
            "M2M_COMPRESSION_REQUESTS": "off",
            "M2M_COMPRESSION_RESPONSES": "off",
        },
    )
    assert process.stderr is not None
    try:
        said = ""
        # Where few files may be open, a warning of that comes first.
        while not (found := re.search(r"listens on 127\.0\.0\.1:(\d+)", said)):
            if not (line := process.stderr.readline().decode()):
                raise SystemExit(f"h2: the proxy did not start: {said}")
            said += line
        # What it says from here on is read away, or it would block once the pipe is full.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()


def report(results: Sequence[Result], strict: bool) -> int:
    """Print the tables; the exit code."""
    for outcome, heading in (("failed", "FAILED"), ("advised", "SHOULD, and does not")):
        for one in results:
            if one.outcome == outcome:
                print(f"{heading}: {one.name}: {one.title}")
                print(f"    expected {one.expected}\n    came     {one.came}")
    for one in results:
        if one.outcome == "skipped" or (strict and one.note):
            print(f"{one.outcome}: {one.name}: {one.title}: {one.note}")
    counts = Counter(one.outcome for one in results)
    notes = Counter(n.note.partition(" ")[0].strip(":") for n in results if n.outcome == "passed")
    allowed = ", ".join(f"{count} {note}" for note, count in sorted(notes.items()) if note)
    seconds = sum(one.milliseconds for one in results) / 1000
    said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    print(f"h2: {len(results)} cases in {seconds:.1f} s: {said}")
    if allowed:
        print(f"h2: of those passed, allowed but not the best: {allowed} (--strict lists them)")
    return 1 if counts["failed"] or (strict and counts["advised"]) else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tools/conformance/h2", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="SECTION", help="repeatable")
    parser.add_argument("--host", default="127.0.0.1", help="of a server to test, with --port")
    parser.add_argument("--port", type=int, help="of a server to test instead of the proxy")
    parser.add_argument("--path", default=PATH, help="a GET is answered 200, default %(default)s")
    parser.add_argument("--post-path", default=POST_PATH, help="for POST, default %(default)s")
    parser.add_argument("--echoes", action="store_true", help="the upstream is ours there too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there")
    parser.add_argument("--list", action="store_true", help="name the cases, run none")
    parser.add_argument("--short", action="store_true", help="without the slow cases, for CI")
    parser.add_argument(
        "--strict", action="store_true", help="an unmet SHOULD fails; list what is only allowed"
    )
    return parser.parse_args(arguments)


def main() -> int:
    options = parse(sys.argv[1:])
    cases = chosen(options.only, options.short)
    if not cases:
        raise SystemExit("h2: no such section")
    if options.list:
        for case in cases:
            print(f"{case.name}: {case.title}")
        return 0
    with contextlib.ExitStack() as stack:
        port = options.port or stack.enter_context(proxy())
        echoes = options.echoes or not options.port
        target = Target(options.host, port, options.path, options.post_path, echoes)
        prepare(target)
        results = [run_case(case, target) for case in cases]
        prepare(target)  # it must still be there
    if options.json:
        rows = [dataclasses.asdict(one) for one in results]
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return report(results, options.strict)


if __name__ == "__main__":
    sys.exit(main())
