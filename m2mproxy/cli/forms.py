"""`m2m compress`, `m2m decompress` and `m2m inspect`: a body's forms on the wire, for a person.

The one rule: what was compressed is decompressed to exactly the same bytes, or it is said why not.
The codecs are loaded when one of these commands runs, so that the others start without them.
"""

import argparse
from typing import Any

from m2mproxy.cli.data import (
    add_input,
    add_output,
    guarded,
    key,
    read,
    say,
    write,
    write_json,
    write_lines,
)
from m2mproxy.cli.options import Parser, whole_number
from m2mproxy.config import printable

MOST_LEVEL = 19
_MOST_NAMES = 12  # of a header's list, such as the roles of a long conversation
_WIDTH = 18


def add_compress(compress: Parser) -> None:
    _add_form(compress, "what to write, such as m2m or zstd; auto, the default, for the smallest")
    level = whole_number("level", 0, MOST_LEVEL)
    compress.add_argument(
        "--level", type=level, metavar="N", help=f"how hard to try, 0 to {MOST_LEVEL}"
    )
    compress.add_argument("--text", action="store_true", help="write a form that is text")
    _add_rest(compress)
    compress.set_defaults(run=guarded(_compress))


def add_decompress(decompress: Parser) -> None:
    _add_form(decompress, "what it is, such as m2m or br; auto, the default, to tell by its bytes")
    _add_rest(decompress)
    decompress.set_defaults(run=guarded(_decompress))


def add_inspect(inspect: Parser) -> None:
    _add_keys(inspect)
    inspect.add_argument("--json", action="store_true", help="print JSON")
    add_input(inspect)
    inspect.set_defaults(run=guarded(_inspect))


def _add_form(parser: Parser, about: str) -> None:
    parser.add_argument("--form", metavar="NAME", default="auto", help=about)
    parser.add_argument(
        "--response", action="store_true", help="static: with the dictionary of responses"
    )


def _add_keys(parser: Parser) -> None:
    for name in ("hmac", "aead"):
        parser.add_argument(
            f"--{name}-key-file", metavar="FILE", help=f"{name.upper()} key of frames"
        )


def _add_rest(parser: Parser) -> None:
    _add_keys(parser)
    parser.add_argument("--json", action="store_true", help="print an object about it")
    add_output(parser)
    add_input(parser)


def _seals(args: argparse.Namespace) -> Any:
    from m2mproxy.cli.formtable import seals

    files = (args.hmac_key_file, args.aead_key_file)
    return seals(*(None if file is None else key(file) for file in files))


# ---- compress and decompress --------------------------------------------------------------------


def _compress(args: argparse.Namespace) -> int:
    from m2mproxy.cli.formtable import FormWriter
    from m2mproxy.codec.forms import in_json, sizes

    writer = FormWriter(args.form, args.level, args.text, args.response, _seals(args))
    body = read(args)
    name, message = writer.encode(body)
    if args.json:
        shown = in_json(message, writer.is_text(name))
        write_json({**sizes(name, len(body), len(message)), **shown}, args.output)
        return 0
    write(message, args.output)
    if args.form == "auto":
        say(_chosen(name, len(body), len(message)))
    return 0


def _chosen(name: str, plain: int, coded: int) -> str:
    from m2mproxy.cli.formtable import PLAIN, saved

    if name == PLAIN:
        return "plain: no form makes it smaller, so it is written as it is"
    hint = "; its bytes do not say so: decompress it with --form br" if name == "br" else ""
    return f"{name}: {coded} bytes of {plain}, {saved(plain, coded):g} % saved{hint}"


def _decompress(args: argparse.Namespace) -> int:
    from m2mproxy.cli.formtable import FormReader
    from m2mproxy.codec.forms import in_json, sizes

    reader = FormReader(args.form, args.response, _seals(args))
    message = read(args)
    name, body, header = reader.decode(message)
    if not args.json:
        write(body, args.output)
        return 0
    about = {**sizes(name, len(body), len(message)), **in_json(body)}
    write_json(about if header is None else {**about, "header": header}, args.output)
    return 0


# ---- inspect ------------------------------------------------------------------------------------


def _inspect(args: argparse.Namespace) -> int:
    from m2mproxy.cli.formtable import look

    keys = _seals(args)
    seen = look(read(args), keys)
    if args.json:
        write_json(seen)
    else:
        write_lines(_report(seen))
    return 0


def _report(seen: dict[str, Any]) -> list[str]:
    lines = [_line("form", seen["form"]), _line("bytes", seen["bytes"])]
    for name, title in (
        ("decoded_bytes", "decoded bytes"),
        ("error", "not decoded"),
        ("note", "note"),
    ):
        if name in seen:
            lines.append(_line(title, seen[name]))
    if "header" in seen:
        lines.append("header")
        header = seen["header"].items()
        lines += [_line(f"  {name}", value) for name, value in header if value is not None]
    if "forms" in seen:
        lines += ["", *_comparison(seen["forms"])]
    return lines


def _line(name: str, value: object) -> str:
    return f"{name.replace('_', ' '):{_WIDTH}}{printable(_words(value))}"


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        more = [f"and {len(value) - _MOST_NAMES} more"] if len(value) > _MOST_NAMES else []
        return ", ".join([*map(str, value[:_MOST_NAMES]), *more]) or "none"
    return str(value)


def _comparison(rows: list[dict[str, Any]]) -> list[str]:
    lines = [f"{'what it would be':{_WIDTH}}{'bytes':>9}{'saved':>10}"]
    for row in rows:
        if "reason" in row:
            lines.append(f"{row['form']:{_WIDTH}}{'-':>9}{'-':>10}  {row['reason']}")
        else:
            saved = f"{row['saved_percent']:.1f} %"
            lines.append(f"{row['form']:{_WIDTH}}{row['bytes']:>9}{saved:>10}")
    return lines
