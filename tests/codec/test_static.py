"""The stateless form of whole bodies: exact, or an error."""

from __future__ import annotations

import itertools
import random
import zlib

import pytest
from allocations import allocating_at_most
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.codec import blocks, dictionaries, static, zstd
from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.static import Way
from m2mproxy.codec.varint import write_varint

MiB = 1024 * 1024
BODY = (
    b'{"model":"gpt-4o-mini","messages":['
    b'{"role":"system","content":"You are a helpful assistant."},'
    b'{"role":"user","content":"What is the capital of France?"}],"temperature":0.7}'
)
each_way = pytest.mark.parametrize("way", Way)
ways = st.sampled_from(Way)


@given(ways, st.binary() | st.builds(lambda text, n: text * n, st.binary(), st.integers(0, 900)))
def test_any_body_comes_back(way: Way, body: bytes) -> None:
    assert static.decode(static.encode(body, way), way, len(body)) == body


@each_way
@pytest.mark.parametrize("size", [8191, 8192, 8193, 65536, 65537, 9 * MiB])
def test_sizes_around_those_where_the_level_and_the_window_change(way: Way, size: int) -> None:
    body = (BODY * (size // len(BODY) + 1))[:size]
    assert static.decode(static.encode(body, way), way, size) == body


def test_the_dictionary_is_worth_it() -> None:
    assert len(static.encode(BODY, Way.REQUEST)) < len(zstd.compress(BODY, 9)) / 2


def test_the_form_is_that_of_the_specification() -> None:
    message = static.encode(BODY, Way.REQUEST)
    head = write_varint(len(BODY)) + zlib.crc32(BODY).to_bytes(4, "little")
    assert message.startswith(head)
    frame = b"\x28\xb5\x2f\xfd" + message[len(head) :]
    info = zstd.zstd.get_frame_info(frame)
    assert (info.decompressed_size, info.dictionary_id) == (None, 0)
    assert frame[4] & 0b100 == 0  # no checksum (RFC 8878 3.1.1.1.1.4)
    assert zstd.zstd.decompress(frame, dictionaries.request()) == BODY


@each_way
def test_the_other_way_is_another_dictionary(way: Way) -> None:
    other = Way.RESPONSE if way is Way.REQUEST else Way.REQUEST
    with pytest.raises(WireError):
        static.decode(static.encode(BODY, way), other, MiB)


@each_way
def test_no_truncation_and_nothing_added_passes(way: Way) -> None:
    message = static.encode(BODY, way)
    for size in range(len(message)):
        with pytest.raises(WireError):
            static.decode(message[:size], way, MiB)
    with pytest.raises(WireError):
        static.decode(message + b"\0", way, MiB)


def test_a_changed_bit_is_found() -> None:
    message = static.encode(BODY, Way.REQUEST)
    for at in range(len(message)):
        for bit in range(8):
            changed = bytearray(message)
            changed[at] ^= 1 << bit
            try:
                assert static.decode(bytes(changed), Way.REQUEST, MiB) == BODY  # a padding bit
            except WireError:
                continue


def test_a_length_above_the_limit_is_refused() -> None:
    message = static.encode(BODY, Way.REQUEST)
    assert static.decode(message, Way.REQUEST, len(BODY)) == BODY
    with pytest.raises(TooLarge):
        static.decode(message, Way.REQUEST, len(BODY) - 1)


@pytest.mark.parametrize("claimed", [10, 5 * MiB])
def test_a_bomb_is_refused_in_flat_memory(claimed: int) -> None:
    frame = zstd.pack(bytes(200 * MiB), 3, dictionaries.request())
    assert len(frame) < 30_000
    message = write_varint(claimed) + bytes(4) + frame
    with allocating_at_most(2.5 * claimed + MiB), pytest.raises(WireError):
        static.decode(message, Way.REQUEST, 16 * MiB)


def test_what_is_declared_costs_nothing() -> None:
    message = write_varint(16 * MiB) + bytes(4) + zstd.pack(b"x", 3, dictionaries.request())
    with allocating_at_most(MiB), pytest.raises(WireError):
        static.decode(message, Way.REQUEST, 16 * MiB)


# -- frames that continue another body, which the link makes of the same parts -------------------


def unpack_after(frame: bytes, size: int, before: bytes) -> bytes:
    return zstd.unpack_frame(blocks.frame(*blocks.of(frame), size), size, zstd.prefix(before))


@given(st.binary(), st.binary(max_size=3000), st.sampled_from([3, 9]))
def test_a_frame_after_a_prefix_comes_back(body: bytes, before: bytes, level: int) -> None:
    frame = zstd.pack_after(before + body, before, level)
    assert unpack_after(frame, len(before + body), before) == before + body


def test_what_the_prefix_holds_costs_next_to_nothing() -> None:
    before = static.encode(BODY, Way.REQUEST) * 100  # nothing that a dictionary would know
    frame = zstd.pack_after(before + b"and more", before, 3)
    assert len(frame) < 40
    with pytest.raises(WireError):
        unpack_after(frame, len(before) + 8, b"something else")


def test_the_whole_of_a_prefix_of_megabytes_is_reached() -> None:
    before = random.Random(1).randbytes(5 << 20)
    frame = zstd.pack_after(before[: 1 << 16] + b"and more", before, 3)
    assert len(frame) < 100
    assert unpack_after(frame, (1 << 16) + 8, before) == before[: 1 << 16] + b"and more"


@given(st.binary(max_size=300), st.binary(max_size=3000), st.integers(1, 200))
def test_a_frame_with_a_dictionary_of_the_moment_comes_back(
    some: bytes, text: bytes, times: int
) -> None:
    body, dictionary = some * times, dictionaries.request_tables() + text + bytes(8)
    frame = zstd.pack_with(body, dictionary)
    whole = blocks.frame(*blocks.of(frame), len(body))
    assert zstd.unpack_frame(whole, len(body), zstd.once(dictionary)) == body
    for size in {0, len(body) - 1, len(body) + 1} - {-1, len(body)}:
        wrong = blocks.frame(*blocks.of(frame), size)
        with pytest.raises(WireError):
            zstd.unpack_frame(wrong, size, zstd.once(dictionary))


def test_of_a_small_frame_only_its_block_is_left() -> None:
    frame = zstd.pack(BODY, 6, dictionaries.request())
    assert blocks.of(frame) == (frame[5:], True)
    noise = random.Random(1).randbytes(100)
    frame = zstd.pack(noise, 6, dictionaries.request())
    assert blocks.of(frame) == (frame[2:], False)  # it is not compressed, and its header says so


def test_no_frame_is_made_that_cannot_be_one() -> None:
    with pytest.raises(WireError):
        blocks.frame(b"", False, 1 << 32)
    with pytest.raises(WireError):
        blocks.frame(bytes(1 << 21), True, 10)
    with pytest.raises(ValueError):
        blocks.of(zstd.compress(b"said with its size")[4:])


def test_the_request_dictionary_is_its_tables_and_its_text() -> None:
    tables, text = dictionaries.request_tables(), dictionaries.request_text()
    assert tables + text == dictionaries.request_file()
    assert 100 < len(tables) < 1024
    with pytest.raises(zstd.zstd.ZstdError):
        zstd.pack_with(BODY, tables[:-1] + text[:-40])


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)] or [b""]


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 900)))
def test_a_body_that_comes_by_and_by_is_read_as_far_as_it_came(
    chunks: list[bytes], cuts: list[int]
) -> None:
    encoder, coded = static.StaticEncoder(), b""
    reader, read = static.StaticDecoder(1 << 20, 1 << 10), b""
    for chunk in chunks:
        batch = b"".join([*encoder.feed(chunk), *encoder.flush()])
        read += b"".join(reader.feed(batch))
        coded += batch
    assert read == b"".join(chunks)  # nothing of what was flushed waits for more
    end = b"".join(encoder.finish())
    assert b"".join([read, *reader.feed(end), *reader.finish()]) == b"".join(chunks)
    again = static.StaticDecoder(1 << 20, 1 << 10)
    out = [each for piece in pieces(coded + end, cuts) for each in again.feed(piece)]
    assert b"".join(out + again.finish()) == b"".join(chunks)


