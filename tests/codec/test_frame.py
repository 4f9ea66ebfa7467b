"""M2M v1 frames: laid out by hand, round trips, damage, bombs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import struct
import subprocess
import sys
import zlib

import brotli  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_texts import CHAT, LONG_CHAT, REPLY, any_body

from m2mproxy.codec.base import WireError
from m2mproxy.codec.frame import PLAIN, FrameCodec, HmacSeal, decode, encode, peek
from m2mproxy.codec.header import FrameSecurity
from m2mproxy.codec.routing import RequestFields, Routing, Schema

KEY = bytes(range(32))

# CHAT is 62 bytes: under 100, so raw. The checksum is gzip's of the same bytes.
CHAT_HEAD = bytes.fromhex(
    "1e00" + "01" + "00" + "00000000" + "00" * 12  # 30 = 20 + 10
    + "06" + b"gpt-4o".hex() + "01" + "01" + "02"  # one message, of the user, two bytes
)  # fmt: skip
CHAT_SECTION = bytes.fromhex("3e000000" + "6e6055a4") + CHAT
CHAT_FRAME = b"#M2M|1|" + CHAT_HEAD + CHAT_SECTION


def stored(body: bytes) -> bytes:
    """`body` as a brotli stream that stores it (RFC 7932 9.2), bit by bit.

    One bit for a window of 16, then of the block: not the last, four nibbles of length, the length
    less one, uncompressed. Then the bytes, then a last and empty block.
    """
    return ((len(body) - 1) << 4 | 1 << 20).to_bytes(3, "little") + body + b"\x03"


def test_the_stored_stream_is_brotli() -> None:
    assert brotli.decompress(stored(LONG_CHAT)) == LONG_CHAT


def frame_of(payload: bytes, body: bytes, flags: int = 1 << 24, schema: int = 0xFF) -> bytes:
    head = struct.pack("<HBBI12x", 20, schema, 0, flags)
    return b"#M2M|1|" + head + struct.pack("<II", len(payload), zlib.crc32(body)) + payload


def test_a_frame_byte_by_byte() -> None:
    assert encode(CHAT) == CHAT_FRAME
    assert decode(CHAT_FRAME) == CHAT


def test_a_text_frame_byte_by_byte() -> None:
    text = b"#M2M|1|" + base64.b64encode(CHAT_FRAME[7:])
    assert encode(CHAT, text=True) == text
    assert decode(text) == CHAT


def test_a_compressed_frame_byte_by_byte() -> None:
    payload = stored(LONG_CHAT)
    assert decode(frame_of(payload, LONG_CHAT)) == LONG_CHAT


def test_an_hmac_frame_byte_by_byte() -> None:
    signed = CHAT_HEAD[:3] + b"\x01" + CHAT_HEAD[4:] + CHAT_SECTION
    tag = hmac.digest(KEY, signed, hashlib.sha256)
    frame = b"#M2M|1|" + signed + tag
    assert encode(CHAT, seal=HmacSeal(KEY)) == frame
    assert decode(frame, seals=[HmacSeal(KEY)]) == CHAT


def test_brotli_from_a_hundred_bytes_on_and_only_if_smaller() -> None:
    assert not peek(encode(b"a" * 99)).is_compressed
    assert peek(encode(b"a" * 100)).is_compressed
    noise = hashlib.shake_128(b"").digest(1000)
    assert not peek(encode(noise)).is_compressed
    assert decode(encode(noise)) == noise


def test_the_default_stream_is_the_crates() -> None:
    payload = brotli.compress(LONG_CHAT, quality=5, lgwin=22)
    assert encode(LONG_CHAT).endswith(payload)


@pytest.mark.parametrize("quality", [0, 11])
def test_any_quality_is_read(quality: int) -> None:
    assert decode(encode(LONG_CHAT, quality=quality)) == LONG_CHAT


@pytest.mark.parametrize("text", [False, True])
@given(body=any_body)
def test_any_body_comes_back(text: bool, body: bytes) -> None:
    assert decode(encode(body, text=text)) == body


@given(body=any_body)
def test_any_body_comes_back_signed(body: bytes) -> None:
    codec = FrameCodec(seals=[HmacSeal(KEY)])
    assert codec.decode(codec.encode(body)) == body


@given(size=st.integers(0, 300_000))
def test_bodies_around_the_steps_of_the_decompressor(size: int) -> None:
    body = bytes(size)
    assert decode(encode(body)) == body


# ---- The header without the payload ----


@pytest.mark.parametrize("text", [False, True])
def test_peek_reads_the_header_and_needs_nothing_else(text: bool) -> None:
    frame = encode(LONG_CHAT, text=text)
    head = 7 + (-(-peek(frame).size // 3) * 4 if text else peek(frame).size)
    header = peek(frame[:head])
    assert header.schema is Schema.REQUEST
    assert isinstance(header.fields, RequestFields)
    assert header.fields.model == "gpt-4o-mini"
    assert peek(frame[:head] + b"\xff" * 100) == header
    for size in range(head):
        with pytest.raises(WireError):
            peek(frame[:size])


def test_peek_reads_secured_frames_without_a_key() -> None:
    header = peek(encode(CHAT, seal=HmacSeal(KEY)))
    assert header.security is FrameSecurity.HMAC
    assert header.fields == RequestFields("gpt-4o", b"\x01", 2)


def test_what_the_variable_header_says_does_not_matter_to_the_body() -> None:
    """As the crate writes messages of roles that it does not know: a byte less than counted."""
    variable = b"\x01m" + b"\x05" + b"\xe4" + b"\x02"
    head = struct.pack("<HBBI12x", 20 + len(variable), 1, 0, 0) + variable
    frame = b"#M2M|1|" + head + CHAT_SECTION
    assert peek(frame).fields is None
    assert decode(frame) == CHAT


# ---- Damage ----

WHOLE = {
    "raw": encode(CHAT),
    "compressed": encode(REPLY),
    "text": encode(REPLY, text=True),
    "signed": encode(REPLY, seal=HmacSeal(KEY)),
}
SEALS = (PLAIN, HmacSeal(KEY))
each_frame = pytest.mark.parametrize("frame", WHOLE.values(), ids=WHOLE.keys())


@each_frame
def test_a_frame_cut_anywhere_is_refused(frame: bytes) -> None:
    for size in range(len(frame)):
        with pytest.raises(WireError):
            decode(frame[:size], seals=SEALS)


@each_frame
def test_nothing_may_follow(frame: bytes) -> None:
    for more in (b"\0", b"A", b"\n", b"AAAA", b"====", frame):
        with pytest.raises(WireError):
            decode(frame + more, seals=SEALS)


def test_every_changed_bit_of_a_signed_frame_is_noticed() -> None:
    frame = WHOLE["signed"]
    for at in range(len(frame) * 8):
        changed = bytearray(frame)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(WireError):
            decode(bytes(changed), seals=SEALS)


def test_every_changed_bit_of_a_payload_is_noticed_or_changes_nothing() -> None:
    frame = WHOLE["compressed"]
    for at in range((7 + peek(frame).size) * 8, len(frame) * 8):
        changed = bytearray(frame)
        changed[at // 8] ^= 1 << at % 8
        with contextlib.suppress(WireError):
            assert decode(bytes(changed)) == REPLY


def test_the_checksum_is_that_of_the_body() -> None:
    with pytest.raises(WireError, match="checksum"):
        decode(frame_of(stored(CHAT), stored(CHAT)))
    with pytest.raises(WireError, match="checksum"):
        decode(frame_of(CHAT, b"", flags=0))


@pytest.mark.parametrize("payload", [b"", b"\xff" * 20, CHAT, stored(CHAT) + b"x"])
def test_a_payload_that_is_not_brotli_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError):
        decode(frame_of(payload, payload))


@pytest.mark.parametrize(
    "frame", [b"", b"#M2M|1|", b"#M2M|2|" + CHAT_FRAME[7:], CHAT, b"#M2M|1|" + b"=" * 40]
)
def test_what_is_no_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(WireError):
        decode(frame)
    with pytest.raises(WireError):
        peek(frame)


# ---- Security ----


def test_a_wrong_key_is_refused_and_several_are_tried() -> None:
    frame = encode(CHAT, seal=HmacSeal(KEY))
    with pytest.raises(WireError, match="another key"):
        decode(frame, seals=[HmacSeal(KEY[1:])])
    assert decode(frame, seals=[HmacSeal(KEY[1:]), HmacSeal(KEY)]) == CHAT


def test_without_a_key_a_secured_frame_is_not_read() -> None:
    with pytest.raises(WireError, match="HMAC is not accepted"):
        decode(encode(CHAT, seal=HmacSeal(KEY)))


def test_whoever_asks_for_security_gets_no_plain_frame() -> None:
    with pytest.raises(WireError, match="NONE is not accepted"):
        decode(encode(CHAT), seals=[HmacSeal(KEY)])


def test_a_signed_frame_does_not_pass_as_plain() -> None:
    frame = bytearray(encode(CHAT, seal=HmacSeal(KEY)))
    frame[10] = 0
    with pytest.raises(WireError):
        decode(bytes(frame))


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        HmacSeal(b"short")


# ---- Limits ----


BOMB = """
import resource, struct, sys
from m2mproxy.codec.base import TooLarge
from m2mproxy.codec.frame import decode

