"""The real vocabularies: the official ones, exact for any text, and refused where they are not."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiktoken_ext.openai_public as public  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from json_texts import LONG_CHAT, any_body

from m2mproxy.codec.base import CannotEncode, WireError
from m2mproxy.codec.token_native import NAMES, TokenCodec, Vocabularies
from m2mproxy.codec.varint import write_tokens
from m2mproxy.tokens import vocabulary
from m2mproxy.tokens.known import KNOWN, Carried
from m2mproxy.tokens.packed import text_of_pieces, unpack
from m2mproxy.tokens.vocabulary import VocabularyError, is_installed, load, packed_file

OURS = [name for name, known in KNOWN.items() if isinstance(known.source, str)]
LETTERS = [letter for letter, name in NAMES.items() if is_installed(name)]
LOADED: Vocabularies = {letter: load(NAMES[letter]) for letter in LETTERS}
EVERY_BYTE = text_of_pieces([bytes((byte,)) for byte in range(256)] + [b"he"])

letters = pytest.mark.parametrize("letter", LETTERS)
needs_llama = pytest.mark.skipif(not is_installed("llama3"), reason="llama-models is not here")
# Texts around what tokenizers treat in a way of its own.
WORDS = ["<|endoftext|>", "<|eot_id|>", "<|", "  ", "\n\n", "\t", "'LL", "1234", "日本", "😀\u200d"]
texts = st.lists(st.one_of(st.text(), st.sampled_from(WORDS))).map("".join)


# ---- they are the official ones -----------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_the_packed_data_is_the_official_text(name: str) -> None:
    text = text_of_pieces(unpack(packed_file(name).read_bytes()))
    assert hashlib.sha256(text).hexdigest() == KNOWN[name].official


@pytest.mark.parametrize("name", OURS)
def test_patterns_and_special_tokens_are_openais(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {}

    def loaded(_: str, expected_hash: str) -> dict[bytes, int]:
        expected["sha256"] = expected_hash
        return {}

    monkeypatch.setattr(public, "load_tiktoken_bpe", loaded)
    theirs = getattr(public, f"{name}_base")()
    known = KNOWN[name]
    assert known.pattern == theirs["pat_str"]
    assert known.special == theirs["special_tokens"]
    assert known.official == expected["sha256"]


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("cl100k", [83, 1609, 5963, 374, 2294, 0]),
        ("o200k", [83, 8251, 2488, 382, 2212, 0]),
    ],
)
def test_the_ids_that_openai_gives_for_a_text(name: str, ids: list[int]) -> None:
    assert load(name).encode_ordinary("tiktoken is great!") == ids


def test_the_packed_data_is_small() -> None:
    assert sum(packed_file(name).stat().st_size for name in OURS) <= 2_000_000


def test_those_with_a_letter_on_the_wire_are_known() -> None:
    assert set(NAMES.values()) <= set(KNOWN)


def test_each_is_loaded_once() -> None:
    assert all(load(NAMES[letter]) is LOADED[letter] for letter in LETTERS)


# ---- exact for any text -------------------------------------------------------------------------


@letters
@pytest.mark.parametrize("binary", [False, True])
@given(text=texts)
def test_any_text_comes_back(letter: str, binary: bool, text: str) -> None:
    codec = TokenCodec(letter, LOADED, binary)
    assert codec.decode(codec.encode(text.encode())) == text.encode()


@letters
@given(body=any_body)
def test_any_body_comes_back_or_is_refused(letter: str, body: bytes) -> None:
    codec = TokenCodec(letter, LOADED)
    try:
        body.decode()
    except UnicodeDecodeError:
        with pytest.raises(CannotEncode):
            codec.encode(body)
    else:
        assert codec.decode(codec.encode(body)) == body


@letters
@given(packed=st.binary(max_size=200))
def test_any_ids_are_text_or_refused(letter: str, packed: bytes) -> None:
    message = b"#TK|%b|%b" % (letter.encode(), base64.b64encode(packed))
    try:
        TokenCodec(letter, LOADED).decode(message).decode()
    except WireError:
        return


@letters
def test_lone_surrogates(letter: str) -> None:
    codec = TokenCodec(letter, LOADED)
    with pytest.raises(CannotEncode):
        codec.encode('{"a":"\ud800"}'.encode(errors="surrogatepass"))
    escaped = rb'{"a":"\ud800\udc00 \udfff"}'
    assert codec.decode(codec.encode(escaped)) == escaped


@letters
def test_special_tokens_are_ordinary_text_and_are_read_as_their_text(letter: str) -> None:
    codec = TokenCodec(letter, LOADED)
    for text, number in KNOWN[NAMES[letter]].special.items():
        message = codec.encode(text.encode())
        alone = b"#TK|%b|%b" % (letter.encode(), base64.b64encode(write_tokens([number])))
        assert message != alone
        assert codec.decode(message) == codec.decode(alone) == text.encode()


@letters
@settings(deadline=None, max_examples=3)
@given(space=st.sampled_from(" \t"), end=st.sampled_from(["", "x", "\n", "😀"]))
def test_what_overflows_the_stack_of_tiktoken(letter: str, space: str, end: str) -> None:
    """A million spaces, in one piece, are a panic that no `except Exception` would catch."""
    body = (space * 1_002_600 + end).encode()
    codec = TokenCodec(letter, LOADED, binary=True)
    assert codec.decode(codec.encode(body)) == body


@letters
@pytest.mark.parametrize("piece", ["a", "=", "\n", "日", "<|endoftext|>", "é", "'s"])
def test_long_runs(letter: str, piece: str) -> None:
    body = (piece * 100_000).encode()
    codec = TokenCodec(letter, LOADED)
    assert codec.decode(codec.encode(body)) == body


def test_nothing_is_asked_of_the_network() -> None:
    """tiktoken would load requests for that."""
    program = (
        "import sys; from m2mproxy.tokens.vocabulary import load\n"
        f"for name in {OURS}: load(name).encode_ordinary('hello')\n"
        "print(*{'requests', 'urllib.request', 'http.client', 'socket'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "")


# ---- what cannot be had -------------------------------------------------------------------------


def test_data_that_is_damaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = bytearray(packed_file("cl100k").read_bytes())
    data[-1] ^= 1
    monkeypatch.setattr(vocabulary, "_DATA", tmp_path)
    packed_file("cl100k").write_bytes(data)
    with pytest.raises(VocabularyError, match=r"cl100k cannot be used: .* is not what it should"):
        load.__wrapped__("cl100k")


def test_data_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vocabulary, "_DATA", tmp_path)
    with pytest.raises(VocabularyError, match=r"cl100k cannot be read: .*: No such file"):
        load.__wrapped__("cl100k")


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not is_installed("llama3")
    with pytest.raises(VocabularyError, match=r"llama3 is not installed: m2mproxy\[llama\] brings"):
        load.__wrapped__("llama3")


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of a package like Llama's, which must not be imported."""
    file = tmp_path / "carrier" / "model"
    file.parent.mkdir()
    (file.parent / "__init__.py").write_text("raise AssertionError('imported')")
    file.write_bytes(EVERY_BYTE)
    monkeypatch.syspath_prepend(tmp_path)
    carried = Carried("carrier", "model", "llama")
    llama = replace(
        KNOWN["llama3"], official=hashlib.sha256(EVERY_BYTE).hexdigest(), source=carried
    )
    monkeypatch.setattr(vocabulary, "KNOWN", {"llama3": llama})
    return file


def test_a_package_that_carries_a_vocabulary_is_read_and_not_imported(package: Path) -> None:
    assert is_installed("llama3")
    assert load.__wrapped__("llama3").encode_ordinary("hell\n") == [256, 108, 108, 10]
    assert "carrier" not in sys.modules


def test_a_package_with_another_vocabulary(package: Path) -> None:
    package.write_bytes(EVERY_BYTE + b"aGk= 257\n")
    with pytest.raises(VocabularyError, match=r"llama3 cannot be used: .* is not what it should"):
        load.__wrapped__("llama3")


def test_a_package_without_the_file(package: Path) -> None:
    package.unlink()
    assert not is_installed("llama3")


@needs_llama
def test_llama_as_its_own_package_has_it() -> None:
    tokenizer: Any = pytest.importorskip("llama_models.llama3.tokenizer")
    theirs = tokenizer.Tokenizer.get_instance()
    known = KNOWN["llama3"]
    assert (known.pattern, known.special) == (theirs.pat_str, theirs.special_tokens)
    text = LONG_CHAT.decode()
    assert load("llama3").encode_ordinary(text) == theirs.encode(text, bos=False, eos=False)
