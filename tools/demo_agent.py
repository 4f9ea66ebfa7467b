"""The demo's agent: six turns with a real model, and what each took on the two wires.

The agent is asked about the source of this repository. It says what it reads next, gets it as the
result of a tool, and sends the whole history with every turn, as agents do. What the tools bring is
real; the model is small and its answers are what they are.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import openai
from openai.types.chat import ChatCompletionMessageParam
from tap import Tap

SYSTEM = """\
You are a careful software engineer. You read the source files that you are shown, one after the
other, and say in one or two sentences what each is for. Do not repeat the code. When you have seen
all of them, sum up what the program does. Each file comes as the result of the tool read_file: its
path in the first line, then its text, cut where it is too long for you. Never invent a file that
you were not shown, and never promise to change one.
"""
FILES = ("http/body.py", "http/faults.py", "codec/varint.py", "net/connection.py", "proxy/pump.py")
CHARACTERS = 900
MAX_TOKENS = 48
_SOURCE = Path(__file__).parents[1] / "m2mproxy"


@dataclass(frozen=True)
class Leg:
    """Bytes of a turn on one wire, heads and framing included."""

    sent: int
    received: int

    @property
    def both(self) -> int:
        return self.sent + self.received


@dataclass(frozen=True)
class Step:
    """A turn. `plain` is the wire between core and model server: what would cross without us."""

    asked: str
    answered: str
    plain: Leg
    link: Leg


def work(client: openai.OpenAI, model: str, plain: Tap, link: Tap) -> Iterator[Step]:
    """The six turns, each as soon as it is over."""
    messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": SYSTEM}]
    for asked, text in _requests():
        messages.append({"role": "user", "content": text})
        for tap in (plain, link):
            tap.clear()
        answer = _answer(client, model, messages)
        messages.append({"role": "assistant", "content": answer})
        yield Step(asked, answer, Leg(*plain.counts()), Leg(*link.counts()))


def _requests() -> Iterator[tuple[str, str]]:
    for name in FILES:
        text = (_SOURCE / name).read_text()[:CHARACTERS]
        yield f"read_file {name}", f"Result of read_file:\nm2mproxy/{name}\n\n{text}"
    yield "sum up", "Those were all. What does the program do?"


def _answer(
    client: openai.OpenAI, model: str, messages: Sequence[ChatCompletionMessageParam]
) -> str:
    words: list[str] = []
    with contextlib.closing(
        client.chat.completions.create(
            model=model, messages=messages, temperature=0, max_tokens=MAX_TOKENS, stream=True
        )
    ) as stream:
        for event in stream:
            words += [choice.delta.content or "" for choice in event.choices]
    return "".join(words)


def bar(size: int, largest: int, width: int) -> str:
    """A bar for `size` where `largest` has `width` characters; the least is an eighth of one."""
    eighths = max(1, round(8 * width * size / largest))
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8]).strip()


def rows(steps: Sequence[Step], width: int) -> Iterator[tuple[str, str, str, Leg]]:
    """For each turn two: its number, which wire, the bar, and the bytes."""
    largest = max(step.plain.both for step in steps)
    for number, step in enumerate(steps, 1):
        yield str(number), "without", bar(step.plain.both, largest, width), step.plain
        yield "", "link", bar(step.link.both, largest, width), step.link
