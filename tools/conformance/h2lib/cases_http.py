"""RFC 9113 8 and 10: what a request may be, and what must become of one that is malformed."""

import json

from h2lib import wire
from h2lib.client import Client, raw
from h2lib.suite import Skip, Wrong, case

Lines = list[tuple[str, str]]

# ---- Malformed requests that are one HEADERS frame ----

FIELDS: dict[tuple[str, str], Lines] = {
    ("8.2.1", "an upper-case name"): [("X-Test", "a")],
    ("8.2.1", "an empty name"): [("", "a")],
    ("8.2.1", "a name with a space"): [("x test", "a")],
    ("8.2.1", "a name with NUL"): [("x\0test", "a")],
    ("8.2.1", "a name with CR LF"): [("x-a\r\nx-b", "a")],
    ("8.2.1", "a name with DEL"): [("x\x7ftest", "a")],
    ("8.2.1", "a name with an octet above 0x7f"): [("x\xe4test", "a")],
    ("8.2.1", "a name with a colon"): [("x:test", "a")],
    ("8.2.1", "a value with NUL"): [("x-test", "a\0b")],
    ("8.2.1", "a value with CR"): [("x-test", "a\rb")],
    ("8.2.1", "a value with LF"): [("x-test", "a\nb")],
    ("8.2.1", "a value that starts with a space"): [("x-test", " a")],
    ("8.2.1", "a value that ends with a space"): [("x-test", "a ")],
    ("8.2.1", "a value that starts with a tab"): [("x-test", "\ta")],
    ("8.2.1", "a value that ends with a tab"): [("x-test", "a\t")],
    ("8.2.2", "connection"): [("connection", "keep-alive")],
    ("8.2.2", "proxy-connection"): [("proxy-connection", "keep-alive")],
    ("8.2.2", "keep-alive"): [("keep-alive", "timeout=5")],
    ("8.2.2", "transfer-encoding"): [("transfer-encoding", "chunked")],
    ("8.2.2", "upgrade"): [("upgrade", "h2c")],
    ("8.2.2", "te with another value than trailers"): [("te", "trailers, deflate")],
    ("8.3", "an unknown pseudo-header field"): [(":test", "ok")],
    ("8.3", "a response's pseudo-header field"): [(":status", "200")],
    ("8.3", ":method twice"): [(":method", "GET")],
    ("8.3", ":scheme twice"): [(":scheme", "http")],
    ("8.3", ":path twice"): [(":path", "/")],
    ("8.3", ":authority twice"): [(":authority", "other.example")],
    ("8.3", ":protocol without extended CONNECT (RFC 8441)"): [(":protocol", "websocket")],
    ("8.1.1", "content-length without content"): [("content-length", "4")],
    ("8.1.1", "a content-length that is no number"): [("content-length", "4x")],
    ("8.1.1", "two lengths that differ"): [("content-length", "0"), ("content-length", "9")],
}


def with_fields(section: str, what: str, lines: Lines) -> None:
    @case(section, f"{what}: malformed")
    def run(c: Client) -> None:
        pseudo = [line for line in lines if line[0].startswith(":")]
        regular = [line for line in lines if not line[0].startswith(":")]
        c.request(1, [*c.fields(), *raw(pseudo), *raw(regular)]).malformed(1)


for (_section, _what), _lines in FIELDS.items():
    with_fields(_section, _what, _lines)

PSEUDO: dict[str, dict[str, str | None]] = {
    "no :method": {"method": None},
    "no :scheme": {"scheme": None},
    "no :path": {"path": None},
    "an empty :method": {"method": ""},
    "an empty :scheme": {"scheme": ""},
    "an empty :path": {"path": ""},
    "a :method with a space": {"method": "GET /v1"},
    "a :path without a slash": {"path": "v1/models"},
    "a :path of * in a GET": {"path": "*"},
    "a :path that is a whole URI": {"path": "http://127.0.0.1/"},
    "a :path with CR LF": {"path": "/\r\nx-evil: a"},
    "an :authority with a space": {"authority": "a b"},
    "an :authority with a path": {"authority": "a/b"},
    "an :authority with userinfo": {"authority": "user:secret@127.0.0.1"},
}
CONNECT: dict[str, dict[str, str | None]] = {
    "CONNECT with :scheme and :path": {"method": "CONNECT"},
    "CONNECT with :path": {"method": "CONNECT", "scheme": None},
    "CONNECT with :scheme": {"method": "CONNECT", "path": None},
    "CONNECT without :authority": dict(method="CONNECT", scheme=None, path=None, authority=None),
}


def with_pseudo(section: str, what: str, changed: dict[str, str | None]) -> None:
    case(section, f"{what}: malformed", should=what.startswith("an :authority"))(
        lambda c: c.request(1, c.fields("GET", **changed)).malformed(1)
    )


for _what, _changed in PSEUDO.items():
    with_pseudo("8.3.1", _what, _changed)
for _what, _changed in CONNECT.items():
    with_pseudo("8.5", _what, _changed)


@case("8.5", "a valid CONNECT is answered or refused, and harms nothing")
def valid_connect(c: Client) -> None:
    fields = c.fields("CONNECT", scheme=None, path=None, authority="127.0.0.1:9")
    reply = c.request(1, fields).streams[1]
    c.in_time(lambda: reply.status > 0 or reply.reset is not None, "an answer").alive()


case("8.3", "a pseudo-header field after a regular one: malformed")(
    lambda c: c.request(1, [*c.fields()[:2], (b"x-test", b"a"), *c.fields()[2:]]).malformed(1)
)
case("8.3.1", "host that differs from :authority: malformed", should=True)(
    lambda c: c.request(1, c.fields("GET", ("host", "other.example"))).malformed(1)
)

