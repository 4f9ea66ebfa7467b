"""The order of the sources; unknown names, broken files, and the words of an error."""

import re

import pytest
from config_cases import BASE, refusal, write

from m2mproxy.config import load

# ---- the order -----------------------------------------------------------------------------------


def test_flags_over_environment_over_file_over_defaults(file):
    path = file("[proxy.limits]\nconnections = 1\nrequests = 1\nupstream_connections = 1")
    environ = {"M2M_LIMITS_REQUESTS": "2", "M2M_LIMITS_UPSTREAM_CONNECTIONS": "2"}
    flags = {"proxy.limits.upstream_connections": 3}
    limits = load(path, environ, flags).limits
    assert (limits.connections, limits.requests, limits.upstream_connections) == (1, 2, 3)
    assert limits.header_count == 128


def test_a_replaced_value_is_still_checked(file):
    path = file("[proxy.limits]\nrequests = 0")
    assert refusal(path, {}, {"proxy.limits.requests": 5}).source == path


def test_the_environment_names_the_file(file, tmp_path):
    path = file("[logging]\nlevel = 'error'")
    assert load(None, {"M2M_CONFIG": path}, {}).logging.level == "error"
    other = write(tmp_path / "other.toml", f"[proxy]\n{BASE}\n")
    assert load(other, {"M2M_CONFIG": path}, {}).logging.level == "info"


def test_variables_of_others_are_left_alone():
    assert load(None, {"M2M_UPSTREAM": "http://m", "m2m_x": "", "XM2M_Y": "", "M2M": ""}, {})


def test_the_mappings_are_not_changed(file):
    environ, flags = {"M2M_API_KEY": "a"}, {"proxy.api_key": "b"}
    load(file(), environ, flags)
    assert (environ, flags) == ({"M2M_API_KEY": "a"}, {"proxy.api_key": "b"})


# ---- names and files that are wrong --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("[proxy]\nlistne = 'x'", "proxy.listne", "unknown key; did you mean proxy.listen?"),
        ("[proxy.timeouts]\nconect = 1", "proxy.timeouts.conect",
         "unknown key; did you mean proxy.timeouts.connect?"),
        ("[proxy]\nconnect = 1", "proxy.connect",
         "unknown key; did you mean proxy.timeouts.connect?"),
        ("[proxy]\nlog_level = 'info'", "proxy.log_level",
         "unknown key; did you mean logging.level?"),
        # "proxy." is as long as what follows: it does not make them alike.
        ("[proxy]\nurl = 'http://h'", "proxy.url", "unknown key; m2m.toml(5) has them all"),
        ("[proxy]\nport = 80", "proxy.port", "unknown key; m2m.toml(5) has them all"),
        ("upstream = 'http://h'", "upstream", "unknown key; did you mean proxy.upstream?"),
        ("[proxy]\nzzzzzzzzzzzzzz = 1", "proxy.zzzzzzzzzzzzzz",
         "unknown key; m2m.toml(5) has them all"),
        ("[proxy.timeout]\nconnect = 1", "proxy.timeout",
         "unknown section; did you mean proxy.timeouts?"),
        ("[loging]\nformat = 'json'", "loging", "unknown section; did you mean logging?"),
        ("[proxy.logging]", "proxy.logging", "unknown section; did you mean logging?"),
        ("[proxy.limits.more]", "proxy.limits.more", "unknown section; did you mean proxy.limits?"),
        ("[[server]]", "server", "unknown key; m2m.toml(5) has them all"),
    ],
)  # fmt: skip
def test_unknown_names(tmp_path, text, key, message):
    path = write(tmp_path / "m2m.toml", text)
    error = refusal(path)
    assert (error.source, error.key, error.reason) == (path, key, message)
    assert str(error) == f"{path}: {key}: {message}"


