"""How the program starts, or does not: its first line, where it listens, every exit code."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from program import M2M, NOWHERE, SECONDS, Program, command, needs_ipv6, run, unix_request

from m2mproxy import __version__

# ---- what it says --------------------------------------------------------------------------------


def test_the_first_line_says_where_from_and_where_to(start: Any) -> None:
    program = start(NOWHERE)
    assert re.fullmatch(
        rf"\S+Z info: m2mproxy {re.escape(__version__)} listens on (127\.0\.0\.1:\d+) "
        rf"and forwards to {NOWHERE} \(generic\); a client's base_url is http://\1/v1\n",
        program.first,
    )


def test_the_first_line_as_json(start: Any) -> None:
    fields = json.loads(start(NOWHERE, "--log-format", "json").first)
    assert list(fields) == [
        "time", "level", "message", "listen", "upstream", "provider", "base_url",
    ]  # fmt: skip
    assert fields["base_url"] == f"http://{fields['listen'][0]}/v1"
    assert (fields["level"], fields["upstream"], fields["provider"]) == ("info", NOWHERE, "generic")


def test_a_socket_whose_path_is_not_utf_8(tmp_path: Path) -> None:
    path = f"{tmp_path}/\udcff"
    argv = command("--listen", f"unix:{path}", "--upstream", NOWHERE, "--log-format", "json")
    program = Program(argv)
    try:
        assert json.loads(program.first)["listen"] == [f"unix:{tmp_path}/?"]
        assert program.stop()[0] == 0
    finally:
        program.kill()
    argv[4:5] = [f"unix:{tmp_path}/nowhere/\x85\udcff"]
    told = run(*argv[3:7]).stderr
    assert told.count("\n") == 1
    assert "nowhere/\\x85\\udcff: No such file or directory" in told
    refused = run(*argv[3:4], f"unix:{tmp_path}/nowhere/\udcff", *argv[5:])
    assert refused.returncode == 1
    assert json.loads(refused.stderr.encode())["message"].endswith("?: No such file or directory")


def test_a_key_in_the_upstreams_query_is_not_told(start: Any) -> None:
    program = start(f"{NOWHERE}?key=sk-secret", "--api-key", "sk-secret")
    assert f"forwards to {NOWHERE} (generic)" in program.first
    program.get("/v1/models")
    assert "secret" not in program.first + program.stop()[1]


@pytest.mark.parametrize("path, base", [("/team-a", "/team-a/v1"), ("", "/v1"), ("/v1/", "/v1")])
def test_the_base_is_told_that_requests_go_to(start: Any, path: str, base: str) -> None:
    program = start(NOWHERE.removesuffix("/v1") + path)
    assert f"forwards to {NOWHERE.removesuffix('/v1')}{base} (generic)" in program.first


def test_that_a_key_of_peers_leaves_no_links_is_told(start: Any, tmp_path: Path) -> None:
    key = tmp_path / "psk"
    key.write_text("ab" * 32)
    key.chmod(0o600)
    (line,) = start(NOWHERE, "--peer-psk-file", str(key)).before
    assert " info: with peer.psk_file there are no links: " in line


@pytest.mark.parametrize(
    ("listen", "host"),
    [("0.0.0.0", "127.0.0.1"), pytest.param("[::]", "[::1]", marks=needs_ipv6)],
)
def test_every_address_is_reached_at_loopback(listen: str, host: str) -> None:
    program = Program(command("--listen", f"{listen}:0", "--upstream", NOWHERE))
    try:
        assert f" listens on {listen}:" in program.first
        assert program.url.startswith(f"http://{host}:")
        assert program.get("/health")[0] == 200
    finally:
        program.kill()


@pytest.mark.parametrize(
    ("host", "told"), [("127.0.0.1", "127.0.0.1"), pytest.param("::1", "[::1]", marks=needs_ipv6)]
)
def test_m2m_proxy_is_the_same_program(host: str, told: str) -> None:
    argv = [sys.executable, *M2M, "--port", "0", "--host", host, "--upstream", NOWHERE]
    program = Program(argv)
    try:
        assert program.url.startswith(f"http://{told}:")
        assert program.get("/health")[0] == 200
        assert program.stop()[0] == 0
    finally:
        program.kill()


# ---- where it listens ----------------------------------------------------------------------------


@needs_ipv6
def test_several_addresses(tmp_path: Path) -> None:
    sock = str(tmp_path / "m2m.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(sock)  # left behind by a predecessor that was killed
    listens = ("--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", f"unix:{sock}")
    program = Program(command(*listens, "--upstream", NOWHERE))
    try:
        assert program.get("/health")[0] == 200
        found = re.search(r"http://127\S+?:\d+|\[::1\]:\d+", program.first.partition(", ")[2])
        assert found
        program.url = f"http://{found[0]}"
        assert program.get("/health")[0] == 200
        assert unix_request(sock).startswith(b"HTTP/1.1 200 OK\r\n")
        taken = run("--listen", f"unix:{sock}", "--upstream", NOWHERE)
        assert (taken.returncode, taken.stdout) == (1, "")
        line = f"m2mproxy: cannot listen on unix:{sock}: Address already in use\n"
        assert taken.stderr == line
        assert unix_request(sock).startswith(b"HTTP/1.1 200 OK\r\n")
        code, rest = program.stop()
        assert code == 0
        assert "client=unix " in rest
    finally:
        program.kill()
    assert not os.path.exists(sock)


def test_a_unix_socket_alone(tmp_path: Path) -> None:
    sock = tmp_path / "m2m.sock"
    program = Program(command("--listen", f"unix:{sock}", "--upstream", NOWHERE))
    try:
        assert f"base_url is http://localhost/v1 (over unix:{sock})" in program.first
    finally:
        program.kill()


def test_a_taken_port_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    sock = tmp_path / "m2m.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ("--listen", f"unix:{sock}", "--listen", f"127.0.0.1:{port}")
        done = run(*flags, "--upstream", NOWHERE)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"m2mproxy: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert not sock.exists()


def test_a_check_binds_nothing(tmp_path: Path) -> None:
    sock = tmp_path / "m2m.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ("--listen", f"127.0.0.1:{port}", "--listen", f"unix:{sock}")
        done = run("--check", *flags, "--upstream", NOWHERE)
        assert select.select([taken], [], [], 0)[0] == []  # nor does it connect
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "flags and environment: configuration is valid\n"
    assert not sock.exists()


# ---- exit codes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [(), ("--check",)], ids=["start", "check"])
@pytest.mark.parametrize(
    ("flags", "environment", "code", "said"),
    [
        (("--nonsense",), {}, 2, "--nonsense"),
        (("--upstream", "ftp://x"), {}, 2, "ftp"),
        (("--upstream", NOWHERE, "--provider", "nobody"), {}, 2, '--provider = "nobody": unknown'),
        (("--upstream", f"{NOWHERE}/chat/completions"), {}, 2, "is an endpoint: leave out"),
        ((), {"M2M_UPSTREAM": "ftp://x"}, 78, "environment: M2M_UPSTREAM"),
        (("--upstream", NOWHERE), {"M2M_PROVIDER": "nobody"}, 78, "environment: M2M_PROVIDER"),
        (("--upstream", "https://x"), {"M2M_CA_FILE": "/dev/null"}, 78, "M2M_CA_FILE"),
        (("--upstream", NOWHERE), {"M2M_TIMEOUTS_IDEL": "1"}, 78, "M2M_TIMEOUTS_IDLE"),
    ],
)
def test_a_failed_start_is_an_exit_code_and_one_line(
    flags: tuple[str, ...], environment: dict[str, str], code: int, said: str, check: tuple[str]
) -> None:
    done = run(*check, *flags, **environment)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("check", [(), ("--check",)], ids=["start", "check"])
@pytest.mark.parametrize("upstream", ["https://x", "http://x"])
def test_certificates_that_cannot_be_used(tmp_path: Path, upstream: str, check: tuple[str]) -> None:
    corrupt = tmp_path / "ca.pem"
    corrupt.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    config = tmp_path / "m2m.toml"
    config.write_text(f"[proxy]\nupstream = '{upstream}'\nca_file = '{corrupt}'\n")
    done = run(*check, "--config", str(config))
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith(
        f'm2mproxy: {config}: proxy.ca_file = "{corrupt}": '
        "the file has no certificates that can be used ("
    )
    assert "_ssl.c" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("check", [(), ("--check",)], ids=["start", "check"])
def test_a_vocabulary_that_is_not_installed(tmp_path: Path, check: tuple[str]) -> None:
    """Hidden, where it is: a package of that name without the file comes first."""
    hiding = tmp_path / "hiding" / "llama_models"
    hiding.mkdir(parents=True)
    (hiding / "__init__.py").touch()
    path = os.pathsep.join([str(hiding.parent), os.environ.get("PYTHONPATH", "")])
    config = tmp_path / "m2m.toml"
    section = "[proxy.compression]\nvocabularies = ['o200k', 'llama3']\n"
    config.write_text(f"[proxy]\nupstream = '{NOWHERE}'\n{section}")
    done = run(*check, "--config", str(config), PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == (
        f'm2mproxy: {config}: proxy.compression.vocabularies = ["o200k", "llama3"]: '
        "llama3 is not installed: m2mproxy[llama] brings it\n"
    )


@pytest.mark.parametrize("check", [(), ("--check",)], ids=["start", "check"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_signal_during_the_start_is_told(
    tmp_path: Path, number: signal.Signals, log_format: str, check: tuple[str, ...]
) -> None:
    """Here it waits for a key from a pipe."""
    pipe = tmp_path / "key"
    os.mkfifo(pipe)
    argv = command("--upstream", NOWHERE, "--log-format", log_format, *check)
    environment = {**os.environ, "M2M_API_KEY_FILE": str(pipe)}
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment) as process:
        writer = os.open(pipe, os.O_WRONLY)  # which waits for the reader
        process.send_signal(number)
        _, said = process.communicate(timeout=SECONDS)
        os.close(writer)
    assert said == f"m2mproxy: info: stopped by {number.name} while it started\n"
    assert process.returncode == (1 if check else 0)


# A program that is told to end in the middle of each fork: Python drops what is raised there.
HIT_AS_IT_FORKS = """
import os, signal, sys
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
from m2mproxy.cli.daemon import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    "section",
    ["[proxy.security]\nenabled = true", "[tokens]\ncount = 'all'"],
    ids=["rules", "counting"],
)
def test_a_signal_within_a_fork_ends_the_start(tmp_path: Path, section: str) -> None:
    config = tmp_path / "m2m.toml"
    config.write_text(f"[proxy]\nupstream = '{NOWHERE}'\nlisten = '127.0.0.1:0'\n{section}\n")
    argv = [sys.executable, "-c", HIT_AS_IT_FORKS, "--config", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS)
    assert done.stderr == "m2mproxy: info: stopped by SIGTERM while it started\n"
    assert done.returncode == 0


