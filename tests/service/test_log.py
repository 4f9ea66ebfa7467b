"""The lines of the log: every field, both forms, and nothing of what was said."""

from __future__ import annotations

import re
import time
import tracemalloc
from typing import Any

import orjson
import pytest
from known_words import Words
from world import SSE_HEAD, World, chunk, get, post, reply

from m2mproxy.config import Logging
from m2mproxy.guard.scanner import Scanner
from m2mproxy.http.faults import ClientFault, Fault, TooLate, UpstreamFault
from m2mproxy.proxy.exchange import Exchange
from m2mproxy.service.log import Log

FORMS = pytest.mark.parametrize("form", ["text", "json"])
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


class Lines(list[bytes]):
    """Stands in for the LineWriter."""

    write = list.append


def log_of(form: str = "text", **settings: Any) -> tuple[Log, Lines]:
    lines = Lines()
    return Log(Logging(format=form, **settings), lines), lines


def exchange(request: bytes = b"", *answers: bytes, **settings: Any) -> Exchange:
    """One that went through the proxy."""
    world = World(**settings)
    world.client().send(request or post(b'{"model":"gpt-x"}'))
    if answers:
        upstream = world.upstream()
        for answer in answers:
            upstream.send(answer)
    world.run()
    return world.ended[0]


def read(form: str, line: bytes) -> dict[str, Any]:
    """The fields of a line, as the JSON form has them."""
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    if form == "json":
        fields: dict[str, Any] = orjson.loads(line)
        return fields
    stamp, *words = re.findall(r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+', line.decode())
    fields = {"time": stamp}
    for word in words:
        name, _, value = word.partition("=")
        fields[name] = orjson.loads(value) if value.startswith('"') else _value(value)
    return fields


def _value(text: str) -> Any:
    if re.fullmatch(r"\d+", text):
        return int(text)
    if re.fullmatch(r"-?\d+\.\d{3}", text):
        return float(text)
    return None if text == "-" else text


def test_what_a_scan_found_and_where() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"a"},'
    body += b'{"role":"tool","content":"then IGNORE, LEAK hunter2"}]}'
    x = exchange(post(body), scanner=Scanner(Words()))
    log, lines = log_of()
    log.exchange(x)
    assert lines[-1].endswith(
        b" error=request_blocked reason=- guard=0.950 "
        b"finding=prompt_injection:ignore@messages[1]/tool+5 reply_links=-\n"
    )
    fields = read("text", lines[-1])
    assert (fields["status"], fields["model"], fields["guard"]) == (403, "m", 0.95)
    log, lines = log_of("json")
    log.exchange(x)
    fields = read("json", lines[-1])
    assert fields["guard"] == 0.95
    assert fields["finding"] == [
        {
            "category": category, "source": source, "score": score,
            "key": "messages", "index": 1, "role": "tool", "offset": offset,
        }
        for category, source, score, offset in (
            ("prompt_injection", "ignore", 0.95, 5),
            ("data_exfiltration", "leak", 0.9, 13),
        )
    ]  # fmt: skip
    assert b"hunter2" not in lines[-1]


@FORMS
def test_a_scan_that_found_nothing_or_was_none(form: str) -> None:
    log, lines = log_of(form)
    for request, guard in (
        (post(b'{"prompt":"hello"}'), 0.0),
        (post(b'{"prompt":"HINT"}'), 0.4),  # below the threshold
        (get(), "no body"),
    ):
        log.exchange(exchange(request, reply(b"ok"), scanner=Scanner(Words())))
        fields = read(form, lines[-1])
        assert (fields["guard"], fields["finding"], fields["error"]) == (guard, None, None)
        assert fields["reply_links"] is None


@FORMS
def test_links_in_a_reply(form: str) -> None:
    answer = b'{"choices":[{"message":{"content":"![](http://x.example/?d=%b)"}}]}' % (b"a1" * 20)
    request = post(b'{"prompt":"hello"}')
    json_reply = reply(answer, b"content-type: application/json")
    x = exchange(request, json_reply, scanner=Scanner(Words()), security_replies="true")
    log, lines = log_of(form)
    log.exchange(x)
    assert read(form, lines[-1])["reply_links"] == 1
    assert b"x.example" not in lines[-1]


