"""Publishers' files, one test each of a tiny one: what is read of it, and what is refused."""

from __future__ import annotations

import base64
import json
import struct

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.tokens import sentencepiece, tekken, tokenizer_json

# ---- tekken.json --------------------------------------------------------------------------------


def tekken_file(pieces: list[bytes], taken: int) -> bytes:
    vocab = [
        {"rank": rank, "token_bytes": base64.b64encode(piece).decode(), "token_str": None}
        for rank, piece in enumerate(pieces)
    ]
    config = {"default_vocab_size": taken + 10, "default_num_special_tokens": 10}
    return json.dumps({"config": config, "vocab": vocab}).encode()


def test_tekken_has_more_pieces_than_it_takes() -> None:
    data = tekken_file([b"a", b"b", b"ab", b"\xff", b"abc"], 4)
    assert tekken.ranks_of(data) == {b"a": 0, b"b": 1, b"ab": 2, b"\xff": 3}


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"config":1}', b'{"config":{},"vocab":[]}', b"\xff"]
)
def test_what_is_no_tekken(data: bytes) -> None:
    with pytest.raises(ValueError):
        tekken.ranks_of(data)


# ---- tokenizer.json -----------------------------------------------------------------------------


def hugging_face(vocab: dict[str, int], merges: list[object]) -> bytes:
    return json.dumps({"model": {"vocab": vocab, "merges": merges}}).encode()


@pytest.mark.parametrize("merges", [["a b", "ab Ġ"], [["a", "b"], ["ab", "Ġ"]]])
def test_letters_stand_for_bytes(merges: list[object]) -> None:
    vocab = {"<s>": 0, "a": 1, "b": 2, "Ġ": 3, "Ń": 4, "ÿ": 5, "ab": 6, "abĠ": 7, "<\uff5cx>": 8}
    assert tokenizer_json.ranks_of(hugging_face(vocab, merges)) == {
        b"a": 1, b"b": 2, b" ": 3, b"\xad": 4, b"\xff": 5, b"ab": 6, b"ab ": 7,
    }  # fmt: skip


def test_every_byte_has_a_letter() -> None:
    letters = {letter: number for number, letter in enumerate(tokenizer_json._BYTES)}
    ranks = tokenizer_json.ranks_of(hugging_face(letters, []))
    assert sorted(ranks) == [bytes((byte,)) for byte in range(256)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"model":{"vocab":{},"merges":["a b"]}}',
        b'{"model":{"vocab":{},"merges":[1]}}',
        hugging_face({"a": 0, "b": 1, "ab": 2, "ba": 3}, ["b a", "a b"]),
    ],
)
def test_what_is_no_tokenizer_json_or_would_not_be_exact(data: bytes) -> None:
    with pytest.raises(ValueError):
        tokenizer_json.ranks_of(data)


# ---- SentencePiece ------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    parts = [value >> shift & 0x7F for shift in range(0, max(1, value.bit_length()), 7)]
    return bytes([part | 0x80 for part in parts[:-1]] + parts[-1:])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def piece(text: str, score: float, kind: int = 1) -> bytes:
    inner = field(1, text.encode()) + b"\x15" + struct.pack("<f", score)
    return field(1, inner + (b"\x18" + varint(kind) if kind != 1 else b""))


# As a model's file: names that no text has, bytes, merges, characters; trainer's notes at the end.
MODEL = b"".join(
    [
        piece("<unk>", 0, 2),
        piece("<s>", 0, 3),
        *(piece(f"<0x{byte:02X}>", 0, 6) for byte in range(256)),
        piece("\u2581h", -1),
        piece("el", -2),
        piece("\u2581hel", -4),
        piece("lo", -3),
        piece("\u2581\u2581", -5),
        piece("日本", -6),
        *(piece(character, -100 - at) for at, character in enumerate("\u2581helo日本é")),
        field(2, b"\x0a\x03abc"),
    ]
)


def count(text: str) -> int:
    ranks = sentencepiece.ranks_of(MODEL)
    encoding = tiktoken.Encoding(
        "small", pat_str=sentencepiece.PATTERN, mergeable_ranks=ranks, special_tokens={}
    )
    return len(encoding.encode(sentencepiece.filler_of(ranks)(" " + text)))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 1),  # a space alone
        ("hello", 2),  # " hel" "lo", for "el" goes before "lo" and " hel"
        ("hello hello", 4),
        ("  hello", 3),
        ("日本", 2),
        ("日本é", 3),
        ("本日", 3),
        ("中", 4),  # three bytes, of which the first is that of known characters
        ("中中", 7),
        ("😀é", 6),
        ("x\x01", 3),
        ("\ud800", 2),  # shown as a question mark
    ],
)
def test_characters_are_joined_and_others_are_spelt_in_bytes(text: str, tokens: int) -> None:
    assert count(text) == tokens


def test_pieces_are_in_the_order_of_their_scores() -> None:
    assert sentencepiece.pieces_of(MODEL)[:5] == [" h", "el", "lo", " hel", "  "]


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_model_or_refused(data: bytes) -> None:
    try:
        assert sentencepiece.pieces_of(data)
    except ValueError:
        return


@pytest.mark.parametrize("end", range(len(MODEL) - 400, len(MODEL)))
def test_a_model_that_is_cut_short_has_fewer_pieces_or_is_refused(end: int) -> None:
    whole = sentencepiece.pieces_of(MODEL)
    try:
        assert set(sentencepiece.pieces_of(MODEL[:end])) <= set(whole)
    except ValueError:
        return
