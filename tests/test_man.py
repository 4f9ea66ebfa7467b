"""The manual pages say what the program does: flags by the parsers, keys by config.KEYS, error
codes by the source, figures and the log's fields by the service.

Both ways: what is not documented fails, and so does what is documented and does not exist.
"""

import argparse
import ast
import inspect
import re
import shutil
import signal
import subprocess
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

from m2mproxy.cli import cert, daemon, tool
from m2mproxy.config import FILE_VARIABLE, KEYS, SECTIONS, Key, load, size_text
from m2mproxy.http import faults
from m2mproxy.http.faults import Busy, ClientGone, Fault, TooLate, UpstreamFault, WrongMethod
from m2mproxy.net import h1_server
from m2mproxy.proxy.links import MISSED
from m2mproxy.proxy.providers import PROFILES
from m2mproxy.service import log, server
from m2mproxy.service.debug import Debug
from m2mproxy.service.local import Endpoints
from m2mproxy.service.stats import Stats

MAN = Path(__file__).parents[1] / "man"
PACKAGE = Path(__file__).parents[1] / "m2mproxy"
PAGES = ("m2mproxy.8", "m2m.1", "m2m.toml.5", "m2m-link.7", "m2m-wire.7")


def page(name: str) -> str:
    return (MAN / name).read_text()


# ---- flags ---------------------------------------------------------------------------------------


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def flags(parser: argparse.ArgumentParser) -> dict[str, bool]:
    """The parser's flags, and whether each takes an argument."""
    return {
        flag: action.nargs != 0 for action in parser._actions for flag in action.option_strings
    }


def documented(text: str, macro: str) -> dict[str, bool]:
    """The flags of a page's `macro Fl` lines, and whether each has an argument."""
    found: dict[str, bool] = {}
    for line in re.findall(rf"^\.{macro} (Fl .*)$", text, re.M):
        for flag, argument in re.findall(r"Fl (\S+)( Ar)?", line):
            assert f"-{flag}" not in found, f"-{flag} is there twice"
            found[f"-{flag}"] = bool(argument)
    return found


def test_flags_of_m2mproxy():
    assert documented(page("m2mproxy.8"), "It") == flags(daemon.parser())


def test_flags_of_m2m():
    own, *sections = re.split(r"^\.Ss m2m (\w+)\n", page("m2m.1"), flags=re.M)
    assert documented(own, "It") == flags(tool.parser())
    for name, text in zip(sections[::2], sections[1::2], strict=True):
        assert documented(text, "It") == flags(subparsers(tool.parser())[name])


def test_commands_of_m2m():
    synopsis = re.findall(r"^\.Nm\n\.Cm (\w+)$", page("m2m.1"), re.M)
    sections = re.findall(r"^\.Ss m2m (\w+)$", page("m2m.1"), re.M)
    assert synopsis == sections == list(subparsers(tool.parser()))


@pytest.mark.parametrize(
    ("name", "form", "parser"),
    [
        ("m2mproxy.8", ".Nm\n", daemon.parser()),
        ("m2m.1", ".Nm\n.Cm proxy\n", subparsers(tool.parser())["proxy"]),
        *(
            ("m2m.1", f".Nm\n.Cm {command}\n", subparsers(tool.parser())[command])
            for command in (
                "cert", "compress", "decompress", "inspect", "count", "models", "scan", "probe"
            )
        ),
    ],
    ids=lambda value: value.split()[-1] if isinstance(value, str) else "",
)
def test_the_synopsis(name, form, parser):
    # --help and --version are forms of their own there.
    expected = {f: takes for f, takes in flags(parser).items() if f not in SHORT}
    synopsis = page(name).split(".Sh SYNOPSIS\n")[1].split(".Sh ")[0]
    assert documented(synopsis.split(form)[1].split(".Nm\n")[0], "Op") == expected


SHORT = ("-h", "--help", "--version")


def test_the_defaults_of_host_and_port():
    text = page("m2m.1")
    assert f".Ar port ,\nby default {tool.DEFAULT_PORT}.\n" in text
    assert f".Ar host ,\nby default {tool.DEFAULT_HOST}.\n" in text


