"""`#TK|`: a body as the token ids of its text, in base64 or, where agreed, in bare bytes.

The one rule: it is written only where the ids give back exactly the body, and read only with the
vocabulary that it names. The crate writes `L` with another vocabulary than Llama's; we do not, so
that without the real one `L` is neither written nor read.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from m2mproxy.codec.base import (
    DEFAULT_LIMITS,
    TOKENS_PREFIX,
    CannotEncode,
    DecodeLimits,
    WireError,
    check_text,
)
from m2mproxy.codec.varint import read_tokens, write_tokens

# The vocabularies by their letters on the wire; their places are their numbers in the binary
# variant.
NAMES: Mapping[str, str] = {"C": "cl100k", "O": "o200k", "L": "llama3"}
VOCABULARIES = tuple(NAMES)

# Bytes of ids that are decoded before the text is counted: one id can stand for a hundred bytes.
_BATCH = 4096

# Characters that a vocabulary gets at a time: tiktoken 0.14 panics, which is no Exception, on a
# million spaces in a row. It costs a token or two a window; what is read back is the same.
_WINDOW = 64 * 1024


class Vocabulary(Protocol):
    """What is needed of a tokenizer; a tiktoken.Encoding has it."""

    def encode_ordinary(self, text: str, /) -> list[int]:
        """The ids of `text`, with the names of special tokens taken as ordinary text."""
        ...

    def decode_bytes(self, ids: Sequence[int], /) -> bytes:
        """The bytes of `ids`, special tokens included.

        Raises:
            LookupError, ValueError or OverflowError: an id is not in the vocabulary.
        """
        ...


Vocabularies = Mapping[str, Vocabulary]


class NoVocabulary(WireError, CannotEncode):
    """The vocabulary is not among those that are here, so its ids are neither read nor written."""

    def __init__(self, letter: str) -> None:
        super().__init__(f"the vocabulary {letter} is not installed")
        self.name = NAMES[letter]
        """The vocabulary's."""


def encode(body: bytes, vocabulary: Vocabulary, letter: str, binary: bool = False) -> bytes:
    """The message that carries `body`.

    Args:
        letter: the vocabulary's name on the wire, one of VOCABULARIES.
        binary: the variant that nothing tells from other bytes; see `decode_binary`.

    Raises:
        CannotEncode: the body is not UTF-8, or the vocabulary does not give it back.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise CannotEncode("this form carries UTF-8 only") from None
    windows = range(0, len(text), _WINDOW)
    packed = b"".join(_pack(text[at : at + _WINDOW], vocabulary) for at in windows)
    if binary:
        return bytes((VOCABULARIES.index(letter),)) + packed
    digits = binascii.b2a_base64(packed, newline=False)
    return b"%b%b|%b" % (TOKENS_PREFIX, letter.encode(), digits)


def _pack(text: str, vocabulary: Vocabulary) -> bytes:
    ids = vocabulary.encode_ordinary(text)
    if vocabulary.decode_bytes(ids) != text.encode():
        raise CannotEncode("the vocabulary does not give back the text")
    return write_tokens(ids)


def decode(
    message: bytes, vocabularies: Vocabularies, limits: DecodeLimits = DEFAULT_LIMITS
) -> bytes:
    """The body that the text form carries.

    Raises:
        NoVocabulary: its vocabulary is not among `vocabularies`.
        WireError: it is not of this form, its vocabulary has not such ids, they do not make UTF-8,
            or it passes a limit.
    """
    limits.check_message(len(message))
    start = len(TOKENS_PREFIX)
    if not message.startswith(TOKENS_PREFIX) or message[start + 1 : start + 2] != b"|":
        raise WireError("this is no token-native message")
    vocabulary = _vocabulary(message[start : start + 1].decode("latin-1"), vocabularies)
    try:
        packed = binascii.a2b_base64(message[start + 2 :], strict_mode=True)
    except binascii.Error:
        raise WireError("the message is not base64") from None
    return _body(packed, vocabulary, limits)


def decode_binary(
    message: bytes, vocabularies: Vocabularies, limits: DecodeLimits = DEFAULT_LIMITS
) -> bytes:
    """The body that the binary variant carries; as `decode`."""
    limits.check_message(len(message))
    if not message or message[0] >= len(VOCABULARIES):
        raise WireError("this is no token-native message")
    vocabulary = _vocabulary(VOCABULARIES[message[0]], vocabularies)
    return _body(memoryview(message)[1:], vocabulary, limits)


def _vocabulary(letter: str, vocabularies: Vocabularies) -> Vocabulary:
    if letter not in VOCABULARIES:
        raise WireError("the message names an unknown vocabulary")
    vocabulary = vocabularies.get(letter)
    if vocabulary is None:
        raise NoVocabulary(letter)
    return vocabulary


def _body(packed: bytes | memoryview, vocabulary: Vocabulary, limits: DecodeLimits) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for ids in _batches(packed):
        try:
            piece = vocabulary.decode_bytes(ids)
        except (LookupError, ValueError, OverflowError):
            raise WireError("a token id is not in its vocabulary") from None
        size += len(piece)
        limits.check_decoded(size)
        pieces.append(piece)
    check_text(pieces)
    return b"".join(pieces)


def _batches(packed: bytes | memoryview) -> Iterator[list[int]]:
    """The ids, a bounded number at a time."""
    view = memoryview(packed)
    at = 0
    while at < len(view):
        ids, used = read_tokens(view[at : at + _BATCH])
        if not used:
            raise WireError("the message is cut short within a token id")
        at += used
        yield ids


@dataclass(frozen=True, slots=True)
class TokenCodec:
    """Token ids of one vocabulary as a Codec."""

    letter: str
    vocabularies: Vocabularies
    binary: bool = False

    @property
    def is_text(self) -> bool:
        return not self.binary

    def encode(self, body: bytes) -> bytes:
        vocabulary = _vocabulary(self.letter, self.vocabularies)
        return encode(body, vocabulary, self.letter, self.binary)

    def decode(self, message: bytes, limits: DecodeLimits = DEFAULT_LIMITS) -> bytes:
        read = decode_binary if self.binary else decode
        return read(message, self.vocabularies, limits)
