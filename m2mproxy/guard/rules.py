"""The rules of data/rules.toml: what is asked of them while texts are scanned, and, only for who
compiles or tests them, all that they match, with their words put in and everything folded.

The one rule: what a rule matches is said in the data alone; nothing here knows any of them by name.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from m2mproxy.guard.beside import beside
from m2mproxy.guard.finding import Category
from m2mproxy.guard.fold import fold

_DATA = Path(__file__).with_name("data") / "rules.toml"
# Gaps within a pattern, in bytes: a few words, and the rest of a clause.
_GAPS = {"short": r"[^.!?\n]{0,16}", "gap": r"[^.!?\n]{0,40}", "near": r"[^\n]{0,90}"}
_NAME = re.compile(r"\{([a-z]+)\}")
_TOKEN = re.compile(r"\\.|\[(?:\\.|[^\]\\])+\]|.", re.DOTALL)
"""An escape, a class of characters, or a character."""
_WORD = re.compile(r"\\b(?:\(\?:)?([a-z]+)\)?\\b").fullmatch
_GROUP = re.compile(r"(\\b)\((.*)\)(\\b)", re.DOTALL)


@dataclass(frozen=True)
class Search:
    """One thing to look for: a pattern, or lists of words near each other, in their order."""

    id: str
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


@dataclass(frozen=True)
class Sign(Search):
    """What points to another reading (decoding.py), whose id it has."""

    words: frozenset[bytes]
    """Its patterns, as far as they are one word each."""
    hints: frozenset[bytes]
    """Those of the lists that it looks for near each other."""


@dataclass(frozen=True)
class Rules:
    """All of them, in the order of the data."""

    rules: tuple[Rule, ...]
    signs: tuple[Sign, ...]


class Patterns(NamedTuple):
    """What is looked for, as Hyperscan reads it, over the UTF-8 of folded text."""

    searches: Mapping[str, tuple[str, ...]]
    """By the ids of rules and signs: patterns of which one has to match."""
    lists: Mapping[str, tuple[str, ...]]
    """By the names of lists."""


class Examples(NamedTuple):
    """Texts of one rule."""

    yes: tuple[str, ...]
    """That it must match."""
    no: tuple[str, ...]
    """That it must not match."""


def _bounded(word: str) -> str:
    """A word that does not begin or end within another; only ASCII letters have such borders."""
    first = r"\b" if word[0].isascii() and (word[0].isalnum() or word[0] == "(") else ""
    last = r"\b" if word.isascii() and (word[-1].isalnum() or word[-1] in ")?") else ""
    if not word.isascii() and word[-1].isascii() and word[-1].isalnum():
        last = r"\b"
    return f"{first}{word}{last}"


def _alternatives(tongues: Mapping[str, str]) -> tuple[str, ...]:
    """The words of a list, which are given by languages."""
    words = (word.strip() for each in tongues.values() for word in _split(each))
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


def _read() -> dict[str, Any]:
    import tomllib  # not where they are only asked for

    return tomllib.loads(_DATA.read_text("utf-8"))


@cache
def load() -> Rules:
    """The rules, without what they match. Who reads the data takes 1 MiB, of which this is a tenth:
    so that is done beside this process."""
    rules: Rules = pickle.loads(beside(lambda: pickle.dumps(_rules(_read()))))
    return rules


def _rules(data: Mapping[str, Any]) -> Rules:
    rules = tuple(
        Rule(
            **_search(each),
            category=Category(each["category"]),
            weight=each["weight"],
            words=each["words"],
        )
        for each in data["rule"]
    )
    return Rules(rules, tuple(_sign(each, data["words"]) for each in data["sign"]))


def _sign(row: Mapping[str, Any], lists: Mapping[str, Mapping[str, str]]) -> Sign:
    search = _search(row)
    near = [word for step in search["near"] for name in step for word in _alternatives(lists[name])]
    return Sign(**search, words=_single(_patterns(row, _GAPS)), hints=_single(near))


def _single(patterns: Iterable[str]) -> frozenset[bytes]:
    """Of patterns that are one word each."""
    return frozenset(match[1].encode() for match in map(_WORD, patterns) if match)


def _search(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "near": tuple(tuple(step.split("|")) for step in row.get("near", ())),
        "within": row.get("within", 0),
        "either": row.get("either", False),
    }


def patterns() -> Patterns:
    """What the rules and signs match."""
    data = _read()
    lists = {name: _alternatives(words) for name, words in data["words"].items()}
    known = {name: f"(?:{'|'.join(words)})" for name, words in lists.items()} | _GAPS
    searches = {each["id"]: _patterns(each, known) for each in (*data["rule"], *data["sign"])}
    return Patterns(searches, lists)


def _patterns(row: Mapping[str, Any], known: Mapping[str, str]) -> tuple[str, ...]:
    pattern = _NAME.sub(lambda match: known[match[1]], _folded(row.get("pattern", "")))
    return tuple(_parts(pattern)) if pattern else ()


def examples() -> dict[str, Examples]:
    """By the ids of the rules."""
    return {
        each["id"]: Examples(tuple(each["yes"]), tuple(each["no"])) for each in _read()["rule"]
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
