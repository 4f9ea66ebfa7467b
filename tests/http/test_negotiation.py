"""Accept-Encoding: q-values, wildcards, identity, and nothing that was not named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.http.headers import Headers
from m2mproxy.http.negotiation import Accepted, weights
from m2mproxy.http.negotiation import accepted as read

OFFERED = (b"zstd", b"br", b"gzip")


def accepted(*values: bytes) -> Accepted:
    return read(Headers((b"accept-encoding", value) for value in values))


@pytest.mark.parametrize(
    "value,best",
    [
        (b"gzip, deflate", b"gzip"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"gzip;q=1.0, br;q=0.5", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"br;q=0, gzip;q=0.001", b"gzip"),
        (b"gzip;q=0", b""),
        (b"*", b""),
        (b"*;q=0.5", b""),
        (b"", b""),
        (b"identity", b""),
        (b"identity;q=1, gzip;q=0.5", b""),
        (b"identity;q=0.5, gzip;q=0.5", b"gzip"),
        (b"identity;q=0, *;q=0", b""),
        (b"gzip;q=2", b""),
        (b"gzip;q=x", b""),
        (b"gzip ; q=0.8 , br", b"br"),
        (b"gzip;level=9", b""),
        (b"zstd;q=0.8,,gzip;q=0.9", b"gzip"),
        (b"brotli", b""),
    ],
)
def test_the_best_coding(value: bytes, best: bytes) -> None:
    assert accepted(value).best(OFFERED) == best


def test_no_field_names_nothing() -> None:
    nothing = accepted()
    assert nothing.best(OFFERED) == b""
    assert not nothing.names_any
    assert not accepted(b"identity, *").names_any
    assert accepted(b"deflate").names_any


def test_several_fields_are_one_list() -> None:
    assert accepted(b"gzip;q=0.5", b"br").best(OFFERED) == b"br"


def test_what_was_coded_twice_needs_both() -> None:
    some = accepted(b"gzip, br")
    assert some.takes_all([b"br", b"x-gzip"])
    assert not some.takes_all([b"br", b"zstd"])
    assert some.takes_all([])


def test_what_is_longer_than_any_honest_field_names_nothing_and_is_not_kept() -> None:
    """What is read is remembered for the process's life, and a head may have 64 KiB of names."""
    names = b",".join(b"x%d" % number for number in range(8000))
    assert accepted(b"zstd," + names) is accepted(names, b"gzip") is accepted()
    assert accepted(b"gzip," + b" " * 900).names_any


@given(st.binary(max_size=60))
def test_any_bytes_are_read(value: bytes) -> None:
    assert all(0 <= weight <= 1 for weight in weights([value]).values())
    assert accepted(value).best(OFFERED) in (b"", *OFFERED)
