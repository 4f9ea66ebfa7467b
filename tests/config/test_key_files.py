"""The upstream key and the files that settings name: one key, never repeated in an error."""

import os
import re
import threading
from pathlib import Path

import pytest
from config_cases import BASE, refusal, write

from m2mproxy.config import KEYS, files, load


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"from-file\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("data", [b"sk-1", b"sk-1\n", b"sk-1\r\n"])
def test_a_key_file(file, key_file, data):
    key_file.write_bytes(data)
    notices: list[str] = []
    loaded = load(file(f"[proxy]\n{BASE}\napi_key_file = '{key_file}'"), {}, {}, notices)
    assert (loaded.api_key, notices) == ("sk-1", [])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\r\n", "is empty"),
        (b"sk-secret\n\n", "more than one line"),
        (b"sk-secret\nsk-other\n", "more than one line"),
        (b"sk secret", "visible ASCII"),
        (b"sk-secret \n", "visible ASCII"),
        (b"sk-secret\x00", "visible ASCII"),
        ("sk-secr\u00e9t".encode(), "visible ASCII"),
        (b"sk-secret\xff", "visible ASCII"),
    ],
)
def test_a_key_file_that_cannot_be_used(key_file, data, reason):
    key_file.write_bytes(data)
    environ = {"M2M_UPSTREAM": "http://m", "M2M_API_KEY_FILE": str(key_file)}
    error = refusal(environ=environ)
    assert (error.source, error.key, error.value) == (
        "environment", "M2M_API_KEY_FILE", str(key_file),
    )  # fmt: skip
    assert reason in error.reason and "sk-" not in str(error)


@pytest.mark.parametrize("path", ["proxy.api_key_file", "proxy.ca_file"])
def test_a_file_that_cannot_be_read(tmp_path, path):
    flags = {"proxy.upstream": "https://m", path: str(tmp_path / "none")}
    error = refusal(flags=flags)
    assert (error.key, error.reason) == (
        KEYS[path].flag, "cannot be read: No such file or directory",
    )  # fmt: skip
    assert refusal(flags=flags | {path: str(tmp_path)}).reason == "cannot be read: Is a directory"


NAMING = ("proxy.api_key_file", "proxy.ca_file", "peer.psk_file", "tokens.prices")


@pytest.mark.parametrize("path", NAMING)
def test_a_file_without_end(path):
    flags = {"proxy.upstream": "https://m", path: "/dev/zero"}
    error = refusal(flags=flags)
    text = str(error)
    assert KEYS[path].flag in text or text.startswith("/dev/zero: "), text
    assert re.search("it has more than [0-9]+ bytes|every user can read the file", error.reason)
    assert "it has more than 1048576 bytes" in refusal("/dev/zero").reason


def test_a_key_may_come_from_a_pipe():
    """As a shell writes it: `--api-key-file <(secret-tool ...)`."""
    reads, writes = os.pipe()
    with open(writes, "wb") as file:
        file.write(b"sk-1\n")
    with open(reads, "rb"):
        flags = {"proxy.upstream": "https://m", "proxy.api_key_file": f"/dev/fd/{reads}"}
        assert load(None, {}, flags).api_key == "sk-1"


@pytest.mark.parametrize("path", NAMING)
def test_a_pipe_that_nobody_writes_to(tmp_path, monkeypatch, path):
    """The start would wait for ever, and say nothing."""
    monkeypatch.setattr(files, "_NO_WRITER", 0)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reason = refusal(flags={"proxy.upstream": "https://m", path: str(pipe)}).reason
    assert re.search("nothing was written to it for 0 seconds|it is a pipe", reason)
    assert "nothing was written to it" in refusal(str(pipe)).reason


def test_a_pipe_whose_writer_is_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_SILENT", 0)
    reads, writes = os.pipe()
    with open(reads, "rb"), open(writes, "wb"):
        assert "nothing was written to it" in refusal(f"/dev/fd/{reads}").reason


def test_a_pipe_whose_writer_left_without_a_word():
    reads, writes = os.pipe()
    os.close(writes)
    with open(reads, "rb"):
        flags = {"proxy.upstream": "https://m", "proxy.api_key_file": f"/dev/fd/{reads}"}
        assert refusal(flags=flags).reason == "the file is empty"


