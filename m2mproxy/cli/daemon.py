"""`m2mproxy`, the daemon; and `run`, which `m2m proxy` shares.

The service is imported only once there is a configuration for it, so that errors come quickly.

The one rule: every failure is an exit code and one line on standard error, never a traceback.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from m2mproxy.cli.options import EXIT_CONFIG, EXIT_FAILURE, EXIT_USAGE, Parser, emit, given
from m2mproxy.config import COMMAND_LINE, FILE_VARIABLE, Config, ConfigError, load, printable

DEFAULT_FILE = "/etc/m2m.toml"
_STOPPING = (signal.SIGINT, signal.SIGTERM)


def main(argv: Sequence[str] | None = None) -> int:
    try:
        args = parser().parse(argv)
    except SystemExit as stop:  # after --help, --version or a usage error, which are printed
        return int(stop.code or 0)
    return run("m2mproxy", args, DEFAULT_FILE)


def parser() -> Parser:
    result = Parser(
        prog="m2mproxy",
        description="OpenAI-compatible reverse proxy.",
        epilog="See m2mproxy(8), and m2m.toml(5) for the configuration.",
    )
    result.add_version()
    result.add_options(DEFAULT_FILE)
    return result


def run(program: str, args: argparse.Namespace, default_file: str) -> int:
    """Load the configuration and, unless it is only to be checked, serve it."""
    _fill_standard_descriptors()
    if not args.check:
        # A start can take seconds. Who tells us of new certificates in that time must not end us.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in _STOPPING:
        signal.signal(number, _stop)
    as_json = False
    file = _file(args.config, default_file)
    notices: list[str] = []
    try:
        config = load(file, os.environ, given(args), notices)
        as_json = config.logging.format == "json" and not args.check
        for notice in notices:
            _tell(program, "warning", notice, as_json)
        if args.check:
            from m2mproxy.service.upstream import parts

            parts(config)
            _loaded(config)
            return _say_valid(program, file or "flags and environment")
        return _serve(program, config)
    except ConfigError as error:
        _say(program, str(error))
        return EXIT_USAGE if error.source == COMMAND_LINE else EXIT_CONFIG
    except _Stopped as stopped:  # before the server, which takes signals in its own way
        _tell(program, "info", f"stopped by {stopped} while it started", as_json)
        return EXIT_FAILURE if args.check else 0


class _Stopped(KeyboardInterrupt):
    """A signal that ends a program, by its name."""


def _stop(number: int, _: object) -> None:
    for each in _STOPPING:  # once is enough
        signal.signal(each, signal.SIG_IGN)
    raise _Stopped(signal.Signals(number).name)


def _fill_standard_descriptors() -> None:
    """Whoever started us may have closed them. The next file would take such a number, and if that
    were a client's connection, the log would be written to it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one


def _file(chosen: str | None, default: str) -> str | None:
    """The configuration file; the default one only where it exists."""
    if chosen is None:
        chosen = os.environ.get(FILE_VARIABLE)
    if chosen is None and os.path.exists(default):
        return default
    return chosen


def _say_valid(program: str, source: str) -> int:
    if sys.stdout is None:  # whoever closed it wants the exit code
        return 0
    try:
        emit(f"{printable(source)}: configuration is valid\n".encode())
    except OSError as error:
        _say(program, f"standard output: {error.strerror}")
        return EXIT_FAILURE
    return 0


def _serve(program: str, config: Config) -> int:
    from m2mproxy.service.server import serve

    if config.security.enabled and sys.stderr is not None and sys.stderr.isatty():
        _say(program, "preparing the scanner ...")  # somebody looks, and it takes seconds
    try:
        return serve(config, _loaded(config))
    except OSError as error:
        # With an address it is that of a listener; else a process or a file could not be had.
        what = f"listen on {error.filename}" if error.filename else "start"
        message = f"cannot {what}: {_reason(error)}"
        _tell(program, "error", message, config.logging.format == "json")
        return EXIT_FAILURE


def _loaded(config: Config) -> Any:
    """What the service is given (service/loaded.py). Raises ConfigError where it cannot be had."""
    from m2mproxy.cli.guard import scanner
    from m2mproxy.cli.vocabularies import configured, counter
    from m2mproxy.service.loaded import Loaded

    aead = None
    if config.peer.psk:
        from m2mproxy.codec.sealed import AeadSeal  # ten megabytes that few need

        aead = AeadSeal(config.peer.psk)
    return Loaded(configured(config), aead, counter(config), scanner(config))


def _reason(error: OSError) -> str:
    # The event loop puts the address into strerror; name resolution has codes of its own, below 0.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


def _tell(program: str, level: str, message: str, as_json: bool) -> None:
    """What belongs to the log, before there is one: whoever reads that as JSON gets JSON."""
    if not as_json:
        _say(program, message if level == "error" else f"{level}: {message}")
        return
    import datetime
    import json

    stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    said = message.encode("utf-8", "replace").decode()  # a path can have bytes that no JSON has
    fields = {"time": stamp.replace("+00:00", "Z"), "level": level, "message": said}
    with contextlib.suppress(OSError):
        print(json.dumps(fields), file=sys.stderr)


def _say(program: str, line: str) -> None:
    with contextlib.suppress(OSError):  # nobody may be there to read it
        print(f"{program}: {printable(line)}", file=sys.stderr)