@pytest.mark.parametrize("name", ["M2M_TIMEOUT_IDLE", "M2M_PROXY_UPSTREAM", "M2M_Q", "M2M_"])
def test_unknown_variables(name):
    error = refusal(environ={"M2M_UPSTREAM": "http://m", name: "1"})
    assert (error.source, error.key) == ("environment", name)
    assert error.reason.startswith("unknown variable; ")
    if name == "M2M_TIMEOUT_IDLE":
        assert error.reason == "unknown variable; did you mean M2M_TIMEOUTS_IDLE?"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("proxy = 1", "proxy"),
        ("[[proxy]]", "proxy"),
        ("[proxy]\ntimeouts = 5", "proxy.timeouts"),
        ("logging = 'json'", "logging"),
    ],
)
def test_a_section_has_to_be_one(tmp_path, text, key):
    error = refusal(write(tmp_path / "m2m.toml", text))
    assert (error.key, error.allowed) == (key, f"a section, written [{key}]")


def test_a_key_has_to_be_none(file):
    error = refusal(file("[proxy.timeouts.idle]\nseconds = 1"))
    assert str(error).endswith(f"proxy.timeouts.idle = {{...}}: must be {error.allowed}")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[proxy]\nlisten = \n", r"not TOML: Invalid value \(at line 2, column 10\)"),
        (b"[proxy]\na = 1\na = 2\n", r"not TOML: Cannot overwrite a value \(at line 3, column 6\)"),
        (b"[proxy]\na = 'x", r"not TOML: .*line 2, the end of the file\)"),
        (b"[proxy]\n# caf\xe9\n", r"not UTF-8 \(at line 2\)"),
        (b"a = " + b"1" * 5000, r"not TOML: Exceeds the limit .*"),
        (b"a = " + b"[" * 100_000, r"not TOML: maximum recursion depth .*"),
    ],
)
def test_a_file_that_is_not_toml(tmp_path, data, reason):
    path = tmp_path / "m2m.toml"
    path.write_bytes(data)
    error = refusal(str(path))
    assert error.source == str(path) and re.fullmatch(reason, error.reason)


def test_a_file_that_is_not_there(tmp_path):
    path = str(tmp_path / "none.toml")
    assert str(refusal(path)) == f"{path}: cannot be read: No such file or directory"
    assert str(refusal(None, {"M2M_CONFIG": path})).startswith(path)
    assert str(refusal(str(tmp_path))) == f"{tmp_path}: cannot be read: Is a directory"
    assert str(refusal("")) == '"": cannot be read: No such file or directory'


# ---- the words of an error -----------------------------------------------------------------------


def test_the_line_of_an_error(file):
    path = file('[proxy.timeouts]\nconnect = "soon"')
    assert str(refusal(path)) == (
        f'{path}: proxy.timeouts.connect = "soon": '
        'must be a number of seconds from 0.1 to 3600, such as 10 or "10s"'
    )


@pytest.mark.parametrize(
    ("toml", "shown"),
    [
        ("true", "true"),
        ("-1", "-1"),
        ("1979-05-27", "1979-05-27"),
        ('[1, "a"]', '[1, "a"]'),
        ("{a = 1}", "{...}"),
        ('"a\\nb\\u001b"', r'"a\nb\x1b"'),
        ('"é"', '"é"'),
        (f'"{"x" * 300}"', f'"{"x" * 200}..."'),
        (f"0x{'f' * 5000}", f"0x{'f' * 198}..."),
        (f"[0x{'f' * 5000}]", f"[0x{'f' * 198}...]"),
    ],
)
def test_how_an_error_shows_a_value(file, toml, shown):
    error = refusal(file(f"[proxy.timeouts]\nconnect = {toml}"))
    assert f"proxy.timeouts.connect = {shown}: must" in str(error)


@pytest.mark.parametrize("text", ["[logging]\naccess = ", "[tokens]\ncount = "])
def test_a_number_of_any_length_is_one_that_is_shown(file, text):
    assert "= 0xfff" in str(refusal(file(f"{text}0x{'f' * 5000}")))


def test_an_odd_name_stays_on_one_line(file):
    assert "\\n" in str(refusal(file('[proxy]\n"a\\nb" = 1')))
