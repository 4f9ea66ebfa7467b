"""m2mproxy and m2m: what reaches serve, what is printed where, and every exit code."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from m2mproxy import __version__
from m2mproxy.cli import daemon, guard, tool
from m2mproxy.cli.options import OPTIONS
from m2mproxy.codec.token_native import NAMES
from m2mproxy.config import KEYS, Config, ConfigError, Listen
from m2mproxy.service.loaded import Loaded

URL = "http://model/v1"


class Server:
    """Stands in for m2mproxy.service: `server` serves, `upstream` judges."""

    def __init__(self) -> None:
        self.configs: list[Config] = []
        self.loaded: list[Loaded] = []
        self.checked: list[Config] = []
        self.result: int | BaseException = 0

    def parts(self, config: Config) -> None:
        self.checked.append(config)
        if isinstance(self.result, BaseException):
            raise self.result

    def serve(self, config: Config, loaded: Loaded) -> int:
        self.configs.append(config)
        self.loaded.append(loaded)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture(autouse=True)
def server(monkeypatch, tmp_path):
    """No command of this module serves, reads this machine's files, or sees its variables."""
    for name in list(os.environ):
        if name.startswith("M2M_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(daemon, "DEFAULT_FILE", str(tmp_path / "etc.toml"))
    stand_in = Server()
    for name, what in (("server", "serve"), ("upstream", "parts")):
        module = types.ModuleType(f"m2mproxy.service.{name}")
        setattr(module, what, getattr(stand_in, what))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield stand_in
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def run(capsys):
    """Run a command line; gives the exit code, standard output, and the lines of standard error."""

    def go(command: str, *argv: str) -> tuple[int, str, list[str]]:
        main = {"m2mproxy": daemon.main, "m2m": tool.main}[command]
        code = main(argv)
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return go


COMMANDS = [("m2mproxy",), ("m2m", "proxy")]
BOTH = pytest.mark.parametrize("command", COMMANDS, ids=["m2mproxy", "m2m"])


def write(path: Path, text: str = f"[proxy]\nupstream = '{URL}'\n") -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_hangup_while_it_starts_does_not_end_it(run, monkeypatch):
    seen = []

    def prepared(_: Config) -> None:
        seen.append(signal.getsignal(signal.SIGHUP))

    monkeypatch.setattr(guard, "scanner", prepared)
    assert run("m2mproxy", "--upstream", URL)[0] == 0
    assert seen == [signal.SIG_IGN]


def test_a_hangup_ends_a_check(run):
    assert run("m2mproxy", "--upstream", URL, "--check")[0] == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


# ---- what reaches serve --------------------------------------------------------------------------


@BOTH
def test_flags_reach_the_configuration(run, server, command, tmp_path):
    key = tmp_path / "key"
    key.write_text("from-file\n")
    key.chmod(0o600)
    argv = (
        "--listen", "localhost:1", "--listen=unix:/run/a", "--upstream", URL,
        "--provider", "azure", "--api-key-file", str(key), "--max-body", "1MiB", "--drain", "5s",
        "--log-format", "json", "--log-level", "debug",
        "--cert", "a.pem", "--key", "a.key", "--cert", "b,c.pem", "--key", "b.key",
    )  # fmt: skip
    assert run(*command, *argv) == (0, "", [])
    (config,) = server.configs
    assert config.listen == (Listen("localhost", 1), Listen(path="/run/a"))
    assert str(config.upstream) == URL
    assert (config.provider, config.api_key) == ("azure", "from-file")
    assert (config.max_body, config.drain) == (2**20, 5)
    assert (config.logging.format, config.logging.level) == ("json", "debug")
    assert (config.tls.cert, config.tls.key) == (("a.pem", "b,c.pem"), ("a.key", "b.key"))


@BOTH
def test_only_where_there_is_a_key_something_seals(run, server, command, tmp_path):
    key = tmp_path / "psk"
    key.write_text("00" * 32)
    key.chmod(0o600)
    for flags in ((), ("--peer-psk-file", str(key))):
        assert run(*command, "--upstream", URL, *flags)[0] == 0
    assert [each.aead is not None for each in server.loaded] == [False, True]
    assert [config.peer.psk for config in server.configs] == [b"", bytes(32)]


@BOTH
def test_a_key_on_the_command_line(run, server, command):
    assert run(*command, "--upstream", URL, "--api-key", "sk-1")[0] == 0
    assert server.configs[0].api_key == "sk-1"


@BOTH
def test_the_environment_is_read_and_flags_come_first(run, server, command, monkeypatch):
    monkeypatch.setenv("M2M_UPSTREAM", "http://other")
    monkeypatch.setenv("M2M_LIMITS_REQUESTS", "7")
    assert run(*command, "--upstream", URL)[0] == 0
    assert (str(server.configs[0].upstream), server.configs[0].limits.requests) == (URL, 7)


@BOTH
@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_is_the_servers(run, server, command, code):
    server.result = code
    assert run(*command, "--upstream", URL) == (code, "", [])


@pytest.mark.parametrize(
    ("argv", "listen"),
    [
        ((), "127.0.0.1:8080"),
        (("--port", "0"), "127.0.0.1:0"),
        (("--port", "65535"), "127.0.0.1:65535"),
        (("--host", "::1"), "[::1]:8080"),
        (("--host", "[::1]", "--port", "1"), "[::1]:1"),
        (("--host", "0.0.0.0"), "0.0.0.0:8080"),
    ],
)
def test_host_and_port(run, server, argv, listen):
    assert run("m2m", "proxy", "--upstream", URL, *argv)[0] == 0
    assert tuple(map(str, server.configs[0].listen)) == (listen,)


def test_host_and_port_replace_the_files_addresses(run, server, tmp_path):
    text = f"[proxy]\nupstream = '{URL}'\nlisten = ['0.0.0.0:1', '[::]:1']"
    path = write(tmp_path / "c.toml", text)
    assert run("m2m", "proxy", "--config", path, "--port", "5")[0] == 0
    assert server.configs[0].listen == (Listen("127.0.0.1", 5),)


def test_tcp_is_a_transport(run, server):
    assert run("m2m", "proxy", "--upstream", URL, "--transport", "tcp") == (0, "", [])
    assert len(server.configs) == 1


# ---- which file ----------------------------------------------------------------------------------


def test_the_file_is_the_named_one_else_the_variables_else_the_default(
    run, server, monkeypatch, tmp_path
):
    levels = {"etc.toml": "debug", ".m2m/config.toml": "info", "env": "warning", "flag": "error"}
    for name, level in levels.items():
        write(tmp_path / name, f"[proxy]\nupstream = '{URL}'\n[logging]\nlevel = '{level}'")
    run("m2mproxy")
    run("m2m", "proxy")
    monkeypatch.setenv("M2M_CONFIG", str(tmp_path / "env"))
    run("m2mproxy")
    run("m2m", "proxy")
    run("m2mproxy", "--config", str(tmp_path / "flag"))
    run("m2m", "proxy", "--config", str(tmp_path / "flag"))
    levels_seen = [config.logging.level for config in server.configs]
    assert levels_seen == ["debug", "info", "warning", "warning", "error", "error"]


@BOTH
def test_a_named_file_has_to_exist(run, server, command, tmp_path):
    path = str(tmp_path / "none.toml")
    line = f"{command[0]}: {path}: cannot be read: No such file or directory"
    assert run(*command, "--upstream", URL, "--config", path) == (78, "", [line])
    assert server.configs == []


# ---- --check and --version -----------------------------------------------------------------------


@BOTH
def test_check(run, server, command, tmp_path):
    path = write(tmp_path / "c.toml")
    valid = f"{path}: configuration is valid\n"
    assert run(*command, "--check", "--config", path) == (0, valid, [])
    valid = "flags and environment: configuration is valid\n"
    assert run(*command, "--check", "--upstream", URL) == (0, valid, [])
    assert server.configs == [] and len(server.checked) == 2


@BOTH
def test_check_names_the_file_of_the_variable(run, command, monkeypatch, tmp_path):
    monkeypatch.setenv("M2M_CONFIG", write(tmp_path / "c.toml"))
    assert run(*command, "--check")[1] == f"{tmp_path / 'c.toml'}: configuration is valid\n"


@BOTH
def test_check_refuses_what_a_start_refuses(run, server, command, tmp_path):
    path = write(tmp_path / "c.toml", f"[proxy]\nupstream = '{URL}'\nmax_body = 0")
    checked, started = (run(*command, *more, "--config", path) for more in (["--check"], []))
    assert checked == started and server.configs == []
    assert checked[0] == 78 and len(checked[2]) == 1
    assert checked[2][0].startswith(f"{command[0]}: {path}: proxy.max_body = 0: must be ")


@BOTH
def test_the_service_is_not_loaded_for_a_configuration_that_is_refused(run, command, monkeypatch):
    for name in ("server", "upstream"):
        monkeypatch.setitem(sys.modules, f"m2mproxy.service.{name}", None)  # an import would fail
    assert run(*command, "--upstream", "ftp://model")[0] == 2


@pytest.mark.parametrize("command", ["m2mproxy", "m2m"])
def test_version(run, command):
    assert run(command, "--version") == (0, f"m2mproxy {__version__}\n", [])


@pytest.mark.parametrize("argv", [("m2mproxy",), ("m2m",), ("m2m", "proxy"), ("m2m", "cert")])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(run, argv, flag):
    code, out, err = run(*argv, flag)
    assert (code, err) == (0, [])
    assert out.startswith(f"usage: {' '.join(argv)} [-h]")


def test_help_gives_the_defaults(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = run("m2mproxy", "--help")[1]
    for flag, default in [
        ("--listen", "127.0.0.1:8080"), ("--max-body", "64MiB"), ("--drain", "30"),
        ("--log-level", "info"), ("--provider", "auto"),
    ]:  # fmt: skip
        (line,) = (line for line in out.splitlines() if line.strip().startswith(f"{flag} "))
        assert line.endswith(f"(default: {default})")


@pytest.mark.parametrize("argv", [("--version",), ("--help",), ("--check", "--upstream", URL)])
def test_an_output_that_is_full_is_one_line(argv):
    command = [sys.executable, "-m", "m2mproxy", *argv]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
    line = "m2mproxy: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, line)


def test_a_flag_of_another_command_is_not_meant(run):
    assert run("m2m", "count", "--upstream", URL)[2] == ["m2m: unknown flag --upstream"]
    (line,) = run("m2m", "proxy", "--prot", "1")[2]
    assert line == "m2m: unknown flag --prot; did you mean --port?"


@pytest.mark.parametrize("columns", ["0", "40", "wide", ""])
def test_help_on_any_terminal(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    code, out, _ = run("m2mproxy", "--help")
    assert code == 0 and "--upstream" in out


def test_m2m_alone_is_help_and_a_usage_error(run):
    code, out, err = run("m2m")
    assert (code, out) == (2, "") and err[0].startswith("usage: m2m ")


def test_python_dash_m_is_the_daemon():
    command = [sys.executable, "-m", "m2mproxy", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"m2mproxy {__version__}\n"


# ---- usage errors --------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--upstraem", URL), "unknown flag --upstraem; did you mean --upstream?"),
        (("--upstre", URL), "unknown flag --upstre; did you mean --upstream?"),  # no abbreviations
        (("--api_key=sk-secret",), "unknown flag --api_key; did you mean --api-key?"),
        (("--api_key", "sk-secret"), "unknown flag --api_key; did you mean --api-key?"),
        (("--zzz",), "unknown flag --zzz"),
        (("--z\x1b[31m\udcff",), "unknown flag --z\\x1b[31m\\udcff"),
        (("sk-secret",), "only flags are taken here"),
        (("--listen",), "argument --listen: expected one argument"),
        (("--check=sk-secret",), None),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(run, server, command, argv, message):
    code, out, err = run(*command, *argv)
    assert (code, out, server.configs) == (2, "", [])
    (line,) = err
    assert line.startswith(f"{command[0]}: ")
    if message is not None:
        assert line == f"{command[0]}: {message}"
        assert "secret" not in line


@pytest.mark.parametrize(
    "argv", [("--host", "a"), ("--port", "1"), ("--port", "0"), ("--host", "a", "--port", "1")]
)
def test_listen_conflicts_with_host_and_port(run, server, argv):
    line = "m2m: --listen cannot be given with --host or --port"
    argv = ("proxy", "--upstream", URL, "--listen", "a:1", *argv)
    assert run("m2m", *argv) == (2, "", [line])
    assert server.configs == []


@pytest.mark.parametrize("port", ["65536", "x", "-1", "+1", "1_0", "٣", ""])
def test_a_port_that_is_none(run, port):
    line = f'm2m: argument --port: "{port}" is not a port from 0 to 65535'
    assert run("m2m", "proxy", "--upstream", URL, f"--port={port}") == (2, "", [line])


@pytest.mark.parametrize("host", ["", "a b", "::g", "unix:/a", "a:1", "[::1", "*"])
def test_a_host_that_is_none(run, host):
    code, _, err = run("m2m", "proxy", "--upstream", URL, f"--host={host}")
    assert code == 2 and err[0].startswith(f'm2m: argument --host: "{host}": ') and len(err) == 1


@pytest.mark.parametrize("host", ["http://127.0.0.1", "127.0.0.1:8080", "127.0.0.1/x"])
def test_a_host_that_is_more_than_one_is_told_so(run, host):
    _, _, err = run("m2m", "proxy", "--upstream", URL, f"--host={host}")
    why = "a host name or an IP address is wanted, without scheme and port"
    assert err == [f'm2m: argument --host: "{host}": {why}']


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        (("--transport", "quic"), "--transport quic"),
        (("--transport=both",), "--transport both"),
        (("--quic-port", "443"), "--quic-port"),
    ],
)
def test_what_is_not_built_yet(run, server, argv, what):
    line = f"m2m: {what}: not built yet in m2mproxy {__version__}"
    assert run("m2m", "proxy", "--upstream", URL, *argv) == (2, "", [line])
    assert server.configs == []


def test_transports_are_known(run):
    code, _, err = run("m2m", "proxy", "--upstream", URL, "--transport", "udp")
    assert code == 2 and "invalid choice: 'udp'" in err[0] and len(err) == 1


def test_other_commands_do_not_exist(run):
    code, out, err = run("m2m", "stats")
    assert (code, out, len(err)) == (2, "", 1) and err[0].startswith("m2m: ")


# ---- configuration errors ------------------------------------------------------------------------


@BOTH
def test_a_flags_value_is_a_usage_error(run, server, command):
    line = f'{command[0]}: command line: --log-format = "xml": must be "text" or "json"'
    assert run(*command, "--upstream", URL, "--log-format", "xml") == (2, "", [line])
    assert server.configs == []


@BOTH
@pytest.mark.parametrize("option", [o for o in OPTIONS if o.path != "proxy.api_key_file"])
def test_a_flags_error_names_the_flag(run, command, option):
    flag = KEYS[option.path].flag
    code, _, err = run(*command, "--upstream", URL, f"{flag}=\x1b[31m")
    assert code == 2 and len(err) == 1
    assert err[0].startswith(f"{command[0]}: command line: {flag}")
    assert "\x1b" not in err[0]


@BOTH
def test_a_variables_value_is_a_configuration_error(run, server, command, monkeypatch):
    monkeypatch.setenv("M2M_LOGGING_FORMAT", "xml")
    line = f'{command[0]}: environment: M2M_LOGGING_FORMAT = "xml": must be "text" or "json"'
    assert run(*command, "--upstream", URL) == (78, "", [line])
    assert server.configs == []


@BOTH
def test_no_upstream(run, command, tmp_path):
    code, _, err = run(*command)
    assert code == 2 and len(err) == 1 and "--upstream: not given" in err[0]
    code, _, err = run(*command, "--config", write(tmp_path / "c.toml", ""))
    assert code == 78 and len(err) == 1 and "proxy.upstream: not given" in err[0]


@BOTH
@pytest.mark.parametrize("check", [(), ("--check",)])
def test_the_servers_own_configuration_errors(run, server, command, check):
    server.result = ConfigError("environment", "M2M_PROVIDER", "azur", "a provider")
    line = f'{command[0]}: environment: M2M_PROVIDER = "azur": must be a provider'
    assert run(*command, "--upstream", URL, *check) == (78, "", [line])


@BOTH
@pytest.mark.parametrize("check", [(), ("--check",)])
def test_notices_are_warnings(run, server, command, check, tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-secret")
    key.chmod(0o644)
    code, _, err = run(*command, "--upstream", URL, "--api-key-file", str(key), *check)
    assert code == 0 and len(server.configs) == (not check)
    (line,) = err
    assert line.startswith(f"{command[0]}: warning: {key} ") and "secret" not in line


# ---- failures to start ---------------------------------------------------------------------------


def failed(number: int, text: str, filename: str | None = None) -> OSError:
    return OSError(number, text, filename)


@BOTH
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (failed(errno.EADDRINUSE, "as uvloop words it", "127.0.0.1:80"),
         "cannot listen on 127.0.0.1:80: Address already in use"),
        (failed(-2, "Name or service not known", "h:80"),
         "cannot listen on h:80: Name or service not known"),
        (failed(errno.EAGAIN, "as fork has it"),
         "cannot start: Resource temporarily unavailable"),
        (OSError("Multiple exceptions"), "cannot start: Multiple exceptions"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_start(run, server, command, error, line):
    server.result = error
    assert run(*command, "--upstream", URL) == (1, "", [f"{command[0]}: {line}"])


@BOTH
def test_what_comes_before_the_log_is_json_where_that_is(run, server, command, tmp_path):
    file = tmp_path / "m2m.toml"
    file.write_text(f'[proxy]\nupstream = "{URL}"\napi_key = "k"\n[logging]\nformat = "json"\n')
    file.chmod(0o644)
    server.result = failed(errno.EACCES, "Permission denied", "unix:/a")
    code, _, lines = run(*command, "--config", str(file))
    told = [json.loads(line) for line in lines]
    assert code == 1 and [each["level"] for each in told] == ["warning", "error"]
    assert told[0]["message"].startswith(f"{file} holds a key")
    assert told[1]["message"] == "cannot listen on unix:/a: Permission denied"
    assert all(re.fullmatch(r"[-\d]{10}T[:\d]{8}\.\d{3}Z", each["time"]) for each in told)
    server.result = 0
    (line,) = run(*command, "--config", str(file), "--check")[2]
    assert line.startswith(f"{command[0]}: warning: ")


# ---- odd surroundings ----------------------------------------------------------------------------


@BOTH
def test_an_interrupt_before_there_is_a_server(run, server, command):
    server.result = daemon._Stopped("SIGINT")
    said = [f"{command[0]}: info: stopped by SIGINT while it started"]
    assert run(*command, "--upstream", URL) == (0, "", said)


@BOTH
def test_nobody_to_read_an_error(monkeypatch, server, command):
    class Gone:
        def write(self, text: str) -> None:
            raise BrokenPipeError

    server.result = failed(errno.EACCES, "Permission denied")
    monkeypatch.setattr(sys, "stderr", Gone())
    main = {"m2mproxy": daemon.main, "m2m": tool.main}[command[0]]
    assert main([*command[1:], "--upstream", URL]) == 1


# ---- vocabularies -------------------------------------------------------------------------------


@BOTH
def test_the_vocabularies_that_are_named_are_loaded(run, server, command, monkeypatch):
    monkeypatch.setenv("M2M_COMPRESSION_VOCABULARIES", "o200k,cl100k")
    assert run(*command, "--upstream", URL) == (0, "", [])
    (loaded,) = server.loaded
    assert list(loaded.vocabularies) == ["C", "O"]
    o200k = loaded.vocabularies["O"]
    assert o200k.decode_bytes(o200k.encode_ordinary("hello")) == b"hello"


def test_each_vocabulary_can_be_named():
    key = KEYS["proxy.compression.vocabularies"]
    names = list(NAMES.values())
    assert key.kind.read(names) == tuple(names)
    assert key.kind.allowed == '"{}" or "{}" or "{}", or several'.format(*names)


@BOTH
def test_what_counts_has_the_vocabularies_that_are_named(run, server, command, monkeypatch):
    monkeypatch.setenv("M2M_TOKENS_VOCABULARIES", "o200k")
    assert run(*command, "--upstream", URL) == (0, "", [])
    monkeypatch.setenv("M2M_TOKENS_COUNT", "all")
    assert run(*command, "--upstream", URL) == (0, "", [])
    none, counter = (each.counter for each in server.loaded)
    assert none is None
    assert counter.text("hello world", "gpt-4o").tokens == 2
    assert counter.text("hello world", "gpt-4o").is_exact
    assert not counter.text("hello world", "gpt-4").is_exact


@BOTH
def test_without_a_vocabulary_tokens_are_estimated(run, server, command, monkeypatch):
    monkeypatch.setenv("M2M_TOKENS_COUNT", "all")
    monkeypatch.setenv("M2M_TOKENS_VOCABULARIES", "")
    assert run(*command, "--upstream", URL) == (0, "", [])
    counter = server.loaded[0].counter
    assert not counter.text("hello world", "gpt-4o").is_exact


@pytest.mark.parametrize("more", [(), ("--check",)])
@pytest.mark.parametrize("count", ["all", "usage", "off"])
@BOTH
def test_a_vocabulary_to_count_with_that_nobody_knows(
    run, server, command, count, more, monkeypatch
):
    """Whether it is put to use or not: who switches counting on later finds it."""
    monkeypatch.setenv("M2M_TOKENS_COUNT", count)
    monkeypatch.setenv("M2M_TOKENS_VOCABULARIES", "o200k,klingon")
    code, out, (line,) = run(*command, "--upstream", URL, *more)
    assert (code, out, server.loaded) == (78, "", [])
    assert "M2M_TOKENS_VOCABULARIES" in line
    assert "klingon is not known; there are cl100k, o200k" in line


def test_without_a_named_vocabulary_tiktoken_is_not_imported():
    """It would be megabytes that few need."""
    program = """
import sys
from m2mproxy.cli import daemon
from m2mproxy.service import server
given = []
server.serve = lambda *args: given.append(args) or 0
assert daemon.main(["--upstream", "http://model/v1"]) == 0
(_, loaded), = given
assert not loaded.vocabularies
assert loaded.aead is loaded.counter is loaded.scanner is None
assert daemon.main(["--upstream", "http://model/v1", "--check"]) == 0
light = ["m2mproxy.tokens" + name for name in ("", ".evaluated", ".job", ".usage", ".written")]
names = [name for name in sys.modules if "tiktoken" in name or "m2mproxy.tokens" in name]
print(*[name for name in names if name not in light])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (
        0, "flags and environment: configuration is valid\n\n", "",
    )  # fmt: skip


@pytest.mark.parametrize("watched", [True, False])
def test_who_waits_for_the_scanner_is_told(run, server, monkeypatch, watched):
    monkeypatch.setattr(guard, "scanner", lambda config: None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    told = ["m2m: preparing the scanner ..."] if watched else []
    assert run("m2m", "proxy", "--upstream", URL, "--security") == (0, "", told)
    assert run("m2m", "proxy", "--upstream", URL) == (0, "", [])
