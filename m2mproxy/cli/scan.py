"""`m2m scan`: the verdict on a request's body.

The one rule: what is printed says what was found and where, and nothing of what was read.
"""

import argparse
from typing import Any

from m2mproxy.cli.data import Failure, add_input, read, say, write_json, write_lines
from m2mproxy.cli.guard import build
from m2mproxy.cli.options import EXIT_FAILURE, EXIT_USAGE, Parser
from m2mproxy.config import KEYS, THRESHOLD, Security

CLEAN, BLOCKED = 0, EXIT_FAILURE


def add_scan(scan: Parser) -> None:
    add_input(scan)
    default = KEYS[THRESHOLD].default
    scan.add_argument(
        "--threshold",
        metavar="X",
        type=_threshold,
        default=default,
        help=f"score from 0 to 1 that would block, 0 for none (default: {default})",
    )
    scan.add_argument("--json", action="store_true", help="print JSON")
    scan.set_defaults(run=_run)


def _threshold(text: str) -> Any:
    kind = KEYS[THRESHOLD].kind
    try:
        return kind.read(kind.from_text(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {kind.allowed}") from None


def _run(args: argparse.Namespace) -> int:
    """0 for clean, 1 for what would be blocked, 2 for what cannot be said."""
    from m2mproxy.guard.engine import EngineMissing

    try:
        body = read(args)  # before the scanner is built, which takes seconds
        verdict = build(Security(threshold=args.threshold)).read(body).verdict()
        if args.json:
            write_json(_members(verdict))
        else:
            write_lines(_lines(verdict))
    except (Failure, EngineMissing) as failure:
        say(str(failure))
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_USAGE
    return BLOCKED if verdict.refuses else CLEAN


def _lines(verdict: Any) -> list[str]:
    word = "blocked" if verdict.refuses else "clean"
    lines = [f"{word}, score {verdict.score:.3f}"]
    for found in verdict.found:
        finding = found.finding
        lines.append(
            f"  {finding.score:.3f} {finding.category} ({finding.source}) in {found.place}: "
            f"{finding.why}"
        )
    return lines


def _members(verdict: Any) -> dict[str, object]:
    return {
        "blocked": verdict.refuses,
        "score": round(verdict.score, 4),
        "findings": [
            {
                "category": str(found.finding.category),
                "source": found.finding.source,
                "score": round(found.finding.score, 4),
                "why": found.finding.why,
                "key": found.key or None,
                "index": found.index,
                "role": found.role or None,
                "offset": found.finding.offset,
            }
            for found in verdict.found
        ],
    }
