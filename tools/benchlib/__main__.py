"""The command line of `tools/bench`.

Exit 0 when every reply was right, however slow; 1 when one was not; 2 for a wrong command line.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpora import BadData

from . import (
    counting,
    guard,
    http1,
    hypercorn,
    link,
    m2m,
    machine,
    native,
    nginx,
    off,
    own,
    report,
    savings,
    scan,
    tokens,
)
from .process import ProcessFailed
from .servers import Bench

SUITES = {"http1": http1}
PEERS = ("nginx", "proxy")
_OWN = {
    "--sessions": "play these sessions through a link: JSON lines of turns and replies",
    "--texts": "scan these texts: JSON lines of text, label and category",
}
OUTPUT = Path(__file__).parents[2] / "out" / "bench"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/bench", description="Measure the proxy beside its peers, in one run."
    )
    parser.add_argument("suite", nargs="?", default="http1", choices=SUITES)
    parser.add_argument("--short", action="store_true", help="everything at small size, for CI")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--only", action="append", metavar="PART", help="run this part; repeatable")
    for name, what in _OWN.items():
        parser.add_argument(
            name, action="append", type=Path, default=[], metavar="FILE", help=f"{what}; repeatable"
        )
    parser.add_argument(
        "--peers", default=",".join(PEERS), help="servers to compare, default %(default)s"
    )
    parser.add_argument(
        "--proxy-cmd",
        default=m2m.DEFAULT_COMMAND,
        metavar="'CMD {port} {upstream}'",
        help="measure another build; {config} is a configuration file",
    )
    options = parser.parse_args(arguments)
    options.peers = options.peers.split(",")
    if (options.sessions or options.texts) and not options.only:
        options.only = ["own"]
    parts = SUITES[options.suite].PARTS
    for part in options.only or ():
        if part not in parts:
            parser.error(f"no part {part!r}; there are {', '.join(parts)}")
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"no peer {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return options


def run(options: argparse.Namespace) -> int:
    machine.raise_open_files()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    started, about = time.monotonic(), _about(options)
    suite = SUITES[options.suite]
    with tempfile.TemporaryDirectory(prefix="run-", dir=OUTPUT) as directory:
        programs = native.compile_all(OUTPUT)
        bench = Bench(
            options.peers,
            options.proxy_cmd,
            options.short,
            Path(directory),
            programs,
            options.sessions,
            options.texts,
        )
        # We are part of the load: what we do must not run where the server under test does.
        os.sched_setaffinity(0, {bench.cpus.load})
        for part in options.only or suite.PARTS:
            print(f"measuring {part} ...", file=sys.stderr, flush=True)
            _run_part(bench, part, suite.PARTS[part])
    about["seconds"] = round(time.monotonic() - started, 1)
    _print(bench, suite, about)
    if options.json:
        document = report.as_json(bench.results, suite.targets(bench.results), about)
        options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return 1 if bench.results.failures else 0


def _run_part(bench: Bench, name: str, measure: Any) -> None:
    """A part that breaks off is a failure of the run, but does not keep the others from running."""
    started = time.monotonic()
    try:
        measure(bench)
    except (ProcessFailed, OSError, BadData) as failure:
        bench.results.fail(f"{name}: {failure}")
    print(f"measured {name} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _about(options: argparse.Namespace) -> dict[str, Any]:
    versions = {
        "nginx": nginx.version(),
        "hypercorn": hypercorn.version(),
        "m2mproxy": importlib.metadata.version("m2mproxy"),
    }
    return {
        "suite": options.suite,
        "short": options.short,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "machine": machine.describe(),
        "versions": versions,
        "proxy_command": options.proxy_cmd,
    }


def _print(bench: Bench, suite: Any, about: dict[str, Any]) -> None:
    described = about["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    print(f"tools/bench {about['suite']}{' --short' if about['short'] else ''}, {about['date']}")
    print(
        f"{described['cpu']}, {described['cpus']} CPUs, Linux {described['kernel']}, "
        f"Python {described['python']}, {versions}; {about['seconds']:.0f} s"
    )
    columns = ["direct", *bench.peers, "hypercorn", *savings.FORMS, *link.COLUMNS]
    columns += [*tokens.COLUMNS, *counting.COLUMNS, *guard.COLUMNS, *scan.COLUMNS]
    columns += [*off.COLUMNS, *own.COLUMNS]
    print(report.table(bench.results, list(dict.fromkeys(columns))))
    print(report.target_table(suite.targets(bench.results)))
    for failure in bench.results.failures:
        print(f"FAILED  {failure}", file=sys.stderr)


def main() -> int:
    options = parse(sys.argv[1:])
    # So that SIGTERM unwinds the context managers, which end what they started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(options)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
