"""A vocabulary by its name, as an Encoding of tiktoken, which is imported here and nowhere else.

tiktoken's own way to one (get_encoding) would fetch it from the network; ours is made of files that
are here. It takes 80 to 190 ms, during which nothing else in the process runs, and 26 to 48 MiB.

The one rule: each is made once, when it is first asked for, of data whose hash is the expected one.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

import tiktoken

from m2mproxy.tokens.known import KNOWN, Carried, Known
from m2mproxy.tokens.packed import pieces_of_text, unpack

_DATA = Path(__file__).with_name("data")


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
    known = KNOWN[name]
    ranks = {piece: rank for rank, piece in enumerate(_pieces(name, known))}
    encoding = tiktoken.Encoding(
        name, pat_str=known.pattern, mergeable_ranks=ranks, special_tokens=dict(known.special)
    )
    # The engine has a copy. The Encoding keeps this very dict, for pickling alone: 16 to 34 MB.
    ranks.clear()
    return encoding


def _pieces(name: str, known: Known) -> list[bytes]:
    source = known.source
    if not isinstance(source, Carried):
        return unpack(_read(name, packed_file(name), source))
    file = _file(source)
    if file is None:
        raise VocabularyError(f"{name} is not installed: m2mproxy[{source.extra}] brings it")
    return pieces_of_text(_read(name, file, known.official))


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
