"""A vocabulary by its name, as an Encoding of tiktoken, which is imported here and nowhere else.

tiktoken's own way to one (get_encoding) would fetch it from the network; ours is made of files that
are here. It takes 80 to 370 ms, during which nothing else in the process runs, and 19 to 69 MiB.

The one rule: each is made once, when it is first asked for, of data whose hash is the expected one.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Set
from functools import cache
from pathlib import Path
from unicodedata import normalize

import tiktoken

from m2mproxy.tokens import sentencepiece, tekken, tokenizer_json
from m2mproxy.tokens.known import KNOWN, Carried, Format, KnownVocabulary
from m2mproxy.tokens.packed import pieces_of_text, unpack
from m2mproxy.tokens.pieces import NONE, Encoding

_DATA = Path(__file__).with_name("data")
_Ranks = dict[bytes, int]
_Prepare = Callable[[str], str]


class VocabularyError(Exception):
    """A vocabulary cannot be had; a sentence says why."""


def is_installed(name: str) -> bool:
    """Whether the data of the vocabulary, one of KNOWN, is here."""
    source = KNOWN[name].source
    return not isinstance(source, Carried) or _file(source) is not None


@cache
def load(name: str) -> tiktoken.Encoding:
    """The vocabulary of that name, one of KNOWN.

    Raises:
        VocabularyError: its data is not installed, cannot be read, or is not the expected one.
    """
    return _build(name, KNOWN[name])[0]


@cache
def load_to_count(name: str) -> Encoding:
    """The same, so that it counts as its publisher does, who changes some texts before; only the
    prefix that KNOWN names is put before a whole text by whoever cuts it.

    Raises:
        VocabularyError: as `load`.
    """
    known = KNOWN[name]
    if known.is_composed:
        return _Prepared(load(name), lambda text: normalize("NFC", text))
    if _is_sentencepiece(known):
        return _Prepared(*_build(name, known))
    return load(name)


def preload(names: Iterable[str]) -> Mapping[str, Encoding]:
    """Vocabularies to count with, by name, loaded for processes that are forked later to share.

    Args:
        names: of KNOWN.

    Raises:
        VocabularyError: as `load`, for the first that cannot be had.
    """
    loaded = {name: load_to_count(name) for name in names}
    gc.collect()
    return loaded


class _Prepared:
    """A vocabulary that changes a text before it encodes it."""

    def __init__(self, encoding: tiktoken.Encoding, prepare: _Prepare) -> None:
        self._encoding = encoding
        self._prepare = prepare

    def encode(self, text: str, /, *, disallowed_special: Set[str] = NONE) -> list[int]:
        return self._encoding.encode(self._prepare(text), disallowed_special=NONE)

    def decode_single_token_bytes(self, token: int, /) -> bytes:
        return self._encoding.decode_single_token_bytes(token)


# ---- how one is made ----------------------------------------------------------------------------


def _build(name: str, known: KnownVocabulary) -> tuple[tiktoken.Encoding, _Prepare]:
    """The vocabulary, and what is to be done to a text."""
    ranks = ranks_of(name)
    prepare: _Prepare = str
    if _is_sentencepiece(known):
        prepare = sentencepiece.filler_of(ranks)
    encoding = tiktoken.Encoding(
        name, pat_str=known.pattern, mergeable_ranks=ranks, special_tokens=dict(known.special)
    )
    # The engine has a copy. The Encoding keeps this very dict, for pickling alone: 16 to 34 MB.
    ranks.clear()
    return encoding, prepare


def _is_sentencepiece(known: KnownVocabulary) -> bool:
    return isinstance(known.source, Carried) and known.source.format is Format.SENTENCEPIECE


def _of_text(data: bytes) -> _Ranks:
    return {piece: rank for rank, piece in enumerate(pieces_of_text(data))}


_READERS: Mapping[Format, Callable[[bytes], _Ranks]] = {
    Format.TIKTOKEN: _of_text,
    Format.TEKKEN: tekken.ranks_of,
    Format.TOKENIZER_JSON: tokenizer_json.ranks_of,
    Format.SENTENCEPIECE: sentencepiece.ranks_of,
}


def ranks_of(name: str) -> _Ranks:
    """The pieces of the vocabulary of that name, by which two are joined first.

    Raises:
        VocabularyError: as `load`.
    """
    known = KNOWN[name]
    source = known.source
    if not isinstance(source, Carried):
        pieces = unpack(_read(name, packed_file(name), source))
        return {piece: rank for rank, piece in enumerate(pieces)}
    file = _file(source)
    if file is None:
        raise VocabularyError(f"{name} is not installed: m2mproxy[{source.extra}] brings it")
    return _READERS[source.format](_read(name, file, known.official))


def packed_file(name: str) -> Path:
    """Where the packed data of the vocabulary is, if it is ours."""
    return _DATA / f"{name}.br"


def _file(carried: Carried) -> Path | None:
    """Found without importing the package, which would bring what it needs."""
    spec = importlib.util.find_spec(carried.package)
    folders = (spec.submodule_search_locations if spec is not None else None) or ()
    files = (Path(folder) / carried.path for folder in folders)
    return next(filter(Path.is_file, files), None)


def _read(name: str, file: Path, sha256: str) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise VocabularyError(f"{name} cannot be read: {file}: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise VocabularyError(f"{name} cannot be used: {file} is not what it should be")
    return data
