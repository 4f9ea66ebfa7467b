"""Flags, `M2M_*` variables and a TOML file, merged key by key into a Config.

The one rule: a name or value that cannot be used raises ConfigError, even where another one would
replace it; nothing is ignored or corrected.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from m2mproxy.config.errors import COMMAND_LINE, ENVIRONMENT, ConfigError
from m2mproxy.config.files import MOST_KEY_TEXT, MOST_TEXT, certificates, contents
from m2mproxy.config.keyfile import MOST_KEY, psk_of
from m2mproxy.config.prices import Prices
from m2mproxy.config.prices import read as read_prices
from m2mproxy.config.schema import (
    API_KEY,
    API_KEY_FILE,
    CLIENT_CA,
    KEY_TEXT,
    KEYS,
    PRICES,
    PSK_FILE,
    SECTIONS,
    SECURITY,
    THRESHOLD,
    Config,
    Key,
    Place,
)
from m2mproxy.config.tls import check_tls

VARIABLE_PREFIX = "M2M_"
FILE_VARIABLE = "M2M_CONFIG"

# Without them everybody is let in, and bodies cross in clear.
_PROTECTING = (CLIENT_CA, PSK_FILE)


class _Setting(NamedTuple):
    """A key's value, and where it was given under which name."""

    source: str
    name: str
    key: Key
    raw: object
    value: Any

    @classmethod
    def read(cls, source: str, name: str, key: Key, raw: object) -> "_Setting":
        setting = cls(source, name, key, raw, None)
        try:
            return setting._replace(value=key.kind.read(raw))
        except ValueError as error:
            raise setting.error(str(error)) from None

    def error(self, reason: str) -> ConfigError:
        kind = self.key.kind
        return ConfigError(self.source, self.name, kind.public(self.raw), kind.allowed, reason)


_Layer = dict[str, _Setting]


def load(
    path: str | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    notices: list[str] | None = None,
) -> Config:
    """Merge flags (by key path) over environment over file over defaults. Raises ConfigError.

    Without a path, M2M_CONFIG names the file; without that, there is none. What an operator should
    know, though it stops nothing, is appended to `notices`.
    """
    path = environ.get(FILE_VARIABLE) if path is None else path
    notices = [] if notices is None else notices
    file = {} if path is None else _from_file(path, notices)
    settings = _merged(file, _from_environment(environ), _from_flags(flags))
    values = {name: setting.value for name, setting in settings.items()}
    if "proxy.upstream" not in values:
        upstream = KEYS["proxy.upstream"]
        raise ConfigError(
            path or COMMAND_LINE,
            upstream.path if path else upstream.flag,
            None,
            upstream.kind.allowed,
            f"not given, and neither is {upstream.variable}" + ("" if path else ", nor a file"),
        )
    if key_file := settings.get(API_KEY_FILE):
        values[API_KEY] = _read_key(key_file, notices)
    psk = _read_psk(settings[PSK_FILE]) if values.get(PSK_FILE) else b""
    if values.get("proxy.ca_file"):
        _check_certificates(settings["proxy.ca_file"])
    places = {name: Place(setting.source, setting.name) for name, setting in settings.items()}
    prices = _read_prices(settings[PRICES]) if values.get(PRICES) else Prices()
    config = _build(values, places, psk, prices)
    _tell_emptied(file, settings, notices)
    _check_peer(config)
    threshold = settings.get(THRESHOLD)
    if threshold and threshold.source == COMMAND_LINE and not config.security.enabled:
        reason = f"nothing is scanned without {KEYS[SECURITY].flag}"
        raise ConfigError(COMMAND_LINE, threshold.name, threshold.value, reason=reason)
    _check_places(config)
    check_tls(config, notices)
    return config


def _build(
    values: Mapping[str, object], places: Mapping[str, Place], psk: bytes, prices: Prices
) -> Config:
    parts: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    parts["peer"]["psk"] = psk
    parts["tokens"]["table"] = prices
    for path, value in values.items():
        if path != API_KEY_FILE:
            parts[KEYS[path].section][KEYS[path].name] = value
    sections = {
        section.rpartition(".")[2]: SECTIONS[section](**parts[section])
        for section in SECTIONS
        if section != "proxy"
    }
    return Config(**parts["proxy"], **sections, places=places)


def _merged(*layers: _Layer) -> _Layer:
    """The settings of all layers, the later ones over the earlier."""
    merged: _Layer = {}
    for layer in layers:
        if API_KEY in layer and API_KEY_FILE in layer:
            other = layer[API_KEY].name
            raise layer[API_KEY_FILE].error(f"{other} is given too, and only one can be")
        # Either of the two stands for the key, so it replaces both.
        if API_KEY in layer or API_KEY_FILE in layer:
            merged = {name: merged[name] for name in merged.keys() - {API_KEY, API_KEY_FILE}}
        merged |= layer
    return merged


def _tell_emptied(file: _Layer, settings: _Layer, notices: list[str]) -> None:
    """A variable without a value may well be one that nobody has set: where it takes away what
    protects, that is said."""
    for path in _PROTECTING:
        if path in file and file[path].value and not settings[path].value:
            notices.append(f"{settings[path].name} is empty: the file's {path} has no effect")


def _from_flags(flags: Mapping[str, object]) -> _Layer:
    layer: _Layer = {}
    for path, raw in flags.items():
        key = KEYS[path]
        value = key.kind.from_text(raw) if isinstance(raw, str) else raw
        layer[path] = _Setting.read(COMMAND_LINE, key.flag, key, value)
    return layer