frame = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(frame)
except TooLarge:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("text", [False, True])
def test_a_bomb_costs_what_the_limit_allows(text: bool) -> None:
    """Under 6 KB that would be 200 MB: at most the limit, 16 MiB, and brotli's window on top."""
    payload = brotli.compress(bytes(200_000_000), quality=5, lgwin=22)
    frame = frame_of(payload, b"")
    if text:
        frame = b"#M2M|1|" + base64.b64encode(frame[7:])
    assert len(frame) < 6000
    run = subprocess.run(
        [sys.executable, "-c", BOMB], input=frame, capture_output=True, timeout=60, check=True
    )
    assert int(run.stdout) < 28 * 1024, "KiB"


@pytest.mark.parametrize("length", [0, len(CHAT) - 1, len(CHAT) + 1])
def test_a_length_that_is_not_the_payloads_is_refused(length: int) -> None:
    section = struct.pack("<I", length) + CHAT_SECTION[4:]
    with pytest.raises(WireError, match="not as long"):
        decode(b"#M2M|1|" + CHAT_HEAD + section)


def test_a_declared_length_is_not_believed() -> None:
    frame = b"#M2M|1|" + struct.pack("<HBBI12x", 20, 1, 0, 0) + struct.pack("<II", 2**32 - 1, 0)
    with pytest.raises(WireError):
        decode(frame)


def test_a_header_that_says_only_the_way() -> None:
    framed = encode(CHAT, routing=Routing(Schema.REQUEST))
    header = peek(framed)
    assert (header.size, header.schema, header.flags) == (20, Schema.REQUEST, 0)
    assert decode(framed) == CHAT and b"gpt-4o\x01" not in framed