def test_a_body_that_is_cut_is_no_body() -> None:
    encoder = static.StaticEncoder()
    coded = b"".join([*encoder.feed(BODY), *encoder.finish()])
    for end in range(len(coded)):
        decoder = static.StaticDecoder(1 << 20, 1 << 20)
        with pytest.raises(WireError):
            list(decoder.feed(coded[:end]))
            decoder.finish()


def test_a_body_that_comes_as_a_whole_is_read_by_the_same_decoder() -> None:
    decoder = static.StaticDecoder(1 << 20, len(BODY))
    assert not decoder.feed(static.encode(BODY, Way.RESPONSE))
    assert decoder.finish() == [BODY]


@pytest.mark.parametrize("first", [b"\x00", b"\x7f"])
def test_more_than_a_limit_is_refused_while_it_comes(first: bytes) -> None:
    encoder = static.StaticEncoder()
    coded = first + b"".join([*encoder.feed(bytes(1 << 20)), *encoder.finish()])[1:]
    decoder = static.StaticDecoder(1 << 18, 1 << 10)
    with pytest.raises(WireError):
        for at in range(0, len(coded), 50):
            list(decoder.feed(coded[at : at + 50]))
        for _ in range(30):
            list(decoder.feed(bytes(50)))
        decoder.finish()
