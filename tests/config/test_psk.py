"""The key that instances share: 32 bytes from a file that not everybody can read."""

from pathlib import Path

import pytest
from config_cases import refusal

from m2mproxy.config import load

KEY = bytes(range(32))
HEX = KEY.hex().encode()


@pytest.fixture
def key_file(tmp_path) -> Path:
    path = tmp_path / "psk"
    path.write_bytes(HEX)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("data", [HEX, HEX + b"\n", HEX.upper() + b"\r\n", KEY])
def test_the_key_is_read_as_m2m_reads_keys(file, key_file, data):
    key_file.write_bytes(data)
    notices: list[str] = []
    loaded = load(file(f"[peer]\npsk_file = '{key_file}'"), {}, {}, notices)
    assert (loaded.peer.psk, loaded.peer.psk_file, notices) == (KEY, str(key_file), [])
    assert HEX.decode() not in repr(loaded) and repr(KEY) not in repr(loaded)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\n", "no key of 32 bytes"),
        (HEX[:-2], "no key of 32 bytes"),
        (HEX[:-1], "no key of 32 bytes"),
        (HEX + b"00", "no key of 32 bytes"),
        (HEX + b" \n", "no key of 32 bytes"),
        (HEX + b"\n" + HEX, "no key of 32 bytes"),
        (b"x" * 64, "no key of 32 bytes"),
        (KEY + b"\n", "no key of 32 bytes"),
        (b"00" * 5000, "more than 4096 bytes"),
    ],
)
def test_a_file_that_holds_no_such_key(key_file, data, reason):
    key_file.write_bytes(data)
    error = refusal(environ={"M2M_UPSTREAM": "http://m", "M2M_PEER_PSK_FILE": str(key_file)})
    assert (error.source, error.key) == ("environment", "M2M_PEER_PSK_FILE")
    assert reason in error.reason and str(key_file) in str(error)
    assert HEX.decode()[:20] not in str(error)


def test_a_file_that_cannot_be_read(file, tmp_path):
    path = file(f"[peer]\npsk_file = '{tmp_path / 'none'}'")
    error = refusal(path)
    assert (error.source, error.key) == (path, "peer.psk_file")
    assert error.reason == "cannot be read: No such file or directory"


@pytest.mark.parametrize(("mode", "refused"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1)])
def test_a_key_that_everybody_can_read_is_none(key_file, mode, refused):
    key_file.chmod(mode)
    flags = {"proxy.upstream": "http://m", "peer.psk_file": str(key_file)}
    if refused:
        assert "every user can read the file" in refusal(flags=flags).reason
    else:
        assert load(None, {}, flags).peer.psk == KEY


def test_what_is_required_needs_a_key(file, key_file):
    section = "[peer]\nrequired = true\n"
    assert refusal(file(section)).reason == "it needs peer.psk_file"
    assert load(file(f"{section}psk_file = '{key_file}'"), {}, {}).peer.required
    assert refusal(file(f"{section}psk_file = ''")).key == "peer.required"


def test_a_seal_of_another_name():
    flags = {"proxy.upstream": "http://m", "peer.seal": "none"}
    assert refusal(flags=flags).allowed == '"aead" or "hmac"'


def test_the_flag_is_preferred_to_the_file(file, key_file, tmp_path):
    path = file(f"[peer]\npsk_file = '{tmp_path / 'none'}'")
    assert load(path, {}, {"peer.psk_file": str(key_file)}).peer.psk == KEY
