"""Byte identity for every pair of versions: any body, in pieces of any size, both ways."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from link import Split, randomly, whole
from wire import read_request, read_response
from world import Pair, World


def noise(size: int) -> bytes:
    """So many bytes of every kind; drawn as a size, for Hypothesis would rather not draw them."""
    return random.Random(size).randbytes(size)


bodies = st.binary(max_size=300) | st.integers(60_000, 200_000).map(noise)
versions = st.sampled_from(["1.1", "2"])


@settings(max_examples=120, deadline=None)
@given(
    st.tuples(versions, versions),
    bodies,
    bodies,
    st.integers(0, 999),
    st.lists(st.integers(1, 40_000), max_size=5),
    st.booleans(),
)
def test_any_body_passes_in_any_pieces(
    pair: tuple[str, str], up: bytes, down: bytes, seed: int, cuts: list[int], counted: bool
) -> None:
    world = World(randomly(seed) if len(up) + len(down) < 1000 else whole, pair)
    ask = world.ask(up, counted=counted)
    call = world.call()
    assert (call.body, call.complete) == (up, True)
    if cuts:
        call.respond(200)
        rest = down
        for size in cuts:
            if rest[:size]:
                call.send(rest[:size])
                rest = rest[size:]
        if rest:
            call.send(rest)
        call.end()
    else:
        call.reply(down)
    world.run()
    assert (ask.body, ask.complete) == (down, True)
    assert world.at_rest


names = st.from_regex(rb"x-[a-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)
visible = rb"[!-~\x80-\xff]"
values = st.from_regex(rb"(%b([ \t!-~\x80-\xff]{0,40}%b)?)?" % (visible, visible), fullmatch=True)


@settings(max_examples=120, deadline=None)
@given(st.tuples(versions, versions), st.lists(st.tuples(names, values), max_size=20))
def test_any_fields_pass_in_their_order(
    pair: tuple[str, str], fields: list[tuple[bytes, bytes]]
) -> None:
    world = World(pair=pair)
    ask = world.ask(b"", b"/v1/x", *fields)
    call = world.call()
    assert [field for field in call.headers if field[0].startswith(b"x-")] == fields
    call.reply(b"", *fields)
    world.run()
    assert [field for field in ask.headers if field[0].startswith(b"x-")] == fields


# -- captured traffic ---------------------------------------------------------------------------

CAPTURED = Path(__file__).parent / "captured"
# What belongs to a connection, or what the versions write in their own way.
OURS = {b"host", b"connection", b"keep-alive", b"transfer-encoding", b"te", b"via", b"forwarded"}
OURS |= {b"upgrade", b"http2-settings", b"expect"}


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in headers if name not in OURS]


def without_length(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [field for field in fields if field[0] != b"content-length"]


@pytest.mark.parametrize("path", sorted(CAPTURED.glob("*.request")), ids=lambda path: path.stem)
def test_captured_requests_arrive_as_they_were_sent(path: Path, pair: Pair, split: Split) -> None:
    request, body = read_request(path.read_bytes())
    fields = end_to_end(request.headers)
    world = World(split, pair)
    world.ask(body, request.target, *without_length(fields), method=request.method)
    call = world.call()
    assert (call.method, call.path, call.body) == (request.method, request.target, body)
    assert without_length(end_to_end(call.headers)) == without_length(fields)


@pytest.mark.parametrize("path", sorted(CAPTURED.glob("*.response")), ids=lambda path: path.stem)
def test_captured_replies_arrive_as_they_were_sent(path: Path, pair: Pair, split: Split) -> None:
    method = "HEAD" if "head" in path.stem else "GET"
    response, body = read_response(path.read_bytes(), method)
    fields = end_to_end(response.headers)
    world = World(split, pair)
    ask = world.ask(b"", b"/v1/x", method=method.encode(), counted=False)
    call = world.call()
    call.respond(response.status_code, *fields)
    if body:
        call.send(body)
    call.end()
    world.run()
    assert (ask.status, ask.body, ask.complete) == (response.status_code, body, True)
    assert end_to_end(ask.headers) == fields
    assert world.at_rest
