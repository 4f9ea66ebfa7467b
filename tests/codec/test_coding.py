"""The standard codings: exact, flushed, capped, and strict about their ends."""

from __future__ import annotations

import gzip
import random
import shutil
import subprocess
import zlib

import pytest
from allocations import allocating_at_most
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.codec import coding, zstd
from m2mproxy.codec.base import TooLarge, Transform, WireError
from m2mproxy.codec.coding import BR, DEFLATE, GZIP, STANDARD, ZSTD

MiB = 1024 * 1024
BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hello there, hello."}]}' * 40

each_coding = pytest.mark.parametrize("name", STANDARD, ids=bytes.decode)
codings = st.sampled_from(STANDARD)
bodies = st.binary(max_size=300) | st.builds(
    lambda text, n: text * n, st.binary(), st.integers(0, 400)
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data`, cut at those places."""
    places = sorted(cut % (len(data) + 1) for cut in cuts)
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def through(transform: Transform, chunks: list[bytes], flush: bool = False) -> bytes:
    out: list[bytes] = []
    for chunk in chunks:
        out += transform.feed(chunk)
        if flush:
            out += transform.flush()
    return b"".join(out + transform.finish())


@given(codings, bodies, st.none() | st.integers(-3, 25))
def test_a_whole_body_comes_back(name: bytes, body: bytes, level: int | None) -> None:
    assert coding.decode(name, coding.encode(name, body, level), len(body)) == body


@given(
    codings, bodies, st.lists(st.integers(0, 10**6)), st.lists(st.integers(0, 10**6)), st.booleans()
)
def test_a_stream_comes_back_in_any_pieces(
    name: bytes, body: bytes, into: list[int], out_of: list[int], flush: bool
) -> None:
    coded = through(coding.encoder(name), pieces(body, into), flush)
    assert through(coding.decoder(name, len(body)), pieces(coded, out_of)) == body


@each_coding
def test_a_flush_makes_readable_all_that_was_fed(name: bytes) -> None:
    encoder, decoder = coding.encoder(name), coding.decoder(name, MiB)
    for number in range(50):
        event = b'data: {"choices":[{"delta":{"content":" word%d"}}]}\n\n' % number
        coded = encoder.feed(event) + encoder.flush()
        assert b"".join(piece for chunk in coded for piece in decoder.feed(chunk)) == event
    assert not list(decoder.feed(b"".join(encoder.finish())))
    assert decoder.finish() == []


@each_coding
def test_a_flush_of_nothing_is_cheap(name: bytes) -> None:
    encoder = coding.encoder(name)
    encoder.feed(b"x")
    encoder.flush()
    assert len(b"".join(piece for _ in range(9) for piece in encoder.flush())) <= 9 * 5


@each_coding
def test_memoryviews_are_read_too(name: bytes) -> None:
    coded = b"".join([*(encoder := coding.encoder(name)).feed(memoryview(BODY)), *encoder.finish()])
    assert coding.decode(name, memoryview(coded), len(BODY)) == BODY


@each_coding
def test_no_truncation_passes_for_the_whole(name: bytes) -> None:
    coded = coding.encode(name, BODY)
    for size in range(len(coded)):
        with pytest.raises(WireError):
            coding.decode(name, coded[:size], MiB)


@each_coding
@pytest.mark.parametrize(
    "rest", [b"\0", b"x", b"garbage that goes on", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"]
)
def test_nothing_may_follow(name: bytes, rest: bytes) -> None:
    coded = coding.encode(name, BODY)
    for chunks in ([coded + rest], [coded, rest]):
        with pytest.raises(WireError):
            through(coding.decoder(name, MiB), chunks)


@pytest.mark.parametrize("name", [GZIP, ZSTD], ids=bytes.decode)
def test_members_and_frames_may_follow_each_other(name: bytes) -> None:
    coded = coding.encode(name, b"one ") + coding.encode(name, b"") + coding.encode(name, b"two")
    for size in (1, 2, 7, 1000):
        chunks = [coded[at : at + size] for at in range(0, len(coded), size)]
        assert through(coding.decoder(name, 4096), chunks) == b"one two"


def test_a_skippable_frame_holds_nothing() -> None:
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    assert coding.decode(ZSTD, skippable + coding.encode(ZSTD, BODY), 2 * len(BODY)) == BODY


@pytest.mark.parametrize("name", [GZIP, ZSTD], ids=bytes.decode)
def test_members_of_nothing_are_counted(name: bytes) -> None:
    with pytest.raises(TooLarge):
        coding.decode(name, coding.encode(name, b"") * 2000, MiB)


def test_deflate_without_its_wrapping_is_read() -> None:
    for body in (b"", b"x", BODY):
        compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
        raw = compressor.compress(body) + compressor.flush()
        for size in (1, 2, 3, 1000):
            chunks = [raw[at : at + size] for at in range(0, len(raw), size)]
            assert through(coding.decoder(DEFLATE, MiB), chunks) == body


def test_x_gzip_is_gzip() -> None:
    assert coding.is_standard(b"x-gzip")
    assert coding.decode(b"x-gzip", coding.encode(GZIP, BODY), MiB) == BODY
    assert not coding.is_standard(b"compress")


# -- limits -------------------------------------------------------------------------------------


def bomb(name: bytes, size: int = 200 * MiB) -> bytes:
    encoder = coding.encoder(name, {ZSTD: 19, BR: 9}.get(name, 9))
    zeros = bytes(MiB)
    coded = [piece for _ in range(size // MiB) for piece in encoder.feed(zeros)]
    return b"".join(coded + encoder.finish())


@each_coding
@pytest.mark.parametrize("limit", [0, 1, 10_000, MiB])
def test_a_bomb_is_refused_in_flat_memory(name: bytes, limit: int) -> None:
    coded = bomb(name, 16 * MiB if name == DEFLATE else 200 * MiB)
    with allocating_at_most(limit + MiB), pytest.raises(TooLarge):
        coding.decode(name, coded, limit)


def test_a_gzip_bomb_in_a_gzip_bomb_is_refused() -> None:
    coded = gzip.compress(bomb(GZIP))
    assert len(coded) < 7000
    with pytest.raises(TooLarge):
        coding.decode(GZIP, coding.decode(GZIP, coded, MiB), MiB)


@each_coding
@given(size=st.integers(0, 200_000), less=st.integers(1, 10))
def test_the_limit_is_exact(name: bytes, size: int, less: int) -> None:
    coded = coding.encode(name, bytes(size))
    assert len(coding.decode(name, coded, size)) == size
    if size:
        with pytest.raises(TooLarge):
            coding.decode(name, coded, max(size - less, 0))


def test_a_frame_that_claims_200_megabytes_makes_none() -> None:
    # RFC 8878 3.1.1.1: single segment, content size of four bytes, and no block.
    claims = b"\x28\xb5\x2f\xfd\xa0" + (200 * MiB).to_bytes(4, "little") + bytes(6000)
    with pytest.raises(WireError):
        coding.decode(ZSTD, claims, MiB)


@pytest.mark.parametrize(("log", "fits"), [(22, True), (23, True), (24, False), (27, False)])
def test_a_window_above_8_mib_is_refused(log: int, fits: bool) -> None:
    # A raw block of one byte in a frame whose window is 2**log (RFC 8878 3.1.1.1.2).
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes(((log - 10) << 3,)) + b"\x09\x00\x00x"
    if fits:
        assert coding.decode(ZSTD, frame, 10) == b"x"
    else:
        with pytest.raises(WireError):
            coding.decode(ZSTD, frame, 10)


@pytest.mark.parametrize("level", [1, 3, 19, 22])
@pytest.mark.parametrize("size", [0, 100, 5000, 3 * MiB])
def test_zstd_of_a_whole_body_is_what_ollama_reads(level: int, size: int) -> None:
    body = random.Random(size).randbytes(size // 2) + bytes(size - size // 2)
    coded = coding.encode(ZSTD, body, level)
    info = zstd.zstd.get_frame_info(coded)
    assert info.decompressed_size == size
    assert zstd.zstd.get_frame_size(coded) == len(coded)
    assert coding.decode(ZSTD, coded, size) == body


# -- others' tools ------------------------------------------------------------------------------

TOOLS = {
    ZSTD: (["zstd", "-qc"], ["zstd", "-dqc"]),
    GZIP: (["gzip", "-c"], ["gzip", "-dc"]),
    BR: (["brotli", "-c"], ["brotli", "-dc"]),
}


@pytest.mark.parametrize("name", TOOLS, ids=bytes.decode)
def test_the_command_line_tools_agree(name: bytes) -> None:
    write, read = TOOLS[name]
    if shutil.which(write[0]) is None:
        pytest.skip(f"no {write[0]} here")
    theirs = subprocess.run(write, input=BODY, capture_output=True, check=True, timeout=20).stdout
    assert coding.decode(name, theirs, MiB) == BODY
    for ours in (
        coding.encode(name, BODY),
        through(coding.encoder(name), [BODY[:100], BODY[100:]], flush=True),
    ):
        run = subprocess.run(read, input=ours, capture_output=True, check=True, timeout=20)
        assert run.stdout == BODY
