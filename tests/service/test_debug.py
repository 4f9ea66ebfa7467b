"""/v1/compress and /v1/decompress: every form there and back, clear answers to what is wrong."""

from __future__ import annotations

import gzip
import json
import os
from base64 import b64decode, b64encode
from http.client import HTTPConnection
from typing import Any

import pytest
from vocabulary import VOCABULARIES
from world import Inline, World

from m2mproxy.codec import frame
from m2mproxy.http.faults import Fault
from m2mproxy.http.headers import Headers
from m2mproxy.http.message import Request
from m2mproxy.proxy.offload import WORTH_A_THREAD
from m2mproxy.proxy.routes import Asked
from m2mproxy.service.debug import Debug

CHAT = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi " * 300}]})
# More than Python writes, and no more than orjson reads.
DEEP = b"[" * 1020 + b"]" * 1020
NAMES = ["m2m", "m2m-text", "t1", "m2m-v3", "zstd", "br", "gzip", "deflate", "static"]


def ask(
    path: bytes,
    body: bytes,
    client: str = "127.0.0.1:1",
    who: str = "loopback",
    debug: Debug | None = None,
) -> Any:
    """Status and content of an answer."""
    target, _, _ = path.partition(b"?")
    request = Request(b"POST", path, b"h", Headers())
    debug = debug or Debug(who, Inline().run)
    answer = debug.table()[target].answer(Asked(request, body, client))
    try:
        answer.send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        response, content = done.value
        return response.status, json.loads(content)
    except Fault as fault:
        return fault.status, fault.code
    raise AssertionError("it waits")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_compressed_decompresses_to_the_same(name: str) -> None:
    status, made = ask(b"/v1/compress", json.dumps({"data": CHAT, "algorithm": name}).encode())
    assert status == 200
    assert made["algorithm"] == name
    assert made["original_bytes"] == len(CHAT)
    data = made["data"].encode() if made["encoding"] == "text" else b64decode(made["data"])
    assert made["compressed_bytes"] == len(data)
    assert made["ratio"] == round(len(data) / len(CHAT), 4)
    body = {"data": made["data"], "encoding": made["encoding"], "algorithm": name}
    status, back = ask(b"/v1/decompress", json.dumps(body).encode())
    assert (status, back["data"], back["encoding"]) == (200, CHAT, "text")


@pytest.mark.parametrize("name", ["tk-c", "tk-o", "tk-c-binary", "tk-o-binary"])
def test_token_ids_there_and_back_where_the_vocabulary_is_loaded(name: str) -> None:
    debug = Debug("on", Inline().run, VOCABULARIES)
    asked = b"?algorithm=" + name.encode()
    status, made = ask(b"/v1/compress" + asked, CHAT.encode(), debug=debug)
    assert (status, made["algorithm"]) == (200, name)
    if name.endswith("binary"):
        coded = b64decode(made["data"])
        status, back = ask(b"/v1/decompress" + asked, coded, debug=debug)
    else:
        status, back = ask(b"/v1/decompress", made["data"].encode(), debug=debug)
    assert (status, back["data"]) == (200, CHAT)
    assert ask(b"/v1/compress?algorithm=tk-l", b"{}", debug=debug) == (415, "unsupported_coding")


def test_all_of_it_is_done_elsewhere() -> None:
    """What is asked for in a few bytes can be much: a second of brotli, or 16 MiB of zeros."""
    offload = Inline()
    debug = Debug("on", offload.run, VOCABULARIES)
    _, made = ask(b"/v1/compress?algorithm=tk-c", CHAT.encode(), debug=debug)
    ask(b"/v1/decompress", made["data"].encode(), debug=debug)
    ask(b"/v1/compress?algorithm=zstd", b"{}", debug=debug)
    assert len(offload.sizes) == 3
    assert min(offload.sizes) > WORTH_A_THREAD


@pytest.mark.parametrize("name", ["m2m", "m2m-text", "t1", "m2m-v3", "zstd", "gzip"])
def test_what_says_itself_what_it_is(name: str) -> None:
    _, made = ask(b"/v1/compress?algorithm=" + name.encode(), CHAT.encode())
    raw = made["data"].encode() if made["encoding"] == "text" else b64decode(made["data"])
    status, back = ask(b"/v1/decompress", raw)
    assert (status, back["algorithm"], back["data"]) == (200, name, CHAT)
    if name.startswith("m2m") and name != "m2m-v3":
        assert back["header"]["model"] == "gpt-4o"


