"""Bytes counted, with arrays and without."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.guard import counts


@given(st.binary(max_size=30).map(lambda data: data.translate(bytes([97, 98, 99, 100] * 64))))
def test_signs_are_counted_by_what_follows(data: bytes) -> None:
    for some in (data, data * 100, data * 2500):
        assert counts.followed(some, 97, b"bc") == [some.count(b"ab"), some.count(b"ac")]


@given(st.binary(max_size=30).map(lambda data: data.translate(bytes([97, 98, 99, 100] * 64))))
def test_a_sign_is_counted(data: bytes) -> None:
    for some in (data, data * 100, data * 2500):
        assert counts.counted(some, b"a") == some.count(b"a")
        assert counts.counted_and(some, b"a", b"bc") == (some.count(b"a"), b"bc" in some)


@pytest.mark.parametrize("before,after", [(0, 70_000), (counts.AT_ONCE - 1, 40_000), (70_000, 0)])
def test_a_pair_is_found_wherever_it_stands(before: int, after: int) -> None:
    data = b"a" * before + b"bc" + b"a" * after
    assert counts.counted_and(data, b"a", b"bc") == (before + after, True)
