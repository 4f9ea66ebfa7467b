"""What decoders take: never more than is said, for any window."""

from __future__ import annotations

import brotli  # type: ignore[import-untyped]
import pytest

from m2mproxy.codec import memory

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
    assert memory.needed(b"a form of ours", b"") > 8 * MIB


@pytest.mark.parametrize("coding", [b"gzip", b"x-gzip", b"deflate"])
def test_a_deflater_has_a_small_window(coding: bytes) -> None:
    assert 1 << 15 < memory.needed(coding, b"") <= 1 << 16