def test_a_place_without_a_message_and_one_without_a_key() -> None:
    log, lines = log_of()
    for request, finding in (
        (post(b'{"prompt":"IGNORE"}'), b"prompt_injection:ignore@prompt/user+0"),
        (post(b'{"hunter2":"IGNORE"}'), b"prompt_injection:ignore@*/user+0"),
        (post(b'{"a":'), b"malformed_input:json@body/-+5"),
    ):
        log.exchange(exchange(request, scanner=Scanner(Words())))
        assert lines[-1].endswith(b" finding=%b reply_links=-\n" % finding)


@FORMS
@pytest.mark.parametrize("version,stream,via", [("1.1", None, ""), ("2", 1, "/1")])
def test_where_a_request_came_from_and_by_what_it_went(
    form: str, version: str, stream: int | None, via: str
) -> None:
    world = World(pair=(version, version))
    world.ask(b"{}")
    world.call().reply(b"ok")
    world.run()
    log, lines = log_of(form)
    log.exchange(world.ended[0])
    fields = read(form, lines[-1])
    assert (fields["client"], fields["stream"]) == ("192.0.2.7:4711", stream)
    assert fields["via"] == f"192.0.2.7:4712{via}"


FIELDS = [
    "time", "client", "stream", "method", "path", "model", "status", "via", "client_in",
    "client_out", "upstream_out", "upstream_in", "coding", "client_coding", "why", "ref", "saved",
    "tokens_in", "tokens_out", "tokens_cached", "tokens_estimated", "cost", "cost_by",
    "first_byte_ms", "added_ms", "total_ms", "error", "reason",
]  # fmt: skip


@FORMS
def test_the_line_of_an_exchange(form: str) -> None:
    x = exchange(post(b'{"model":"gpt-x"}'), reply(b"answer"))
    x.started, x.sent, x.answered, x.relayed, x.ended = 1.0, 1.0005, 2.0, 2.00025, 3.5
    log, lines = log_of(form)
    log.exchange(x)
    fields = read(form, lines[0])
    assert list(fields) == FIELDS
    assert re.fullmatch(STAMP, fields.pop("time"))
    assert fields == {
        "client": "192.0.2.7:4711",
        "stream": None,
        "method": "POST",
        "path": "/v1/chat/completions",
        "model": "gpt-x",
        "status": 200,
        "via": "192.0.2.7:4712",
        "client_in": 17,
        "client_out": 6,
        "upstream_out": 17,
        "upstream_in": 6,
        "coding": "identity",
        "client_coding": "identity",
        "why": "off",
        "ref": None,
        "saved": 0,
        "tokens_in": None,
        "tokens_out": None,
        "tokens_cached": None,
        "tokens_estimated": None,
        "cost": None,
        "cost_by": None,
        "first_byte_ms": 1000.0,
        "added_ms": 0.75,
        "total_ms": 2500.0,
        "error": None,
        "reason": None,
    }


@FORMS
def test_what_did_not_come_to_it_is_nothing(form: str) -> None:
    log, lines = log_of(form)
    log.exchange(exchange(get(b"/nowhere")))
    fields = read(form, lines[0])
    assert (fields["status"], fields["error"]) == (404, "unknown_path")
    assert (fields["model"], fields["first_byte_ms"], fields["added_ms"]) == (None, None, 0)
    assert (fields["client_in"], fields["client_out"]) == (0, 0)


@FORMS
def test_why_the_upstream_failed_but_not_a_client(form: str) -> None:
    log, lines = log_of(form)
    x = exchange(get(), reply(b""))
    for fault, reason in (
        (UpstreamFault("tls", 'TLS with https://a failed: it\n"expired"'),
         'TLS with https://a failed: it\n"expired"'),
        (UpstreamFault("protocol", "a" * 300), "a" * 256),
        (TooLate("first_byte", "no response within 1 s"), "no response within 1 s"),
        (ClientFault(400, "bad_request", "sk-secret"), None),
    ):  # fmt: skip
        x.fault = fault
        log.exchange(x)
        fields = read(form, lines[-1])
        assert (fields["error"], fields["reason"]) == (fault.code, reason)


