"""`m2m compress`, `decompress` and `inspect`: every form there and back, and what each refuses."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from m2mproxy.cli import tool
from m2mproxy.codec import coding, dictionaries, frame, static
from m2mproxy.codec.base import DEFAULT_LIMITS
from m2mproxy.tokens import vocabulary

CHAT = json.dumps(
    {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "How many people live in Zürich? " * 12},
        ],
        "max_tokens": 300,
        "stream": True,
    },
    ensure_ascii=False,
).encode()
TEXT = ("m2m-text", "t1", "m2m-v3")
BINARY = ("m2m", "zstd", "br", "gzip", "deflate", "static")
TOLD = ("m2m", "m2m-text", "t1", "m2m-v3", "zstd", "gzip", "static")
TOKENS = tuple(f"tk-{letter}{more}" for letter in "co" for more in ("", "-binary"))
LLAMA = ("tk-l", "tk-l-binary")
KEY = bytes(range(32))

Ran = tuple[int, bytes, list[str]]
Run = Callable[..., Ran]


@pytest.fixture
def run(capsysbinary: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line on `data` as standard input; the code, the output, lines of errors."""

    def go(*argv: str, data: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = tool.main(argv)
        out, err = capsysbinary.readouterr()
        return code, out, err.decode().splitlines()

    return go


@pytest.fixture
def hmac_key(tmp_path: Path) -> str:
    return written(tmp_path / "hmac", KEY)


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def no_llama(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tests run, somebody may have installed it."""
    monkeypatch.setattr(vocabulary, "is_installed", lambda name: name != "llama3")


def ok(ran: Ran) -> bytes:
    assert (ran[0], ran[2]) == (0, [])
    return ran[1]


# ---- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TEXT, *BINARY, *TOKENS])
@pytest.mark.parametrize("body", [CHAT, b"{}", CHAT * 40], ids=["chat", "empty", "long"])
def test_every_form_there_and_back(run, name, body):
    if name == "t1" and body == CHAT * 40:
        body = b"[" + b",".join([CHAT] * 40) + b"]"
    message = ok(run("compress", "--form", name, data=body))
    assert ok(run("decompress", "--form", name, data=message)) == body
    if name in (*TOLD, "tk-c", "tk-o"):
        assert ok(run("decompress", data=message)) == body


@pytest.mark.parametrize("name", [name for name in (*TEXT, *BINARY, *TOKENS) if name != "t1"])
def test_bodies_that_are_no_json(run, name):
    for body in (b"", b"a", "é\n\n".encode()):
        message = ok(run("compress", "--form", name, "-", data=body))
        assert ok(run("decompress", "--form", name, "-", data=message)) == body


@pytest.mark.parametrize("name", BINARY)
def test_any_bytes(run, name):
    body = bytes(range(256)) * 3
    message = ok(run("compress", "--form", name, data=body))
    assert ok(run("decompress", "--form", name, data=message)) == body


def test_responses_have_a_dictionary_of_their_own(run):
    message = ok(run("compress", "--form", "static", "--response", data=CHAT))
    assert static.decode(message, static.Way.RESPONSE, len(CHAT)) == CHAT
    assert ok(run("decompress", "--form", "static", "--response", data=message)) == CHAT
    assert ok(run("decompress", data=message)) == CHAT
    code, out, (line,) = run("decompress", "--form", "static", data=message)
    assert (code, out) == (1, b"") and line.startswith("m2m: static: ")
    assert "--response" in line and dictionaries.version() in line


@pytest.mark.parametrize("alias", ["m2m-static", f"m2m-{dictionaries.version()}"])
def test_the_static_form_by_its_other_names(run, alias):
    message = ok(run("compress", "--form", alias, data=CHAT))
    assert message == ok(run("compress", "--form", "static", data=CHAT))
    assert ok(run("decompress", "--form", alias, data=message)) == CHAT


def test_a_level_outside_counts_as_the_nearest(run):
    sizes = {}
    for name in ("zstd", "br", "gzip", "deflate", "m2m", "m2m-text", "m2m-v3"):
        for level in ("0", "9", "19"):  # one outside counts as the nearest
            message = ok(run("compress", "--form", name, "--level", level, data=CHAT * 9))
            assert ok(run("decompress", "--form", name, data=message)) == CHAT * 9
            sizes[name, level] = len(message)
    assert sizes["br", "19"] < sizes["br", "0"] and sizes["m2m", "19"] < sizes["m2m", "0"]


# ---- where bytes come from and go ---------------------------------------------------------------


def test_files(run, tmp_path):
    body, message, back = (tmp_path / name for name in ("body", "message", "back"))
    body.write_bytes(CHAT)
    assert ok(run("compress", "--form", "zstd", str(body), "-o", str(message))) == b""
    assert ok(run("decompress", str(message), "--output", str(back))) == b""
    assert back.read_bytes() == CHAT


def test_text_of_the_command_line(run):
    assert ok(run("compress", "--form", "t1", "--data", '{"model":"gpt-4o"}')) == (
        b'#T1|{"M":"g4o"}'
    )
    assert ok(run("decompress", "--data", '#T1|{"M":"g4o"}')) == b'{"model":"gpt-4o"}'


@pytest.mark.parametrize("command", ["compress", "decompress", "inspect"])
def test_text_and_a_file(run, command):
    line = "m2m: --data and a FILE cannot both be given"
    assert run(command, "--data", "secret", "file") == (2, b"", [line])


@pytest.mark.parametrize("command", ["compress", "decompress", "inspect"])
def test_files_that_cannot_be_read(run, command, tmp_path):
    path = str(tmp_path / "none")
    assert run(command, path) == (1, b"", [f"m2m: {path}: No such file or directory"])
    assert run(command, str(tmp_path)) == (1, b"", [f"m2m: {tmp_path}: Is a directory"])


def test_a_file_that_cannot_be_written(run, tmp_path):
    path = str(tmp_path / "no" / "where")
    line = f"m2m: {path}: No such file or directory"
    assert run("compress", "--form", "br", "-o", path, data=CHAT) == (1, b"", [line])


def test_nothing_is_written_where_nothing_could_be_made(run, tmp_path):
    path = tmp_path / "kept"
    path.write_bytes(b"before")
    assert run("decompress", "-o", str(path), data=b"#T1|no")[0] == 1
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("command", ["compress", "decompress", "inspect"])
def test_more_than_is_decoded(run, command, tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(DEFAULT_LIMITS.decoded + 1)
    code, out, (line,) = run(command, str(path))
    assert (code, out) == (1, b"") and "longer than 16777216 bytes" in line


def test_what_would_decode_to_more(run):
    message = coding.encode(b"gzip", bytes(DEFAULT_LIMITS.decoded + 1))
    line = "m2m: gzip: the body decodes to more than 16777216 bytes"
    assert run("decompress", data=message) == (1, b"", [line])


def on_a_terminal(*argv: str) -> tuple[int, str]:
    """The command with a terminal as its output; the code, and all that it has written there."""
    ours, theirs = pty.openpty()
    program = "import sys; from m2mproxy.cli.tool import main; sys.exit(main())"
    command = [sys.executable, "-c", program, *argv]
    done = subprocess.run(
        command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, timeout=20
    )
    os.close(theirs)
    said = os.read(ours, 65536)
    os.close(ours)
    return done.returncode, said.decode("latin-1").replace("\r\n", "\n")


def test_a_terminal_gets_text_only():
    refusal = "m2m: this is binary, and standard output is a terminal: use -o FILE or --json\n"
    body = '{"model":"gpt-4o"}'
    assert on_a_terminal("compress", "--form", "zstd", "--data", body) == (2, refusal)
    shown = (0, '#T1|{"M":"g4o"}')
    assert on_a_terminal("compress", "--form", "t1", "--data", body) == shown
    escape = frame.encode(b"\x1b[2J", text=True).decode()
    assert on_a_terminal("decompress", "--data", escape) == (2, refusal)
    assert on_a_terminal("decompress", "--data", escape, "-o", "-") == (0, "\x1b[2J")
    assert on_a_terminal("compress", "--form", "zstd", "--json", "--data", body)[0] == 0


def test_an_output_that_is_full():
    program = "import sys; from m2mproxy.cli.tool import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "compress", "--form", "t1", "--data", "{}"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
    line = "m2m: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, line)


# ---- auto, text and JSON ------------------------------------------------------------------------


def test_auto_is_the_smallest_and_says_which(run):
    code, message, (line,) = run("compress", data=CHAT)
    others = [
        ok(run("compress", "--form", name, data=CHAT)) for name in BINARY if name != "deflate"
    ]
    assert code == 0 and len(message) == min(map(len, others))
    assert line.startswith(f"m2m: static: {len(message)} bytes of {len(CHAT)}, ")
    assert ok(run("decompress", data=message)) == CHAT


def test_auto_leaves_what_nothing_makes_smaller(run):
    line = "m2m: plain: no form makes it smaller, so it is written as it is"
    assert run("compress", data=b"{}") == (0, b"{}", [line])


@pytest.mark.parametrize("name", ["zstd", "gzip", "m2m"])
def test_auto_does_not_leave_what_would_be_taken_for_a_form(run, name):
    body = ok(run("compress", "--form", name, data=b"xyz"))
    _, message, (line,) = run("compress", data=body)
    assert message != body and "plain" not in line
    form = line.split(":")[1].strip()
    assert ok(run("decompress", "--form", form, data=message)) == body


def test_text_is_asked_for_and_written(run):
    code, message, (line,) = run("compress", "--text", data=CHAT)
    assert code == 0 and line.startswith(("m2m: m2m-text: ", "m2m: t1: "))
    assert message.decode() and ok(run("decompress", data=message)) == CHAT
    written = ok(run("compress", "--form", "m2m", "--text", data=CHAT))
    assert written == ok(run("compress", "--form", "m2m-text", data=CHAT))
    code, message, _ = run("compress", "--text", data=b"\xff" * 5)
    assert message.startswith(b"#M2M|1|") and message.isascii()


@pytest.mark.parametrize("name", ["zstd", "br", "gzip", "deflate", "static"])
def test_no_text(run, name):
    line = f"m2m: {name} has no text form; --json prints it in base64"
    assert run("compress", "--form", name, "--text") == (2, b"", [line])


@pytest.mark.parametrize("name", [*TEXT, *BINARY])
def test_json(run, name):
    message = ok(run("compress", "--form", name, data=CHAT))
    made = json.loads(ok(run("compress", "--form", name, "--json", data=CHAT)))
    data, encoding = made.pop("data"), made.pop("encoding")
    assert encoding == ("text" if name in TEXT else "base64")
    assert (data.encode() if name in TEXT else b64decode(data)) == message
    sizes = {
        "original_bytes": len(CHAT),
        "compressed_bytes": len(message),
        "ratio": round(len(message) / len(CHAT), 4),
    }
    assert made == {"algorithm": name, **sizes}
    back = json.loads(ok(run("decompress", "--form", name, "--json", data=message)))
    header = back.pop("header", None)
    assert (header is not None) == (name in ("m2m", "m2m-text"))
    if header:
        assert (header["model"], header["messages"], header["security"]) == ("gpt-4o", 2, "none")
    assert back == {"algorithm": name, **sizes, "data": CHAT.decode(), "encoding": "text"}


def test_json_of_bytes_and_of_nothing(run):
    message = ok(run("compress", "--form", "m2m", data=b"\xff\x00"))
    back = json.loads(ok(run("decompress", "--json", data=message)))
    assert (b64decode(back["data"]), back["encoding"]) == (b"\xff\x00", "base64")
    assert json.loads(ok(run("compress", "--form", "zstd", "--json")))["ratio"] == 1.0


# ---- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["hmac", "aead"])
@pytest.mark.parametrize("spelling", [KEY, KEY.hex().encode() + b"\n", KEY.hex().upper().encode()])
@pytest.mark.parametrize("name", ["m2m", "m2m-text", "auto"])
def test_secured_frames(run, tmp_path, mode, spelling, name):
    file = written(tmp_path / "key", spelling)
    flag = f"--{mode}-key-file"
    code, message, _ = run("compress", "--form", name, flag, file, data=CHAT)
    assert code == 0 and message.startswith(b"#M2M|1|")
    seals = tool_seals(mode)
    assert frame.decode(message, seals=seals) == CHAT
    assert ok(run("decompress", flag, file, data=message)) == CHAT
    code, out, (line,) = run("decompress", data=message)
    assert (code, out) == (1, b"") and f"{flag} opens it" in line
    changed = message[:-1] + (b"A" if message[-1:] != b"A" else b"B")
    assert run("decompress", flag, file, data=changed)[:2] == (1, b"")
    seen = json.loads(ok(run("inspect", "--json", flag, file, data=message)))
    assert (seen["header"]["security"], seen["decoded_bytes"]) == (mode, len(CHAT))
    seen = json.loads(ok(run("inspect", "--json", data=message)))
    assert seen["header"]["model"] == "gpt-4o" and "opens it" in seen["error"]


def tool_seals(mode: str) -> tuple[frame.Seal, ...]:
    from m2mproxy.codec.sealed import AeadSeal

    return (frame.HmacSeal(KEY) if mode == "hmac" else AeadSeal(KEY),)


def test_with_a_key_only_what_it_secures_is_read(run, hmac_key):
    plain = ok(run("compress", "--form", "m2m", data=CHAT))
    code, out, (line,) = run("decompress", "--hmac-key-file", hmac_key, data=plain)
    assert (code, out) == (1, b"") and "security NONE is not accepted" in line
    for body in (CHAT, ok(run("compress", "--form", "zstd", data=CHAT))):
        line = "m2m: a key is given, and this is no M2M frame"
        assert run("decompress", "--hmac-key-file", hmac_key, data=body) == (1, b"", [line])


def test_what_cannot_be_secured(run, hmac_key):
    line = "m2m: zstd cannot be secured; m2m and m2m-text can"
    assert run("compress", "--form", "zstd", "--hmac-key-file", hmac_key) == (2, b"", [line])
    line = "m2m: zstd cannot be secured, and a key is given"
    assert run("decompress", "--form", "zstd", "--hmac-key-file", hmac_key) == (2, b"", [line])
    both = ("--hmac-key-file", hmac_key, "--aead-key-file", hmac_key)
    assert run("compress", *both)[0] == 2
    assert run("decompress", *both, data=b"")[0] == 1


@pytest.mark.parametrize(
    ("flag", "content", "says"),
    [
        ("--hmac-key-file", b"hunter2", "an HMAC key has at least 16 bytes"),
        ("--hmac-key-file", b"", "an HMAC key has at least 16 bytes"),
        ("--aead-key-file", b"hunter2" * 4, "an AEAD key has 32 bytes"),
        ("--aead-key-file", b"hunter2" * 1000, "so it is no key"),
    ],
)
def test_keys_of_no_use(run, tmp_path, flag, content, says):
    file = written(tmp_path / "key", content)
    code, out, (line,) = run("compress", flag, file, data=CHAT)
    assert (code, out) == (1, b"") and says in line and "hunter2" not in line


def test_a_key_that_others_can_read(run, tmp_path):
    file = written(tmp_path / "key", KEY)
    os.chmod(file, 0o644)
    code, _, (line,) = run("compress", "--form", "m2m", "--hmac-key-file", file, data=CHAT)
    assert code == 0 and line.startswith(f"m2m: warning: {file} holds a key ")


# ---- what cannot be done ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"), [("tk-l", b"#TK|L|AAAA"), ("tk-l-binary", b"\x02A")]
)
def test_a_vocabulary_that_is_not_installed(run, no_llama, name, message):
    line = f"m2m: {name}: the vocabulary L is not installed; m2mproxy[llama] brings it"
    assert run("compress", "--form", name, data=CHAT) == (1, b"", [line])
    assert run("decompress", "--form", name, data=message) == (1, b"", [line])
    line = "m2m: tk: the vocabulary L is not installed; m2mproxy[llama] brings it"
    assert run("decompress", "--data", "#TK|L|AAAA") == (1, b"", [line])


def test_a_vocabulary_that_cannot_be_used(run, monkeypatch):
    def damaged(name: str) -> None:
        raise vocabulary.VocabularyError(f"{name} cannot be used")

    monkeypatch.setattr(vocabulary, "load", damaged)
    line = "m2m: o200k cannot be used"
    assert run("compress", "--form", "tk-o", data=CHAT) == (1, b"", [line])
    assert run("decompress", "--data", "#TK|O|AAAA") == (1, b"", [line])


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_a_form_that_does_not_exist(run, command):
    code, out, (line,) = run(command, "--form", "lzma")
    assert (code, out) == (2, b"")
    assert line.startswith('m2m: no form is called "lzma": choose one of auto, m2m, m2m-text, ')


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--form", "t1", "--level", "3"), "--level means nothing to t1"),
        (("--form", "static", "--level", "3"), "--level means nothing to static"),
        (("--form", "zstd", "--response"), "--response means nothing to zstd"),
        (("--level", "20"), 'argument --level: "20" is not a level from 0 to 19'),
        (("--level", "-1"), 'argument --level: "-1" is not a level from 0 to 19'),
    ],
)
def test_flags_that_mean_nothing(run, flags, line):
    assert run("compress", *flags) == (2, b"", [f"m2m: {line}"])


def test_a_body_that_a_form_cannot_carry(run):
    assert run("compress", "--form", "t1", data=b"{") == (1, b"", ["m2m: t1: this is not JSON"])
    line = "m2m: m2m-v3: this form carries UTF-8 only"
    assert run("compress", "--form", "m2m-v3", data=b"\xff") == (1, b"", [line])


@pytest.mark.parametrize("name", ["br", "deflate"])
def test_what_cannot_be_told(run, name):
    message = ok(run("compress", "--form", name, data=CHAT))
    code, out, (line,) = run("decompress", data=message)
    assert (code, out) == (1, b"")
    assert "br, deflate and binary token ids cannot be told by their bytes" in line
    assert "--form" in line


@pytest.mark.parametrize("name", [*TEXT, *BINARY, "tk-c", "tk-o"])
def test_damaged_messages(run, name):
    message = ok(run("compress", "--form", name, data=CHAT))
    for damaged in (message[:-3], message + b"\x00\x00", b""):
        code, out, (line,) = run("decompress", "--form", name, data=damaged)
        assert (code, out) == (1, b"") and line.startswith(f"m2m: {name}: ")


# ---- inspect ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", *TOLD, "tk-o"])
def test_every_form_is_recognised_and_compared(run, no_llama, name):
    message = CHAT if name == "plain" else ok(run("compress", "--form", name, data=CHAT))
    seen = json.loads(ok(run("inspect", "--json", data=message)))
    form = "tk" if name == "tk-o" else name
    assert (seen["form"], seen["bytes"], seen["decoded_bytes"]) == (form, len(message), len(CHAT))
    assert ("header" in seen) == (name in ("m2m", "m2m-text"))
    rows = {row["form"]: row for row in seen["forms"]}
    assert list(rows)[:2] == ["m2m", "m2m-text"]
    assert {*TEXT, *BINARY, *TOKENS, *LLAMA} < set(rows)
    for each in (*TEXT, *BINARY, *TOKENS):
        size = len(ok(run("compress", "--form", each, data=CHAT)))
        saved = round(100 * (1 - size / len(CHAT)), 1)
        assert rows[each] == {"form": each, "bytes": size, "saved_percent": saved}
    assert rows["tk-l"]["reason"] == "the vocabulary L is not installed"


def test_the_report_lists_every_form(run, no_llama):
    out = ok(run("inspect", data=CHAT)).decode().splitlines()
    assert out[0].split() == ["form", "plain"] and out[1].split() == ["bytes", str(len(CHAT))]
    at = out.index(next(line for line in out if line.startswith("what it would be")))
    rows = {line.split()[0]: line.split()[1:] for line in out[at + 1 :]}
    assert rows["zstd"][2] == "%" and rows["tk-l"][:2] == ["-", "-"]


def test_what_it_is_though_it_cannot_be_decoded(run):
    message = ok(run("compress", "--form", "m2m", data=CHAT))[:-1]
    out = ok(run("inspect", data=message)).decode()
    assert "not decoded       m2m: " in out and "  model           gpt-4o\n" in out
    assert "what it would be" not in out
    for broken in (b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"#TK|C|AA", b"#M2M|1|"):
        seen = json.loads(ok(run("inspect", "--json", data=broken)))
        assert "error" in seen and "forms" not in seen and "decoded_bytes" not in seen


def test_what_may_be_something_that_it_does_not_say(run):
    message = ok(run("compress", "--form", "br", data=CHAT))
    seen = json.loads(ok(run("inspect", "--json", data=message)))
    assert seen["form"] == "plain" and "br, deflate" in seen["note"]


def test_a_header_that_would_be_obeyed_by_a_terminal(run):
    body = json.dumps({"model": "\x1b[2Jx", "messages": []}).encode()
    out = ok(run("inspect", data=frame.encode(body)))
    assert b"\x1b" not in out and b"\\x1b[2Jx" in out
    many = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}] * 50}).encode()
    assert "and 38 more" in ok(run("inspect", data=frame.encode(many))).decode()