def test_a_key_may_come_from_a_pipe_with_a_name(tmp_path):
    """As `sops exec-file` makes one: its writer waits until it is opened."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("sk-1\n",))
    writer.start()
    flags = {"proxy.upstream": "https://m", "proxy.api_key_file": str(pipe)}
    assert load(None, {}, flags).api_key == "sk-1"
    writer.join()


def test_a_pipe_is_read_to_its_end(tmp_path):
    """However often its writer pauses, and whatever a pipe holds at once."""
    reads, writes = os.pipe()
    text = 'proxy.upstream = "https://m"\n' + "#" * 200_000 + '\nproxy.api_key = "sk-1"\n'
    with open(writes, "w") as file, open(reads, "rb"):
        writer = threading.Thread(target=lambda: (file.write(text), file.close()))
        writer.start()
        assert load(f"/dev/fd/{reads}", {}, {}).api_key == "sk-1"
        writer.join()


LAYERS = ("file", "environment", "flags")


@pytest.mark.parametrize(
    ("given", "winner"),
    [
        ({"file": "api_key", "environment": "api_key_file"}, "environment"),
        ({"file": "api_key_file", "environment": "api_key"}, "environment"),
        ({"file": "api_key_file", "flags": "api_key"}, "flags"),
        ({"environment": "api_key", "flags": "api_key_file"}, "flags"),
        ({"file": "api_key", "environment": "api_key_file", "flags": "api_key"}, "flags"),
        ({"file": "api_key_file", "environment": "api_key_file"}, "environment"),
    ],
)
def test_either_form_of_the_key_replaces_both(file, tmp_path, given, winner):
    values = {}
    for layer, name in given.items():
        values[layer] = f"key-of-{layer}"
        if name == "api_key_file":
            # Only the winner's file exists: a replaced one is not read.
            path = tmp_path / f"key-{layer}"
            if layer == winner:
                path.write_text(values[layer])
            values[layer] = str(path)
    path = file(f"[proxy]\n{BASE}\n{given['file']} = '{values['file']}'" if "file" in given else "")
    environ, flags = {}, {}
    if "environment" in given:
        environ[f"M2M_{given['environment'].upper()}"] = values["environment"]
    if "flags" in given:
        flags[f"proxy.{given['flags']}"] = values["flags"]
    assert load(path, environ, flags).api_key == f"key-of-{winner}"


def both_keys(layer: str, file, key_file):
    values = {"api_key": "sk-secret", "api_key_file": str(key_file)}
    lines = "".join(f"{name} = '{value}'\n" for name, value in values.items())
    return {
        "file": lambda: refusal(file(f"[proxy]\n{BASE}\n{lines}")),
        "environment": lambda: refusal(
            file(), {f"M2M_{name.upper()}": value for name, value in values.items()}
        ),
        "flags": lambda: refusal(
            file(), {}, {f"proxy.{name}": value for name, value in values.items()}
        ),
    }[layer]()


@pytest.mark.parametrize("layer", LAYERS)
def test_both_forms_of_the_key_in_one_place(layer, file, key_file):
    error = both_keys(layer, file, key_file)
    names = {"file": "proxy.api_key", "environment": "M2M_API_KEY", "flags": "--api-key"}
    assert error.reason == f"{names[layer]} is given too, and only one can be"
    assert "sk-secret" not in str(error)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_refused_key_is_not_repeated(file, layer):
    secret = "sk-secret with spaces"
    error = {
        "file": lambda: refusal(file(f"[proxy]\n{BASE}\napi_key = '{secret}'")),
        "environment": lambda: refusal(file(), {"M2M_API_KEY": secret}),
        "flags": lambda: refusal(file(), {}, {"proxy.api_key": secret}),
    }[layer]()
    assert error.allowed == "visible ASCII characters without spaces"
    assert "sk-secret" not in f"{error} {error!r} {error.args} {error.value}"


def test_a_key_under_a_misspelt_name_is_not_repeated(file):
    error = refusal(file(f"[proxy]\n{BASE}\napikey = 'sk-secret'"))
    assert "sk-secret" not in f"{error!r}" and "did you mean proxy.api_key?" in str(error)
    error = refusal(file(), {"M2M_APIKEY": "sk-secret"})
    assert "sk-secret" not in f"{error!r}" and "did you mean M2M_API_KEY?" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "[[proxy]]\napi_key = 'sk-secret'",
        "proxy = 'sk-secret'",
        "[proxy]\nupstream = ['http://sk-secret@h']",
        "[proxy.upstream]\nurl = 'http://sk-secret@h'",
    ],
)
def test_a_key_in_a_misplaced_table_is_not_repeated(tmp_path, text):
    error = refusal(write(tmp_path / "c.toml", text))
    assert error.key.startswith("proxy") and "sk-secret" not in f"{error} {error!r}"


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1)])
def test_a_key_that_everybody_can_read_is_noticed(file, key_file, mode, warned):
    key_file.chmod(mode)
    notices: list[str] = []
    load(file(), {}, {"proxy.api_key_file": str(key_file)}, notices)
    assert len(notices) == warned and all(str(key_file) in notice for notice in notices)

    path = file(f"[proxy]\n{BASE}\napi_key = 'sk-secret'")
    Path(path).chmod(mode)
    notices = []
    load(path, {}, {}, notices)
    assert len(notices) == warned and "sk-secret" not in str(notices)


def test_ca_file(tmp_path):
    flags = {"proxy.upstream": "https://m", "proxy.ca_file": str(tmp_path / "ca.pem")}
    write(tmp_path / "ca.pem", "# ours\n-----BEGIN CERTIFICATE-----\n")
    assert load(None, {}, flags).ca_file == str(tmp_path / "ca.pem")
    write(tmp_path / "ca.pem", "no certificate")
    assert refusal(flags=flags).reason == "the file has no certificate in PEM"
    assert load(None, {}, flags | {"proxy.ca_file": ""}).ca_file == ""
