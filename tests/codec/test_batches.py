"""Sealed streams: laid out by hand, readable at each flush, and no batch but in its place."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.batches import MOST_PLAIN, BatchOpener, BatchSealer, StreamSeal
from m2mproxy.codec.frame import HmacSeal
from m2mproxy.codec.sealed import AeadSeal
from m2mproxy.codec.varint import read_prefixed, write_varint

KEY = bytes(range(32))
SALT = bytes(range(16))
SEALS: dict[str, StreamSeal] = {"aead": AeadSeal(KEY), "hmac": HmacSeal(KEY)}
START = 7 + 20 + 16
MiB = 1 << 20

each_seal = pytest.mark.parametrize("seal", SEALS.values(), ids=SEALS)
chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def sealed(seal: StreamSeal, some: list[bytes]) -> list[bytes]:
    """What leaves with each flush, and the end; the start is a piece of its own."""
    sealer = BatchSealer(seal)
    out: list[bytes] = []
    for chunk in some:
        assert sealer.feed(chunk) == []
        out += sealer.flush()
    out += sealer.finish()
    return [out[0][:START], out[0][START:], *out[1:]]


def opened(seal: StreamSeal, pieces: list[bytes], limit: int = MiB) -> bytes:
    opener = BatchOpener(seal, limit)
    out = [plain for piece in pieces for plain in opener.feed(piece)]
    return b"".join(out + opener.finish())


@each_seal
@given(some=chunks, size=st.integers(1, 50))
def test_any_stream_comes_back_however_it_is_split(
    seal: StreamSeal, some: list[bytes], size: int
) -> None:
    wire = b"".join(sealed(seal, some))
    split = [wire[at : at + size] for at in range(0, len(wire), size)]
    assert opened(seal, split) == b"".join(some)


@each_seal
def test_each_flush_can_be_read_at_once(seal: StreamSeal) -> None:
    sealer, opener = BatchSealer(seal), BatchOpener(seal, MiB)
    for number in range(200):
        event = b"data: %d\n\n" % number
        assert sealer.feed(event) == []
        (batch,) = sealer.flush()
        assert opener.feed(batch) == [event]
        assert len(batch) == len(event) + 17 + (START if not number else 0)
    assert sealer.flush() == []
    (end,) = sealer.finish()
    assert (len(end), opener.feed(end), opener.finish()) == (17, [], [])


def test_encrypted_batches_byte_by_byte() -> None:
    start = b"#M2M|1|" + bytes.fromhex("1400" + "03" + "02" + "00000000" + "00" * 12) + SALT
    key = hmac.digest(KEY, b"m2m stream" + start, hashlib.sha256)
    cipher = ChaCha20Poly1305(key)
    first = cipher.encrypt(bytes(12), b"hello", None)
    end = cipher.encrypt(bytes(11) + b"\x01", b"", None)
    sealer = BatchSealer(AeadSeal(KEY), lambda size: SALT[:size])
    assert sealer.feed(b"hello") == []
    assert sealer.finish() == [start + b"\x15" + first, b"\x10" + end]


def test_batches_with_a_tag_byte_by_byte() -> None:
    start = b"#M2M|1|" + bytes.fromhex("1400" + "03" + "01" + "00000000" + "00" * 12) + SALT
    key = hmac.digest(KEY, b"m2m stream" + start, hashlib.sha256)
    first = b"hello" + hmac.digest(key, bytes(12) + b"hello", hashlib.sha256)[:16]
    end = hmac.digest(key, bytes(11) + b"\x01", hashlib.sha256)[:16]
    sealer = BatchSealer(HmacSeal(KEY), lambda size: SALT[:size])
    assert sealer.feed(b"hello") == []
    assert sealer.finish() == [start + b"\x15" + first, b"\x10" + end]


@each_seal
@given(some=chunks, data=st.data())
def test_every_changed_byte_is_noticed(
    seal: StreamSeal, some: list[bytes], data: st.DataObject
) -> None:
    wire = bytearray(b"".join(sealed(seal, some)))
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WireError):
        opened(seal, [bytes(wire)])


@each_seal
@given(some=chunks, data=st.data())
def test_a_stream_cut_anywhere_has_no_end(
    seal: StreamSeal, some: list[bytes], data: st.DataObject
) -> None:
    wire = b"".join(sealed(seal, some))
    with pytest.raises(WireError):
        opened(seal, [wire[: data.draw(st.integers(0, len(wire) - 1))]])


def dropped(pieces: list[bytes], at: int) -> list[bytes]:
    return pieces[:at] + pieces[at + 1 :]


def repeated(pieces: list[bytes], at: int) -> list[bytes]:
    return [*pieces[: at + 1], *pieces[at:]]


def swapped(pieces: list[bytes], at: int) -> list[bytes]:
    return [*pieces[:at], pieces[at + 1], pieces[at], *pieces[at + 2 :]]


def ended_early(pieces: list[bytes], at: int) -> list[bytes]:
    return [*pieces[:at], pieces[-1]]


@each_seal
@pytest.mark.parametrize("change", [dropped, repeated, swapped, ended_early])
@given(some=st.lists(st.binary(min_size=1, max_size=9), min_size=3, max_size=8), data=st.data())
def test_batches_out_of_place_are_noticed(
    seal: StreamSeal,
    change: Callable[[list[bytes], int], list[bytes]],
    some: list[bytes],
    data: st.DataObject,
) -> None:
    """Also where the batches carry the same."""
    pieces = sealed(seal, some)
    changed = change(pieces, data.draw(st.integers(1, len(some) - 1)))
    with pytest.raises(WireError):
        opened(seal, changed)


@each_seal
def test_a_batch_of_another_stream_does_not_fit(seal: StreamSeal) -> None:
    one, other = (sealed(seal, [b"a", b"b"]) for _ in range(2))
    assert opened(seal, one) == opened(seal, other) == b"ab"
    for at in (1, 2, 3):
        with pytest.raises(WireError, match="not in its place"):
            opened(seal, [*one[:at], other[at], *one[at + 1 :]])


@each_seal
def test_nothing_follows_the_end(seal: StreamSeal) -> None:
    pieces = sealed(seal, [b"a"])
    with pytest.raises(WireError, match="follows the stream's end"):
        opened(seal, [*pieces, pieces[-1]])


@each_seal
def test_another_key_or_mode_opens_nothing(seal: StreamSeal) -> None:
    pieces = sealed(seal, [b"a"])
    for key in (bytes(32), bytes(range(1, 33))):
        with pytest.raises(WireError):
            opened(type(seal)(key), pieces)  # type: ignore[call-arg]
    other = next(each for each in SEALS.values() if each is not seal)
    with pytest.raises(WireError, match="of another security"):
        opened(other, pieces)


def test_what_is_encrypted_cannot_be_read() -> None:
    assert b"secret" not in b"".join(sealed(SEALS["aead"], [b"secret"]))


def test_every_stream_is_another() -> None:
    assert len({sealed(SEALS["hmac"], [b"a"])[1] for _ in range(50)}) == 50


@each_seal
@given(size=st.integers(0, 3 * MOST_PLAIN))
def test_much_at_a_time_is_several_batches(seal: StreamSeal, size: int) -> None:
    sealer = BatchSealer(seal)
    pieces = sealer.feed(bytes(size))
    assert len(pieces) == size // MOST_PLAIN
    assert opened(seal, pieces + sealer.finish()) == bytes(size)


@each_seal
def test_what_is_longer_than_a_batch_can_be_is_refused_before_it_comes(seal: StreamSeal) -> None:
    start = sealed(seal, [])[0]
    for length in (write_varint(MOST_PLAIN + 17), b"\xff\xff\xff"):
        with pytest.raises(WireError, match="too long"):
            opened(seal, [start + length])


@each_seal
def test_the_limit_is_of_all_that_comes_out(seal: StreamSeal) -> None:
    pieces = sealed(seal, [b"abc", b"def"])
    assert opened(seal, pieces, 6) == b"abcdef"
    with pytest.raises(TooLarge):
        opened(seal, pieces, 5)


def test_the_length_before_a_batch() -> None:
    assert read_prefixed(b"\x02ab", 0, 5) == (1, 3, 0)
    assert read_prefixed(b"\x05ab", 0, 5, 1) == (1, 3, 1)
    assert read_prefixed(b"\x0babcde", 0, 5, 1) == (1, 6, 1)
    with pytest.raises(WireError):
        read_prefixed(b"\x0cabcdef", 0, 5, 1)
    assert read_prefixed(b"\x02a", 0, 5) is None
    assert read_prefixed(b"", 0, 5) is None
    assert read_prefixed(b"\x80", 0, 300) is None
    with pytest.raises(WireError):
        read_prefixed(b"\x80", 0, 5)
