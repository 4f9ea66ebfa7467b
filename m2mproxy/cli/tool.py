"""`m2m`, the command for people: one subcommand for each thing it does.

The one rule: a subcommand sets `run`, a function from the parsed arguments to the exit code.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from m2mproxy import __version__
from m2mproxy.cli import daemon
from m2mproxy.cli.cert import add_cert
from m2mproxy.cli.forms import add_compress, add_decompress, add_inspect
from m2mproxy.cli.options import EXIT_USAGE, Parser, host, whole_number
from m2mproxy.cli.probe import add_probe
from m2mproxy.cli.scan import add_scan
from m2mproxy.cli.tokens import add_count, add_models
from m2mproxy.config import KEYS, SECURITY, THRESHOLD, Listen

DEFAULT_FILE = "~/.m2m/config.toml"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080


def main(argv: Sequence[str] | None = None) -> int:
    top = parser()
    try:
        args = top.parse(argv)
        if args.command is None:
            top.print_help(sys.stderr)
            return EXIT_USAGE
        return int(args.run(args))
    except SystemExit as stop:  # after --help, --version or a usage error, which are printed
        return int(stop.code or 0)


def parser() -> Parser:
    top = Parser(
        prog="m2m",
        description="Tools around the m2mproxy reverse proxy.",
        epilog="m2m COMMAND --help lists a command's flags. See m2m(1), and m2m.toml(5) for the "
        "configuration.",
    )
    top.add_version()
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, add, about in (
        ("proxy", add_proxy, "run the proxy in the foreground"),
        ("cert", add_cert, "make a certificate for development"),
        ("compress", add_compress, "write a body in a form for the wire"),
        ("decompress", add_decompress, "give back what a form carries"),
        ("inspect", add_inspect, "say what a body is, and what every form would make of it"),
        ("count", add_count, "count the tokens of a request or of a text"),
        ("models", add_models, "say which vocabulary a model has, and how to have it"),
        ("scan", add_scan, "say what the scanner finds in a request's body"),
        ("probe", add_probe, "say what an upstream accepts, and how that is known"),
    ):
        command = commands.add_parser(name, help=about, description=f"{about.capitalize()}.")
        command.set_defaults(parser=command)  # for the flags that it has
        add(command)
    return top


# ---- m2m proxy ----------------------------------------------------------------------------------


class NotBuilt(argparse.Action):
    """A flag whose feature comes later; `const` is the one value that asks for nothing new."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if values != self.const:
            value = f" {values}" if self.const else ""
            parser.error(f"{option_string}{value}: not built yet in m2mproxy {__version__}")


def add_proxy(proxy: Parser) -> None:
    port = whole_number("port", 0, 65535)
    proxy.add_argument("--port", type=port, help=f"port to listen on (default: {DEFAULT_PORT})")
    proxy.add_argument("--host", type=host, help=f"host to listen on (default: {DEFAULT_HOST})")
    proxy.add_options(DEFAULT_FILE)
    later = "not built yet"
    proxy.add_argument(
        KEYS[SECURITY].flag,
        dest=SECURITY,
        action="store_const",
        const=True,
        help="scan requests, and refuse those with findings",
    )
    default = KEYS[THRESHOLD].default
    about = f"score from 0 to 1 that is a finding, 0 to refuse nothing (default: {default})"
    proxy.add_argument(KEYS[THRESHOLD].flag, dest=THRESHOLD, metavar="X", help=about)
    proxy.add_argument(
        "--transport",
        action=NotBuilt,
        const="tcp",
        choices=("tcp", "quic", "both"),
        help="tcp; quic and both are not built yet",
    )
    proxy.add_argument("--quic-port", action=NotBuilt, metavar="PORT", help=later)
    proxy.set_defaults(run=lambda args: _proxy(proxy, args))


def _proxy(parser: Parser, args: argparse.Namespace) -> int:
    if args.host is not None or args.port is not None:
        if vars(args)["proxy.listen"] is not None:
            parser.error(f"{KEYS['proxy.listen'].flag} cannot be given with --host or --port")
        port = DEFAULT_PORT if args.port is None else args.port
        setattr(args, "proxy.listen", str(Listen(args.host or DEFAULT_HOST, port)))
    return daemon.run("m2m", args, os.path.expanduser(DEFAULT_FILE))
