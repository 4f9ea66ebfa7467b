"""The shape of the code: who may import whom, and how long things may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "m2mproxy"
FILES = sorted((ROOT / PACKAGE).rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}

# The packages, and what each may import of ours beside itself. Arrows point down only.
MAY_IMPORT = {
    "cli": {"service", "proxy", "link", "codec", "tokens", "guard", "net", "http", "config"},
    "service": {"proxy", "tokens", "guard", "link", "codec", "net", "http", "config"},
    "proxy": {"link", "codec", "tokens", "guard", "net", "http", "config"},
    "net": {"http", "config"},
    "link": {"codec"},
    "codec": set(),
    "tokens": set(),
    "guard": set(),
    "http": set(),
    "config": set(),
}

# The libraries of protocols, the loop and tokenizers, each in its one place.
ONE_PLACE = {
    "h11": "m2mproxy.net.h1_head",
    "hyperscan": "m2mproxy.guard.engine",
    "hpack": "m2mproxy.net.h2_tables",
    "hyperframe": "m2mproxy.net.h2_frames",
    "numpy": "m2mproxy.guard.arrays",
    "tiktoken": "m2mproxy.tokens.vocabulary",
    "uvloop": "m2mproxy.service.server",
}
# What the h2 library calls things, which others say as well.
WORDS = {"h2.errors", "h2.settings"}

MAX_FILE = 450
MAX_FUNCTION = 70

each_module = pytest.mark.parametrize("module", sorted(MODULES))


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def imported(node: ast.AST) -> Iterator[str]:
    """What an import statement names: modules, and for `from a import b` also `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        assert node.module is not None
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(module: str) -> set[str]:
    """Everything that `module` imports, wherever in it."""
    return {name for node in ast.walk(tree(module)) for name in imported(node)}


def imports_of_ours(module: str) -> set[str]:
    """The modules of ours that `module` imports; `from a import b` means a.b where that is one."""
    names = imports(module)
    through = {name.rpartition(".")[0] for name in names if name in MODULES}
    return {name for name in names - through if name in MODULES}


def package(module: str) -> str:
    """The part of the house that a module of ours is in; "" for the entrance."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 or (len(parts) == 2 and parts[1] in MAY_IMPORT) else ""


def functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_package_has_its_rule() -> None:
    assert {package(module) for module in MODULES} - {""} == set(MAY_IMPORT)


@each_module
def test_imports_point_down(module: str) -> None:
    own = package(module)
    if not own:
        assert {package(name) for name in imports_of_ours(module)} <= {"cli"}
        return
    allowed = MAY_IMPORT[own] | {own}
    wrong = {name for name in imports_of_ours(module) if package(name) not in allowed}
    assert not wrong


def test_no_import_goes_in_circles() -> None:
    graph = {module: imports_of_ours(module) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("library", ONE_PLACE)
def test_a_library_is_imported_in_one_place(library: str) -> None:
    users = {
        module
        for module in MODULES
        if any(name.partition(".")[0] == library for name in imports(module))
    }
    assert users == {ONE_PLACE[library]}


def test_of_the_h2_library_only_words_are_used() -> None:
    """Its own state is private in nearly all that a proxy would need of it."""
    names = {name for module in MODULES for name in imports(module) if name.startswith("h2.")}
    assert names and {".".join(name.split(".")[:2]) for name in names} == WORDS


@each_module
def test_json_is_not_read_by_the_protocol_layers(module: str) -> None:
    if package(module) in ("http", "net"):
        assert not imports(module) & {"orjson", "json"}


@each_module
def test_http_does_no_io(module: str) -> None:
    if package(module) == "http":
        assert not imports(module) & {"asyncio", "socket", "ssl", "h11", "uvloop"}


@each_module
def test_codec_tokens_and_guard_do_no_io(module: str) -> None:
    if package(module) in ("codec", "tokens", "guard"):
        banned = {"asyncio", "socket", "ssl", "threading", "urllib", "requests"}
        assert not {name.partition(".")[0] for name in imports(module)} & banned


@each_module
def test_nothing_is_imported_for_types_only(module: str) -> None:
    names = {node.id for node in ast.walk(tree(module)) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree(module)) if isinstance(node, ast.Attribute)}
    assert "TYPE_CHECKING" not in names | {name.rpartition(".")[2] for name in imports(module)}


@each_module
def test_functions_import_nothing_of_ours(module: str) -> None:
    """But for the commands, which load the service only when they start it."""
    if package(module) == "cli":
        return
    for function in functions(module):
        names = {name for node in ast.walk(function) for name in imported(node)}
        hidden = {name for name in names if name.partition(".")[0] == PACKAGE}
        assert not hidden, f"in {function.name}"


@each_module
def test_nothing_is_imported_by_name_at_run_time(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            assert called not in ("__import__", "import_module")


@each_module
def test_files_and_functions_are_short(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= MAX_FILE
    for function in functions(module):
        assert function.end_lineno is not None
        assert function.end_lineno - function.lineno + 1 <= MAX_FUNCTION, function.name


@each_module
def test_every_module_says_what_it_is_and_its_one_rule(module: str) -> None:
    said = ast.get_docstring(tree(module))
    assert said, MODULES[module]
    if MODULES[module].name not in ("__init__.py", "__main__.py"):
        assert "The one rule: " in said.replace("\n", " "), MODULES[module]


def test_the_map_has_every_package_in_the_order_of_imports() -> None:
    said = ast.get_docstring(tree(PACKAGE)) or ""
    assert re.findall(r"^    ([a-z]+)  ", said, re.MULTILINE)[: len(MAY_IMPORT)] == list(MAY_IMPORT)


@each_module
def test_files_that_are_named_exist(module: str) -> None:
    """In docstrings and comments, where a name without a folder is of the same package."""
    here = MODULES[module].parent
    for name in re.findall(r"(?<![\w./*{`])\w+\.py\b", MODULES[module].read_text()):
        assert (here / name).exists() or (here.parent / name).exists(), name
