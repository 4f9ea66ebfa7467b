"""Texts for generated sessions: what Python's standard library has in docstrings, code and names.

Real text, which no dictionary of ours was trained on, and the same on every machine with the same
Python.

The one rule: what a Scribe writes depends on its seed alone.
"""

import ast
import json
import random
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]
_SMALLEST, _LARGEST, _FILES = 6_000, 60_000, 60
_APOSTROPHE, _DASH = "\N{RIGHT SINGLE QUOTATION MARK}", "\N{EM DASH}"


class File(NamedTuple):
    name: str
    lines: list[str]


class Function(NamedTuple):
    name: str
    doc: str
    arguments: list[str]


class Library(NamedTuple):
    """What is taken from the standard library."""

    files: list[File]
    prose: list[str]
    functions: list[Function]


@cache
def library() -> Library:
    """Modules of middling size, the same ones in the same order each time."""
    found = Library([], [], [])
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*.py")):
        if len(found.files) < _FILES and _SMALLEST < path.stat().st_size < _LARGEST:
            text = path.read_text(encoding="utf-8", errors="replace")
            found.files.append(File(path.name, text.splitlines()))
            _read(ast.parse(text), found)
    return found


def _read(module: ast.Module, found: Library) -> None:
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            doc = ast.get_docstring(node) or ""
            found.prose.extend(_paragraphs(doc))
            if isinstance(node, ast.FunctionDef) and len(doc) > 60 and node.name[0] != "_":
                names = [each.arg for each in node.args.args if each.arg != "self"]
                found.functions.append(Function(node.name, doc, names))


def _paragraphs(doc: str) -> Iterator[str]:
    """With the quotation marks and dashes that models write, which are not ASCII."""
    for paragraph in doc.split("\n\n"):
        text = " ".join(paragraph.split())
        if 80 < len(text) < 900:
            yield text.replace("'", _APOSTROPHE).replace("--", _DASH)


class Scribe:
    """Writes what a session needs, out of the library and its own random numbers."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.file = self.random.choice(library().files)
        self._at = self.random.randrange(max(1, len(self.file.lines) - 300))

    def prose(self, size: int) -> str:
        """About that many characters of paragraphs."""
        parts: list[str] = []
        while sum(map(len, parts)) < size:
            parts.append(self.random.choice(library().prose))
        return "\n\n".join(parts)[: size + 40]

    def sentence(self) -> str:
        return self.random.choice(library().prose).partition(". ")[0] + "."

    def code(self, lines: int) -> str:
        """Lines of a file, numbered, from where the last ones were: half of them again, half new,
        as one reads through a file."""
        numbered = enumerate(self.file.lines[self._at : self._at + lines], self._at + 1)
        self._at = (self._at + lines // 2) % max(1, len(self.file.lines) - lines)
        return "\n".join(f"{number:6}\t{line}" for number, line in numbered)

    def record(self) -> str:
        """What a database answers: a few functions of a module, as JSON."""
        start = self.random.randrange(len(library().functions) - 4)
        some = library().functions[start : start + self.random.randint(1, 4)]
        rows = [
            {"id": f"fn_{self.random.randrange(10**7):07}", "name": each.name}
            | {"arguments": each.arguments, "summary": each.doc[:80], "status": "available"}
            for each in some
        ]
        return json.dumps({"results": rows, "total": len(rows)})

    def listing(self) -> str:
        """What a test run prints."""
        names = [each.name for each in library().functions[: self.random.randint(15, 40)]]
        lines = [f"tests/test_{name}.py::test_{name} PASSED" for name in names]
        return "\n".join(lines) + f"\n{len(names)} passed in {self.random.random():.2f}s"

    def name(self, prefix: str) -> str:
        """A random id, as OpenAI's are."""
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        return prefix + "".join(self.random.choices(letters, k=24))


def tools(count: int) -> list[Json]:
    """Tools that are real functions, with their docstrings and arguments. Many of them come from
    servers that describe theirs at length."""
    most, words = (600, 60) if count < 50 else (2000, 480)
    made = {}
    for each in library().functions:
        about = " ".join(each.doc.split())
        properties = {
            name: {"type": "string", "description": f"{name}: {about[:words]}"}
            for name in (each.arguments or ["value"])[:5]
        }
        schema = {"type": "object", "properties": properties, "required": list(properties)[:1]}
        made[each.name] = {"name": each.name, "description": each.doc[:most], "parameters": schema}
    return [{"type": "function", "function": each} for each in list(made.values())[:count]]
