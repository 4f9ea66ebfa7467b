"""Who may read the figures: clients of this machine, and who reaches an address of their own."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from program import NOWHERE, SECONDS, Program, command, run, unix_request

from m2mproxy.http.faults import ClientFault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request
from m2mproxy.proxy.routes import Asked
from m2mproxy.service.access import check, check_page

from upstream import Upstream, ask, half_at_first, read_all  # isort: skip (program finds it)

OWN = ("/stats", "/metrics", "/health", "/health/ready")


def passes(
    who: str, client: str, *fields: tuple[bytes, bytes], authority: bytes = b"h:8080"
) -> bool:
    asked = Asked(Request(b"GET", b"/stats", authority, Headers(fields)), b"", client)
    try:
        check(who, asked, "stats.access")
    except ClientFault as fault:
        assert (fault.status, fault.code) == (403, "loopback_only")
        assert "stats.access" in fault.message
        return False
    return True


@pytest.mark.parametrize("client", ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "unix"])
def test_clients_of_this_machine_pass(client: str) -> None:
    assert passes("loopback", client)
    assert passes("loopback", client, (b"host", b"h"), (b"user-agent", b"Prometheus/2.42.0"))


@pytest.mark.parametrize("client", ["192.0.2.1:1", "[2001:db8::1]:1", "10.0.0.1:127"])
def test_others_do_not(client: str) -> None:
    assert not passes("loopback", client)
    assert passes("on", client)


@pytest.mark.parametrize("name", [b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"])
def test_what_was_passed_on_for_somebody_is_not_from_here(name: bytes) -> None:
    assert not passes("loopback", "127.0.0.1:1", (name, b"192.0.2.1"))
    assert passes("on", "127.0.0.1:1", (name, b"192.0.2.1"))


@pytest.mark.parametrize(
    "name", [b"", b"127.0.0.1", b"[::1]", b"LocalHost", b"m2m.localhost", b"h", b"192.0.2.1"]
)
@pytest.mark.parametrize("port", [b"", b":8080"])
def test_this_machine_by_an_address_or_a_name_of_its_own_passes(name: bytes, port: bytes) -> None:
    assert passes("loopback", "127.0.0.1:1", authority=name + port)


@pytest.mark.parametrize(
    "name",
    [b"example.com", b"example.com.", b"127.0.0.1.example.com", b"localhost.example.com", b"com."],
)
@pytest.mark.parametrize("client", ["127.0.0.1:1", "unix"])
def test_a_name_that_others_can_give_this_machine_does_not(name: bytes, client: str) -> None:
    """A page that was read under it is of their site, and what it asks here is its own."""
    assert not passes("loopback", client, authority=name + b":8080")
    assert passes("on", client, authority=name + b":8080")


@pytest.mark.parametrize(
    "origin",
    [b"null", b"", b"https://example.com", b"http://localhost:3000", b"http://h:81", b"http://h2"],
)
def test_what_a_page_of_another_site_asks_is_refused(origin: bytes) -> None:
    fields = Headers([(b"origin", origin)])
    with pytest.raises(ClientFault) as caught:
        check_page(Asked(Request(b"POST", b"/stats/reset", b"h", fields), b"", "127.0.0.1:1"))
    assert (caught.value.status, caught.value.code) == (403, "cross_origin")


@pytest.mark.parametrize("fields", [[], [(b"origin", b"http://h")], [(b"origin", b"https://H")]])
def test_what_no_page_asks_or_one_of_this_site_passes(fields: Any) -> None:
    headers = Headers(fields)
    check_page(Asked(Request(b"POST", b"/stats/reset", b"h", headers), b"", "127.0.0.1:1"))


def test_the_real_program_resets_nothing_for_pages_of_other_sites(start: Any) -> None:
    program = start(NOWHERE)
    head = "POST /stats/reset HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 0\r\n"
    answer = read_all(ask(program.url, f"{head}origin: https://example.com\r\n\r\n".encode()))
    assert answer.startswith(b"HTTP/1.1 403 ") and b"cross_origin" in answer
    answer = read_all(ask(program.url, f"{head}\r\n".encode()))
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("method", "field", "code"),
    [("POST", "host: localhost\r\norigin: https://example.com", b"cross_origin"),
     ("GET", "host: localhost\r\nsec-fetch-site: cross-site", b"cross_origin"),
     ("GET", "host: example.com", b"foreign_host"),
     ("GET", "host: localhost", b"upstream_unreachable")],
)  # fmt: skip
def test_the_real_program_lends_its_key_to_no_page_of_another_site(
    start: Any, method: str, field: str, code: bytes
) -> None:
    program = start(NOWHERE, "--api-key", "sk-operator")
    head = f"{method} /v1/models HTTP/1.1\r\nconnection: close\r\n{field}\r\n"
    assert code in read_all(ask(program.url, f"{head}content-length: 0\r\n\r\n".encode()))


def test_the_real_program_asks_for_no_name_where_it_is_for_everybody(start: Any) -> None:
    head = b"GET /v1/models HTTP/1.1\r\nconnection: close\r\nhost: example.com\r\n\r\n"
    program = start(NOWHERE, "--api-key", "sk-operator", "--listen", "0.0.0.0:0")
    assert b"upstream_unreachable" in read_all(ask(program.url, head))


@pytest.mark.parametrize("method", ["GET /stats", "GET /metrics", "POST /stats/reset"])
def test_the_real_program_asks(start: Any, method: str) -> None:
    program = start(NOWHERE)
    head = f"{method} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n"
    answer = read_all(ask(program.url, f"{head}x-forwarded-for: 192.0.2.1\r\n\r\n".encode()))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert read_all(ask(program.url, f"{head}\r\n".encode())).startswith(b"HTTP/1.1 200 ")


def test_figures_can_be_for_nobody(start: Any) -> None:
    program = start(NOWHERE, env={**os.environ, "M2M_STATS_ACCESS": "off"})
    error = program.get("/stats")[1]["error"]
    assert error["code"] == "unknown_path"
    assert error["message"].endswith("(a base_url ends in /v1), /health, /health/ready")
    assert program.get("/metrics")[0] == program.get("/stats/reset", "POST")[0] == 404
    assert program.get("/health")[0] == 200


# ---- addresses of their own ----------------------------------------------------------------------


def own_address(program: Program) -> str:
    (line,) = program.before
    found = re.search(r"Z info: /stats and /metrics are at (127\.0\.0\.1:\d+)", line)
    assert found, line
    return f"http://{found[1]}"


def at(address: str, path: str, method: str = "GET") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n"
    return read_all(ask(address, f"{head}forwarded: for=192.0.2.1\r\n\r\n".encode()))


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_an_address_of_their_own_has_figures_and_nothing_else(start: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        place = {"M2M_STATS_LISTEN": "127.0.0.1:0", "M2M_STATS_ACCESS": "off"}
        url = f"http://127.0.0.1:{upstream.getsockname()[1]}/v1"
        program = start(url, env={**os.environ, **place})
        own = own_address(program)
        assert [status(at(own, path)) for path in OWN] == [200] * 4
        assert status(at(own, "/stats/reset", "POST")) == 200
        assert status(at(own, "/stats", "DELETE")) == 405
        assert status(at(program.url, "/stats")) == 404
        for path in ("/v1/models", "/chat/completions", "/v1/compress", "/"):
            answer = at(own, path)
            assert status(answer) == 404
            assert b"this address has /health, /health/ready, /stats" in answer
        assert b'"requests_total":1,' in at(own, "/stats"), "what is asked there is no traffic"
        _, log = program.stop()
    logged = re.findall(r" path=(\S+) .* status=(\d+)", log)
    assert ("/stats", "200") not in logged and ("/v1/models", "404") in logged
    assert len(logged) == 6  # what was refused there, and the one here


def test_figures_can_be_read_when_there_is_no_room_for_clients(start: Any) -> None:
    limits = {"M2M_LIMITS_CONNECTIONS": "1", "M2M_STATS_LISTEN": "127.0.0.1:0"}
    program = start(NOWHERE, env={**os.environ, **limits})
    with ask(program.url, b"GET /health HTTP/1.1\r\nhost: h\r\n\r\n") as client:
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert program.get("/health")[0] == 503
        assert b"\nm2mproxy_client_connections 1\n" in at(own_address(program), "/metrics")


def test_figures_can_be_read_while_it_stops(start: Any) -> None:
    told, go_on = socket.socketpair()

    with Upstream(half_at_first(go_on)) as upstream:
        program = start(upstream.url, env={**os.environ, "M2M_STATS_LISTEN": "127.0.0.1:0"})
        own = own_address(program)
        client = ask(program.url, b"GET /v1/x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        while b"\r\n\r\na" not in client.recv(65536):
            pass
        program.say(15, "stopping: ")
        assert b"\nm2mproxy_requests_in_flight 1\n" in at(own, "/metrics")
        told.send(b"x")
        assert read_all(client) == b"b"
        assert program.process.wait(SECONDS) == 0


def test_a_unix_socket_of_their_own_is_removed_at_the_end(start: Any, tmp_path: Path) -> None:
    path = tmp_path / "stats.sock"
    program = start(NOWHERE, env={**os.environ, "M2M_STATS_LISTEN": f"unix:{path}"})
    assert unix_request(str(path), b"GET /stats HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert program.stop()[0] == 0
    assert not path.exists()


def test_an_address_of_their_own_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    sock = tmp_path / "m2m.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        flags = ("--listen", f"unix:{sock}", "--upstream", NOWHERE)
        done = run(*flags, M2M_STATS_LISTEN=place)
    said = f"m2mproxy: cannot listen on {place}: Address already in use\n"
    assert (done.returncode, done.stderr) == (1, said)
    assert not sock.exists()


def test_one_address_cannot_be_both() -> None:
    done = run("--listen", "127.0.0.1:1", "--upstream", NOWHERE, M2M_STATS_LISTEN="127.0.0.1:1")
    said = "m2mproxy: environment: M2M_STATS_LISTEN = "
    assert done.returncode == 78
    assert done.stderr == f'{said}"127.0.0.1:1": proxy.listen has it too\n'


def test_https_there_needs_a_certificate_too() -> None:
    done = run("--check", "--upstream", NOWHERE, M2M_STATS_LISTEN="https://127.0.0.1:0")
    assert done.returncode == 78
    assert "M2M_STATS_LISTEN" in done.stderr and "proxy.tls.cert" in done.stderr


def test_without_a_value_there_is_none() -> None:
    argv = command("--listen", "127.0.0.1:0", "--upstream", NOWHERE)
    program = Program(argv, env={**os.environ, "M2M_STATS_LISTEN": ""})
    try:
        assert program.before == []
    finally:
        program.kill()
