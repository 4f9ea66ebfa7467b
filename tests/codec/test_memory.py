"""What decoders take: never more than is said, for any window."""

from __future__ import annotations

import brotli  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.codec import coding, memory
from m2mproxy.codec.base import WireError
from m2mproxy.codec.zstd import window, zstd

MIB = 1 << 20


@pytest.mark.parametrize("log", range(10, 25))
def test_the_window_of_brotli_is_in_its_first_byte(log: int) -> None:
    compressor = brotli.Compressor(quality=5, lgwin=log)
    stream = compressor.process(b"x" * 100_000) + compressor.finish()
    needed = memory.needed(b"br", stream[:1])
    assert 1 << log <= needed <= (1 << log) + MIB // 4


def test_where_nothing_is_known_it_is_the_most() -> None:
    assert memory.needed(b"br", b"") >= max(memory.needed(b"br", bytes([n])) for n in range(256))
    assert memory.needed(b"br", b"") > 16 * MIB
    assert memory.needed(b"zstd", b"\x28") > 8 * MIB  # RFC 9659
    assert memory.needed(b"zstd", b"\x50\x2a\x4d\x18" + bytes(9)) > 8 * MIB  # to be skipped
    assert memory.needed(b"a form of ours", b"") > 8 * MIB


def streamed(log: int, text: bytes) -> bytes:
    """A frame of zstd whose size is not known when it begins."""
    encoder = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
    return encoder.compress(text) + encoder.flush()


@pytest.mark.parametrize("log", range(10, 28))
def test_the_window_of_zstd_is_in_its_header(log: int) -> None:
    head = streamed(log, b"x" * 100_000)[:18]
    assert window(head) == 1 << log
    assert window(head[:6]) == 1 << log
    assert window(head[:5]) is None
    least = min(1 << log, 8 * MIB)
    assert least < memory.needed(b"zstd", head) <= least + 576 * 1024


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_535, 65_791, 65_792, 200_000])
def test_a_frame_that_says_its_size_has_no_larger_window(size: int) -> None:
    head = zstd.compress(bytes(size))[:18]
    assert window(head) == size
    assert size < memory.needed(b"zstd", head) <= max(2 * size, 1024) + 576 * 1024


@pytest.mark.parametrize("descriptor", range(256))
@pytest.mark.parametrize("rest", [bytes(13), b"\xff" * 13, b""])
def test_any_header_is_read_or_is_not(descriptor: int, rest: bytes) -> None:
    head = b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + rest
    found = window(head)
    assert (found is None) == (not rest)
    assert memory.needed(b"zstd", head) <= memory.needed(b"zstd", b"")


@given(st.integers(10, 23), st.integers(10, 23))
def test_no_frame_takes_more_than_the_first_one(first: int, then: int) -> None:
    text = b"x" * 5000
    stream = streamed(first, text) + streamed(then, text)
    decoder = coding.decoder(b"zstd", MIB, stream[:18])
    if then <= first:
        assert b"".join(decoder.feed(stream)) == text + text
    else:
        with pytest.raises(WireError, match="too large a window"):
            list(decoder.feed(stream))
    assert coding.decode(b"zstd", stream, MIB) == text + text


@pytest.mark.parametrize("name", [b"gzip", b"x-gzip", b"deflate"])
def test_a_deflater_has_a_small_window(name: bytes) -> None:
    assert 1 << 15 < memory.needed(name, b"") <= 1 << 16
