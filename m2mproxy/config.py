"""The configuration: flags, `M2M_*` variables and a TOML file, merged key by key.

The dataclasses are the one table of keys: a field's annotation carries its Kind (how a value is
read, what is allowed), its default is the key's default, its docstring says what the key means.
File, environment, flags and the man-page test all go by KEYS, which is derived from them.
Rule: a name or value that cannot be used raises ConfigError; nothing is ignored or corrected.
"""

import os
import re
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, NamedTuple

COMMAND_LINE = "command line"
ENVIRONMENT = "environment"


class ConfigError(Exception):
    """A setting that cannot be used: where it was given, its name there, what is allowed."""

    def __init__(
        self, source: str, key: str = "", value: object = None, allowed: str = "", reason: str = ""
    ) -> None:
        super().__init__(source, key, value, allowed, reason)
        self.source, self.key, self.value = source, key, value
        self.allowed, self.reason = allowed, reason

    def __str__(self) -> str:
        name = self.key if self.value is None else f"{self.key} = {_shown(self.value)}"
        must = f"must be {self.allowed}" if self.allowed else ""
        line = ": ".join(part for part in (self.source, name, self.reason, must) if part)
        # One line, whatever a file or a variable holds.
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _shown(value: object) -> str:
    """A value as TOML spells it, as far as an error needs it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return "{...}"
    text = str(value) if len(str(value)) <= 200 else str(value)[:200] + "..."
    return f'"{text}"' if isinstance(value, str) else text


# ---- Kinds: how values are read -----------------------------------------------------------------


def _same(value: Any) -> Any:
    return value


class Kind(NamedTuple):
    """How the values of a key are read."""

    read: Callable[[object], object]
    """From a TOML value to the field's; raises ValueError, with a reason where there is one."""
    allowed: str
    """What is allowed, worded to follow "must be"."""
    from_text: Callable[[str], object] = _same
    """From the text of a variable or flag to the TOML value that it stands for."""
    public: Callable[[object], object] = _same
    """What an error may show of a value: no secrets; None shows nothing."""


def _scalar(text: str) -> object:
    """The boolean or number that a text spells, else the text."""
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


_DURATIONS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_BINARY = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, **_BINARY}


def size_text(size: int) -> str:
    """A size as a person writes it: 64MiB."""
    for unit, factor in reversed(_BINARY.items()):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def _number(
    cast: type[int] | type[float],
    low: float,
    high: float,
    allowed: str,
    units: Mapping[str, float] | None = None,
    off: bool = False,
) -> Kind:
    """A number from low to high (or 0, where that means off), or a text of a number and a unit."""

    def read(value: object) -> int | float:
        if units and isinstance(value, str):
            match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]{1,3})", value)
            if match is None or match[2] not in units:
                raise ValueError
            # Rounded, for 700 * 0.001 is not 0.7.
            value = round(float(match[1]) * units[match[2]], 9)
            value = cast(value) if cast(value) == value else value
        # A boolean is an int to Python; a NaN is within no bounds.
        if isinstance(value, bool) or not isinstance(value, int | cast):
            raise ValueError
        if not (low <= value <= high or (off and value == 0)):
            raise ValueError
        return cast(value)

    return Kind(read, allowed, _scalar)


def _seconds(low: float, high: float, off: bool = False) -> Kind:
    bounds = f"from {low:g} to {high:g}" + (", or 0 for off" if off else "")
    allowed = f'a number of seconds {bounds}, such as 10 or "10s"'
    return _number(float, low, high, allowed, _DURATIONS, off)


def _bytes(low: int, high: int, off: bool = False) -> Kind:
    bounds = f"from {size_text(low)} to {size_text(high)}" + (", or 0 for off" if off else "")
    allowed = f'a number of bytes {bounds}, such as 65536 or "64KiB"'
    return _number(int, low, high, allowed, _SIZES, off)


def _count(low: int, high: int) -> Kind:
    return _number(int, low, high, f"a whole number from {low} to {high}")


