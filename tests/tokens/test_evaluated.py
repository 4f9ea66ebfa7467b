"""What a reply of Ollama's own API says of its tokens, cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.tokens.evaluated import MOST, EvaluationReader
from m2mproxy.tokens.usage import Usage

TIMES = b'"total_duration":5191566416,"load_duration":2154458,'
COUNTS = TIMES + b'"prompt_eval_count":26,"prompt_eval_duration":383809000,"eval_count":298,'
ENDED = b'"done_reason":"stop","done":true,' + COUNTS + b'"eval_duration":4799921000}'
SAID = (
    b'{"model":"llama3.2","message":{"role":"assistant","content":"\\"eval_count\\":7,"},'
    b'"done":false}\n'
)
STREAM = SAID * 3 + b'{"model":"llama3.2","message":{"role":"assistant","content":""},' + ENDED
REPLY = b'{"model":"llama3.2","response":"Hi","context":[' + b"1," * 5000 + b"2]," + ENDED
EMBEDDED = b'{"embeddings":[[0.1,0.2]],' + TIMES + b'"prompt_eval_count":8}'
# Of a prompt that was in a cache, in older versions.
CACHED = b'{"response":"","done":true,"eval_count":298,"eval_duration":4799921000}'


def read(*pieces: bytes) -> Usage | None:
    reader = EvaluationReader(False)
    for piece in pieces:
        reader.feed(memoryview(piece))
    return reader.usage


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize(
    ("reply", "taken", "made"),
    [(STREAM, 26, 298), (REPLY, 26, 298), (EMBEDDED, 8, 0), (CACHED, None, 298)],
)
def test_what_a_reply_says(reply: bytes, end: bytes, taken: int | None, made: int) -> None:
    assert read(reply + end) == Usage(taken, made, None, None, True)


@pytest.mark.parametrize("reply", [b"", SAID, SAID * 20, b'{"error":"no model"}', STREAM[:-80]])
def test_what_says_nothing(reply: bytes) -> None:
    assert read(reply) is None


def test_the_counts_of_a_line_before_the_last_are_none() -> None:
    assert read(STREAM + b"\n" + SAID) is None


def test_who_else_is_asked_there_says_it_as_others_do() -> None:
    said = b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}'
    assert read(said) == Usage(3, 4, None, None, True)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_it_does_not_matter_how_it_was_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = (STREAM[a:b] for a, b in pairwise(edges))
    assert read(*pieces) == read(STREAM)


def test_no_more_is_held_than_said() -> None:
    reader = EvaluationReader(False)
    for _ in range(100):
        reader.feed(b"x" * 700)
        assert len(reader._end) <= MOST
