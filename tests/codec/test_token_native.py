"""`#TK|`: exact for any text, refused for anything else."""

from __future__ import annotations

import base64

import pytest
from allocations import allocating_at_most
from hypothesis import given
from hypothesis import strategies as st
from json_texts import CHAT, LONG_CHAT
from vocabulary import LAST_ID, SPECIAL, VOCABULARIES, LossyVocabulary, SmallVocabulary

from m2mproxy.codec.base import CannotEncode, DecodeLimits, TooLarge, WireError
from m2mproxy.codec.token_native import TokenCodec, decode, decode_binary
from m2mproxy.codec.varint import write_tokens

C = TokenCodec("C", VOCABULARIES)
OB = TokenCodec("O", VOCABULARIES, binary=True)


def text_of(packed: bytes, letter: bytes = b"C") -> bytes:
    return b"#TK|" + letter + b"|" + base64.b64encode(packed)


def test_a_message_byte_by_byte() -> None:
    """Byte 0x41 has id 455 (65 * 7), as a varint c7 03; "hello" is the fourth merge, 1813."""
    packed = b"\xc7\x03" + b"\x95\x0e"
    assert C.encode(b"Ahello") == b"#TK|C|" + base64.b64encode(packed)
    assert C.decode(b"#TK|C|xwOVDg==") == b"Ahello"
    assert OB.encode(b"Ahello") == b"\x01" + b"\xc8\x03" + b"\x96\x0e"
    assert OB.decode(b"\x01\xc8\x03\x96\x0e") == b"Ahello"
    assert TokenCodec("C", VOCABULARIES, binary=True).encode(b"A") == b"\x00\xc7\x03"


@pytest.mark.parametrize("letter", ["C", "O"])
@pytest.mark.parametrize("binary", [False, True])
@given(text=st.text())
def test_any_text_comes_back(letter: str, binary: bool, text: str) -> None:
    codec = TokenCodec(letter, VOCABULARIES, binary)
    body = text.encode()
    message = codec.encode(body)
    assert codec.decode(message) == body
    assert codec.is_text is not binary
    assert binary or message.isascii()


@pytest.mark.parametrize("special", SPECIAL)
def test_the_name_of_a_special_token_is_ordinary_text(special: str) -> None:
    body = b'{"content":"%b"}' % special.encode()
    message = C.encode(body)
    assert C.decode(message) == body
    assert write_tokens([SPECIAL[special]]) not in base64.b64decode(message[6:])


@pytest.mark.parametrize("special", SPECIAL)
def test_a_special_token_is_read_as_its_text(special: str) -> None:
    """The crate writes them so."""
    assert C.decode(text_of(write_tokens([SPECIAL[special]]))) == special.encode()


def test_llama_is_neither_written_nor_read_without_its_vocabulary() -> None:
    codec = TokenCodec("L", VOCABULARIES)
    with pytest.raises(CannotEncode, match="L is not installed"):
        codec.encode(CHAT)
    with pytest.raises(WireError, match="L is not installed"):
        codec.decode(text_of(b"\x01", b"L"))
    with pytest.raises(WireError, match="L is not installed"):
        decode_binary(b"\x02\x01", VOCABULARIES)
    llama = {"L": SmallVocabulary(3)}
    for binary in (False, True):
        codec = TokenCodec("L", llama, binary)
        assert codec.decode(codec.encode(LONG_CHAT)) == LONG_CHAT


def test_the_message_names_its_vocabulary() -> None:
    assert decode(TokenCodec("O", VOCABULARIES).encode(CHAT), VOCABULARIES) == CHAT


def test_a_vocabulary_that_changes_text_is_not_used() -> None:
    codec = TokenCodec("C", {"C": LossyVocabulary()})
    assert codec.decode(codec.encode(b"lower")) == b"lower"
    with pytest.raises(CannotEncode, match="give back"):
        codec.encode(b"Upper")