def _one_of(values: Mapping[str, object], later: Collection[str] = ()) -> Kind:
    """One of a few values, each by its TOML spelling; those of `later` are known but not built."""

    def read(value: object) -> object:
        spelling = _shown(value)
        if spelling in later:
            raise ValueError("not built yet")
        if spelling not in values:
            raise ValueError
        return values[spelling]

    return Kind(read, " or ".join(values), _scalar)


def _names(*names: str) -> Kind:
    return _one_of({f'"{name}"': name for name in names})


def _text(pattern: str, allowed: str, public: Callable[[object], object] = _same) -> Kind:
    def read(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError
        return value

    return Kind(read, allowed, public=public)


_SWITCH = _one_of({"true": True, "false": False})
_OFF = {'"off"': "off", "false": "off"}
_KEY_PATH = _text(r"[^\x00-\x1f\x7f]+", "the path of a file with the key on one line")
_CA_PATH = _text(r"[^\x00-\x1f\x7f]*", "the path of a file of certificates in PEM")
_PROVIDER = _text(r"[a-z0-9-]{1,64}", 'a name of a-z, 0-9 and "-", such as "auto" or "openai"')
_API_KEY = _text(r"[\x21-\x7e]+", "visible ASCII characters without spaces", lambda _: None)
_API_VERSION = _text(r"[A-Za-z0-9._-]*", 'a version in quotes, such as "2024-10-21"')


# ---- addresses ----------------------------------------------------------------------------------

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[^:]*))?")


def _host_port(text: str) -> tuple[str, int | None]:
    """Split `host:port` or `[v6]:port`; None where there is no port."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError("an IPv6 address goes in brackets" if text.count(":") > 1 else "")
    host, port = match["name"], match["port"]
    if match["v6"] is not None:
        host = match["v6"]
        try:
            socket.inet_pton(socket.AF_INET6, host)
        except OSError:
            raise ValueError("not an IPv6 address between the brackets") from None
    elif not host:
        raise ValueError("no host")
    elif len(host) > 253 or not _NAME.fullmatch(host):
        raise ValueError("not a host name")
    if port is not None and (not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535):
        raise ValueError("a port is a number up to 65535")
    return host, None if port is None else int(port)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True)
class Listen:
    """Where clients connect: a host and port, or the path of a unix socket."""

    host: str = ""
    """Host name or IP address, without brackets; '' for a unix socket."""
    port: int = 0
    """TCP port; 0 lets the system choose one."""
    path: str = ""
    """Path of the unix socket; '' for a host and port."""

    def __post_init__(self) -> None:
        if bool(self.host) == bool(self.path):
            raise ValueError("either a host and port or the path of a unix socket")

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"{_bracketed(self.host)}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Listen":
        """Read `host:port`, `[v6]:port` or `unix:/path`. Raises ValueError with the reason."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not re.fullmatch(r"/[^\x00-\x1f\x7f]+", path):
                raise ValueError("the path of a unix socket begins with a slash")
            if len(os.fsencode(path)) > 107:
                raise ValueError("the path of a unix socket has at most 107 bytes")
            return cls(path=path)
        host, port = _host_port(text)
        if port is None:
            raise ValueError("no port")
        return cls(host, port)


