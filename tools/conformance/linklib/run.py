"""Runs the cases and says what came of them. Exit 0: all is as m2m-link(7) says; 1: it is not."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from random import Random

from linklib import cases_after, cases_both, cases_core, cases_edge  # noqa: F401 (they register themselves)
from linklib.suite import CASES, Body, Run, Tally


def run_case(body: Body, seed: str, scale: int) -> tuple[Tally, str]:
    """What a case counted, and what was wrong."""
    run = Run(Random(seed), scale)
    try:
        body(run)
    except Exception:  # a case that cannot go on has failed
        return run.tally, traceback.format_exc()
    return run.tally, ""


def describe(tally: Tally) -> str:
    out = [f"{tally.checks} checks"]
    if tally.turns:
        out.append(f"{tally.turns} turns, {tally.plain} bytes as {tally.coded}")
    if tally.misses:
        out.append(f"{tally.misses} misses")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.kinds.items()))
    return "; ".join([*out, kinds] if kinds else out)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/conformance/link", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="CASE", help="repeatable")
    parser.add_argument("--seed", default="1", help="of the random numbers, default %(default)s")
    parser.add_argument("--scale", type=int, default=10, help="how much, default %(default)s")
    parser.add_argument("--short", action="store_true", help="a scale of 1, for CI")
    parser.add_argument("--list", action="store_true", help="name the cases, run none")
    options = parser.parse_args()
    if unknown := set(options.only) - set(CASES):
        raise SystemExit(f"link: no such case: {', '.join(sorted(unknown))}")
    total, failed, began = Tally(), 0, time.monotonic()
    for name, body in CASES.items():
        if options.only and name not in options.only:
            continue
        if options.list:
            print(f"{name}: {body.__doc__}")
            continue
        start = time.monotonic()
        tally, wrong = run_case(body, options.seed, 1 if options.short else options.scale)
        failed += bool(wrong)
        print(f"{'FAILED: ' if wrong else ''}{name}: {body.__doc__}", flush=True)
        print(f"    {time.monotonic() - start:.1f} s: {describe(tally)}", flush=True)
        print(wrong, end="", flush=True)
        total.turns += tally.turns
        total.checks += tally.checks
        total.plain += tally.plain
        total.coded += tally.coded
    if not options.list:
        print(f"link: {time.monotonic() - began:.1f} s: {failed} cases failed; {describe(total)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
