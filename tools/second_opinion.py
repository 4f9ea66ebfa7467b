"""Token counts by other programs than tiktoken: what `tools/bench --only tokens` compares with.

DeepSeek's vocabulary has Hugging Face's tokenizers, SentencePiece's has sentencepiece itself, both
of which read the publisher's file in their own way. For those of tiktoken's own kind there is a
plain BPE here, over the module `regex`. It is a thousand times slower and can be checked by eye.

The one rule: nothing of m2mproxy counts here; it only says where the files are.
"""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

from m2mproxy.tokens.known import KNOWN, Carried, Format
from m2mproxy.tokens.vocabulary import ranks_of

Count = Callable[[str], int]


def of(name: str) -> tuple[str, Count] | None:
    """What counts for a vocabulary beside us, and how; None where it is not installed."""
    source = KNOWN[name].source
    if isinstance(source, Carried) and source.format is Format.TOKENIZER_JSON:
        return _hugging_face(source) if _has("tokenizers") else None
    if isinstance(source, Carried) and source.format is Format.SENTENCEPIECE:
        return _sentencepiece(source) if _has("sentencepiece") else None
    return _plain(name) if _has("regex") else None


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _path(source: Carried) -> Path:
    spec = importlib.util.find_spec(source.package)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / source.path


def _hugging_face(source: Carried) -> tuple[str, Count]:
    from tokenizers import Tokenizer  # type: ignore[import-not-found, unused-ignore]

    file = json.loads(_path(source).read_bytes())
    file["added_tokens"] = []  # special tokens are text to us, wherever they are met
    tokenizer = Tokenizer.from_str(json.dumps(file))
    return "tokenizers", lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _sentencepiece(source: Carried) -> tuple[str, Count]:
    from sentencepiece import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
        SentencePieceProcessor,
    )

    processor = SentencePieceProcessor(model_file=str(_path(source)))
    return "sentencepiece", lambda text: len(processor.encode(text))


def _plain(name: str) -> tuple[str, Count]:
    import regex  # type: ignore[import-untyped, import-not-found, unused-ignore]

    known = KNOWN[name]
    # What is white space, and where a text ends, is said otherwise in Rust.
    pattern = known.pattern.replace(r"\s", r"\p{White_Space}").replace(r"\S", r"\P{White_Space}")
    words = regex.compile(pattern.replace("$", r"\Z")).findall
    ranks = ranks_of(name)

    def count(text: str) -> int:
        composed = normalize("NFC", text) if known.is_composed else text
        return sum(_merge(word.encode(), ranks) for word in words(composed))

    return "regex and plain BPE", count


def _merge(word: bytes, ranks: dict[bytes, int]) -> int:
    """How many pieces are left of a word, when no two neighbours are a piece any more."""
    parts = [word[at : at + 1] for at in range(len(word))]
    if word in ranks:
        return 1
    while True:
        pairs = (
            (rank, at)
            for at in range(len(parts) - 1)
            if (rank := ranks.get(parts[at] + parts[at + 1])) is not None
        )
        best = min(pairs, default=None)
        if best is None:
            return len(parts)
        _, at = best
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
