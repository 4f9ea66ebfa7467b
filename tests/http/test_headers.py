"""Header fields: order and duplicates stay, lists are read over all lines."""

from __future__ import annotations

import pytest

from m2mproxy.http.headers import HOP_BY_HOP, Headers, nominated, tokens

FIELDS = [
    (b"accept", b"text/html"),
    (b"x-a", b"1"),
    (b"accept", b"text/plain, */*"),
    (b"x-a", b"2"),
]


def test_order_and_duplicates_stay() -> None:
    assert list(Headers(FIELDS)) == FIELDS


def test_get_is_the_first_value_or_the_default() -> None:
    headers = Headers(FIELDS)
    assert headers.get(b"accept") == b"text/html"
    assert headers.get(b"x-b") is None
    assert headers.get(b"x-b", b"none") == b"none"


def test_values_of_a_name_are_in_order() -> None:
    assert Headers(FIELDS).values_of(b"x-a") == [b"1", b"2"]
    assert Headers(FIELDS).values_of(b"x-b") == []


def test_a_list_goes_over_all_its_lines() -> None:
    assert Headers(FIELDS).tokens(b"accept") == [b"text/html", b"text/plain", b"*/*"]


def test_drop_takes_every_line_of_a_name_and_no_other() -> None:
    headers = Headers(FIELDS)
    headers.drop((b"accept", b"x-b"))
    assert list(headers) == [(b"x-a", b"1"), (b"x-a", b"2")]


@pytest.mark.parametrize(
    ("value", "members"),
    [
        (b"", []),
        (b"close", [b"close"]),
        (b"Keep-Alive, TE", [b"keep-alive", b"te"]),
        (b" ,, a ,\tb\t,", [b"a", b"b"]),
    ],
)
def test_members_are_lower_case_without_space_or_empty_ones(
    value: bytes, members: list[bytes]
) -> None:
    assert tokens(value) == members


def test_connection_nominates_what_else_ends_here() -> None:
    assert nominated([b"x-hop", b"close"]) == {b"x-hop", b"close"}


@pytest.mark.parametrize(
    "name", [b"authorization", b"api-key", b"content-length", b"content-type", b"host", b"cookie"]
)
def test_nobody_can_have_a_field_removed_that_the_message_needs(name: bytes) -> None:
    assert nominated([name, b"x-hop"]) == {b"x-hop"}


def test_what_a_connection_keeps_for_itself() -> None:
    assert {b"connection", b"te", b"transfer-encoding", b"upgrade", b"keep-alive"} <= HOP_BY_HOP
    # Trailer and Via concern whoever reads the message; Host is not the connection's.
    assert not {b"trailer", b"via", b"host", b"authorization"} & HOP_BY_HOP
