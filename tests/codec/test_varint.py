"""LEB128, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.codec.base import WireError
from m2mproxy.codec.varint import read_tokens, read_varint, write_tokens, write_varint

GOLDEN = [
    (0, b"\x00"),
    (1, b"\x01"),
    (127, b"\x7f"),
    (128, b"\x80\x01"),
    (300, b"\xac\x02"),
    (16383, b"\xff\x7f"),
    (16384, b"\x80\x80\x01"),
    (624485, b"\xe5\x8e\x26"),
    (2**32 - 1, b"\xff\xff\xff\xff\x0f"),
    (2**64 - 1, b"\xff" * 9 + b"\x01"),
]


@pytest.mark.parametrize(("value", "data"), GOLDEN)
def test_known_numbers(value: int, data: bytes) -> None:
    assert write_varint(value) == data
    assert read_varint(b"x" + data + b"\x05", 1, len(data) + 2) == (value, len(data) + 1)


@given(st.integers(0, 2**64 - 1))
def test_every_number_comes_back(value: int) -> None:
    data = write_varint(value)
    assert read_varint(data, 0, len(data)) == (value, len(data))


@pytest.mark.parametrize("value", [-1, 2**64])
def test_what_is_no_u64_is_not_written(value: int) -> None:
    with pytest.raises(ValueError, match="64-bit"):
        write_varint(value)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9, b"\xff" * 10 + b"\x01"])
def test_what_does_not_end_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        read_varint(data, 0, len(data))


def test_what_ends_beyond_the_end_is_refused() -> None:
    with pytest.raises(WireError):
        read_varint(b"\x80\x01", 0, 1)


def test_what_is_no_u64_is_refused() -> None:
    with pytest.raises(WireError):
        read_varint(b"\xff" * 9 + b"\x02", 0, 10)


def test_needless_bytes_are_read_up_to_ten() -> None:
    assert read_varint(b"\x81" + b"\x80" * 8 + b"\x00", 0, 10) == (1, 10)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=50))
def test_token_ids_come_back(ids: list[int]) -> None:
    data = write_tokens(ids)
    assert read_tokens(data) == (ids, len(data))
    assert data == b"".join(map(write_varint, ids))


def test_a_token_id_that_is_not_whole_is_left() -> None:
    assert read_tokens(b"\x01\x80\x01\x80\x80") == ([1, 128], 3)


@pytest.mark.parametrize(
    "data", [b"\x80" * 5, b"\x80" * 5 + b"\x00", b"\xff\xff\xff\xff\x10", b"\xff" * 1_000_000]
)
def test_a_token_id_that_is_no_u32_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        read_tokens(data)