def test_a_signal_while_the_scanner_is_made_is_told_as_the_log_is(tmp_path: Path) -> None:
    config = tmp_path / "m2m.toml"
    config.write_text(
        f"[proxy]\nupstream = '{NOWHERE}'\n[logging]\nformat = 'json'\n"
        "[proxy.security]\nenabled = true\n[tokens]\ncount = 'all'\n"
    )
    argv = command("--config", str(config), "--listen", "127.0.0.1:0")
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not children.read_text():  # the one that compiles rules
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=SECONDS)
    fields = json.loads(said)
    message = "stopped by SIGTERM while it started"
    assert (fields["level"], fields["message"]) == ("info", message)
    assert process.returncode == 0


# ---- what it needs -------------------------------------------------------------------------------


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))


def test_too_few_files_are_told_and_survived(start: Any) -> None:
    """With no file left for it a connection is closed at once, and nothing spins. The log has a
    line of that, not one for each."""
    program = start(NOWHERE, before=few_files)
    (warning,) = program.few_files
    assert "warning: the limit of open files is 40, but limits.connections (4096)" in warning
    assert "limits.upstream_connections (2048) can take 6244" in warning
    port = int(program.url.rpartition(":")[2])
    clients = [socket.create_connection(("127.0.0.1", port), SECONDS) for _ in range(60)]
    gone: list[socket.socket] = []
    while len(gone) < 20:
        gone, _, _ = select.select(clients, [], [], SECONDS)
    assert {client.recv(1) for client in gone} == {b""}
    before = cpu_seconds(program)
    select.select([], [], [], 0.3)  # the time that is measured
    assert cpu_seconds(program) - before <= 0.02
    for client in clients:
        client.close()
    while len(os.listdir(f"/proc/{program.process.pid}/fd")) == 40:  # until that has been seen
        pass
    assert program.get("/health")[0] == 200
    said = "warning: the 40 files that may be open are nearly all in use: clients for whom"
    assert program.stop()[1].count(said) == 1


