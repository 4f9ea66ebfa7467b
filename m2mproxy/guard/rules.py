"""The rules of data/rules.toml, read, with their words put in and everything folded.

The one rule: what a rule matches is said in the data alone; nothing here knows any of them by name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from m2mproxy.guard.finding import Category
from m2mproxy.guard.fold import fold

_DATA = Path(__file__).with_name("data") / "rules.toml"
# Gaps within a pattern, in bytes: a few words, and the rest of a clause.
_GAPS = {"short": r"[^.!?\n]{0,16}", "gap": r"[^.!?\n]{0,40}", "near": r"[^\n]{0,90}"}
_NAME = re.compile(r"\{([a-z]+)\}")
_TOKEN = re.compile(r"\\.|\[(?:\\.|[^\]\\])+\]|.", re.DOTALL)
"""An escape, a class of characters, or a character."""
_GROUP = re.compile(r"(\\b)\((.*)\)(\\b)", re.DOTALL)


@dataclass(frozen=True)
class Search:
    """One thing to look for: a pattern, or lists of words near each other, in their order."""

    id: str
    patterns: tuple[str, ...]
    """Of which one has to match, as Hyperscan reads them, over the UTF-8 of folded text."""
    near: tuple[tuple[str, ...], ...]
    """Steps, each the names of lists of which one has to occur."""
    within: int
    """Bytes from the end of one step to the end of the next, at most."""
    either: bool
    """The steps may also come in the other order."""


@dataclass(frozen=True)
class Rule(Search):
    """What is looked for because it counts."""

    category: Category
    weight: float
    """In logits: what it counts for before any training."""
    words: str
    """What it means, for people."""
    yes: tuple[str, ...]
    """Texts that it must match."""
    no: tuple[str, ...]
    """Texts that it must not match."""


@dataclass(frozen=True)
class Rules:
    """All of the data."""

    lists: Mapping[str, Sequence[str]]
    """Name to patterns."""
    rules: tuple[Rule, ...]
    signs: tuple[Search, ...]
    """Each has the id of the other reading (views.py) that it points to."""


def _bounded(word: str) -> str:
    """A word that does not begin or end within another; only ASCII letters have such borders."""
    first = r"\b" if word[0].isascii() and (word[0].isalnum() or word[0] == "(") else ""
    last = r"\b" if word.isascii() and (word[-1].isalnum() or word[-1] in ")?") else ""
    if not word.isascii() and word[-1].isascii() and word[-1].isalnum():
        last = r"\b"
    return f"{first}{word}{last}"


def _alternatives(lists: Mapping[str, str]) -> tuple[str, ...]:
    words = (word.strip() for each in lists.values() for word in _split(each))
    return tuple(dict.fromkeys(_bounded(fold(word)) for word in words if word))


def _split(words: str) -> list[str]:
    """At the bars that are outside of brackets."""
    parts, depth = [""], 0
    for token in _TOKEN.findall(words):
        depth += (token == "(") - (token == ")")
        if token == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += token
    return [part for part in parts if part]


@cache
def load() -> Rules:
    """The rules in the order of the data."""
    data = tomllib.loads(_DATA.read_text("utf-8"))
    lists = {name: _alternatives(words) for name, words in data["words"].items()}
    rules = tuple(
        Rule(
            **_search(each, lists),
            category=Category(each["category"]),
            weight=each["weight"],
            words=each["words"],
            yes=tuple(each["yes"]),
            no=tuple(each["no"]),
        )
        for each in data["rule"]
    )
    return Rules(lists, rules, tuple(Search(**_search(each, lists)) for each in data["sign"]))


def _search(row: Mapping[str, Any], lists: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    known = {name: f"(?:{'|'.join(words)})" for name, words in lists.items()} | _GAPS
    pattern = _NAME.sub(lambda match: known[match[1]], _folded(row.get("pattern", "")))
    return {
        "id": row["id"],
        "patterns": tuple(_parts(pattern)) if pattern else (),
        "near": tuple(tuple(step.split("|")) for step in row.get("near", ())),
        "within": row.get("within", 0),
        "either": row.get("either", False),
    }


def _parts(pattern: str) -> list[str]:
    """The alternatives of a pattern, each by itself: many small ones compile and run faster."""
    match = _GROUP.fullmatch(pattern)
    inner = _split(match[2]) if match else []
    if match and _level(match[2]):
        return [f"{match[1]}(?:{each}){match[3]}" for each in inner]
    return _split(pattern)


def _level(pattern: str) -> bool:
    """No bracket closes that was not opened in it."""
    depth = 0
    for char in pattern.replace("\\(", "").replace("\\)", ""):
        depth += (char == "(") - (char == ")")
        if depth < 0:
            return False
    return True


def _folded(pattern: str) -> str:
    """Patterns are ASCII but for words of other scripts; only those change."""
    return re.sub(r"[^\x00-\x7f]+", lambda match: fold(match[0]), pattern)