def _from_environment(environ: Mapping[str, str]) -> _Layer:
    variables = {key.variable: key for key in KEYS.values()}
    layer: _Layer = {}
    for name, text in environ.items():
        if not name.startswith(VARIABLE_PREFIX) or name == FILE_VARIABLE:
            continue
        key = variables.get(name)
        if key is None:
            raise _unknown(ENVIRONMENT, "variable", name, [*variables, FILE_VARIABLE])
        layer[key.path] = _Setting.read(ENVIRONMENT, name, key, key.kind.from_text(text))
    return layer


def _from_file(path: str, notices: list[str]) -> _Layer:
    import tomllib  # only where there is a file

    try:
        data, public = contents(path, MOST_TEXT)
    except OSError as error:
        raise ConfigError(path or '""', reason=f"cannot be read: {error.strerror}") from None
    try:
        table = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(path, reason=f"not UTF-8 (at line {line})") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and limits of Python's own
        # tomllib gives the line of every error but this.
        last = data.count(b"\n") + 1
        reason = str(error).replace("end of document", f"line {last}, the end of the file")
        raise ConfigError(path, reason=f"not TOML: {reason}") from None
    layer = {
        name: _Setting.read(path, name, KEYS[name], raw) for name, raw in _flat(path, "", table)
    }
    if API_KEY in layer and public:
        notices.append(_public_notice(path))
    return layer


def _flat(source: str, prefix: str, table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The keys of a table and its sections by their paths."""
    for name, value in table.items():
        path = prefix + name
        if path in KEYS:
            yield path, value
        elif path in SECTIONS and isinstance(value, dict):
            yield from _flat(source, f"{path}.", value)
        elif path in SECTIONS:
            raise ConfigError(source, path, None, f"a section, written [{path}]")
        elif isinstance(value, dict):
            raise _unknown(source, "section", path, SECTIONS)
        else:
            raise _unknown(source, "key", path, KEYS)


def _unknown(source: str, what: str, name: str, known: Iterable[str]) -> ConfigError:
    """The value is left out: it may be a secret under a misspelt name."""
    near = _nearest(name, list(known))
    hint = f"did you mean {near}?" if near else "m2m.toml(5) has them all"
    return ConfigError(source, name, reason=f"unknown {what}; {hint}")


def _nearest(name: str, known: list[str]) -> str:
    """The name that is likely meant, "" for none. What it begins with, a section or `M2M_`, says
    little: all others there begin so, too."""
    from difflib import get_close_matches  # only on the way out

    section, dot, own = name.rpartition(".")
    beside = [each for each in known if each.rpartition(".")[0] == section]
    for names, least in ((beside, 0.6), (known, 0.7)) if dot else ((known, 0.6),):
        ends = {each.rpartition(".")[2].removeprefix(VARIABLE_PREFIX): each for each in names}
        near = get_close_matches(own.removeprefix(VARIABLE_PREFIX), ends, 1, least)
        if near:
            return ends[near[0]]
    return next(iter(get_close_matches(name, known, 1, 0.75)), "")


# ---- the files that settings name ---------------------------------------------------------------


def _contents_named_by(setting: _Setting, most: int) -> tuple[bytes, bool]:
    try:
        return contents(setting.value, most)
    except OSError as error:
        raise setting.error(f"cannot be read: {error.strerror}") from None


def _public_notice(path: str) -> str:
    return f"{path} holds a key and can be read by every user (chmod o-r {path})"


def _read_key(setting: _Setting, notices: list[str]) -> str:
    data, public = _contents_named_by(setting, MOST_KEY_TEXT)
    if public:
        notices.append(_public_notice(setting.value))
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if not line:
        raise setting.error("the file is empty")
    if b"\n" in line:
        raise setting.error("the file has more than one line")
    try:
        return str(KEY_TEXT.read(line.decode("latin-1")))
    except ValueError:
        raise setting.error("the file has more than visible ASCII characters") from None


def _read_psk(setting: _Setting) -> bytes:
    """The key of the file. One that every user can read is a secret of nobody, and refused."""
    data, public = _contents_named_by(setting, MOST_KEY)
    if public:
        raise setting.error(f"every user can read the file (chmod o-r {setting.value})")
    try:
        return psk_of(data)
    except ValueError as error:
        raise setting.error(str(error)) from None


def _read_prices(setting: _Setting) -> Prices:
    try:
        return read_prices(setting.value)
    except OSError as error:
        raise setting.error(f"cannot be read: {error.strerror}") from None


def _check_peer(config: Config) -> None:
    """A key that protects nothing is an error, as those of TLS are (tls.py)."""
    if config.peer.required and not config.peer.psk:
        raise config.refusal("peer.required", True, f"it needs {PSK_FILE}")


def _check_places(config: Config) -> None:
    for listen in config.stats.listen:
        if any(map(listen.is_at, config.listen)):
            raise config.refusal("stats.listen", str(listen), "proxy.listen has it too")


def _check_certificates(setting: _Setting) -> None:
    try:
        data = certificates(setting.value)
    except OSError as error:
        raise setting.error(f"cannot be read: {error.strerror}") from None
    # Whether they can be used is for the TLS library to say, which is not loaded here.
    if b"-----BEGIN " not in data:
        raise setting.error("the file has no certificate in PEM")
