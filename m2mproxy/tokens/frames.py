"""What a chat template adds to messages and tools, in tokens: a row of numbers for each family of
models, measured on real usage.

A template puts tokens of its own around messages, before them and after them, and shows tools in
words of its own. The figures are those of ../shared/research/tokenizers.md, section 7, and of the
part `tokens` of tools/bench, which compares them with what recorded requests cost; Mistral's were
compared with mistral-common.

The one rule: where a server can use another template than ours, the row says how far off that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum


class Shown(Enum):
    """How tools are put before a model."""

    JSON = "json"
    SPACED = "json with spaces"
    TYPESCRIPT = "typescript"


@dataclass(frozen=True, slots=True)
class Frame:
    """Tokens of a template."""

    once: int = 0
    """Before the first message and after the last one."""
    each: Mapping[str, int] = field(default_factory=dict)
    """For a message, by its role; "" for any other."""
    roles: bool = False
    """Whether the name of the role is a text of its own, too."""
    name: int = 0
    """For a message's name, beside its text."""
    call: int = 0
    """For a call of a tool in a message, beside its name and arguments."""
    quotes: bool = False
    """Whether the results of several calls at once are shown in JSON."""
    tools: int = 0
    """For there being tools."""
    tools_and_system: int = 0
    """That much less where a system message is there already."""
    tools_in_responses: int | None = None
    """For there being tools, with or without a system message, in the Responses API; None where
    that is no other."""
    forced: int = 0
    """More, where a tool has to be called."""
    named: int = 0
    """More, where that is one by its name."""
    thinking: int = 0
    """More, where the model is told to think so long."""
    adaptive: int = 0
    """More, where it thinks as long as it likes."""
    schema: int = 3
    """Around the schema that an answer is to follow."""
    forgets_thoughts: bool = False
    """Whether what answers begin with, up to </think>, is left out."""
    shown: Shown = Shown.JSON
    hides_thoughts: bool = False
    """Whether what the model thought is no part of its reply, but of its cost."""
    doubt: int = 0
    """How many tokens more or fewer `once` may be, as servers differ."""
    tools_doubt: int = 8
    """The same for tools, and for each call."""
    answer_doubt: int = 0
    """The same for each message of the model's."""

    def message(self, role: str) -> int:
        """Tokens around a message of that role."""
        return self.each.get(role, self.each.get("", 0))


def _openai(
    once: int = 3, tools: int = 9, tools_doubt: int = 5, doubt: int = 0, responses: int = 3,
    answer: int = 3, answer_doubt: int = 0, named: int = 8, hides_thoughts: bool = False,
) -> Frame:  # fmt: skip
    return Frame(
        once, {"": 3, "assistant": answer}, roles=True, name=1, call=6, quotes=True, tools=tools,
        tools_and_system=4, tools_in_responses=responses, shown=Shown.TYPESCRIPT, doubt=doubt,
        tools_doubt=tools_doubt, answer_doubt=answer_doubt, named=named,
        hides_thoughts=hides_thoughts,
    )  # fmt: skip


def _claude(first: int, further: int, tools: int, forced: int, thinking: int = 0) -> Frame:
    """A system text adds nothing but its tokens."""
    return Frame(
        first - further, {"": further, "system": 0}, call=12, tools=tools, forced=forced,
        thinking=thinking, adaptive=17 if thinking else 0, schema=130, doubt=2, tools_doubt=60,
    )  # fmt: skip


_EMBEDDING = Frame()
_CHATML = Frame(
    3, {"": 5}, call=12, tools=120, shown=Shown.SPACED, doubt=4, tools_doubt=40
)
_DEEPSEEK = Frame(
    2, {"user": 1, "assistant": 2, "tool": 4}, call=8, tools=120, doubt=2, tools_doubt=60,
    forgets_thoughts=True,
)  # fmt: skip


def _mistral(user: int = 2, system: int = 2, doubt: int = 0) -> Frame:
    """Marks around users and a system prompt, the end of an answer; as mistral-common has them."""
    each = {"user": user, "system": system, "assistant": 1, "tool": 14}
    return Frame(
        1, each, call=18, tools=4, shown=Shown.SPACED, doubt=doubt, tools_doubt=12
    )


FRAMES: Mapping[str, Frame] = {
    "openai": _openai(),
    "openai-cl100k": _openai(doubt=1),
    "openai-search": _openai(doubt=12),
    "openai-o1-first": _openai(2, tools_doubt=10, doubt=8, hides_thoughts=True),
    "openai-reasoning": _openai(2, tools_doubt=10, responses=9, hides_thoughts=True),
    # An answer names its channel.
    "openai-gpt-5": _openai(
        2, tools=95, tools_doubt=7, responses=13, answer=5, named=0, hides_thoughts=True
    ),
    "openai-gpt-5-later": _openai(
        2, tools=90, tools_doubt=10, responses=14, answer=5, answer_doubt=2, named=0,
        hides_thoughts=True,
    ),
    # A system message of its own, with the date and the channels; Groq's has 4 more.
    "gpt-oss": Frame(63, {"": 4}, call=8, tools=20, shown=Shown.TYPESCRIPT, doubt=4),
    "llama3": Frame(5, {"": 5}, call=8, tools=60, tools_doubt=40),
    # Since 3.1 there is always a system block, with two dates.
    "llama31": Frame(30, {"": 5, "system": 0}, call=8, tools=60, doubt=25, tools_doubt=40),
    # Groq and Together tell it about tools in 500 to 660 tokens, its own template in 150.
    "llama4": Frame(5, {"": 5}, call=8, tools=410, tools_doubt=260, doubt=1),
    "llama2": Frame(1, {"user": 8, "system": 8, "assistant": 2}, tools=60, doubt=2),
    "mistral": _mistral(),
    "mistral-small": _mistral(doubt=12),
    "mistral-spm": _mistral(),
    # The first ones spell the marks as text.
    "mistral-v1": _mistral(user=7),
    # A system prompt is put before the user's words.
    "mistral-nemo": _mistral(system=0, doubt=1),
    "deepseek": _DEEPSEEK,
    # DeepSeek's own API says two more than its template has.
    "deepseek-api": replace(_DEEPSEEK, once=4, doubt=0, forgets_thoughts=False),
    # Its Responses API says 80 more.
    "deepseek-v4": replace(_DEEPSEEK, once=42, doubt=42),
    "qwen": replace(_CHATML, forgets_thoughts=True),
    "chatml": _CHATML,
    "claude3": _claude(7, 3, 330, 0, thinking=28),
    "claude45": _claude(7, 3, 495, 97, thinking=28),
    "claude47": _claude(11, 3, 335, 97),
    "claude48": _claude(6, 3, 335, 97),
    "gemini": Frame(1, call=4, tools=20, doubt=1, tools_doubt=40),
    "embedding": _EMBEDDING,
    "text": _EMBEDDING,
    "other": Frame(3, {"": 4}, call=8, tools=60, doubt=8, tools_doubt=60),
}  # fmt: skip
"""By the families of names.ROWS."""
