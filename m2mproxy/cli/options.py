"""The options that both commands share: one table, for argparse and for the test of the man pages.

The one rule: a usage error is one line on standard error and exit code 2, and repeats no argument
that may be a key.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from m2mproxy import __version__
from m2mproxy.config import KEYS, Key, Listen, printable, size_text

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_CONFIG = os.EX_CONFIG


class Option(NamedTuple):
    """A flag that sets a key of the configuration; its name follows from the key's."""

    path: str
    metavar: str
    help: str
    action: str = "store"


OPTIONS = (
    Option("proxy.listen", "ADDRESS", "host:port, [v6]:port or unix:/path; repeatable", "append"),
    Option("proxy.upstream", "URL", "where requests go, such as http://localhost:11434/v1"),
    Option("proxy.upstream_http", "VERSION", "HTTP version towards the upstream: auto, 1.1 or 2"),
    Option("proxy.provider", "NAME", "profile of the upstream"),
    Option("proxy.api_key", "KEY", "upstream key; other users see it: prefer --api-key-file"),
    Option("proxy.api_key_file", "FILE", "file that holds the upstream key"),
    Option("proxy.web_origins", "ORIGIN", "origin of pages that may use it; repeatable", "append"),
    Option("peer.psk_file", "FILE", "file that holds the key shared with other instances"),
    Option("proxy.tls.cert", "FILE", "certificate for clients, which speak TLS then", "append"),
    Option("proxy.tls.key", "FILE", "its private key, unless the same file holds it", "append"),
    Option("proxy.max_body", "SIZE", "largest request body, in bytes or such as 64MiB"),
    Option("proxy.drain", "TIME", "how long exchanges may go on after SIGTERM, such as 30s"),
    Option("logging.format", "FORMAT", "text or json"),
    Option("logging.level", "LEVEL", "debug, info, warning or error"),
)


def _formatter(prog: str) -> argparse.HelpFormatter:
    """argparse's own, with the width that it would find by loading archive libraries (shutil):
    it makes one for every flag, so that they would stay in the daemon's memory."""
    columns = os.environ.get("COLUMNS", "")
    try:
        width = int(columns) if columns.isdecimal() else os.get_terminal_size().columns
    except OSError:  # no terminal
        width = 80
    return argparse.HelpFormatter(prog, width=width - 2)


class Parser(argparse.ArgumentParser):
    """argparse with whole flags only, and one line for an error."""

    def __init__(self, **settings: Any) -> None:
        self._flags: list[str] = []
        super().__init__(allow_abbrev=False, formatter_class=_formatter, **settings)

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        self._flags += names
        return super().add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        program = self.prog.partition(" ")[0]
        self.exit(EXIT_USAGE, f"{program}: {printable(' '.join(message.split()))}\n")

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        args, rest = self.parse_known_args(argv)
        if rest:
            # argparse would print all of them, and with `--api_key KEY` the key.
            flags = [word.partition("=")[0] for word in rest if word.startswith("-")]
            chosen: Parser = getattr(args, "parser", self)
            self.error(chosen._unknown(flags[0]) if flags else "only flags are taken here")
        return args

    def _unknown(self, flag: str) -> str:
        from difflib import get_close_matches  # only on the way out

        near = get_close_matches(flag, self._flags, 1)
        return f"unknown flag {flag}" + (f"; did you mean {near[0]}?" if near else "")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Help and versions are output like any other: what could not be written is an error."""
        if file is None or file is not sys.stdout:
            super()._print_message(message, file)
            return
        try:
            emit(message.encode())
        except OSError as error:
            program = self.prog.partition(" ")[0]
            self.exit(EXIT_FAILURE, f"{program}: standard output: {error.strerror}\n")

    def add_version(self) -> None:
        text = f"m2mproxy {__version__}"
        self.add_argument("--version", action="version", version=text, help="print the version")

    def add_options(self, default_file: str) -> None:
        self.add_argument(
            "--config",
            metavar="FILE",
            help=f"configuration file (default: M2M_CONFIG, else {default_file} if it exists)",
        )
        self.add_argument(
            "--check", action="store_true", help="validate the configuration, bind nothing, exit"
        )
        for option in OPTIONS:
            key = KEYS[option.path]
            self.add_argument(
                key.flag,
                dest=option.path,
                metavar=option.metavar,
                action=option.action,
                help=option.help + _default(key),
            )


def emit(data: bytes) -> None:
    """Write `data` to standard output, now. Raises OSError, with nothing left to write."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):  # what is left would fail again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def given(args: argparse.Namespace) -> dict[str, object]:
    """The keys that flags set, as `config.load` takes them."""
    return {path: value for path, value in vars(args).items() if path in KEYS and value is not None}


def _default(key: Key) -> str:
    default = key.default
    if isinstance(default, tuple):
        default = ", ".join(map(str, default))
    elif isinstance(default, int):
        default = size_text(default)
    elif isinstance(default, float):
        default = f"{default:g}"
    return f" (default: {default})" if default else ""


def whole_number(what: str, least: int, most: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number; `what` it is called in an error."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f'"{text}" is not a {what} from {least} to {most}')
        return int(text)

    return number


def host(text: str) -> str:
    """The type of an argument that is a host name or an IP address."""
    bracketed = f"[{text}]" if ":" in text and not text.startswith("[") else text
    try:
        return Listen.parse(f"{bracketed}:0").host
    except ValueError as error:
        alone = "a host name or an IP address is wanted, without scheme and port"
        why = alone if "/" in text or text.count(":") == 1 else error
        raise argparse.ArgumentTypeError(f'"{text}": {why}') from None
