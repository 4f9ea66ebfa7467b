"""`m2m count` and `m2m models`: how many tokens a request or a text is, and how that is known.

Vocabularies are loaded when a count needs them.

The one rule: an estimate is never shown without its error.
"""

import argparse
from typing import Any

from m2mproxy.cli.data import Failure, add_input, guarded, read, utf8, write_json, write_lines
from m2mproxy.cli.options import EXIT_USAGE, Parser
from m2mproxy.config import printable

_WIDTH = 12
_HEAD, _MESSAGES = "model", "messages"
_ESTIMATOR = "o200k"  # by whose tokens the counts of others are estimated


def add_count(count: Parser) -> None:
    count.add_argument(
        "--model", metavar="M", help="count as this model does (default: the request's own)"
    )
    count.add_argument(
        "--text", action="store_true", help="take what is read for a text, even if it is JSON"
    )
    count.add_argument("--json", action="store_true", help="print JSON")
    add_input(count)
    count.set_defaults(run=guarded(_count))


def add_models(models: Parser) -> None:
    models.add_argument(
        "names", nargs="*", metavar="NAME", help="say it of these models (default: all patterns)"
    )
    models.add_argument("--json", action="store_true", help="print JSON")
    models.set_defaults(run=guarded(_models))


# ---- count --------------------------------------------------------------------------------------


def _count(args: argparse.Namespace) -> int:
    data = read(args)
    body = None if args.text else _request(data)
    model = args.model if args.model is not None else (body or {}).get("model")
    if not isinstance(model, str):
        raise Failure("no model is named: give one with --model", EXIT_USAGE)
    counter, vocabulary = _counter(model)
    if body is not None:
        count = counter.request(body, model)
    else:
        text = utf8(data)
        if text is None:
            raise Failure("this is neither JSON nor UTF-8")
        count = counter.text(text, model)
    seen = {
        "tokens": count.tokens,
        "exact": count.is_exact,
        "error": round(count.error, 4) if count.is_whole else None,
        "counted": "text" if body is None else "request",
        "model": model,
        "vocabulary": vocabulary,
    }
    if args.json:
        write_json(seen)
    else:
        write_lines(_report(seen))
    return 0


def _request(data: bytes) -> dict[str, Any] | None:
    """The request that `data` is; None where it is something else."""
    import orjson

    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _counter(model: str) -> tuple[Any, str | None]:
    """What counts for a model, and the vocabulary that it counts with; None for an estimate."""
    from m2mproxy.tokens.count import Counter
    from m2mproxy.tokens.models import find
    from m2mproxy.tokens.vocabulary import VocabularyError, is_installed, preload

    wanted = find(model).vocabulary
    name = wanted if wanted and is_installed(wanted) else None
    try:
        return Counter(preload([name or _ESTIMATOR])), name
    except VocabularyError as error:
        raise Failure(str(error)) from None


def _report(seen: dict[str, Any]) -> list[str]:
    lines = [("tokens", str(seen["tokens"])), ("error", _error(seen)), ("of", seen["counted"]),
             ("model", seen["model"]), ("vocabulary", _vocabulary(seen))]  # fmt: skip
    return [f"{name:{_WIDTH}}{printable(value)}" for name, value in lines]


def _error(seen: dict[str, Any]) -> str:
    if seen["exact"]:
        return "none: this is exact"
    if seen["error"] is None:
        return "unknown: not all of it is text, and only the text is counted"
    return f"about {100 * seen['error']:.1f} % more or less"


def _vocabulary(seen: dict[str, Any]) -> str:
    if seen["vocabulary"] is not None:
        return str(seen["vocabulary"])
    from m2mproxy.tokens.models import find

    wanted = find(seen["model"]).vocabulary
    why = f"{wanted} is not installed, m2mproxy[{_extra(wanted)}] brings it" if wanted else "none"
    return f"{why}; estimated by {_ESTIMATOR}"


# ---- models -------------------------------------------------------------------------------------


def _models(args: argparse.Namespace) -> int:
    from m2mproxy.tokens.models import row_of
    from m2mproxy.tokens.names import OTHER, ROWS

    rows = [(name, row_of(name)) for name in args.names] or [
        (row.pattern or "(any other)", row) for row in (*ROWS, OTHER)
    ]
    if args.json:
        write_json([_model(name, row) for name, row in rows])
        return 0
    named = [(printable(name), row) for name, row in rows]
    width = 2 + max(len(name) for name in (_HEAD, *(name for name, _ in named)))
    of = 2 + max(len(name) for name in (_MESSAGES, *(row.family for _, row in rows)))
    head = f"{_HEAD:{width}}{_MESSAGES:{of}}{'vocabulary':12}{'exact':7}installed"
    lines = [
        f"{name:{width}}{row.family:{of}}{row.vocabulary or '-':12}"
        f"{'yes' if row.is_exact else 'no':7}{_brought(row.vocabulary)}"
        for name, row in named
    ]
    write_lines([head, *lines])
    return 0


def _model(name: str, row: Any) -> dict[str, object]:
    return {
        "model": name,
        "messages": row.family,
        "vocabulary": row.vocabulary or None,
        "exact": row.is_exact,
        "installed": _is_here(row.vocabulary),
        "extra": _extra(row.vocabulary),
    }


def _is_here(vocabulary: str) -> bool:
    from m2mproxy.tokens.vocabulary import is_installed

    return bool(vocabulary) and is_installed(vocabulary)


def _extra(vocabulary: str) -> str | None:
    from m2mproxy.tokens.known import KNOWN, Carried

    source = KNOWN[vocabulary].source if vocabulary else None
    return source.extra if isinstance(source, Carried) else None


def _brought(vocabulary: str) -> str:
    if _is_here(vocabulary):
        return "yes"
    return f"no: m2mproxy[{_extra(vocabulary)}]" if vocabulary else "no"