# ---- Legal, though unusual ----

LEGAL: dict[tuple[str, str], Lines] = {
    ("8.2.2", "te: trailers"): [("te", "trailers")],
    ("8.2.1", "an empty value"): [("x-test", "")],
    ("8.2.1", "spaces and a tab inside a value"): [("x-test", "a \tb")],
    ("8.2.1", "octets above 0x7f in a value"): [("x-test", "gr\xfc\xdfe")],
    ("8.2.1", "all marks of a token in a name"): [("x!#$%&'*+-.^_`|~9", "a")],
    ("8.2", "a field ten times"): [("x-test", str(number)) for number in range(10)],
    ("8.2.1", "content-length: 0 without content"): [("content-length", "0")],
}


def legal(section: str, what: str, lines: Lines) -> None:
    case(section, f"{what}: accepted")(lambda c: c.request(1, c.fields("GET", *lines)).ok(1))


for (_section, _what), _lines in LEGAL.items():
    legal(_section, _what, _lines)
case("8.3.1", "host equal to :authority: accepted")(
    lambda c: c.request(1, c.fields("GET", ("host", c.authority))).ok(1)
)
case("8.3.1", "host and no :authority: accepted")(
    lambda c: c.request(1, c.fields("GET", ("host", c.authority), authority=None)).ok(1)
)


@case("8.3.1", "OPTIONS * is well-formed: answered")
def options(c: Client) -> None:
    reply = c.request(1, c.fields("OPTIONS", path="*")).reply(1)
    if not reply.status or not reply.ended:
        raise Wrong("a response", c.came())


@case("8.2.3", "cookie fields are joined with '; ' for HTTP/1.1")
def cookies(c: Client) -> None:
    if not c.target.echoes:
        raise Skip("needs our upstream")
    c.post(1, ("cookie", "a=b"), ("x-between", "1"), ("cookie", "c=d"), ("cookie", "e=f"))
    got = json.loads(c.data(1, b"", end=True).ok(1).body)["fields"].get("cookie")
    if got != "a=b; c=d; e=f":
        raise Wrong("cookie: a=b; c=d; e=f", f"cookie: {got}")


@case("8.3.2", "a response: lower-case names, :status first, no connection-specific field")
def response(c: Client) -> None:
    fields = c.get().streams[1].fields
    hop = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
    if any(name != name.lower() or name in hop for name, _ in fields):
        raise Wrong("fields that HTTP/2 allows", str(fields))


# ---- 8.1 Framing: trailers ----

case("8.1", "a second HEADERS without END_STREAM: malformed")(
    lambda c: c.post(1).data(1, b"test").request(1, [(b"x-trailer", b"1")], end=False).malformed(1)
)
TRAILERS: dict[str, Lines] = {
    "a request's pseudo-header field": [(":path", "/")],
    "a response's pseudo-header field": [(":status", "200")],
    "an upper-case name": [("X-Trailer", "a")],
    "a connection-specific field": [("connection", "close")],
    "a value with LF": [("x-trailer", "a\nb")],
}


def bad_trailers(what: str, lines: Lines) -> None:
    case("8.1", f"trailers with {what}: malformed")(
        lambda c: c.post(1).data(1, b"test").request(1, raw(lines)).malformed(1)
    )


for _what, _lines in TRAILERS.items():
    bad_trailers(_what, _lines)

# ---- 8.1.1 Content-length ----

LENGTHS: dict[str, tuple[str, list[bytes]]] = {
    "1, and 4 octets come": ("1", [b"test"]),
    "1, and twice 4 octets come": ("1", [b"test", b"test"]),
    "9, and 4 octets come": ("9", [b"test"]),
    "-4, and 4 octets come": ("-4", [b"test"]),
    "4,4 and 5 octets come": ("4, 4", [b"tests"]),
}


def wrong_length(what: str, length: str, pieces: list[bytes]) -> None:
    @case("8.1.1", f"content-length {what}: malformed")
    def run(c: Client) -> None:
        c.post(1, ("content-length", length))
        for piece in pieces[:-1]:
            c.data(1, piece)
        c.data(1, pieces[-1], end=True).malformed(1)


for _what, (_length, _pieces) in LENGTHS.items():
    wrong_length(_what, _length, _pieces)
case("8.1.1", "content-length 9, and 4 octets and trailers come: malformed")(
    lambda c: c.post(1, ("content-length", "9"))
    .data(1, b"test")
    .request(1, [(b"x-trailer", b"1")])
    .malformed(1)
)
case("8.1.1", "content-length does not count padding")(
    lambda c: c.post(1, ("content-length", "8"))
    .data(1, b"test", pad=100)
    .data(1, b"test", pad=0, end=True)
    .ok(1)
)

# ---- 10.5.1 Size of a field block ----


@case("10.5.1", "200 KiB of fields: refused with an answer or an error, or served; not forgotten")
def large_block(c: Client) -> None:
    kept = ("x-kept", "in the table")
    large = [(f"x-{number}".encode(), b"\xff" * 1000) for number in range(200)]
    block = c.block([*c.fields("GET", kept), *large])
    parts = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
    c.opened(1).frame(wire.HEADERS, wire.END_STREAM, 1, parts[0])
    for part in parts[1:]:
        c.frame(wire.CONTINUATION, 0, 1, part)
    c.frame(wire.CONTINUATION, wire.END_HEADERS, 1)
    c.either(1, wire.ENHANCE_YOUR_CALM, wire.REFUSED_STREAM)
    if not c.failed:
        c.request(3, c.fields("GET", kept)).ok(3)
