"""In place of what counts tokens: a word is a token, and jobs are counted when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from m2mproxy.tokens.job import Job, Result, run

Done = Callable[[Result | None], None]


@dataclass(frozen=True)
class Words:
    tokens: int
    is_exact: bool = False


class WordCounter:
    """Knows one model's vocabulary, "exact"."""

    def request(self, body: Any, model: str) -> Words:
        texts = [str(message["content"]) for message in body.get("messages", ())]
        texts += [body[name] for name in ("input", "prompt") if name in body]
        return Words(sum(len(text.split()) for text in texts) + 100, model == "exact")

    def answer(self, text: str, model: str) -> Words:
        return Words(len(text.split()), model == "exact")


class Jobs:
    """Takes jobs as a World's `submit`; with `at_once` they are counted as they come."""

    def __init__(self, at_once: bool = True) -> None:
        self.at_once = at_once
        self.taken: list[Job] = []
        self.waiting: list[tuple[Job, Done]] = []

    def __call__(self, job: Job, done: Done) -> None:
        self.taken.append(job)
        self.waiting.append((job, done))
        if self.at_once:
            self.count()

    def count(self) -> None:
        """Count all that wait."""
        waiting, self.waiting = self.waiting, []
        for job, done in waiting:
            done(run(job, WordCounter()))

    def drop(self) -> None:
        """Count nothing of what waits."""
        waiting, self.waiting = self.waiting, []
        for _, done in waiting:
            done(None)
