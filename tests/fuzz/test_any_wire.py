"""Any bytes at all, for every decoder: the body, or WireError, and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_texts import CHAT, LONG_CHAT, REPLY, json_texts
from mutation import fuzzed, mutated
from vocabulary import VOCABULARIES

from m2mproxy.codec import abbreviated, frame, legacy, token_native
from m2mproxy.codec.base import DecodeLimits, WireError, sniff
from m2mproxy.codec.forms import codecs, decode_any, inspect
from m2mproxy.codec.header import read_header
from m2mproxy.codec.routing import describe
from m2mproxy.codec.sealed import AeadSeal

KEY = bytes(range(32))
SEALS = (frame.PLAIN, frame.HmacSeal(KEY), AeadSeal(KEY))
LIMITS = DecodeLimits(message=4096, decoded=4096)

BODIES = [b"", b"{}", CHAT, LONG_CHAT, REPLY, b'{"error":"no"}', b"\xff" * 120, b"a" * 5000]
TABLES = [codecs([seal], VOCABULARIES) for seal in SEALS]


def messages() -> list[bytes]:
    """Every body in every form that takes it, under every seal."""
    found = []
    for body in BODIES:
        for name in ("m2m", "m2m-text"):
            found += [table[name].encode(body) for table in TABLES]
        if body.isascii() or body == LONG_CHAT:
            for name in ("tk-c", "tk-o", "m2m-v3"):
                found.append(TABLES[0][name].encode(body))
        if body.startswith(b"{"):
            found.append(TABLES[0]["t1"].encode(body))
    return found


MESSAGES = messages()
PIECES = [
    b"#M2M|1|",
    b"#M2M[v3.0]|DATA:",
    b"#TK|",
    b"#TK|O|",
    b"#T1|",
    b"C|",
    b"\x00",
    b"\xff\xff\xff\xff\xff",
    b"\x80" * 11,
    b"\x14\x00",
    b"\x15\x00\x01\x02\x00\x00\x00\x01",
    b"=",
    b"AAAA",
    b"\n",
    b'"',
    b"\\u0063",
    b"\\",
    b"[" * 40,
    b'{"c":',
    b'"role":"S"',
]

Decoder = Callable[[bytes], object]
DECODERS: dict[str, Decoder] = {
    "frame": lambda data: frame.decode(data, LIMITS, SEALS),
    "peek": frame.peek,
    "header": read_header,
    "tokens": lambda data: token_native.decode(data, VOCABULARIES, LIMITS),
    "tokens, binary": lambda data: token_native.decode_binary(data, VOCABULARIES, LIMITS),
    "abbreviated": lambda data: abbreviated.decode(data, LIMITS),
    "legacy": lambda data: legacy.decode(data, LIMITS),
    "any": lambda data: decode_any(data, LIMITS, SEALS, VOCABULARIES),
}
each_decoder = pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS.keys())


def drive(decoder: Decoder, data: bytes) -> None:
    try:
        result = decoder(data)
    except WireError:
        return
    if isinstance(result, bytes):
        assert len(result) <= LIMITS.decoded


@st.composite
def base64_of(draw: st.DrawFn, inner: st.SearchStrategy[bytes]) -> bytes:
    """What gets past the base64, to what reads behind it."""
    return base64.b64encode(draw(inner))


prefixes = st.sampled_from([b"", b"#M2M|1|", b"#M2M[v3.0]|DATA:", b"#TK|C|", b"#TK|O|", b"#T1|"])
tails = st.one_of(st.binary(max_size=200), base64_of(st.binary(max_size=200)), json_texts)
anything = st.one_of(
    mutated(st.sampled_from(MESSAGES), PIECES),
    st.builds(bytes.__add__, prefixes, tails),
    st.binary(max_size=100),
)


@each_decoder
@fuzzed
@given(data=anything)
def test_any_bytes_are_read_or_refused(decoder: Decoder, data: bytes) -> None:
    drive(decoder, data)


@fuzzed
@given(
    at=st.integers(0, 60),
    bits=st.integers(0, 255),
    message=st.sampled_from(MESSAGES),
)
def test_mutated_text_forms_behind_their_base64(at: int, bits: int, message: bytes) -> None:
    """One byte changed inside the base64, which is then written anew."""
    prefix = next((p for p in (b"#M2M[v3.0]|DATA:", b"#TK|C|", b"#M2M|1|") if p in message), None)
    if prefix is None:
        return
    digits = message[len(prefix) :]
    try:
        inner = bytearray(base64.b64decode(digits, validate=True))
    except ValueError:
        inner = bytearray(digits)
    if at < len(inner):
        inner[at] ^= bits
    drive(DECODERS["any"], prefix + bytes(inner))
    drive(DECODERS["any"], prefix + base64.b64encode(inner))


def test_every_message_cut_at_every_byte() -> None:
    """A form with a checksum or an end never gives a part; token ids have neither."""
    for message in MESSAGES:
        for size in range(min(len(message), 3000)):
            cut = message[:size]
            if sniff(cut) is None or cut.startswith(b"#TK|"):
                drive(DECODERS["any"], cut)
                continue
            with pytest.raises(WireError):
                decode_any(cut, LIMITS, SEALS, VOCABULARIES)


@fuzzed
@given(data=anything)
def test_any_bytes_can_be_described_and_inspected(data: bytes) -> None:
    describe(data)
    inspect(data, LIMITS, SEALS, VOCABULARIES)