def _read_listen(value: object) -> tuple[Listen, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise ValueError
    listens: list[Listen] = []
    for text in texts:
        if not isinstance(text, str):
            raise ValueError
        try:
            listen = Listen.parse(text)
        except ValueError as error:
            # With several addresses, say which one it is.
            raise ValueError(f"{text}: {error}" if len(texts) > 1 else str(error)) from None
        if listen in listens and (listen.port or listen.path):
            raise ValueError(f"{listen} is there twice")
        listens.append(listen)
    return tuple(listens)


_LISTEN = Kind(
    _read_listen,
    'one or several of host:port, [v6]:port and unix:/path, such as "127.0.0.1:8080", '
    'or "0.0.0.0:8080" for every IPv4 address',
    lambda text: [part.strip() for part in text.split(",")],
)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?([^/?]*)([^?]*)(?:\?(.*))?")


@dataclass(frozen=True, slots=True)
class Upstream:
    """The base URL that requests are forwarded to."""

    scheme: str
    """'http' or 'https'."""
    host: str
    """Host name or IP address, without brackets."""
    port: int
    """TCP port; where the URL has none, 80 for http and 443 for https."""
    path: str = ""
    """Prefix of every path, without a slash at its end; '' for none."""
    query: str = ""
    """Query of every request, without the question mark; '' for none."""

    def __str__(self) -> str:
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{_bracketed(self.host)}{port}{self.path}{query}"

    @classmethod
    def parse(cls, text: str) -> "Upstream":
        """Read a URL. Raises ValueError with the reason."""
        if not re.fullmatch(r"[\x21-\x7e]*", text):
            raise ValueError("only visible ASCII characters can be used in it, and no spaces")
        if "#" in text:
            raise ValueError("a fragment (#) is never sent")
        match = _URL.fullmatch(text)
        scheme, authority, path, query = match.groups() if match else ("", "", "", "")
        scheme = (scheme or "").lower()
        if scheme not in _DEFAULT_PORTS:
            raise ValueError(f"the scheme {scheme} is not known" if scheme else "no scheme")
        if "@" in authority:
            raise ValueError("a URL with a user or password is refused: use api_key")
        host, port = _host_port(authority)
        if port == 0:
            raise ValueError("port 0 cannot be connected to")
        port = _DEFAULT_PORTS[scheme] if port is None else port
        return cls(scheme, host.lower(), port, path.rstrip("/"), query or "")


def _read_upstream(value: object) -> Upstream:
    if not isinstance(value, str):
        raise ValueError
    return Upstream.parse(value)


def _without_user(value: object) -> object:
    """A URL without what may be a password: all before the last @."""
    return re.sub(r"^(\w+://)?.*@", r"\1...@", value) if isinstance(value, str) else None


_UPSTREAM = Kind(
    _read_upstream,
    'an http:// or https:// URL, such as "http://localhost:11434/v1"',
    public=_without_user,
)


# ---- the keys -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timeouts:
    """[proxy.timeouts]: how long to wait, in seconds."""

    connect: Annotated[float, _seconds(0.1, 3600)] = 10.0
    """To open an upstream connection, TLS included; default 10."""
    first_byte: Annotated[float, _seconds(0.1, 86400)] = 600.0
    """From the request sent to the first byte of the response head; default 600."""
    idle: Annotated[float, _seconds(0.1, 86400)] = 300.0
    """Between two chunks of a body from upstream; default 300."""
    total: Annotated[float, _seconds(0.1, 604800, off=True)] = 3600.0
    """For a whole exchange; 0 for off; default 3600."""
    pool: Annotated[float, _seconds(0.1, 3600)] = 10.0
    """For an upstream connection when all are busy; default 10."""
    header: Annotated[float, _seconds(0.1, 3600)] = 10.0
    """For a client's request head, from its first byte; default 10."""
    body: Annotated[float, _seconds(0.1, 3600)] = 30.0
    """For a client that sends nothing of a body it owes; default 30."""
    keepalive: Annotated[float, _seconds(0.1, 86400)] = 75.0
    """For the next request on a client connection; default 75."""
    upstream_keepalive: Annotated[float, _seconds(0.1, 86400)] = 4.0
    """That an idle upstream connection is kept; default 4 (llama.cpp and vLLM close at 5)."""
    close: Annotated[float, _seconds(0.1, 3600)] = 5.0
    """For a lingering close, and to flush to a client that does not read; default 5."""


@dataclass(frozen=True, slots=True)
class Limits:
    """[proxy.limits]: how much one process takes on."""

    connections: Annotated[int, _count(1, 1_000_000)] = 4096
    """Client connections; default 4096."""
    requests: Annotated[int, _count(1, 1_000_000)] = 2048
    """Requests in flight; default 2048."""
    upstream_connections: Annotated[int, _count(1, 1_000_000)] = 2048
    """Connections to the upstream; default 2048."""
    header_bytes: Annotated[int, _bytes(1 << 10, 16 << 20)] = 64 << 10
    """Bytes of a request's or response's head; default 64 KiB."""
    header_count: Annotated[int, _count(8, 10_000)] = 128
    """Header fields of a request or response; default 128."""
    body_rate: Annotated[int, _bytes(1, 1 << 30, off=True)] = 256
    """Bytes a second a client's upload must average after timeouts.body; 0 for off; default 256."""
    retry_body: Annotated[int, _bytes(0, 1 << 30)] = 1 << 20
    """Bytes of the largest request body that is kept for the one retry; default 1 MiB."""


@dataclass(frozen=True, slots=True)
class Compression:
    """[proxy.compression]: not built yet, so only off."""

    requests: Annotated[
        str, _one_of(_OFF, ("true", '"auto"', '"zstd"', '"gzip"', '"m2m"'))
    ] = "off"
    """Coding of request bodies to the upstream; default off."""
    responses: Annotated[str, _one_of(_OFF, ("true", '"on"'))] = "off"
    """Coding of response bodies to the client; default off."""


@dataclass(frozen=True, slots=True)
class Security:
    """[proxy.security]: the scanner of requests, not built yet."""

    enabled: Annotated[bool, _one_of({"false": False}, ("true",))] = False
    """Whether requests are scanned; default false."""
    blocking: Annotated[bool, _SWITCH] = True
    """Whether a finding refuses the request, rather than only being logged; default true."""
    threshold: Annotated[float, _number(float, 0, 1, "a number from 0 to 1")] = 0.8
    """Score from 0 to 1 at which a request is a finding; default 0.8."""


@dataclass(frozen=True, slots=True)
class Logging:
    """[logging]: what is written to standard error."""

    format: Annotated[str, _names("text", "json")] = "text"
    """'text' or 'json'; default text."""
    level: Annotated[str, _names("debug", "info", "warning", "error")] = "info"
    """The least level that is written: 'debug', 'info', 'warning' or 'error'; default info."""
    access: Annotated[bool, _SWITCH] = True
    """Whether each exchange is a line; default true."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """[proxy] and its sections, and [logging]."""

    listen: Annotated[tuple[Listen, ...], _LISTEN] = (Listen("127.0.0.1", 8080),)
    """Addresses where clients connect; default 127.0.0.1:8080."""
    upstream: Annotated[Upstream, _UPSTREAM]
    """Base URL that requests are forwarded to; required."""
    provider: Annotated[str, _PROVIDER] = "auto"
    """Profile of the upstream, or 'auto' to tell it from the URL; default auto."""
    api_key: Annotated[str, _API_KEY] = field(default="", repr=False)
    """Key for the upstream where the client sends none; '' for none, the default."""
    max_body: Annotated[int, _bytes(1, 1 << 40)] = 64 << 20
    """Bytes of the largest request body that is accepted; default 64 MiB."""
    drain: Annotated[float, _seconds(0, 86400)] = 30.0
    """Seconds that running exchanges have to finish after SIGTERM; default 30."""
    forwarded: Annotated[bool, _SWITCH] = True
    """Whether requests to the upstream get an RFC 7239 Forwarded field; default true."""
    ca_file: Annotated[str, _CA_PATH] = ""
    """File of the certificates trusted for https, in PEM; '' for the system's, the default."""
    api_version: Annotated[str, _API_VERSION] = ""
    """Azure's classic `api-version` query parameter; '' for none, the default."""
    sse_keepalive: Annotated[float, _seconds(0.1, 3600, off=True)] = 0.0
    """Seconds of silence after which an event stream gets a comment; 0 for off, the default."""
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    compression: Compression = Compression()
    security: Security = Security()
    logging: Logging = Logging()


SECTIONS: Mapping[str, type[Any]] = {
    "proxy": Config,
    "proxy.timeouts": Timeouts,
    "proxy.limits": Limits,
    "proxy.compression": Compression,
    "proxy.security": Security,
    "logging": Logging,
}


class Key(NamedTuple):
    """One setting: its path in the file, how it is read, and what it is where nobody gives it."""

    path: str
    kind: Kind
    default: object
    """None where the key is required."""

    @property
    def section(self) -> str:
        return self.path.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def variable(self) -> str:
        return "M2M_" + self.path.removeprefix("proxy.").replace(".", "_").upper()

    @property
    def flag(self) -> str:
        """Its flag's name, should the command line have one for it."""
        path = self.path.removeprefix("proxy.").replace("logging.", "log-")
        return "--" + re.sub("[._]", "-", path)


def _all_keys() -> Iterator[Key]:
    for section, kind in SECTIONS.items():
        for each in fields(kind):
            # The fields that are sections themselves carry no Kind.
            for meta in getattr(each.type, "__metadata__", ()):
                default = None if each.default is MISSING else each.default
                yield Key(f"{section}.{each.name}", meta, default)
    # A field of no dataclass: it is read when the configuration is, and becomes the api_key.
    yield Key(_KEY_FILE, _KEY_PATH, "")


_KEY, _KEY_FILE = "proxy.api_key", "proxy.api_key_file"
KEYS: Mapping[str, Key] = {key.path: key for key in _all_keys()}
FILE_VARIABLE = "M2M_CONFIG"


# ---- loading ------------------------------------------------------------------------------------


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
            f"not given, and neither is {upstream.variable}",
        )
    if key_file := settings.get(_KEY_FILE):
        values[_KEY] = _read_key(key_file, notices)
    if values.get("proxy.ca_file"):
        _check_certificates(settings["proxy.ca_file"])
    return _build(values)