def test_the_defaults_of_a_certificate():
    text = page("m2m.1")
    assert f".Ar days ,\nby default {cert.DEFAULT_DAYS} and at most {cert.MOST_DAYS}.\n" in text
    section = text.split(".Ss m2m cert\n")[1]
    assert re.findall(r"^\.Ql (\S+)", section, re.M)[: len(cert.HERE)] == list(cert.HERE)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("m2mproxy.8", daemon.DEFAULT_FILE),
        ("m2m.1", tool.DEFAULT_FILE),
        ("m2m.toml.5", daemon.DEFAULT_FILE),
        ("m2m.toml.5", tool.DEFAULT_FILE),
    ],
)
def test_the_default_files(name, file):
    assert f".It Pa {file}\n" in page(name)


@pytest.mark.parametrize("name", ["m2mproxy.8", "m2m.1"])
def test_every_exit_code_is_documented(name):
    section = page(name).split(".Sh EXIT STATUS\n")[1].split(".Sh ")[0]
    assert re.findall(r"^\.It (\d+)$", section, re.M) == ["0", "1", "2", "78"]


# ---- keys ----------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """What m2m.toml(5) says of a key."""

    text: str
    type: str
    range: str
    default: str | None
    variable: str


def entries() -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    keys = page("m2m.toml.5").split(".Sh KEYS\n")[1].split(".Sh ")[0]
    for section in keys.split(".Ss ")[1:]:
        name = section.partition("\n")[0].strip("[]")
        for item in section.split(".It Ic ")[1:]:
            key, _, text = item.partition("\n")
            facts = re.findall(
                r"^\.D1 (\w+)(?:, (.+?))?\. (?:Default: (.*?)|Required)\. Ev (\S+)$", text, re.M
            )
            assert len(facts) == 1, f"{name}.{key} needs one line of type, default and variable"
            kind, bounds, default, variable = facts[0]
            path = f"{name}.{key}"
            assert path not in found, f"{path} is there twice"
            found[path] = Entry(text, kind, bounds, default or None, variable)
    return found


ENTRIES = entries()
KEY = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)


def test_keys_of_the_page_are_the_keys():
    assert set(ENTRIES) == set(KEYS)


def test_sections_of_the_page_are_the_sections():
    found = re.findall(r"^\.Ss \[(.*)\]$", page("m2m.toml.5"), re.M)
    assert found == list(SECTIONS)


def kind_of(key: Key) -> str:
    """The page's word for a key's type, from the words of its errors."""
    for words, kind in [
        ("a number of seconds", "duration"),
        ("a number of bytes", "size"),
        ("a whole number", "count"),
        ("a number", "number"),
        ("a table", "table"),
        ("one or several of host:port", "address"),
    ]:
        if key.kind.allowed.startswith(words):
            return kind
    return "boolean" if isinstance(key.default, bool) else "string"


@KEY
def test_the_type_of_a_key(key):
    assert ENTRIES[key.path].type == kind_of(key)


@KEY
def test_the_default_of_a_key(key):
    default = key.default
    if isinstance(default, tuple):
        default = ", ".join(map(str, default))
    elif isinstance(default, bool):
        default = str(default).lower()
    elif isinstance(default, int):
        default = size_text(default) if kind_of(key) == "size" else str(default)
    elif isinstance(default, float):
        default = f"{default:g}"
    assert ENTRIES[key.path].default == ("none" if default == "" else default)


@KEY
def test_the_range_of_a_key(key):
    bounds = re.search(r"from (\S+ to [^\s,]+)", key.kind.allowed)
    assert ENTRIES[key.path].range == (bounds[1] if bounds else "")
    assert ("\n0 is off.\n" in ENTRIES[key.path].text) is ("0 for off" in key.kind.allowed)


@KEY
def test_the_variable_of_a_key(key):
    assert ENTRIES[key.path].variable == key.variable


@KEY
def test_the_words_that_a_key_takes(key):
    # A key of named values names each of them, here or in its section's introduction.
    section = page("m2m.toml.5").split(f".Ss [{key.section}]\n")[1].split(".Ss ")[0]
    introduction = section.split(".Bl ")[0]
    if " or " in key.kind.allowed and key.kind.allowed.startswith('"'):
        for word in re.findall(r'"(\w+)"', key.kind.allowed):
            assert f".Ql {word}" in ENTRIES[key.path].text or f"{word}\\(dq" in introduction


