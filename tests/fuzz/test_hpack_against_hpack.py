"""Our HPACK against the library's: each reads what the other writes, and errs where it errs."""

from __future__ import annotations

from typing import Any

import pytest
from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st
from mutation import fuzzed

from m2mproxy.net.h2_hpack import FieldDecoder, FieldEncoder

names = st.sampled_from([b":path", b":status", b"date", b"x-a", b"x-b", b"authorization"]) | (
    st.binary(max_size=20)
)
values = st.sampled_from([b"", b"200", b"/", b"1", b"2"]) | st.binary(max_size=60)
fields = st.tuples(names, values) | st.builds(NeverIndexedHeaderTuple, names, values)
repeated = st.tuples(st.lists(fields, max_size=12), st.integers(1, 4))
sections = st.lists(repeated, max_size=6).map(
    lambda some: [section for section, times in some for _ in range(times)]
)


def plain(section: Any) -> list[tuple[bytes, bytes]]:
    return [(field[0], field[1]) for field in section]


def never(section: Any) -> list[bool]:
    return [isinstance(field, NeverIndexedHeaderTuple) for field in section]


@fuzzed
@given(sections, st.lists(st.lists(st.integers(0, 8000) | st.just(0), max_size=4), max_size=12))
def test_the_library_reads_what_we_write(some: list[Any], sizes: list[list[int]]) -> None:
    ours, theirs = FieldEncoder(), Decoder()
    for number, section in enumerate(some):
        for size in sizes[number] if number < len(sizes) else ():
            ours.header_table_size = size
            assert ours.header_table_size <= 4096
            theirs.max_allowed_table_size = size
        read = list(theirs.decode(ours.encode(section), raw=True))
        assert plain(read) == plain(section)
        assert never(read) == never(section)
        assert theirs.header_table.dynamic_entries == ours.header_table.dynamic_entries


@fuzzed
@given(sections, st.booleans())
def test_we_read_what_the_library_writes(some: list[Any], huffman: bool) -> None:
    ours, theirs, judge = FieldDecoder(), Encoder(), Decoder()
    for section in some:
        written = theirs.encode(section, huffman)
        read = ours.decode(written)
        assert plain(read) == plain(section)
        assert never(read) == never(judge.decode(written, raw=True))
        assert theirs.header_table.dynamic_entries == ours.header_table.dynamic_entries


@fuzzed
@given(st.lists(st.binary(max_size=60), max_size=5), st.integers(0, 500))
def test_any_bytes_are_read_the_same_or_refused_the_same(some: list[bytes], limit: int) -> None:
    ours, theirs = FieldDecoder(), Decoder()
    ours.max_header_list_size = theirs.max_header_list_size = limit
    for section in some:
        try:
            expected = list(theirs.decode(section, raw=True))
        except (HPACKError, IndexError) as error:
            with pytest.raises((HPACKError, IndexError)):
                ours.decode(section)
            assert not isinstance(error, MemoryError)
            return
        read = ours.decode(section)
        assert plain(read) == plain(expected)
        assert never(read) == never(expected)
        assert theirs.header_table.dynamic_entries == ours.header_table.dynamic_entries


def test_a_value_of_a_mebibyte_is_written_as_one_of_a_few_bytes() -> None:
    """A coder that takes the square of the length is at this for minutes."""
    ours, theirs = FieldEncoder(), Decoder(max_header_list_size=1 << 21)
    section = [(b"x-a", b"/v1/models?" + b"ab" * (1 << 19))]
    written = ours.encode(section)
    assert len(written) < len(section[0][1])
    assert plain(theirs.decode(written, raw=True)) == section


def test_values_that_change_each_time_do_not_push_out_those_that_stay() -> None:
    encoder = FieldEncoder()
    steady = [(b"x-%d" % number, b"v" * 20) for number in range(20)]
    sizes = [
        len(encoder.encode([*steady, (b"x-request-id", b"%032d" % number)]))
        for number in range(200)
    ]
    assert max(sizes[10:]) < 20 + 32
    assert len(encoder.header_table.dynamic_entries) == 24


def test_what_is_remembered_is_bounded() -> None:
    encoder = FieldEncoder()
    for number in range(5000):
        encoder.encode([(b"x-%d" % number, b"1")])
    assert len(encoder._numbers) < 600
    assert len(encoder._names) < 600
    assert len(encoder._tries) < 600


@pytest.mark.parametrize("size", [4096, 0])
def test_a_field_that_is_larger_than_the_table_is_not_remembered(size: int) -> None:
    encoder, reader = FieldEncoder(), Decoder()
    encoder.header_table_size = reader.max_allowed_table_size = size
    steady = [(b"x-a", b"1"), (b"x-b", b"2")]
    reader.decode(encoder.encode(steady))
    before = list(encoder.header_table.dynamic_entries)
    for number in range(300):
        large = [(b"x-%d" % number, b"v" * (4096 - 32))]
        assert plain(reader.decode(encoder.encode(large), raw=True)) == large
    assert list(encoder.header_table.dynamic_entries) == before
    assert len(encoder._numbers) == len(before)


def test_what_a_decoder_remembers_is_bounded() -> None:
    encoder, decoder = Encoder(), FieldDecoder()
    for number in range(500):
        decoder.decode(encoder.encode([(b"x-a", b"%d" % number * 50)], huffman=True))
    assert len(decoder._memo) <= 32


def test_a_section_that_comes_again_but_is_not_to_be_indexed_is_written_so() -> None:
    encoder, reader = FieldEncoder(), Decoder()
    field = (b"authorization", b"Bearer secret")
    for kind in (tuple, tuple, tuple, NeverIndexedHeaderTuple):
        section = [field if kind is tuple else kind(*field)]
        (read,) = reader.decode(encoder.encode(section), raw=True)
        assert isinstance(read, NeverIndexedHeaderTuple) is (kind is not tuple)


def test_what_was_read_is_the_readers_own() -> None:
    encoder, decoder = FieldEncoder(), FieldDecoder()
    for _ in range(4):
        read = decoder.decode(encoder.encode([(b"x-a", b"1"), (b"x-b", b"2")]))
        assert plain(read) == [(b"x-a", b"1"), (b"x-b", b"2")]
        read.clear()


def test_never_indexed_fields_leave_no_trace() -> None:
    encoder = FieldEncoder()
    secret = NeverIndexedHeaderTuple(b"authorization", b"Bearer secret")
    first = encoder.encode([secret])
    assert encoder.encode([secret]) == first
    assert not encoder.header_table.dynamic_entries
    assert first[0] & 0xF0 == 0x10
