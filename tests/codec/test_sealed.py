"""ChaCha20-Poly1305 frames: laid out by hand, round trips, every bit counts."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from json_texts import CHAT, REPLY, any_body

from m2mproxy.codec.base import WireError
from m2mproxy.codec.frame import PLAIN, HmacSeal, decode, encode, peek
from m2mproxy.codec.header import FrameSecurity
from m2mproxy.codec.routing import RequestFields
from m2mproxy.codec.sealed import AeadSeal

KEY = bytes(range(32))
NONCE = bytes(range(100, 112))
SEAL = AeadSeal(KEY)


def test_a_frame_byte_by_byte() -> None:
    head = bytes.fromhex("1e00" + "01" + "02" + "00000000" + "00" * 12)
    head += b"\x06gpt-4o\x01\x01\x02"
    section = struct.pack("<II", len(CHAT), zlib.crc32(CHAT)) + CHAT
    sealed = ChaCha20Poly1305(KEY).encrypt(NONCE, section, head)
    frame = b"#M2M|1|" + head + NONCE + sealed
    assert encode(CHAT, seal=AeadSeal(KEY, lambda size: NONCE[:size])) == frame
    assert decode(frame, seals=[SEAL]) == CHAT
    assert len(frame) == len(encode(CHAT)) + 12 + 16


@pytest.mark.parametrize("text", [False, True])
@given(body=any_body)
def test_any_body_comes_back(text: bool, body: bytes) -> None:
    assert decode(encode(body, seal=SEAL, text=text), seals=[SEAL]) == body


def test_the_body_is_not_readable_but_the_header_is() -> None:
    frame = encode(CHAT, seal=SEAL)
    assert b"messages" not in frame
    header = peek(frame)
    assert header.security is FrameSecurity.AEAD
    assert header.fields == RequestFields("gpt-4o", b"\x01", 2)


def test_every_nonce_is_another() -> None:
    assert len({encode(CHAT, seal=SEAL)[37:49] for _ in range(100)}) == 100


def test_every_changed_bit_is_noticed() -> None:
    frame = encode(REPLY, seal=SEAL)
    for at in range(len(frame) * 8):
        changed = bytearray(frame)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(WireError):
            decode(bytes(changed), seals=[SEAL, HmacSeal(KEY), PLAIN])


@pytest.mark.parametrize("text", [False, True])
def test_a_frame_cut_anywhere_is_refused(text: bool) -> None:
    frame = encode(REPLY, seal=SEAL, text=text)
    for size in range(len(frame)):
        with pytest.raises(WireError):
            decode(frame[:size], seals=[SEAL, PLAIN])


def test_another_key_does_not_open_it_and_several_are_tried() -> None:
    frame = encode(CHAT, seal=SEAL)
    other = AeadSeal(bytes(32))
    with pytest.raises(WireError, match="another key"):
        decode(frame, seals=[other])
    with pytest.raises(WireError, match="AEAD is not accepted"):
        decode(frame, seals=[PLAIN, HmacSeal(KEY)])
    assert decode(frame, seals=[other, SEAL]) == CHAT


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        AeadSeal(bytes(size))


def test_only_who_seals_imports_cryptography() -> None:
    code = "import sys, m2mproxy.codec.forms; print('cryptography' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert run.stdout.strip() == "False"