def _build(values: Mapping[str, object]) -> Config:
    parts: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for path, value in values.items():
        if path != _KEY_FILE:
            parts[KEYS[path].section][KEYS[path].name] = value
    sections = {
        section.rpartition(".")[2]: SECTIONS[section](**parts[section])
        for section in SECTIONS
        if section != "proxy"
    }
    return Config(**parts["proxy"], **sections)


def _merged(*layers: _Layer) -> _Layer:
    """The settings of all layers, the later ones over the earlier."""
    merged: _Layer = {}
    for layer in layers:
        if _KEY in layer and _KEY_FILE in layer:
            raise layer[_KEY_FILE].error(f"{layer[_KEY].name} is given too, and only one can be")
        # Either of the two stands for the key, so it replaces both.
        if _KEY in layer or _KEY_FILE in layer:
            merged = {name: merged[name] for name in merged.keys() - {_KEY, _KEY_FILE}}
        merged |= layer
    return merged


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
        if not name.startswith("M2M_") or name == FILE_VARIABLE:
            continue
        key = variables.get(name)
        if key is None:
            raise _unknown(ENVIRONMENT, "variable", name, [*variables, FILE_VARIABLE])
        layer[key.path] = _Setting.read(ENVIRONMENT, name, key, key.kind.from_text(text))
    return layer


