"""Counts the tokens of requests and texts, for a model, with the vocabularies that are loaded.

What has a vocabulary here is counted; what has none is estimated, by its classes of o200k tokens
where that one is loaded, by its characters where nothing is. What a template adds to messages is
known by family (frames.py).

The one rule: a count is exact, or it says how far off it can be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from m2mproxy.tokens import body as bodies
from m2mproxy.tokens import pieces
from m2mproxy.tokens.body import Message, Prompt
from m2mproxy.tokens.estimate import OTHER, Classifier, features_of, targets
from m2mproxy.tokens.frames import FRAMES, Frame, Shown
from m2mproxy.tokens.known import KNOWN
from m2mproxy.tokens.models import Model, find
from m2mproxy.tokens.pieces import Encoding
from m2mproxy.tokens.typescript import render

# Families whose vocabularies nobody has, by what there are weights for.
_NEAREST: Mapping[str, str] = {
    "claude3": "claude3",
    "claude45": "claude3",
    "claude47": "claude47",
    "claude48": "claude48",
    "gemini": "gemma3",
    "llama2": "spm",
}
_O200K = "o200k"
# As measured on 15 schemas that OpenAI's models were given.
_SCHEMA_ERROR = 0.15
# Tokens more or fewer for being told to think.
_THINKING_DOUBT = 4
_END_OF_THOUGHTS = "</think>"
# Objects within objects cost more than TypeScript would.
_NESTED_ERROR = 0.15


@dataclass(frozen=True, slots=True)
class Count:
    """How many tokens."""

    tokens: int
    is_exact: bool
    """False for an estimate, and where something was left out, as images are."""
    error: float
    """How far off an estimate is, of what was counted, as a mean over texts of its kind: 0.04 is
    4 % more or less. 0 when exact."""
    is_whole: bool = True
    """Whether nothing was left out, of which neither `tokens` nor `error` says anything."""


@dataclass(slots=True)
class _Sum:
    """Tokens that add up, and doubts about them."""

    tokens: float = 0
    doubt: float = 0

    def result(self, is_whole: bool = True) -> Count:
        tokens = round(self.tokens)
        is_exact = is_whole and not self.doubt
        return Count(tokens, is_exact, min(1.0, self.doubt / max(tokens, 1)), is_whole)


class Counter:
    """Counts with some vocabularies. Nothing is loaded here, and nothing is asked of a network."""

    def __init__(self, vocabularies: Mapping[str, Encoding]) -> None:
        """
        Args:
            vocabularies: those that are loaded, by their names in known.KNOWN.
        """
        self._vocabularies = dict(vocabularies)
        o200k = self._vocabularies.get(_O200K)
        self._classifier = None if o200k is None else Classifier(o200k)

    def text(self, text: str, model: str) -> Count:
        """The tokens of a text alone."""
        total = _Sum()
        self._add(text, find(model), total)
        return total.result()

    def answer(self, text: str, model: str) -> Count:
        """The tokens of what a model has answered: at least those, where it does not show what it
        thought before."""
        count = self.text(text, model)
        hides = FRAMES[find(model).family].hides_thoughts
        return replace(count, is_exact=False) if hides else count

    def request(self, body: object, model: str) -> Count:
        """The tokens that a model reads for a request.

        Args:
            body: the parsed JSON of chat/completions, completions, responses, messages or
                embeddings. What is no such body has 0 tokens, not exactly.
        """
        about, prompt = find(model), bodies.read(body)
        frame = FRAMES[about.family]
        total = _Sum(prompt.tokens)
        for text in prompt.texts:
            self._add(text, about, total)
        if prompt.messages:
            total.tokens += frame.once
            total.doubt += frame.doubt
        parallel = False
        for message in prompt.messages:
            parallel = len(message.calls) > 1 or (parallel and message.role == "tool")
            self._message(message, frame, parallel, about, total)
        if prompt.tools:
            self._tools(prompt, frame, about, total)
        if prompt.schema:
            self._schema(prompt.schema, frame, about, total)
        if more := {"enabled": frame.thinking, "adaptive": frame.adaptive}.get(prompt.thinks):
            total.tokens += more
            total.doubt += _THINKING_DOUBT
        return total.result(not prompt.is_partial)

    def _message(
        self, message: Message, frame: Frame, is_parallel: bool, model: Model, total: _Sum
    ) -> None:
        """A message; of several calls at once, or the result of one of them, if `is_parallel`."""
        total.tokens += frame.message(message.role)
        if frame.roles:
            self._add(message.role, model, total)
        is_quoted = is_parallel and message.role == "tool" and frame.quotes
        is_answer = message.role == "assistant"
        total.doubt += frame.answer_doubt * is_answer
        for text in message.texts:
            if is_answer and frame.forgets_thoughts:
                text = text.rpartition(_END_OF_THOUGHTS)[2]
            self._add(bodies.compact(text) if is_quoted else text, model, total)
        if message.name and frame.name:
            total.tokens += frame.name
            self._add(message.name, model, total)
        for call in message.calls:
            total.tokens += frame.call
            total.doubt += frame.tools_doubt * (2 if is_parallel else 1)
            self._add(call.name, model, total)
            self._add(call.arguments, model, total)

    def _tools(self, prompt: Prompt, frame: Frame, model: Model, total: _Sum) -> None:
        total.tokens += frame.forced * prompt.is_forced + frame.named * prompt.is_named
        total.doubt += frame.tools_doubt
        if prompt.is_for_responses and frame.tools_in_responses is not None:
            total.tokens += frame.tools_in_responses
        else:
            self._offer(prompt, frame, total)
        if frame.shown is Shown.TYPESCRIPT:
            before, shown = total.tokens, render(prompt.tools)
            self._add(shown, model, total)
            if "\n  " in shown:
                total.doubt += (total.tokens - before) * _NESTED_ERROR
            return
        write = bodies.compact if frame.shown is Shown.JSON else bodies.spaced
        for tool in prompt.tools:
            self._add(write(tool.whole), model, total)

    @staticmethod
    def _offer(prompt: Prompt, frame: Frame, total: _Sum) -> None:
        """That there are tools, for which a template may make a system message."""
        total.tokens += frame.tools
        if any(message.role in ("system", "developer") for message in prompt.messages):
            total.tokens -= frame.tools_and_system

    def _schema(self, schema: str, frame: Frame, model: Model, total: _Sum) -> None:
        """What the answer is to look like, which models see in nearly the same words."""
        before = total.tokens
        self._add(schema, model, total)
        total.tokens += frame.schema
        total.doubt += (total.tokens - before) * _SCHEMA_ERROR

    def _add(self, text: str, model: Model, total: _Sum) -> None:
        """The text itself, counted or estimated."""
        if not text:
            return
        tokens: float
        doubt: float
        encoding = self._vocabularies.get(model.vocabulary)
        if encoding is None:
            tokens, doubt = self._estimate(text, model)
        else:
            known = KNOWN[model.vocabulary]
            tokens, doubt = pieces.count(encoding, known.prefix + text)
            error = known.error if model.is_exact else targets()[OTHER].classes.error
            doubt += tokens * error
        total.tokens += tokens
        total.doubt += doubt

    def _estimate(self, text: str, model: Model) -> tuple[float, float]:
        """Tokens, and how many more or fewer they can be."""
        name = model.vocabulary or _NEAREST.get(model.family, OTHER)
        classes, features = targets().get(name) or targets()[OTHER]
        if self._classifier is None:
            return features.weigh(features_of(text))
        return classes.weigh(self._classifier.count(text))
