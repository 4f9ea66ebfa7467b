"""Whose a body is: by its header fields, and by what it says itself."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from allocations import allocating_at_most
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.link import scope as scope_module
from m2mproxy.link.core import Core
from m2mproxy.link.message import encode
from m2mproxy.link.scope import Earlier, names_in, scope, tenant
from m2mproxy.link.window import Bounds, Memory

TENANT = tenant([(b"authorization", b"Bearer one")])
values = st.text(max_size=20) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
others = st.dictionaries(st.text(max_size=8), st.text(max_size=20) | st.booleans(), max_size=4)


def of(body: object, **style: object) -> bytes:
    return scope(TENANT, json.dumps(body, **style).encode())  # type: ignore[arg-type]


def test_a_tenant_is_all_of_its_fields_and_each_in_full() -> None:
    fields = [(b"a", b"b"), (b"c", b"d")]
    assert tenant(fields) == tenant(list(fields))
    different = [
        fields,
        fields[::-1],
        fields[:1],
        [(b"a", b"b c"), (b"", b"d")],
        [(b"ab", b""), (b"c", b"d")],
        [(b"a", b"bc"), (b"", b"d")],
        [],
    ]
    assert len(set(map(tenant, different))) == len(different)


@pytest.mark.parametrize("before", range(scope_module._STRETCH - 25, scope_module._STRETCH + 25))
def test_a_user_is_seen_wherever_the_search_goes_on(before: int) -> None:
    end = b'"user":"u"}' + b" " * (before - 4)
    whole = [scope(TENANT, b" " * size + end) for size in (0, 1, scope_module._STRETCH)]
    assert len({TENANT, *whole}) == 2


def test_a_body_that_names_nobody_is_its_tenants() -> None:
    assert of({"messages": [{"role": "user", "content": "x"}]}) == TENANT
    assert of({"user": None}) == TENANT
    assert scope(TENANT, b"") == TENANT


@given(values, values, others, others)
def test_two_users_never_share_a_scope(
    a: object, b: object, rest: dict[str, object], more: dict[str, object]
) -> None:
    same = json.dumps(a) == json.dumps(b)
    assert (of({**rest, "user": a}) == of({**more, "user": b})) == same or {
        *rest,
        *more,
    } & {"user", "safety_identifier"}


@given(st.text(), st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (",\n", " :\t")]))
def test_the_rest_of_the_body_and_its_spaces_do_not_matter(
    user: str, ascii_only: bool, separators: tuple[str, str]
) -> None:
    style = {"ensure_ascii": ascii_only, "separators": separators}
    try:
        one = scope(TENANT, json.dumps({"user": user}, ensure_ascii=ascii_only).encode())
        other = of({"messages": [{"role": "user"}], "user": user, "n": 1}, **style)
    except UnicodeEncodeError:
        return  # a lone surrogate has no UTF-8
    assert one == other


def test_both_names_count_and_are_told_apart() -> None:
    scopes = {
        of({"user": "a"}),
        of({"safety_identifier": "a"}),
        of({"user": "a", "safety_identifier": "b"}),
        of({"user": "b", "safety_identifier": "a"}),
        TENANT,
    }
    assert len(scopes) == 5


def test_tenants_do_not_share_a_user() -> None:
    body = b'{"user":"a"}'
    assert scope(TENANT, body) != scope(tenant([(b"authorization", b"Bearer two")]), body)


def test_a_key_within_another_object_counts() -> None:
    assert of({"metadata": {"user": "a"}}) != of({"metadata": {"user": "b"}})


@pytest.mark.parametrize("text", ['"user":"a"', '{"user": "a"}', '\\"user":"a"', 'x"user":'])
def test_what_looks_like_a_key_within_a_text_is_none(text: str) -> None:
    assert of({"messages": [{"role": "user", "content": text}]}) == TENANT


def test_a_quote_within_a_user_does_not_end_it() -> None:
    names = ['a"', 'a"b', 'a\\"', "a\\", 'a\\\\"b', 'a","user":"b']
    assert len({of({"user": name}) for name in names}) == len(names)


def test_a_body_with_very_many_users_is_nobodys_but_its_own() -> None:
    many = [{"user": f"{number}"} for number in range(17)]
    other = [*many[:16], {"user": "x"}]
    assert of(many) == of(many)
    assert of(many) != of(other)
    assert of(many, indent=1) != of(many)
    assert of(many[:16], indent=1) == of(many[:16])


def test_a_body_in_which_a_key_may_be_anywhere_is_nobodys_but_its_own() -> None:
    some, many = b'"user",' * 4096, b'"user",' * 4097
    assert scope(TENANT, some) == TENANT
    assert len({scope(TENANT, many), scope(TENANT, many + b" "), TENANT}) == 3
    assert scope(TENANT, many) == scope(TENANT, many)


@pytest.mark.parametrize("text", [b"a" * (4 << 20), b"\\a" * (2 << 20)])
@pytest.mark.parametrize("end", [b'"}', b""])
def test_a_very_long_user_costs_no_more_than_itself(text: bytes, end: bytes) -> None:
    body = b'{"user":"' + text + end
    with allocating_at_most(4 * len(body)):
        scope(TENANT, body)


@given(st.binary())
def test_any_bytes_have_a_scope(body: bytes) -> None:
    assert len(scope(TENANT, b'{"user":' + body)) == 16


# What keys are made of, and what can stand between them and around the place of an insertion.
_PIECES = [
    b'"user"', b'"safety_identifier"', b'"', b":", b" ", b" " * 70, b"\\", b'"a"', b"-", b"12",
    b",", b"}", b"x" * 300, b'"role":"user",', b'"user":"', b'"user": 7', b'"us', b'er"',
]  # fmt: skip
pieces = st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join)


@given(pieces, pieces, pieces, st.data())
def test_what_an_earlier_body_said_is_what_a_search_finds(
    front: bytes, more: bytes, back: bytes, data: st.DataObject
) -> None:
    """Wherever the place is: also within a name, a value or the space between."""
    old = front + back
    at = data.draw(st.sampled_from([len(front), data.draw(st.integers(0, len(old)))]))
    new = old[:at] + more + old[at:]
    earlier = Earlier(names_in(old), len(old), at)
    assert scope(TENANT, new, names_in(new, earlier)) == scope(TENANT, new)
    if names_in(new, earlier).is_settled:
        assert names_in(new, earlier)[:2] == names_in(new)[:2]


def test_a_conversation_is_searched_only_where_it_grew() -> None:
    turns = [b'{"role":"user","content":"%d"}' % number for number in range(400)]
    body = b'{"user":"u","messages":[' + b",".join(turns) + b"]}"
    more = b',{"role":"assistant"},{"role":"user","content":"more"}'
    at = len(body) - 2
    names = names_in(body)
    assert names.is_settled and names.total == 401
    poisoned = b"x" * (at - 300) + body[at - 300 : at] + more + body[at:]
    assert names_in(poisoned, Earlier(names, len(body), at)) == names._replace(total=402)


@pytest.mark.parametrize("many", [0, 1, 2, 16])
def test_what_is_kept_of_short_bodies_is_no_more_than_what_is_counted(many: int) -> None:
    core = Core(Bounds(), Memory(1 << 30), lambda: 0.0)
    tracemalloc.start()
    try:
        for number in range(1, 4001, 2):
            users = b"".join(b'"user":%d,' % (10_000 * user + number) for user in range(many))
            body = users + b"%d" % number * 20
            received = core.receive(number, TENANT, encode(body).message(0))
            names = names_in(body)
            core.keep(number, TENANT, scope(TENANT, body, names), received, body, names)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 1.1 * core.size


@pytest.mark.parametrize("many", [15, 16, 17])
def test_users_are_counted_over_all_turns(many: int) -> None:
    old, new = (b'{"user":"%d"}' % 0 * count for count in (15, many))
    names = names_in(new, Earlier(names_in(old), len(old), len(old)))
    assert scope(TENANT, new, names) == scope(TENANT, new)
    assert names.is_settled == (many <= 16)
