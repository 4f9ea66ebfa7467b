"""The map of the scanner's files: each is in it once, and imports only what is below it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from m2mproxy import guard

FOLDER = Path(guard.__file__).parent
MAP, WORDS, _ = (guard.__doc__ or "").partition("The words that they share:")
PLACES = re.findall(r"^    ([a-z]+) {2,}\S", MAP, re.MULTILINE)


def imported(name: str) -> set[str]:
    """The scanner's other files that one imports from."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == guard.__name__:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            package, _, module = node.module.rpartition(".")
            found |= {module} if package == guard.__name__ else set()
    return found


def test_every_file_is_in_it_once() -> None:
    assert WORDS
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert sorted(PLACES) == sorted(files)


@pytest.mark.parametrize("name", PLACES)
def test_a_file_imports_only_from_those_below_it(name: str) -> None:
    assert imported(name) <= set(PLACES[PLACES.index(name) + 1 :])


def test_the_files_that_import_others_are_seen() -> None:
    assert {"walk", "characters", "verdict"} <= imported("scanner")
