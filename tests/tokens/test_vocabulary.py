"""The real vocabularies: the official ones, exact for any text, and refused where they are not."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
import tiktoken_ext.openai_public as public  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from json_texts import LONG_CHAT, any_body
from vocabulary import text_of_pieces

from m2mproxy.codec.base import CannotEncode, WireError
from m2mproxy.codec.token_native import NAMES, TokenCodec, Vocabularies
from m2mproxy.codec.varint import write_tokens
from m2mproxy.tokens import vocabulary
from m2mproxy.tokens.known import KNOWN, Carried, Format, KnownVocabulary
from m2mproxy.tokens.packed import unpack
from m2mproxy.tokens.pieces import NONE
from m2mproxy.tokens.sentencepiece import PATTERN
from m2mproxy.tokens.vocabulary import (
    VocabularyError,
    is_installed,
    load,
    load_to_count,
    packed_file,
)

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


FILES = {
    Format.TEKKEN: {
        "config": {"default_vocab_size": 3, "default_num_special_tokens": 0},
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(piece).decode()}
            for rank, piece in enumerate((b"a", b"b", b"ab"))
        ],
    },
    Format.TOKENIZER_JSON: {"model": {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}},
}


@pytest.mark.parametrize("form", FILES)
def test_a_package_with_a_file_of_another_format(
    form: Format, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = json.dumps(FILES[form]).encode()
    package.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    known = KnownVocabulary(digest, Carried("carrier", "model", "x", form), r"\S+|\s+")
    monkeypatch.setattr(vocabulary, "KNOWN", {"x": known})
    assert load_to_count.__wrapped__("x").encode("abb") == [2, 1]


def test_a_package_with_a_model_of_sentencepiece(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = (" ", "a", "b", " a", "é")
    fields = (b"\x0a%c%b" % (len(each.encode()), each.encode()) for each in pieces)
    data = b"".join(b"\x0a%c%b" % (len(inner), inner) for inner in fields)
    package.write_bytes(data)
    carried = Carried("carrier", "model", "x", Format.SENTENCEPIECE)
    known = KnownVocabulary(hashlib.sha256(data).hexdigest(), carried, PATTERN, prefix=" ")
    monkeypatch.setattr(vocabulary, "KNOWN", {"x": known})
    encoding = load_to_count.__wrapped__("x")
    assert [len(encoding.encode(text)) for text in (" a", " abé", " è", "\x01")] == [1, 3, 3, 1]


# ---- what other packages say of theirs ----------------------------------------------------------


def carried_file(name: str, path: str) -> str:
    """A text beside the data of a vocabulary; skips where the package is not installed."""
    source = KNOWN[name].source
    assert isinstance(source, Carried)
    if not is_installed(name):
        pytest.skip(f"m2mproxy[{source.extra}] is not installed")
    spec = importlib.util.find_spec(source.package)
    assert spec is not None and spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("llama3", "llama3/tokenizer.py"),
        ("llama4", "llama4/tokenizer.py"),
        ("qwen", "qwen_tokenizer.py"),
        ("qwen35", "qwen_tokenizer.py"),
    ],
)
def test_patterns_are_their_publishers(name: str, path: str) -> None:
    assert KNOWN[name].pattern in carried_file(name, path)


def test_the_pattern_of_tekken_is_in_its_file() -> None:
    file = json.loads(carried_file("tekken", "data/tekken_240718.json"))
    assert file["config"]["pattern"] == KNOWN["tekken"].pattern


def test_deepseek_cuts_as_the_one_pattern_was_made_of() -> None:
    file = json.loads(carried_file("deepseek", "tokenizer.json"))
    *splits, bytes_ = file["pre_tokenizer"]["pretokenizers"]
    assert [(each["type"], each["behavior"], each["invert"]) for each in splits] == [
        ("Split", "Isolated", False)
    ] * 3
    assert [each["pattern"]["Regex"] for each in splits] == [
        r"\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
        "[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|"
        r"\s*[" "\r\n" r"]+|\s+(?!\S)|\s+",
    ]  # fmt: skip
    assert (bytes_["type"], bytes_["add_prefix_space"], bytes_["use_regex"]) == (
        "ByteLevel", False, False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["qwen", "qwen35"])
def test_what_is_composed_before_it_is_counted(name: str) -> None:
    if not is_installed(name):
        pytest.skip("m2mproxy[qwen] is not installed")
    encoding = load_to_count(name)
    assert encoding.encode("cafe\u0301") == encoding.encode("caf\u00e9")


@pytest.mark.parametrize("name", KNOWN)
@given(text=texts)
def test_no_text_is_lost(name: str, text: str) -> None:
    """tiktoken leaves out what a pattern does not match."""
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    encoding = load_to_count(name)
    ids = encoding.encode(text, disallowed_special=NONE)
    known = KNOWN[name]
    spelt = b"".join(map(encoding.decode_single_token_bytes, ids))
    if name == "spm":  # what no piece has is replaced
        assert len(spelt) == len(text.encode("utf-8", "replace"))
    else:
        expected = normalize("NFC", text) if known.is_composed else text
        assert spelt == expected.encode("utf-16", "surrogatepass").decode(
            "utf-16", "replace"
        ).encode()


@needs_llama
def test_llama_as_its_own_package_has_it() -> None:
    tokenizer: Any = pytest.importorskip("llama_models.llama3.tokenizer")
    theirs = tokenizer.Tokenizer.get_instance()
    known = KNOWN["llama3"]
    assert (known.pattern, known.special) == (theirs.pat_str, theirs.special_tokens)
    text = LONG_CHAT.decode()
    assert load("llama3").encode_ordinary(text) == theirs.encode(text, bos=False, eos=False)