def _from_file(path: str, notices: list[str]) -> _Layer:
    import tomllib  # only where there is a file

    try:
        data, public = _contents(path)
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
    if _KEY in layer and public:
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
    from difflib import get_close_matches  # only on the way out

    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else "m2m.toml(5) has them all"
    return ConfigError(source, name, reason=f"unknown {what}; {hint}")


# ---- the files that settings name ---------------------------------------------------------------


def _contents(path: str) -> tuple[bytes, bool]:
    """What a file holds, and whether every user can read it."""
    with open(path, "rb") as file:
        return file.read(), bool(os.fstat(file.fileno()).st_mode & 0o004)


def _contents_named_by(setting: _Setting) -> tuple[bytes, bool]:
    try:
        return _contents(setting.value)
    except OSError as error:
        raise setting.error(f"cannot be read: {error.strerror}") from None


def _public_notice(path: str) -> str:
    return f"{path} holds a key and can be read by every user (chmod o-r {path})"


def _read_key(setting: _Setting, notices: list[str]) -> str:
    data, public = _contents_named_by(setting)
    if public:
        notices.append(_public_notice(setting.value))
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if not line:
        raise setting.error("the file is empty")
    if b"\n" in line:
        raise setting.error("the file has more than one line")
    try:
        return str(_API_KEY.read(line.decode("latin-1")))
    except ValueError:
        raise setting.error("the file has more than visible ASCII characters") from None


def _check_certificates(setting: _Setting) -> None:
    data, _ = _contents_named_by(setting)
    # Whether they can be used is for the TLS library to say, which is not loaded here.
    if b"-----BEGIN " not in data:
        raise setting.error("the file has no certificate in PEM")
