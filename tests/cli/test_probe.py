"""`m2m probe` against small servers in a thread, and against the real program."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority

from m2mproxy.cli import probe_link, tool
from m2mproxy.cli.probe import _link as report_of_link
from m2mproxy.codec import coding, dictionaries, static
from m2mproxy.codec.base import WireError
from m2mproxy.net.connection import Session
from m2mproxy.proxy.links import DICTIONARIES, SETTING

MODELS = b'{"object":"list","data":[]}'
STATIC = f"m2m-{dictionaries.version()}"
ASKED = f"{STATIC}, m2m, zstd, br, gzip"
UNREAD = b'{"error":{"message":"the body is not JSON"}}'
EMPTY = b'{"error":{"message":"you must provide a model"}}'

Ran = tuple[int, str, list[str]]
Run = Callable[..., Ran]


@dataclass
class Origin:
    """A server: what it says, what it reads, and what it was asked."""

    status: int = 200
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = MODELS
    promised: int = 0
    reads: tuple[str, ...] = ()
    unread: tuple[int, bytes] = (400, UNREAD)
    always: tuple[int, bytes] | None = None
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def judge(self, coded: str | None, data: bytes) -> tuple[int, bytes]:
        """What it answers to a chat request."""
        if self.always:
            return self.always
        if coded is not None and coded not in self.reads:
            return self.unread
        try:
            plain = coding.decode(coded.encode(), data, 4096) if coded else data
            json.loads(plain)
        except (WireError, ValueError):
            return 400, UNREAD
        return 400, EMPTY


def handler(origin: Origin) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.note(b"")
            self.say(origin.status, origin.body, origin.fields)

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            self.note(data)
            self.say(*origin.judge(self.headers.get("content-encoding"), data), {})

        def note(self, data: bytes) -> None:
            said = {name.lower(): value for name, value in self.headers.items()}
            origin.asked.append((self.command, self.path, said, data))

        def say(self, status: int, body: bytes, fields: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("content-length", str(origin.promised or len(body)))
            self.end_headers()
            self.wfile.write(body)
            if origin.promised:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """No lines."""

    return Handler


@pytest.fixture
def serve() -> Iterator[Callable[..., Origin]]:
    """Starts an Origin; `tls` is its certificate and key."""
    servers = []

    def start(tls: tuple[str, str] | None = None, **settings: Any) -> Origin:
        origin = Origin(**settings)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(origin))
        scheme = "http"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            scheme = "https"
        origin.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return origin

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def go(*argv: str) -> Ran:
        code = tool.main(["probe", *argv])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return go


@pytest.fixture
def probe(run: Run) -> Callable[..., dict[str, Any]]:
    """What it prints as JSON about an origin that can be reached."""

    def go(*argv: str) -> dict[str, Any]:
        code, out, err = run("--json", *argv)
        assert (code, err) == (0, [])
        seen = json.loads(out)
        assert seen["reachable"] is True
        return dict(seen)

    return go


# ---- the first question -------------------------------------------------------------------------


def test_an_origin_that_shows_nothing(serve, probe):
    origin = serve()
    seen = probe(f"{origin.url}/v1")
    assert seen.pop("server").startswith("BaseHTTP")
    assert seen == {
        "url": f"{origin.url}/v1",
        "reachable": True,
        "path": "/v1/models",
        "status": 200,
        "said": "",
        "http": "1.1",
        "tls": None,
        "m2mproxy": None,
        "link": {"usable": False},
        "shown": [],
        "asked": ASKED,
        "response": {"coding": "", "bytes": len(MODELS), "decoded_bytes": len(MODELS)},
        "profile": {"name": "generic", "reads": [], "tries": []},
        "requests": {"coding": "", "why": "not shown"},
    }
    ((method, path, fields, _),) = origin.asked
    assert (method, path, fields["accept-encoding"]) == ("GET", "/v1/models", ASKED)
    assert "authorization" not in fields and fields["user-agent"].startswith("m2m/")


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/v1/models"),
        ("/", "/v1/models"),
        ("/v1", "/v1/models"),
        ("/api/v2/", "/api/v2/models"),
        ("/team-a", "/team-a/v1/models"),
        ("/v1?a=b", "/v1/models?a=b"),
    ],
)
def test_the_path_is_that_of_a_proxy(serve, probe, base, path):
    origin = serve()
    seen = probe(origin.url + base)
    assert origin.asked[0][1] == path and seen["path"] == path.partition("?")[0]
    assert "?" not in seen["url"]


def test_codings_that_it_shows(serve, probe):
    origin = serve(fields={"accept-encoding": "gzip, zstd;q=0.5, br;q=0, *;q=0"})
    seen = probe(origin.url)
    assert (seen["shown"], seen["m2mproxy"]) == (["gzip", "zstd"], None)
    assert seen["requests"] == {"coding": "zstd", "why": "shown"}


@pytest.mark.parametrize(
    ("field_value", "dictionaries_are"),
    [(f"{STATIC}, m2m, zstd", "same"), ("m2m-00000000, m2m", "other"), ("m2m, zstd", "none")],
)
def test_an_m2mproxy_is_known_by_its_forms(serve, probe, field_value, dictionaries_are):
    seen = probe(serve(fields={"accept-encoding": field_value}).url)
    assert seen["m2mproxy"]["dictionaries"] == dictionaries_are
    assert seen["m2mproxy"]["forms"] == [x for x in field_value.split(", ") if "m2m" in x]


@pytest.mark.parametrize("name", ["zstd", "br", "gzip", "deflate", "static"])
def test_responses_that_are_coded(serve, probe, name):
    if name == "static":
        name, body = STATIC, static.encode(MODELS * 50, static.Way.RESPONSE)
    else:
        body = coding.encode(name.encode(), MODELS * 50)
    seen = probe(serve(body=body, fields={"content-encoding": name}).url)
    plain = len(MODELS) * 50
    assert seen["response"] == {"coding": name, "bytes": len(body), "decoded_bytes": plain}


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        ("zstd", MODELS, "not decoded: the body is not zstd"),
        ("compress", MODELS, "not decoded: the coding is not known here"),
        ("gzip", coding.encode(b"gzip", bytes(9 << 20)), "decodes to more than"),
    ],
)
def test_responses_that_cannot_be_decoded(serve, probe, name, body, error):
    seen = probe(serve(body=body, fields={"content-encoding": name}).url)
    assert error in seen["response"]["error"] and seen["response"]["bytes"] == len(body)


def test_a_response_that_is_cut_or_does_not_end(serve, probe):
    seen = probe(serve(promised=1000).url)
    assert "closed the connection" in seen["response"]["error"]
    seen = probe(serve(body=bytes((8 << 20) + 1)).url)
    assert "longer than" in seen["response"]["error"]


@pytest.mark.parametrize("status", [401, 404, 500])
def test_any_answer_is_an_answer(serve, probe, status):
    assert probe(serve(status=status).url)["status"] == status


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error":{"message":"no\\u001b[2J key"}}', "no\x1b[2J key"),
        (b'{"error":"not found"}', "not found"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"message":"a"}', "a"),
        (b'{"error":{"message":"%b"}}' % (b"a" * 1000), "a" * 300),
        (b'{"error":{"message":["a"]}}', ""),
        (b'"error"', "error"),
        (b"[" * 100_000, ""),
        (b"<html>", ""),
        (b"", ""),
    ],
)
def test_what_an_error_says(serve, run, probe, body, said):
    origin = serve(status=401, body=body)
    assert probe(origin.url)["said"] == said
    out = run(origin.url)[1]
    assert ("\nsaid " in out) is bool(said) and "\x1b" not in out
    assert probe(serve(body=body).url)["said"] == ""


def test_what_a_profile_says(serve, probe):
    url = serve().url
    seen = probe(url, "--provider", "ollama")
    assert seen["profile"] == {"name": "ollama", "reads": ["zstd"], "tries": []}
    assert seen["requests"] == {"coding": "zstd", "why": "profile"}
    seen = probe(url, "--provider", "sglang")
    assert seen["profile"] == {"name": "sglang", "reads": [], "tries": ["zstd"]}
    assert seen["requests"]["coding"] == ""


def test_a_key(serve, probe, tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-secret\n")
    key.chmod(0o600)
    origin = serve()
    probe(origin.url, "--key-file", str(key))
    probe(origin.url, "--key-file", str(key), "--provider", "azure")
    assert origin.asked[0][2]["authorization"] == "Bearer sk-secret"
    assert origin.asked[1][2]["api-key"] == "sk-secret"


def test_no_variable_lends_its_key(serve, probe, monkeypatch):
    monkeypatch.setenv("M2M_API_KEY", "sk-secret")
    origin = serve()
    probe(origin.url)
    assert "authorization" not in origin.asked[0][2]


# ---- links ---------------------------------------------------------------------------------------

OURS = int(dictionaries.version(), 16)


@pytest.mark.parametrize(
    ("settings", "seen", "says"),
    [
        ({}, {"usable": False}, "no: its SETTINGS do not say so"),
        (
            {SETTING: 2 << 24 | 2048, DICTIONARIES: OURS},
            {"usable": True, "version": 2, "memory": 2 << 20, "dictionaries": "same"},
            "yes: version 2, 2048 KiB, the same dictionaries as here (SETTINGS)",
        ),
        (
            {SETTING: 2 << 24 | 2048, DICTIONARIES: OURS ^ 1},
            {"usable": False, "version": 2, "memory": 2 << 20, "dictionaries": "other"},
            "none that can be used: version 2, 2048 KiB, other dictionaries than here (SETTINGS)",
        ),
        (
            {SETTING: 3 << 24 | 1},
            {"usable": False, "version": 3, "memory": 1024, "dictionaries": "none"},
            "none that can be used: version 3, 1 KiB, no dictionaries (SETTINGS)",
        ),
        (
            {SETTING: 2 << 24, DICTIONARIES: OURS},
            {"usable": False, "version": 2, "memory": 0, "dictionaries": "same"},
            "none that can be used: version 2, 0 KiB, the same dictionaries as here (SETTINGS)",
        ),
    ],
)
def test_what_settings_offer(settings, seen, says):
    session = Session(settings, lambda: None, lambda says: None)
    link = probe_link.of_session(session, probe_link.SETTINGS)
    assert link == {"learnt": "settings", **seen}
    assert report_of_link(link, "2", None) == says


def test_a_response_that_speaks_of_a_link_which_is_not_there(serve, probe):
    origin = serve(fields={"m2m-link": "v=2"})
    link = probe(origin.url)["link"]
    assert link == {"usable": False, "learnt": "response", "error": link["error"]}
    assert "does not speak HTTP/2" in link["error"]
    assert [asked[:2] for asked in origin.asked] == [("GET", "/v1/models")]


def test_a_link_is_not_looked_for_where_only_http_1_1_is_wanted(serve, run):
    out = run(serve(fields={"m2m-link": "v=2"}).url, "--http", "1.1")[1]
    says = "its response says so (m2m-link), but HTTP/2 was not to be asked for"
    assert f"link         {says}\n" in out


def test_a_link_without_tls_is_not_looked_for_behind_tls(serve, probe, authority, tmp_path):
    files = authority.issue("127.0.0.1").save(tmp_path, "origin")
    origin = serve(tls=files, fields={"m2m-link": "v=2"})
    assert probe(origin.url, "--ca-file", authority.path)["link"] == {"usable": False}


# ---- TLS ----------------------------------------------------------------------------------------


@pytest.fixture
def secured(serve: Callable[..., Origin], authority: Authority, tmp_path: Path) -> Origin:
    return serve(tls=authority.issue("127.0.0.1").save(tmp_path, "origin"))


def test_what_tls_has_agreed_on(secured, probe, authority):
    seen = probe(secured.url, "--ca-file", authority.path)
    assert seen["tls"]["version"] == "TLSv1.3" and seen["tls"]["cipher"].startswith("TLS_")
    assert seen["tls"]["verified"] is True


def test_a_certificate_that_nobody_trusts(secured, run):
    code, out, (line,) = run(secured.url)
    assert (code, out) == (1, "")
    assert line.startswith(f"m2m: the TLS handshake with {secured.url} failed: ")
    code, out, _ = run(secured.url, "--insecure")
    assert code == 0 and re.search("TLSv1.3, .*, its certificate not verified\n", out)


# ---- trials -------------------------------------------------------------------------------------


def verdicts(seen: dict[str, Any]) -> dict[str, str]:
    return {trial["coding"]: trial["verdict"] for trial in seen["trials"]}


def test_no_trial_unless_it_is_asked_for(serve, probe):
    origin = serve()
    assert "trials" not in probe(origin.url)
    assert [asked[0] for asked in origin.asked] == ["GET"]


def test_a_trial_is_an_empty_object(serve, probe):
    origin = serve(reads=("zstd",), unread=(415, b""))
    seen = probe(origin.url, "--trial")
    assert verdicts(seen) == {"zstd": "read", "gzip": "refused"}
    statuses = [
        [trial[f"{which}_status"] for which in ("plain", "coded", "undeclared")]
        for trial in seen["trials"]
    ]
    assert statuses == [[400, 400, 400], [400, 415, 400]]
    posts = [asked for asked in origin.asked if asked[0] == "POST"]
    assert len(posts) == 5 and {path for _, path, _, _ in posts} == {"/v1/chat/completions"}
    for _, _, fields, data in posts:
        name = fields.get("content-encoding")
        if data.startswith(b"{") and name is None:
            assert json.loads(data) == {} and len(data) > 1024
        elif name:
            assert json.loads(coding.decode(name.encode(), data, 4096)) == {}
    assert {fields.get("content-encoding") for _, _, fields, _ in posts} == {None, "zstd", "gzip"}


def test_a_trial_of_an_origin_that_reads_nothing(serve, probe):
    # As vLLM: 400 for what it does not read, and 400 for an empty object.
    trials = probe(serve(unread=(400, UNREAD)).url, "--trial")["trials"]
    assert [trial["verdict"] for trial in trials] == ["refused", "refused"]
    assert "400 in other words" in trials[0]["why"]


@pytest.mark.parametrize(
    ("always", "why"),
    [
        ((401, b"no"), "it answers 401 whatever it is sent (--key-file?)"),
        ((404, b""), "it answers 404 whatever it is sent"),
        ((429, b""), "it is busy: 429, and the same request plain (429)"),
    ],
)
def test_a_trial_that_tells_nothing(serve, probe, always, why):
    for trial in probe(serve(always=always).url, "--trial")["trials"]:
        assert (trial["verdict"], trial["why"]) == ("unclear", why)


def test_words_that_differ_in_numbers_only_are_the_same(serve, probe):
    origin = serve(reads=("zstd", "gzip"))
    numbers = iter(range(100))
    judge = origin.judge

    def numbered(coded: str | None, data: bytes) -> tuple[int, bytes]:
        status, body = judge(coded, data)
        return status, body + b" (request req-%da-%d)" % (next(numbers), next(numbers))

    origin.judge = numbered
    assert verdicts(probe(origin.url, "--trial")) == {"zstd": "read", "gzip": "read"}


def test_a_trial_says_of_sglang_what_its_profile_says(serve, probe):
    origin = serve()
    probe(origin.url, "--trial", "--provider", "sglang")
    said = [fields for _, _, fields, _ in origin.asked if "x-body-compressed" in fields]
    assert [fields["content-encoding"] for fields in said] == ["zstd"]


def test_a_trial_needs_a_deployment_where_the_path_has_one(serve, probe):
    origin = serve()
    seen = probe(origin.url, "--trial", "--provider", "azure-classic")
    assert verdicts(seen) == {"zstd": "not tried", "gzip": "not tried"}
    assert len(origin.asked) == 1


# ---- the report ---------------------------------------------------------------------------------


def test_the_report(serve, run):
    origin = serve(fields={"accept-encoding": f"{STATIC}, m2m, zstd"}, reads=("zstd",))
    code, out, err = run(origin.url, "--trial")
    assert (code, err) == (0, [])
    rows = [re.split(r"\s{2,}", line, maxsplit=1) for line in out.splitlines()]
    assert rows == [
        ["origin", origin.url],
        ["answered", "200 to GET /v1/models, over HTTP/1.1"],
        ["TLS", "none"],
        ["m2mproxy", f"yes, with the same dictionaries as here ({STATIC}, m2m)"],
        ["link", "no: its response over HTTP/1.1 does not say so (link.enabled is off there, "
         "it has a key of [peer], or something stands between)"],
        ["shown", f"{STATIC}, m2m, zstd (accept-encoding of its response)"],
        ["response", f"plain, {len(MODELS)} bytes (asked for {ASKED})"],
        ["profile", "generic: says nothing of codings"],
        ["requests", f"would be coded in {STATIC}, since it has shown it"],
        ["trial, zstd", "read: answered as the same request plain (400); its bytes undeclared: "
         "400 in other words"],
        ["trial, gzip", "refused: 400 in other words, unlike the same request plain (400)"],
    ]  # fmt: skip


def test_the_report_of_little(serve, run):
    out = run(serve(body=b"x", fields={"content-encoding": "a, \xe9\x9b"}).url)[1]
    assert "response     a, é\\x9b, 1 bytes; not decoded: the coding is not known here (" in out
    assert "m2mproxy     no: it names no form of M2M\n" in out
    assert "requests     would go plain: not shown\n" in out
    out = run(serve().url, "--provider", "ollama")[1]
    assert "profile      ollama: reads zstd\n" in out
    assert "requests     would be coded in zstd, since its profile says so\n" in out
    out = run(serve().url, "--provider", "sglang")[1]
    assert "profile      sglang: zstd may be tried on it once\n" in out


# ---- what cannot be reached, or asked -----------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_nobody_there(run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    code, out, (line,) = run(url)
    assert (code, out) == (1, "") and line == f"m2m: {url} cannot be reached: Connection refused"
    code, out, (line,) = run(url, "--json")
    seen = json.loads(out)
    assert (code, seen["reachable"], seen["error"]) == (1, False, "upstream_unreachable")
    assert line == f"m2m: {seen['message']}"


def test_nobody_answers(run, silent):
    line = f"m2m: {silent} did not answer within 0.1 s"
    assert run(silent, "--timeout", "0.1") == (1, "", [line])


def test_no_http(run):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            peer, _ = listener.accept()
            peer.recv(65536)
            peer.sendall(b"SSH-2.0-x\r\n\r\n")
            peer.close()

        threading.Thread(target=babble, daemon=True).start()
        code, out, (line,) = run(f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert (code, out) == (1, "") and line.startswith("m2m: the upstream")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("ftp://host",), 'command line: URL = "ftp://host": the scheme ftp is not known'),
        (("http://u:hunter2@host",), 'URL = "http://...@host": '),
        (("http://host/v1?key=hunter2 x",), 'URL = "http://host/v1?...": '),
        (("http://host/v1/chat/completions",), "leave out /chat/completions"),
        (("http://host", "--timeout", "0"), "command line: --timeout = 0: "),
        (("http://host", "--provider", "nobody"), "unknown provider 'nobody'"),
        (("http://host", "--http", "3"), "command line: --http = "),
        (("http://host", "--key-file", "/none"), '--key-file = "/none": cannot be read'),
        (("http://host", "--ca-file", "/none"), '--ca-file = "/none": cannot be read'),
        (("http://host", "--upstream-cert", "/none"), '--upstream-cert = "/none": cannot be read'),
        (("http://host", "--upstream-key", __file__), "it needs proxy.tls.upstream_cert"),
        ((), "the following arguments are required: URL"),
        (("http://host", "--api-key=hunter2"), "unknown flag --api-key"),
    ],
)
def test_what_cannot_be_asked(run, argv, says):
    code, out, (line,) = run(*argv)
    assert (code, out) == (2, "") and line.startswith("m2m: ") and says in line
    assert "hunter2" not in line


# ---- the real program ---------------------------------------------------------------------------

LINK = {"usable": True, "version": 2, "memory": 32 << 20, "dictionaries": "same"}


@pytest.fixture
def start() -> Iterator[Callable[..., str]]:
    """Starts the real program in front of an upstream; its base URL."""
    processes = []

    def go(upstream: str, *argv: str, **more: str) -> str:
        command = [sys.executable, "-m", "m2mproxy", "--listen", "127.0.0.1:0", *argv]
        environment = {name: value for name, value in os.environ.items() if name[:4] != "M2M_"}
        process = subprocess.Popen(
            [*command, "--upstream", upstream],
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, **more},
        )
        processes.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"base_url is (\S+)", line):
                return found[1]
        raise AssertionError("it has ended")

    yield go
    for process in processes:
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.parametrize(
    ("version", "spoken", "link"),
    [
        ("1.1", "1.1", {"usable": False, "learnt": "response"}),
        ("auto", "1.1", {**LINK, "learnt": "prior knowledge"}),
        ("2", "2", {**LINK, "learnt": "settings"}),
    ],
)
def test_an_m2mproxy(serve, start, probe, version, spoken, link):
    seen = probe(start(serve().url), "--http", version, "--trial")
    assert (seen["status"], seen["http"]) == (200, spoken)
    assert seen["m2mproxy"] == {"forms": [STATIC, "m2m"], "dictionaries": "same"}
    seen["link"].pop("error", None)
    assert seen["link"] == link
    assert seen["shown"] == [STATIC, "m2m", "zstd", "br", "gzip", "deflate"]
    assert seen["requests"] == {"coding": STATIC, "why": "shown"}
    assert verdicts(seen) == {"zstd": "read", "gzip": "read"}


def test_an_error_of_an_m2mproxy_itself(start, run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nowhere = f"http://127.0.0.1:{listener.getsockname()[1]}"
    out = run(start(nowhere))[1]
    assert f"\nsaid         {nowhere} cannot be reached: Connection refused\n" in out
    assert "\nm2mproxy     yes, but this answer is its own: " in out


def test_the_report_of_a_link_that_was_found_with_prior_knowledge(serve, start, run):
    out = run(start(serve().url))[1]
    assert (
        "link         yes: version 2, 32768 KiB, the same dictionaries as here (m2m-link of "
        "its response, then SETTINGS of HTTP/2 with prior knowledge)\n" in out
    )


def test_an_m2mproxy_with_tls(serve, start, probe, authority, tmp_path):
    cert, key = authority.issue("127.0.0.1").save(tmp_path, "proxy")
    url = start(serve().url, "--cert", cert, "--key", key)
    seen = probe(url, "--ca-file", authority.path)
    assert (seen["http"], seen["link"]) == ("2", {**LINK, "learnt": "settings"})


def test_an_m2mproxy_that_wants_a_certificate(serve, start, probe, run, authority, tmp_path):
    cert, key = authority.issue("127.0.0.1").save(tmp_path, "proxy")
    ca = authority.path
    url = start(serve().url, "--cert", cert, "--key", key, M2M_TLS_CLIENT_CA=ca)
    cert, key = authority.issue("edge").save(tmp_path, "edge")
    seen = probe(url, "--ca-file", ca, "--upstream-cert", cert, "--upstream-key", key)
    assert (seen["status"], seen["link"]) == (200, {**LINK, "learnt": "settings"})
    code, _, (line,) = run(url, "--ca-file", ca)
    assert code == 1 and "certificate required" in line
