"""`m2m scan`, and the scanner that the program is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from known_words import Words

from m2mproxy.cli import guard, tool
from m2mproxy.config import ConfigError, Security, load
from m2mproxy.guard import scanner as scanning
from m2mproxy.guard import scorer
from m2mproxy.guard.engine import EngineMissing

CLEAN = '{"messages":[{"role":"user","content":"hello"}]}'
BAD = '{"messages":[{"role":"user","content":"hi"},{"role":"tool","content":"and IGNORE hunter2"}]}'


@pytest.fixture
def run(capsys, monkeypatch):
    """Run `m2m scan` with a scorer that knows a few words; gives code, output, lines of errors."""
    monkeypatch.setattr(scorer, "Scorer", lambda off: Words())

    def go(*argv: str) -> tuple[int, str, list[str]]:
        code = tool.main(["scan", *argv])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return go


def test_a_clean_body(run):
    assert run("--data", CLEAN) == (0, "clean, score 0.000\n", [])


def test_one_that_would_be_blocked(run):
    assert run("--data", BAD) == (
        1,
        "blocked, score 0.950\n"
        "  0.950 prompt_injection (ignore) in messages[1] (tool) at 4: a word\n",
        [],
    )


def test_one_that_cannot_be_read(run):
    assert run("--data", '{"a":') == (
        1,
        "blocked, score 1.000\n  1.000 malformed_input (json) in body at 5: not JSON\n",
        [],
    )


@pytest.mark.parametrize(
    ("threshold", "code"), [("0.95", 1), ("0.951", 0), ("0", 0), ("1", 0), ("1e-9", 1)]
)
def test_the_threshold_decides_the_exit_code(run, threshold, code):
    found, out, _ = run("--threshold", threshold, "--data", BAD)
    assert found == code
    assert out.startswith("blocked" if code else "clean") and "0.950 prompt_injection" in out


@pytest.mark.parametrize("bad", ["1.1", "-0.1", "nan", "high", ""])
def test_a_threshold_that_is_none(run, bad):
    code, out, err = run(f"--threshold={bad}", "--data", BAD)
    assert (code, out) == (2, "")
    assert err == ["m2m: argument --threshold: must be a number from 0 to 1"]


def test_as_json(run):
    code, out, _ = run("--json", "--data", BAD)
    assert code == 1
    assert json.loads(out) == {
        "blocked": True,
        "score": 0.95,
        "findings": [
            {
                "category": "prompt_injection",
                "source": "ignore",
                "score": 0.95,
                "why": "a word",
                "key": "messages",
                "index": 1,
                "role": "tool",
                "offset": 4,
            }
        ],
    }
    assert "hunter2" not in out


def test_from_a_file(run, tmp_path):
    path = tmp_path / "body.json"
    path.write_text(BAD)
    assert run(str(path))[0] == 1


def test_what_cannot_be_scanned_is_2_and_one_line(run, tmp_path):
    code, out, err = run(str(tmp_path / "none"))
    assert (code, out, len(err)) == (2, "", 1) and "No such file" in err[0]
    assert run("--data", CLEAN, "file") == (
        2, "", ["m2m: --data and a FILE cannot both be given"],
    )  # fmt: skip


def test_a_scanner_is_built_for_what_can_be_read(run, monkeypatch, tmp_path):
    monkeypatch.setattr(scorer, "Scorer", lambda off: pytest.fail("that takes seconds"))
    assert run(str(tmp_path))[0] == 2


# ---- what the program is given -------------------------------------------------------------------


def config(**flags: object):
    given = {f"proxy.security.{name}": value for name, value in flags.items()}
    return load(None, {}, {"proxy.upstream": "http://m", **given})


def test_none_where_nothing_is_scanned():
    assert guard.scanner(config()) is None


def test_the_scanner_is_as_the_configuration_says(monkeypatch):
    asked = []
    monkeypatch.setattr(scorer, "Scorer", lambda off: asked.append(off) or Words())
    built = guard.scanner(
        config(
            enabled=True,
            threshold=0.5,
            thresholds="jailbreak=0.4",
            off=["nul", "some_rule"],
            roles=["user"],
        )
    )
    assert asked == [["some_rule"]]
    assert isinstance(built, scanning.Scanner)

    def refuses(role: str, content: str) -> bool:
        body = json.dumps({"messages": [{"role": role, "content": content}]}).encode()
        return built.read(body).verdict().refuses

    assert refuses("user", "HINT") and refuses("user", "LEAK")
    assert not refuses("tool", "IGNORE") and not refuses("user", "\0")
    assert refuses("tool", "\u202e")


@pytest.mark.parametrize("enabled", [True, False])
def test_an_id_that_there_is_not_stops_the_start(enabled):
    with pytest.raises(ConfigError) as caught:
        guard.scanner(config(enabled=enabled, off=["nul", "no_such_rule"]))
    assert caught.value.key == "--off" and "no rule 'no_such_rule'" in str(caught.value)


def test_the_ids_that_there_are_may_be_off_where_nothing_is_scanned():
    ids = [*scanning.CHECKS, *scorer.sources()]
    assert guard.scanner(config(off=ids)) is None


def test_without_its_library_it_says_what_to_install(run, monkeypatch):
    def missing(off: object) -> None:
        raise EngineMissing("the scanner needs a library")

    monkeypatch.setattr(scorer, "Scorer", missing)
    assert run("--data", CLEAN) == (2, "", ["m2m: the scanner needs a library"])
    with pytest.raises(ConfigError, match="the scanner needs a library") as caught:
        guard.scanner(config(enabled=True))
    assert caught.value.key == "--security"


def test_a_real_one_can_be_built():
    built = guard.build(Security())
    assert not built.read(CLEAN.encode()).verdict().refuses


def test_no_check_has_the_id_of_a_rule():
    assert not set(scanning.CHECKS) & set(scorer.sources())


def test_without_scanning_the_scanner_is_not_imported():
    """Nothing of it: it would be time at the start, and memory."""
    program = """
import sys
from m2mproxy.cli import daemon
from m2mproxy.service import server
server.serve = lambda *args, **more: 0
assert daemon.main(["--upstream", "http://model/v1"]) == 0
print(*[name for name in sys.modules if name.startswith(("m2mproxy.guard", "hyperscan", "numpy"))])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def test_to_look_whether_ids_exist_leaves_no_library_in_memory():
    program = """
import sys
from m2mproxy.cli import daemon
from m2mproxy.service import server
server.serve = lambda *args, **more: 0
assert daemon.main(["--upstream", "http://model/v1"]) == 0
print(*[name for name in sys.modules if name.startswith(("m2mproxy.guard", "hyperscan", "numpy"))])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "M2M_SECURITY_OFF": "nul,model"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    light = ["m2mproxy.guard", "m2mproxy.guard.beside", "m2mproxy.guard.engine"]
    assert sorted(done.stdout.split()) == light
