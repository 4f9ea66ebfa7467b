"""What the commands about bytes share: input, output, and failures.

The one rule: nothing is written before all of it is there, and a failure is one line, which repeats
nothing of what was read.
"""

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable

from m2mproxy.cli.options import EXIT_FAILURE, EXIT_USAGE, Parser, emit
from m2mproxy.config import printable
from m2mproxy.config.keyfile import MOST_KEY, key_of

# What a decoder takes and gives (codec.base.DecodeLimits); more could not be read back.
MOST = 16 << 20
STANDARD = "-"  # input or output, in place of a file

_controls = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]").search


class Failure(Exception):
    """What a command could not do, in one line, and the exit code."""

    def __init__(self, message: str, code: int = EXIT_FAILURE) -> None:
        super().__init__(message)
        self.code = code


Command = Callable[[argparse.Namespace], int]


def guarded(command: Command) -> Command:
    """`command`, with its failures said."""

    def run(args: argparse.Namespace) -> int:
        try:
            return command(args)
        except Failure as failure:
            say(str(failure))
            return failure.code
        except KeyboardInterrupt:
            return EXIT_FAILURE

    return run


def say(line: str) -> None:
    """A line on standard error, where nobody may be there to read it."""
    with contextlib.suppress(OSError):
        print(f"m2m: {printable(line)}", file=sys.stderr)


# ---- input --------------------------------------------------------------------------------------


def add_input(parser: Parser) -> None:
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="what to read (default: -, standard input)"
    )
    parser.add_argument("--data", metavar="TEXT", help="take TEXT instead of a file")


def read(args: argparse.Namespace) -> bytes:
    """The bytes that the command is about. Raises Failure."""
    if args.data is not None:
        if args.file is not None:
            raise Failure("--data and a FILE cannot both be given", EXIT_USAGE)
        return os.fsencode(args.data)  # the bytes that were on the command line
    name = STANDARD if args.file is None else args.file
    data = _contents(name, MOST)
    if len(data) > MOST:
        raise Failure(f"{_called(name)}: longer than {MOST} bytes, the most that is decoded")
    return data


def _contents(name: str, most: int) -> bytes:
    """The first `most` bytes, and one more where there are more."""
    try:
        if name != STANDARD:
            with open(name, "rb") as file:
                return file.read(most + 1)
        if sys.stdin is None:
            raise Failure("standard input is closed")
        return sys.stdin.buffer.read(most + 1)
    except OSError as error:
        raise Failure(f"{_called(name)}: {error.strerror or error}") from None


def _called(name: str) -> str:
    return "standard input" if name == STANDARD else name


def key(path: str) -> bytes:
    """The key that a file holds: in hex, a line end after it or none, or as bare bytes."""
    data = _contents(path, MOST_KEY)
    if len(data) > MOST_KEY:
        raise Failure(f"{path}: longer than {MOST_KEY} bytes, so it is no key")
    if path != STANDARD and os.stat(path).st_mode & 0o004:
        say(f"warning: {path} holds a key and can be read by every user (chmod o-r {path})")
    return key_of(data)


# ---- output -------------------------------------------------------------------------------------


def add_output(parser: Parser) -> None:
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to write (default: standard output)"
    )


def write(data: bytes, output: str | None = None) -> None:
    """Write to the file `output`; without one to standard output, unless that is a terminal and
    `data` is not for one. Raises Failure."""
    if output is not None and output != STANDARD:
        _write_file(data, output)
        return
    if sys.stdout is None:
        raise Failure("standard output is closed")
    if output is None and sys.stdout.isatty() and not _is_for_terminals(data):
        reason = "this is binary, and standard output is a terminal: use -o FILE or --json"
        raise Failure(reason, EXIT_USAGE)
    try:
        emit(data)
    except OSError as error:
        raise Failure(f"standard output: {error.strerror}") from None


def _write_file(data: bytes, path: str) -> None:
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None


def _is_for_terminals(data: bytes) -> bool:
    """Whether it is text without characters that a terminal would obey."""
    text = utf8(data)
    return text is not None and _controls(text) is None


def utf8(data: bytes) -> str | None:
    """The text, or None where it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def write_lines(lines: Iterable[str]) -> None:
    """Each as a line of standard output. Raises Failure."""
    write("".join(f"{line}\n" for line in lines).encode())


def write_json(value: object, output: str | None = None) -> None:
    """As JSON on a line, in ASCII."""
    import json  # only where it is asked for

    write(json.dumps(value).encode() + b"\n", output)