def test_the_profiles():
    listed = ENTRIES["proxy.provider"].text.split("The profiles are\n")[1]
    assert re.findall(r"^\.Ql ([\w-]+)", listed, re.M) == list(PROFILES)


@pytest.mark.parametrize("name", PAGES)
def test_every_variable_named_exists(name):
    known = {key.variable for key in KEYS.values()} | {FILE_VARIABLE, "M2M_*"}
    assert set(re.findall(r"Ev (M2M_\S+)", page(name))) <= known


@pytest.mark.parametrize("name", PAGES)
def test_every_key_named_exists(name):
    names = {key.name for key in KEYS.values()}
    names |= {key.path.removeprefix("proxy.") for key in KEYS.values()}
    assert set(re.findall(r"Ic ([\w.]+)", page(name))) <= names


def test_the_example_is_valid(tmp_path):
    key = tmp_path / "key"
    key.write_text("k")
    examples = re.findall(r"^\[proxy\]\n.*?(?=^\.Ed)", page("m2m.toml.5"), re.M | re.S)
    assert len(examples) == 3
    for number, example in enumerate(examples):
        file = tmp_path / f"{number}.toml"
        file.write_text(example.replace("/etc/m2m.key", str(key)))
        load(str(file), {}, {})


# ---- errors, log and figures ---------------------------------------------------------------------


def items(section: str) -> list[str]:
    """The .It lines of a subsection of m2mproxy(8)."""
    text = re.split(r"^\.S[sh] ", page("m2mproxy.8").split(f".Ss {section}\n")[1], flags=re.M)[0]
    return re.findall(r"^\.It (.+)$", text, re.M)


def names(section: str) -> list[str]:
    return [name for item in items(section) for name in item.split(" , ")]


def calls(name: str) -> list[list[object]]:
    """The literal arguments of every call of `name` in the package, None for others."""
    trees = [ast.parse(source.read_text()) for source in PACKAGE.rglob("*.py")]
    return [
        [getattr(each, "value", None) for each in node.args]
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name
    ]


def test_the_codes_of_errors():
    # The one code that has a name in the source, since an edge goes by it, is MISSED.
    faults_of = [(code, status) for status, code, *_ in calls("ClientFault")]
    codes = {(code or MISSED, status) for code, status in faults_of if isinstance(status, int)}
    codes |= {(code, status) for status, code in h1_server._CODES.items()} | {("bad_request", 400)}
    codes |= {(code, Busy.status) for code, *_ in calls("Busy")}
    codes |= {(code, UpstreamFault.status) for code in faults._UPSTREAM_CODES.values()}
    codes |= {(code, TooLate.status) for code in faults._LATE_CODES.values()}
    codes |= {(kind.code, kind.status) for kind in (Fault, ClientGone, WrongMethod)}
    listed = [(code, int(status)) for code, status in map(str.split, items("Errors"))]
    assert sorted(listed) == sorted(codes)
    assert listed == sorted(listed, key=lambda entry: entry[1])


def test_the_fields_of_the_log():
    line = log._TEXT + log._GUARD
    text = ["time", *(name.decode() for name in re.findall(rb"(\w+)=", line))]
    assert sorted(names("Log")) == sorted(text)


def test_the_figures():
    class_body = ast.parse(textwrap.dedent(inspect.getsource(server.Server._snapshot)))
    keys = [
        key.value
        for node in ast.walk(class_body)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    ]
    assert sorted(names("Figures")) == sorted([*Stats().snapshot(), *keys])


def test_the_endpoints():
    tables = (Endpoints(dict, lambda: None, None, "on").table(), Debug("on", None).table())
    served = {path.decode() for table in tables for path in table}
    assert {item.removeprefix("Pa ") for item in items("Endpoints")} == {
        "/v1/*", "/chat/completions", *served,
    }  # fmt: skip


def test_the_signals():
    handled = [*server._STOPPING, signal.SIGHUP]
    assert items("Signals") == [f"Dv {number.name}" for number in handled]


# ---- form ----------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("name", PAGES)
def test_mandoc_finds_nothing(name):
    command = ["mandoc", "-T", "lint", "-W", "warning", str(MAN / name)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
