r"""Which vocabulary a model's name stands for, as rows of data, for the names of all providers.

A name is made plain first (models.py): in lower case, without the folders that providers put before
it and what OpenAI puts around a fine-tune's. The first row whose pattern is found in what is left
decides, whatever else is there, as regions and versions are; so that what is made of another model
(a distillation, a fine-tune) stands above what it is named after. `\b` is the edge of a word;
digits and letters are one word.

The one rule: a row says exact only where the vocabulary is the publisher's own for that model.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """Models whose names have a pattern in them."""

    pattern: str
    """A regular expression, to be searched for."""
    family: str
    """How the messages of such a model are framed; one of frames.FRAMES."""
    vocabulary: str
    """One of known.KNOWN; "" where nobody can have it."""
    is_exact: bool
    """Whether the vocabulary is that model's, and not only one that is near."""


ROWS: tuple[Row, ...] = (
    # Distillations and fine-tunes keep the vocabulary of what they were made of.
    Row(r"deepseek.*distill.*llama|distill-llama", "deepseek", "llama3", True),
    Row(r"deepseek.*distill.*qwen|distill-qwen", "deepseek", "qwen", True),
    Row(r"deepseek-r1-0528-qwen3|deepseek-r1:(1[.]5|7|8|14|32)b", "deepseek", "qwen", True),
    Row(r"deepseek-r1:70b", "deepseek", "llama3", True),
    # OpenAI. What embeds has no frame.
    Row(r"text-embedding-(3|ada-002)", "embedding", "cl100k", True),
    Row(r"text-(davinci|curie|babbage|ada)|code-(davinci|cushman)|gpt-?2\b", "text", "", False),
    Row(r"gpt-?oss|harmony", "gpt-oss", "o200k", True),
    # Searches first: its system message costs nothing, and what was found may.
    Row(r"gpt-?4o.*search|search-(preview|api)", "openai-search", "o200k", True),
    Row(r"gpt-?4o|gpt-?4[.-]?1\b|gpt-?4[.-]5|chatgpt-4o", "openai", "o200k", True),
    Row(r"gpt-?3[.-]?5-turbo-instruct|(davinci|babbage)-002", "text", "cl100k", True),
    Row(r"gpt-?3[.-]?5|gpt-?35|gpt-?4", "openai-cl100k", "cl100k", True),
    Row(r"gpt-?5-chat", "openai", "o200k", True),
    # Not gpt-5-2025-08-07.
    Row(r"gpt-?5[.-][1-9](?!\d)", "openai-gpt-5-later", "o200k", True),
    Row(r"gpt-?5", "openai-gpt-5", "o200k", True),
    Row(r"\bo1-(mini|preview)", "openai-o1-first", "o200k", True),
    Row(r"^o[134]\b|\bo[134]-(mini|pro|preview|deep-research)", "openai-reasoning", "o200k", True),
    Row(r"codex|computer-use-preview", "openai-reasoning", "o200k", True),
    Row(r"gpt-?\d|chatgpt|omni-moderation", "openai", "o200k", False),
    # Meta, and what others made of Llama 3 and 4. Llama 2's pieces nobody here carries.
    Row(r"llama-?(guard-)?(v)?-?4\b|llama.*(maverick|scout)", "llama4", "llama4", True),
    Row(r"code-?llama|llama-?(v)?-?2\b|vicuna|\balpaca", "llama2", "", False),
    Row(r"(hermes-[34]|dolphin-(2\.9|3)).*llama", "chatml", "llama3", True),
    Row(r"llama-?(guard-)?v?-?3[.p-]?[123]", "llama31", "llama3", True),
    Row(r"llama-?(guard-)?v?-?3", "llama3", "llama3", True),
    Row(r"sonar", "llama31", "llama3", False),
    # Mistral: SentencePiece up to 2024, tekken since.
    Row(r"mistral-?nemo|nemo-?(instruct|base|\d)", "mistral-nemo", "tekken", True),
    Row(r"mixtral-8x7b|open-mistral-7b|mistral-7b.*v0[.:]?[12]\b", "mistral-v1", "spm", True),
    Row(r"mixtral|mathstral|open-mistral-7b|mistral-?7b|mistral-7-b", "mistral-spm", "spm", True),
    Row(r"mistral:|mistral$|mistral-tiny|zephyr-7b", "mistral-spm", "spm", True),
    Row(r"mistral-large(-(2402|2407|2411)|:)|codestral(-2405|[:-]22b|$|:)", "mistral-spm", "spm",
        True),
    Row(r"mistral-small(-2402|-2409|:22b)|mistral-medium-2312", "mistral-spm", "spm", True),
    Row(r"codestral-mamba|mamba-codestral", "mistral-spm", "spm", True),
    # Since 2026 they are told how hard to think. Names without a version move on to newer models.
    Row(r"(mistral|magistral)-small-(latest|26|[4-9])", "mistral-small", "tekken", True),
    # These are models of 2024 at some providers, and the latest ones at others.
    Row(r"mistral-(large|medium|small)$", "mistral", "tekken", False),
    Row(r"mistral-embed|codestral-embed", "embedding", "tekken", False),
    Row(r"mistral|ministral|magistral|codestral|devstral|pixtral|voxtral|leanstral",
        "mistral", "tekken", True),
    # DeepSeek's and Alibaba's.
    Row(r"deepseek-(llm|coder[:-](1|6|7|33)|moe|v2)", "deepseek", "deepseek", False),
    Row(r"deepseek-v4", "deepseek-v4", "deepseek", False),
    Row(r"^deepseek-(chat|reasoner)$", "deepseek-api", "deepseek", True),
    Row(r"deepseek", "deepseek", "deepseek", True),
    # Not Qwen3-8B and Qwen-7B, whose figure is a size.
    Row(r"qwen-?(3[.p-]?[5-9]|[4-9])(?!\d*b\b)", "qwen", "qwen35", True),
    # Names without a version move on to newer models.
    Row(r"qwen-(max|plus|turbo|flash|long|vl)", "qwen", "qwen", False),
    Row(r"qwen.*embed", "embedding", "qwen", True),
    Row(r"qwq|qvq|qwen|\bgte-qwen", "qwen", "qwen", True),
    # Anthropic's, in three generations of tokenizers, which nobody but Anthropic has.
    Row(r"claude-(2|instant|v[12])", "claude3", "", False),
    Row(r"claude-(opus|sonnet|haiku)-4[.-](8|9)|claude-4[.-][89]", "claude48", "", False),
    Row(r"claude-(opus|sonnet|haiku)-4[.-]7|claude-4[.-]7", "claude47", "", False),
    Row(r"claude-(opus|sonnet|haiku)-4[.-][56]\b|claude-4[.-][56]\b", "claude45", "", False),
    Row(r"claude-(opus|sonnet|haiku)-[5-9]|claude-(fable|mythos)|claude-[5-9]", "claude48", "",
        False),
    Row(r"claude", "claude3", "", False),
    # Google's: Gemini has the tokenizer of Gemma 3.
    Row(r"(gemini|text)-?embedding|embeddinggemma", "embedding", "", False),
    Row(r"gemini|gemma|learnlm", "gemini", "", False),
    # Others, whose vocabularies are of a size with o200k.
    Row(r"embed|\be5-|\bbge-|\bgte-|minilm|voyage|nomic|jina", "embedding", "", False),
)

OTHER = Row("", "other", "", False)
"""A name that no row has."""