BROKEN = {
    "another prefix": b"#TL|C|xwM=",
    "nothing after the prefix": b"#TK|",
    "no bar": b"#TK|CxwM=",
    "an unknown vocabulary": b"#TK|X|xwM=",
    "a small letter": b"#TK|c|xwM=",
    "no ASCII": b"#TK|\xff|xwM=",
    "no base64": b"#TK|C|x-M=",
    "a line feed": b"#TK|C|xwM=\n",
    "no padding": b"#TK|C|xwM",
    "an id cut short": text_of(b"\xc7"),
    "an id too long": text_of(b"\xff" * 5 + b"\x01"),
    "an id beyond the vocabulary": text_of(write_tokens([LAST_ID + 1])),
    "the largest id": text_of(write_tokens([2**32 - 1])),
    "an id in a gap": text_of(b"\x01"),
    "half a character": text_of(write_tokens([0xC3 * 7])),
    "a byte that is no character": text_of(write_tokens([0xFF * 7])),
}


@pytest.mark.parametrize("message", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_is_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        decode(message, VOCABULARIES)


@pytest.mark.parametrize("message", [b"", b"\x03", b"\xff\x01", b"\x00\xc7", b"\x00\x01"])
def test_what_is_broken_in_the_binary_variant_is_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        decode_binary(message, VOCABULARIES)


def test_nothing_is_the_empty_text() -> None:
    assert C.encode(b"") == b"#TK|C|"
    assert C.decode(b"#TK|C|") == b""


@pytest.mark.parametrize("size", [2047, 2048, 2049, 4095, 4096, 10_000])
def test_ids_across_the_batches_in_which_they_are_read(size: int) -> None:
    for body in (b"A" * size, b"\0" * size, b"\0" + b"A" * size, "é日".encode() * size):
        assert OB.decode(OB.encode(body)) == body


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 200_000])
def test_text_across_the_windows_in_which_it_is_written(size: int) -> None:
    for body in (b"hello"[: size % 5] + b" the" * (size // 4), "日".encode() * size):
        assert OB.decode(OB.encode(body)) == body


def test_a_vocabulary_never_gets_more_than_a_window() -> None:
    """A million spaces in a row overflow the stack of tiktoken, which nothing here would catch."""

    class Counting(SmallVocabulary):
        longest = 0

        def encode_ordinary(self, text: str, /) -> list[int]:
            self.longest = max(self.longest, len(text))
            return super().encode_ordinary(text)

    vocabulary = Counting()
    codec = TokenCodec("C", {"C": vocabulary})
    body = b" " * 1_100_000
    assert codec.decode(codec.encode(body)) == body
    assert vocabulary.longest == 64 * 1024


def test_a_bomb_costs_what_the_limit_allows() -> None:
    """A million ids of 26 bytes each. All text would be 26 MB, the objects of all ids 36 MB."""
    message = b"\x00" + write_tokens([256 * 7] * 1_000_000)
    with allocating_at_most(2 * (1 << 20)), pytest.raises(TooLarge):
        decode_binary(message, VOCABULARIES, DecodeLimits(decoded=1 << 20))


def test_a_real_tokenizer_has_what_a_vocabulary_needs() -> None:
    tiktoken = pytest.importorskip("tiktoken")
    ranks = {bytes((byte,)): byte for byte in range(256)} | {b"he": 256, b"ll": 257, b"hell": 258}
    encoding = tiktoken.Encoding(
        "small", pat_str=r"\w+|\W+", mergeable_ranks=ranks, special_tokens=dict(SPECIAL)
    )
    codec = TokenCodec("C", {"C": encoding})
    for body in (CHAT, LONG_CHAT, b"hello <|endoftext|> hell", "😀\0".encode()):
        assert codec.decode(codec.encode(body)) == body
    assert codec.decode(text_of(write_tokens([100_257]))) == b"<|endoftext|>"
    for number in (259, 100_258, 2**32 - 1):
        with pytest.raises(WireError):
            codec.decode(text_of(write_tokens([number])))