def test_auto_takes_the_smallest() -> None:
    _, best = ask(b"/v1/compress", CHAT.encode())
    for name in ("m2m", "zstd", "br", "gzip"):
        _, other = ask(b"/v1/compress?algorithm=" + name.encode(), CHAT.encode())
        assert best["compressed_bytes"] <= other["compressed_bytes"]


def test_binary_data_is_shown_as_base64() -> None:
    data = bytes(range(256))
    coded = b64encode(gzip.compress(data)).decode()
    body = json.dumps({"data": coded, "encoding": "base64"}).encode()
    _, back = ask(b"/v1/decompress", body)
    assert (back["encoding"], b64decode(back["data"])) == ("base64", data)


@pytest.mark.parametrize(
    "path,body,status,code",
    [
        (b"/v1/compress?algorithm=rar", b"x", 400, "unknown_algorithm"),
        (b"/v1/decompress?algorithm=rar", b"x", 400, "unknown_algorithm"),
        (b"/v1/compress?algorithm=t1", b"no json", 400, "cannot_compress"),
        (b"/v1/compress?algorithm=tk-c", b"{}", 415, "unsupported_coding"),
        (b"/v1/compress?algorithm=tk-o-binary", b"{}", 415, "unsupported_coding"),
        (b"/v1/decompress", b"#TK|O|AAAA", 415, "unsupported_coding"),
        (b"/v1/decompress?algorithm=tk-c-binary", b"\x00A", 415, "unsupported_coding"),
        (b"/v1/compress", b'{"data": 1}', 400, "bad_request"),
        (b"/v1/compress", b'{"data": "*", "encoding": "base64"}', 400, "bad_request"),
        (b"/v1/compress", '{"data": "\u00e9", "encoding": "base64"}'.encode(), 400, "bad_request"),
        (b"/v1/compress", b'{"data": "x", "algorithm": null}', 400, "bad_request"),
        (b"/v1/compress", b'{"data": "x", "algorithm": %b}' % DEEP, 400, "bad_request"),
        (b"/v1/decompress", b"plain text", 400, "unknown_form"),
        (b"/v1/decompress?algorithm=m2m", b"plain text", 400, "undecodable_body"),
        (b"/v1/decompress", gzip.compress(b"x" * 99, mtime=0)[:-4], 400, "undecodable_body"),
        (b"/v1/decompress", frame.encode(b"{}" * 99)[:-4], 400, "undecodable_body"),
        (b"/v1/decompress", gzip.compress(bytes(17 << 20), mtime=0), 413, "body_too_large"),
    ],
)
def test_what_cannot_be_done(path: bytes, body: bytes, status: int, code: str) -> None:
    assert ask(path, body) == (status, code)


def test_they_are_for_clients_of_this_machine() -> None:
    assert ask(b"/v1/compress", b"x", "192.0.2.1:1") == (403, "loopback_only")
    assert ask(b"/v1/compress", b"x", "unix")[0] == 200
    assert ask(b"/v1/compress", b"x", "192.0.2.1:1", "on")[0] == 200
    assert Debug("off", Inline().run).table() == {}


def test_other_paths_go_to_the_upstream() -> None:
    world = World()
    world.ask(b"{}", b"/v1/compress")
    assert world.call().path == b"/v1/compress"  # no endpoints in this world


def test_the_program_has_them(start: Any) -> None:
    program = start("http://127.0.0.1:1/v1")
    status, made = program.get("/v1/compress", method="POST", data=CHAT.encode())
    assert status == 200
    assert made["compressed_bytes"] < len(CHAT) / 4


def test_the_program_has_the_vocabularies_that_it_is_told_to_load(start: Any) -> None:
    named = {**os.environ, "M2M_COMPRESSION_VOCABULARIES": "o200k"}
    program = start("http://127.0.0.1:1/v1", env=named)
    body = CHAT.encode()
    _, made = program.get("/v1/compress?algorithm=tk-o", method="POST", data=body)
    assert made["data"].startswith("#TK|O|")
    coded = made["data"].encode()
    status, back = program.get("/v1/decompress", method="POST", data=coded)
    assert (status, back["data"]) == (200, CHAT)
    status, refused = program.get("/v1/compress?algorithm=tk-c", method="POST", data=body)
    assert (status, refused["error"]["code"]) == (415, "unsupported_coding")
    assert "cl100k is not loaded: proxy.compression.vocabularies " in refused["error"]["message"]
    for letter, expected in ((b"O", 502), (b"C", 415)):  # read, and then nobody is upstream
        body = b"#TK|%b|%b" % (letter, made["data"][6:].encode())
        connection = HTTPConnection("127.0.0.1", program.port)
        connection.request("POST", "/v1/x", body, {"content-type": "application/x-m2m"})
        assert connection.getresponse().status == expected
        connection.close()
