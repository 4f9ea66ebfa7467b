"""The messages of the bench: what the OpenAI Python SDK sends, and what OpenAI's servers answer.

Real heads matter: most of what an HTTP/1.1 proxy does with a small request is reading heads, and a
head of 18 fields costs about twice one of five. The request's fields are the SDK's, captured; the
reply's are an OpenAI reply's. Bodies come in several lengths, and some reply fields differ each
time (each '#' becomes a digit, reply.c), so that a proxy which remembers heads meets what it would
meet in life.
"""

import json
from pathlib import Path

BODY_SIZES = tuple(2048 + step for step in range(-60, 61, 8))
BODY_SIZE = BODY_SIZES[len(BODY_SIZES) // 2]  # for what can send only one
REPLY_SIZE = 1024

SDK_FIELDS = """\
Host: 127.0.0.1:{port}
Accept-Encoding: gzip, deflate
Connection: keep-alive
authorization: Bearer sk-proj-bench-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ
accept: application/json
content-type: application/json
user-agent: OpenAI/Python 3.54.0
x-stainless-lang: python
x-stainless-package-version: 3.54.0
x-stainless-os: Linux
x-stainless-arch: x64
x-stainless-runtime: CPython
x-stainless-runtime-version: 3.11.7
x-stainless-async: false
x-stainless-retry-count: 0
x-stainless-read-timeout: 600
Content-Length: {length}
"""

MINIMAL_FIELDS = """\
Host: 127.0.0.1:{port}
Authorization: Bearer sk-bench
Content-Type: application/json
Content-Length: {length}
"""

REPLY_FIELDS = {
    "Date": "Tue, 24 Nov 2026 12:00:00 GMT",
    "Content-Type": "application/json",
    "Content-Length": str(REPLY_SIZE),
    "Connection": "keep-alive",
    "access-control-expose-headers": "X-Request-ID, CF-Ray, CF-Ray",
    "openai-organization": "bench-organization",
    "openai-processing-ms": "4##",
    "openai-project": "proj_0123456789abcdefghijklmn",
    "openai-version": "2020-10-01",
    "x-envoy-upstream-service-time": "431",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-limit-tokens": "2000000",
    "x-ratelimit-remaining-requests": "9###",
    "x-ratelimit-remaining-tokens": "1999482",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-reset-tokens": "15ms",
    "x-request-id": "req_################################",
    "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
    "x-content-type-options": "nosniff",
    "cf-cache-status": "DYNAMIC",
    "Server": "cloudflare",
    "CF-RAY": "9a####################-FRA",
    "alt-svc": 'h3=":443"; ma=86400',
}


def chat_body(size: int, stream: bool = False) -> bytes:
    """A chat request of exactly `size` bytes, spaced as the SDK spaces it."""
    words = "The quick brown fox reads what the lazy dog wrote about proxies. " * (size // 64)

    def build(length: int) -> bytes:
        messages = [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": words[:length]},
        ]
        body = {"messages": messages, "model": "gpt-4o", "stream": stream, "temperature": 0}
        return json.dumps(body, separators=(",", ":")).encode()

    return build(size - len(build(0)))


def reply_body() -> bytes:
    """A chat completion of exactly REPLY_SIZE bytes."""

    def build(length: int) -> bytes:
        message = {"role": "assistant", "content": ("All is well. " * 99)[:length]}
        body = {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1764000000,
            "model": "gpt-4o-2024-08-06",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 512, "completion_tokens": 180, "total_tokens": 692},
        }
        return json.dumps(body).encode()

    return build(REPLY_SIZE - len(build(0)))


def chat_request(fields: str, port: int, body: bytes) -> bytes:
    filled = fields.format(port=port, length=len(body))
    head = f"POST /v1/chat/completions HTTP/1.1\n{filled}\n"
    return head.replace("\n", "\r\n").encode() + body


def whole_reply() -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in REPLY_FIELDS.items())
    return f"HTTP/1.1 200 OK\r\n{fields}\r\n".encode() + reply_body()


def write_model(directory: Path) -> list[Path]:
    """What `reply` reads: its reply, and the bodies it accepts."""
    directory.mkdir(parents=True, exist_ok=True)
    reply = directory / "reply"
    reply.write_bytes(whole_reply())
    bodies = []
    for size in BODY_SIZES:
        bodies.append(directory / f"body-{size}")
        bodies[-1].write_bytes(chat_body(size))
    return [reply, *bodies]


def write_chat_requests(directory: Path, fields: str, port: int) -> list[Path]:
    """One file a body length, for the load program to send in turn."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for size in BODY_SIZES:
        path = directory / f"request-{size}"
        path.write_bytes(chat_request(fields, port, chat_body(size)))
        paths.append(path)
    return paths


def write_stream_request(directory: Path, port: int) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "stream-request"
    path.write_bytes(chat_request(SDK_FIELDS, port, chat_body(2048, stream=True)))
    return path


# ---- HTTP/2 ----

# What HTTP/2 says in other ways.
_NOT_IN_H2 = ("host", "connection", "content-length")


def h2_fields(fields: str, length: int) -> list[tuple[str, str]]:
    """The fields as HTTP/2 has them, without content-length: h2load adds its own."""
    lines = fields.format(port=0, length=length).splitlines()
    pairs = (line.split(": ", 1) for line in lines)
    return [(name.lower(), value) for name, value in pairs if name.lower() not in _NOT_IN_H2]


def _h2_literal(name: str, value: str) -> bytes:
    """A field of a header block: literal, without indexing, without Huffman (RFC 7541, 6.2.2)."""
    encoded = b"\0"
    for text in (name.encode(), value.encode()):
        assert len(text) < 127, "a longer one needs a longer prefix"
        encoded += bytes([len(text)]) + text
    return encoded


def _h2_block(method: str, path: str, port: int, fields: list[tuple[str, str]]) -> bytes:
    pseudo = [(":method", method), (":scheme", "http")]
    pseudo += [(":authority", f"127.0.0.1:{port}"), (":path", path)]
    return b"".join(_h2_literal(name, value) for name, value in [*pseudo, *fields])


def write_h2_request(directory: Path, port: int, stream: bool) -> list[Path]:
    """The chat request for a client without header compression: its block, and its body."""
    directory.mkdir(parents=True, exist_ok=True)
    body = chat_body(BODY_SIZE, stream)
    fields = [*h2_fields(SDK_FIELDS, len(body)), ("content-length", str(len(body)))]
    paths = [directory / "block", directory / "body"]
    paths[0].write_bytes(_h2_block("POST", "/v1/chat/completions", port, fields))
    paths[1].write_bytes(body)
    return paths


def h2_download(port: int) -> bytes:
    """The block of a request that the model server answers with a download."""
    return _h2_block("GET", "/v1/files/bench/content", port, [])
