r"""The vocabularies that can be had, as data: where their pieces are, and what else makes them.

The patterns cut a text into words, within which pieces are joined. They and the special tokens are
their publishers' (OpenAI's in tiktoken_ext.openai_public, Meta's in llama_models.llama3.tokenizer),
which the tests compare.

The one rule: a vocabulary is known by the SHA-256 of the text that its publisher gives out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Carried:
    """Pieces that another package carries, as its publisher's text."""

    package: str
    """To be imported by that name, which is not done."""
    path: str
    """Of the file, below the package's folder."""
    extra: str
    """What brings it: an extra of m2mproxy."""


@dataclass(frozen=True, slots=True)
class Known:
    """A vocabulary."""

    official: str
    """SHA-256 of its publisher's text, in hex."""
    source: str | Carried
    """SHA-256 of our own packed file, data/NAME.br, in hex; or who else has the pieces."""
    pattern: str
    """A regular expression as tiktoken has them."""
    special: Mapping[str, int]
    """The ids that no text gets, by their names."""


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)",
    r"[^\r\n\p{L}\p{N}]?+\p{L}++",
    r"\p{N}{1,3}+",
    r" ?[^\s\p{L}\p{N}]++[\r\n]*+",
    r"\s++$",
    r"\s*[\r\n]",
    r"\s+(?!\S)",
    r"\s",
)
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?",
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
)
_LLAMA3 = (
    _CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?\p{L}+",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
)
_LLAMA3_SPECIAL = (
    "begin_of_text",
    "end_of_text",
    "reserved_special_token_0",
    "reserved_special_token_1",
    "finetune_right_pad_id",
    "step_id",
    "start_header_id",
    "end_header_id",
    "eom_id",
    "eot_id",
    "python_tag",
    "image",
    *(f"reserved_special_token_{number}" for number in range(2, 246)),
)

KNOWN: Mapping[str, Known] = {
    "cl100k": Known(
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        "0c3796d059bf0d0f76d1603a8a0aac70a0d2334d73316abca51f311d6d40629b",
        "|".join(_CL100K),
        {
            "<|endoftext|>": 100_257,
            "<|fim_prefix|>": 100_258,
            "<|fim_middle|>": 100_259,
            "<|fim_suffix|>": 100_260,
            "<|endofprompt|>": 100_276,
        },
    ),
    "o200k": Known(
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        "8f863839dd92405627c70159a2865aae02e871cac476065c6a4dfdab3908454e",
        "|".join(_O200K),
        {"<|endoftext|>": 199_999, "<|endofprompt|>": 200_018},
    ),
    "llama3": Known(
        "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
        Carried("llama_models", "llama3/tokenizer.model", "llama"),
        "|".join(_LLAMA3),
        {f"<|{name}|>": 128_000 + at for at, name in enumerate(_LLAMA3_SPECIAL)},
    ),
}
