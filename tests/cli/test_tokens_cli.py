"""`m2m count` and `m2m models`: what they print, as which model, and what they refuse."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from m2mproxy.cli import tool
from m2mproxy.tokens import vocabulary

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello"}]}
REQUEST = json.dumps(BODY)
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
Ran = tuple[int, str, list[str]]
Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def go(*argv: str, data: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = tool.main(argv)
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return go


@pytest.fixture
def nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where no extra is installed."""
    ours = ("o200k", "cl100k")
    monkeypatch.setattr(vocabulary, "is_installed", lambda name: name in ours)


def counted(ran: Ran) -> dict[str, Any]:
    code, out, err = ran
    assert (code, err) == (0, [])
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


# ---- count --------------------------------------------------------------------------------------


def test_a_request_as_its_own_model(run: Run) -> None:
    code, out, err = run("count", "--data", REQUEST)
    assert (code, err) == (0, [])
    assert dict(line.split(maxsplit=1) for line in out.splitlines()) == {
        "tokens": "9",
        "error": "none: this is exact",
        "of": "request",
        "model": "gpt-4o-mini",
        "vocabulary": "o200k",
    }


def test_a_request_as_json(run: Run) -> None:
    assert counted(run("count", "--json", "--data", REQUEST)) == {
        "tokens": 9,
        "exact": True,
        "error": 0,
        "counted": "request",
        "model": "gpt-4o-mini",
        "vocabulary": "o200k",
    }


def test_a_file_and_standard_input(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(REQUEST)
    by_file = counted(run("count", "--json", str(file)))
    assert by_file == counted(run("count", "--json", "-", data=REQUEST.encode()))
    assert by_file == counted(run("count", "--json", data=REQUEST.encode()))


@pytest.mark.usefixtures("nothing_more")
@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("claude-sonnet-4-5", "none; estimated by o200k"),
        ("llama3.2:3b", "llama3 is not installed, m2mproxy[llama] brings it; estimated by o200k"),
        ("mixtral", "spm is not installed, m2mproxy[mistral] brings it; estimated by o200k"),
        ("who-knows", "none; estimated by o200k"),
    ],
)
def test_as_another_model_which_is_estimated(run: Run, model: str, why: str) -> None:
    code, out, err = run("count", "--model", model, "--data", REQUEST)
    assert (code, err) == (0, [])
    assert f"model       {model}\n" in out and f"vocabulary  {why}\n" in out
    assert "% more or less" in out
    seen = counted(run("count", "--json", "--model", model, "--data", REQUEST))
    assert not seen["exact"] and seen["error"] > 0 and seen["vocabulary"] is None


def test_another_vocabulary_of_ours(run: Run) -> None:
    assert counted(run("count", "--json", "--model", "gpt-4", "--data", "hi"))["tokens"] == 1


@pytest.mark.parametrize("text", ["hello world", "[1", "[]", '"x"', "", "{", "<|endoftext|>"])
def test_a_text_is_counted_exactly(run: Run, text: str) -> None:
    seen = counted(run("count", "--json", "--model", "gpt-4o", "--data", text))
    assert seen["counted"] == "text" and seen["exact"]
    assert seen["tokens"] == len(vocabulary.load("o200k").encode_ordinary(text))


def test_a_request_as_text(run: Run) -> None:
    seen = counted(run("count", "--json", "--text", "--model", "gpt-4o", "--data", REQUEST))
    assert seen["counted"] == "text"
    assert seen["tokens"] == len(vocabulary.load("o200k").encode_ordinary(REQUEST))


# By the tools the count is an estimate, too, whose error says nothing of the picture.
@pytest.mark.parametrize("more", [{}, {"tools": [{"type": "function", "function": {"name": "f"}}]}])
def test_what_is_not_counted_is_said(run: Run, more: dict[str, Any]) -> None:
    body = {**BODY, "messages": [{"role": "user", "content": [PICTURE]}], **more}
    _, out, _ = run("count", "--data", json.dumps(body))
    assert "unknown: not all of it is text" in out
    seen = counted(run("count", "--json", "--data", json.dumps(body)))
    assert (seen["exact"], seen["error"]) == (False, None)


@pytest.mark.parametrize("argv", [["--data", "hello"], ["--data", "{}"], ["--data", '{"model":1}']])
def test_a_count_without_a_model_is_refused(run: Run, argv: list[str]) -> None:
    assert run("count", *argv) == (2, "", ["m2m: no model is named: give one with --model"])


def test_what_is_neither_json_nor_text_is_not_counted(run: Run) -> None:
    expected = (1, "", ["m2m: this is neither JSON nor UTF-8"])
    assert run("count", "--model", "gpt-4o", data=b"\xff\xfe") == expected


def test_a_file_that_is_not_there(run: Run, tmp_path: Path) -> None:
    code, out, (line,) = run("count", "--model", "gpt-4o", str(tmp_path / "none"))
    assert (code, out) == (1, "") and "No such file" in line


def test_a_vocabulary_that_is_damaged(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(_: object) -> None:
        raise vocabulary.VocabularyError("o200k cannot be used: x is not what it should be")

    monkeypatch.setattr(vocabulary, "preload", damaged)
    code, out, (line,) = run("count", "--data", REQUEST)
    assert (code, out) == (1, "") and "cannot be used" in line


def test_a_name_that_a_terminal_would_obey(run: Run) -> None:
    _, out, _ = run("count", "--model", "\x1b[31mred", "--data", "x")
    assert "\x1b" not in out


# ---- models -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_more")
def test_models_by_name(run: Run) -> None:
    code, out, err = run("models", "gpt-4o", "llama3", "gemini-2.5-pro")
    assert (code, err) == (0, [])
    head, *lines = (line.split() for line in out.splitlines())
    assert head == ["model", "messages", "vocabulary", "exact", "installed"]
    assert lines == [
        ["gpt-4o", "openai", "o200k", "yes", "yes"],
        ["llama3", "llama3", "llama3", "yes", "no:", "m2mproxy[llama]"],
        ["gemini-2.5-pro", "gemini", "-", "no", "no"],
    ]


def test_all_patterns(run: Run) -> None:
    code, out, _ = run("models")
    assert code == 0
    assert out.splitlines()[-1].startswith("(any other)")
    assert "mixtral" in out and "claude" in out


def test_columns_line_up_whatever_a_model_is_called(run: Run) -> None:
    code, out, _ = run("models", "o1", "a\x1b\n", "gpt-5.2")
    assert code == 0
    head, first, second, third = out.splitlines()
    assert second.startswith("a\\x1b\\n  other ")
    assert head.index("messages") == first.index("openai") == second.index("other") == 9
    assert head.index("vocabulary") == first.index("o200k") == third.index(" o200k") + 1


@pytest.mark.usefixtures("nothing_more")
def test_models_as_json(run: Run) -> None:
    code, out, _ = run("models", "--json", "deepseek-chat", "grok-4")
    assert code == 0
    first, second = json.loads(out)
    assert first == {
        "model": "deepseek-chat",
        "messages": "deepseek-api",
        "vocabulary": "deepseek",
        "exact": True,
        "installed": False,
        "extra": "deepseek",
    }
    assert (second["vocabulary"], second["installed"], second["extra"]) == (None, False, None)