@FORMS
def test_a_stream_that_broke_has_its_status_and_its_error(form: str) -> None:
    world = World()
    world.client().send(post(b"{}"))
    upstream = world.upstream()
    upstream.send(SSE_HEAD + chunk(b"data: 1\n\n"))
    world.run()
    upstream.transport.close()
    world.run()
    log, lines = log_of(form)
    log.exchange(world.ended[0])
    fields = read(form, lines[0])
    assert (fields["status"], fields["error"]) == (200, "upstream_disconnected")
    assert fields["reason"] == "the upstream closed the connection in the middle of its response"
    assert fields["upstream_in"] == 9


@FORMS
def test_a_client_that_left_is_499(form: str) -> None:
    world = World()
    client = world.client()
    client.send(post(b"{}"))
    world.upstream()
    client.transport.close()
    world.run()
    log, lines = log_of(form)
    log.exchange(world.ended[0])
    assert read(form, lines[0])["status"] == 499
    assert read(form, lines[0])["error"] == "client_gone"


@FORMS
@pytest.mark.parametrize("model", ['a "b" c', "a=b c", "naïve", "-", "x\\y", "日本"])
def test_a_model_of_any_characters_stays_one_word(
    form: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = exchange(get(), reply(b""))
    monkeypatch.setattr(Exchange, "model", model)
    log, lines = log_of(form)
    log.exchange(x)
    assert read(form, lines[0])["model"] == (None if form == "text" and model == "-" else model)


@pytest.mark.parametrize("char", ["\u009b", "\u0085", "\u2028", "\u202e", "\x7f", "\ue000"])
def test_a_model_has_nothing_that_a_terminal_obeys(
    char: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = exchange(get(), reply(b""))
    monkeypatch.setattr(Exchange, "model", f"日{char}31m")
    log, lines = log_of("text")
    log.exchange(x)
    assert read("text", lines[0])["model"] == f"日{char}31m"
    assert lines[0].decode().strip().isprintable()


@FORMS
def test_nothing_of_what_was_said(form: str) -> None:
    secret = b"sk-secret"
    request = post(
        b'{"model":"gpt-x","messages":"sk-secret"}',
        b"/v1/chat/completions?api-key=sk-secret&sk-secret",
        b"authorization: Bearer sk-secret",
        b"x-request-id: sk-secret",
        b"cookie: sk-secret",
    )
    log, lines = log_of(form, level="debug")
    log.exchange(exchange(request, reply(secret, b"x-request-id: sk-secret")))
    log.exchange(exchange(post(b"{}", b"/nowhere?sk-secret")))
    broken = exchange(request, b"HTTP/1.1 200 OK\r\ncontent-length: sk-secret\r\n\r\n")
    assert broken.fault is not None
    log.exchange(broken)
    log.refusal("192.0.2.7:4711", ClientFault(400, "bad_request", "sk-secret"))
    assert len(lines) == 4
    assert secret not in b"".join(lines)


@FORMS
def test_a_bug_is_told_without_what_it_says(form: str) -> None:
    x = exchange(get(), reply(b""))
    try:
        raise KeyError("sk-secret")
    except KeyError as bug:
        x.bug = bug
    x.response = None
    log, lines = log_of(form)
    log.exchange(x)
    told, line = lines
    assert told.count(b"\n") == 1
    assert re.search(rb"KeyError in test_a_bug\w+ \(.*test_log.py:\d+\)", told)
    assert b"sk-secret" not in told
    fields = read(form, line)
    assert (fields["status"], fields["error"]) == (500, "internal_error")


@FORMS
def test_a_refusal(form: str) -> None:
    log, lines = log_of(form)
    log.refusal("unix", ClientFault(408, "request_timeout", "too slow"))
    fields = read(form, lines[0])
    assert list(fields) == ["time", "client", "status", "error"]
    assert list(fields.values())[1:] == ["unix", 408, "request_timeout"]


@FORMS
def test_a_long_path_is_cut(form: str) -> None:
    log, lines = log_of(form)
    log.exchange(exchange(get(b"/v1/" + b"x" * 2000), reply(b"")))
    path = read(form, lines[0])["path"]
    assert len(path) == 515 and path.endswith("x...")


@FORMS
def test_a_path_with_quotes_stays_one_word(form: str) -> None:
    log, lines = log_of(form)
    path = '/v1/"x\\model=y'
    request = post(b'{"model":"\\" status=500"}', path.encode())
    log.exchange(exchange(request, reply(b"x")))
    fields = read(form, lines[0])
    assert (fields["path"], fields["status"], fields["error"]) == (path, 200, None)


@FORMS
def test_a_long_method_is_cut(form: str) -> None:
    log, lines = log_of(form)
    request = b"M" * 1000 + b" /v1/x HTTP/1.1\r\nhost: h\r\n\r\n"
    log.exchange(exchange(request, reply(b"x")))
    assert read(form, lines[0])["method"] == "M" * 32


@FORMS
def test_a_coding_of_any_name_stays_one_word(form: str) -> None:
    log, lines = log_of(form)
    answer = reply(b"x", b'content-encoding: a status=500 "' + b"b" * 1000)
    log.exchange(exchange(b"", answer, compression_responses="on"))
    fields = read(form, lines[0])
    assert fields["status"] == 200
    assert len(fields["coding"]) < 120


@FORMS
def test_without_access_lines(form: str) -> None:
    log, lines = log_of(form, access=False)
    log.exchange(exchange(get(), reply(b"")))
    log.refusal("unix", Fault("x"))
    assert lines == []
    log.event("info", "still said")
    assert len(lines) == 1


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_events_below_the_level_are_not_written(level: str) -> None:
    log, lines = log_of(level=level)
    levels = ["debug", "info", "warning", "error"]
    for each in levels:
        log.event(each, "said")
    said = [line.decode().split(" ")[1].rstrip(":") for line in lines]
    assert said == levels[levels.index(level) :]


def test_events() -> None:
    log, lines = log_of("json")
    log.event("info", "told", listen=["a"])
    fields = read("json", lines[0])
    assert list(fields) == ["time", "level", "message", "listen"]
    log, lines = log_of("text")
    log.event("info", "told", listen=["a"])
    assert re.fullmatch(STAMP + " info: told\n", lines[0].decode())


def test_the_time_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    log, lines = log_of()
    for now in (1_000_000_000.999_9, 1_000_000_001.0, 1_000_000_001.0, 999.5):  # and back
        monkeypatch.setattr(time, "time_ns", lambda now=now: round(now * 1e9))
        log.event("info", "x")
    assert [line.split()[0].decode() for line in lines] == [
        "2001-09-09T01:46:40.999Z",
        "2001-09-09T01:46:41.000Z",
        "2001-09-09T01:46:41.000Z",
        "1970-01-01T00:16:39.500Z",
    ]


@FORMS
def test_formatting_keeps_nothing(form: str) -> None:
    x = exchange(get(), reply(b""))
    log, lines = log_of(form)
    log.exchange(x)
    tracemalloc.start()
    for _ in range(2000):
        log.exchange(x)
        lines.clear()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 20_000


def test_paths_of_any_bytes_are_said() -> None:
    path = b"/tmp/\xff\xc2\x85\xe2\x80\xa8".decode("utf-8", "surrogateescape")
    log, lines = log_of("json")
    log.event("info", f"told of {path}", file=path)
    fields = read("json", lines[0])
    assert fields["message"] == "told of /tmp/?\x85\u2028"
    assert fields["file"] == "/tmp/?\x85\u2028"
    log, lines = log_of("text")
    log.event("info", f"told of {path}é", file=path)
    assert lines[0].decode().endswith("Z info: told of /tmp/\\udcff\\x85\\u2028é\n")