def cpu_seconds(program: Program) -> float:
    fields = Path(f"/proc/{program.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_at_rest_it_has_no_threads_and_no_more_modules_than_it_needs(start: Any) -> None:
    """What an idle program has loaded and does not use is memory that every one of them takes."""
    program = start(NOWHERE)
    assert os.listdir(f"/proc/{program.process.pid}/task") == [str(program.process.pid)]
    # shutil, which argparse would load for the width of a terminal, brings these libraries.
    maps = Path(f"/proc/{program.process.pid}/maps").read_text()
    # tiktoken is for who has named a vocabulary.
    assert not re.search(r"_lzma|_bz2|liblzma|libbz2|tiktoken", maps)


def serves(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):  # not bound yet, or no listener yet
            return False
    return True


def test_closed_standard_descriptors(tmp_path: Path) -> None:
    """The log must not go to whatever has got the number 2."""
    sock = str(tmp_path / "m2m.sock")
    argv = command("--listen", f"unix:{sock}", "--upstream", NOWHERE)
    program = Program(["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', *argv])
    try:
        assert program.first == ""
        while not serves(sock):
            assert program.process.poll() is None
        for _ in range(3):
            answer = unix_request(sock)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b'{"status":"ok"}\n')
        assert program.stop()[0] == 0
    finally:
        program.kill()
