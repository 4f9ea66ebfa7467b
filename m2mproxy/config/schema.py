"""The keys, as dataclasses: the one table behind the file, the environment, the flags and the test
of the man pages.

A field's annotation carries its Kind (how a value is read, what is allowed), its default is the
key's default, its docstring says what the key means. KEYS is derived from them.

The one rule: what is not in KEYS is no key; all of KEYS but one (api_key_file) are fields here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, NamedTuple

from m2mproxy.config import kinds
from m2mproxy.config.addresses import LISTEN, MORE_LISTEN, UPSTREAM, Listen, Upstream
from m2mproxy.config.errors import DEFAULT, ConfigError
from m2mproxy.config.kinds import Kind
from m2mproxy.config.prices import Prices

API_KEY, API_KEY_FILE = "proxy.api_key", "proxy.api_key_file"
PSK_FILE = "peer.psk_file"
CLIENT_CA = "proxy.tls.client_ca"
PRICES = "tokens.prices"
SECURITY, THRESHOLD = "proxy.security.enabled", "proxy.security.threshold"

_SWITCH = kinds.one_of({"true": True, "false": False})
_OFF = {'"off"': "off", "false": "off"}
_KEY_PATH = kinds.text(r"[^\x00-\x1f\x7f]+", "the path of a file with the key on one line")
_PSK_PATH = kinds.text(r"[^\x00-\x1f\x7f]*", "the path of a file with a key of 32 bytes, in hex")
_CA_PATH = kinds.text(r"[^\x00-\x1f\x7f]*", "the path of a file of certificates in PEM")
_PEM_PATH = kinds.text(r"[^\x00-\x1f\x7f]*", "the path of a file in PEM")
_PEM_PATHS = kinds.texts(r"[^\x00-\x1f\x7f]+", "the path of a file in PEM, or several such paths")
_VOCABULARIES = kinds.texts("cl100k|o200k|llama3", '"cl100k" or "o200k" or "llama3", or several')
_NAMES = kinds.texts("[a-z0-9][a-z0-9.-]{0,31}", "the name of a vocabulary, or several")
_PRICES_PATH = kinds.text(r"[^\x00-\x1f\x7f]*", "the path of a file of prices in TOML")
_PROVIDER = kinds.text(r"[a-z0-9-]{1,64}", 'a name of a-z, 0-9 and "-", such as "auto" or "openai"')
_CATEGORIES = (
    "prompt_injection",
    "role_confusion",
    "jailbreak",
    "system_prompt_extraction",
    "data_exfiltration",
    "malformed_input",
)
_THRESHOLDS = kinds.shares(
    _CATEGORIES, f"a table, such as {{jailbreak = 0.9}}, of scores for {', '.join(_CATEGORIES)}"
)
_ROLES = kinds.texts(
    "user|assistant|tool|system|definition",
    '"user" or "assistant" or "tool" or "system" or "definition", or several',
)
_SOURCES = kinds.texts("[a-z0-9_.-]{1,64}", "the id of a rule or check, or several")
_WEB_ORIGINS = kinds.texts(
    r"\*|null|(?!http:.*:80$|https:.*:443$)[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?",
    'an origin as browsers write it, such as "https://chat.example" (small letters, no path, no '
    'port that goes without saying), or "null", or "*" for all, or several',
)
KEY_TEXT = kinds.text(r"[\x21-\x7e]+", "visible ASCII characters without spaces", lambda _: None)
_HEADER = kinds.text(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]*", "a field name, such as x-tenant")
_API_VERSION = kinds.text(r"[A-Za-z0-9._-]*", 'a version in quotes, such as "2024-10-21"')


@dataclass(frozen=True, slots=True)
class Timeouts:
    """[proxy.timeouts]: how long to wait, in seconds."""

    connect: Annotated[float, kinds.duration(0.1, 3600)] = 10.0
    """To open an upstream connection, TLS included; default 10."""
    first_byte: Annotated[float, kinds.duration(0.1, 86400)] = 600.0
    """From the request sent to the first byte of the response head; default 600."""
    idle: Annotated[float, kinds.duration(0.1, 86400)] = 300.0
    """Between two chunks of a body from upstream; default 300."""
    total: Annotated[float, kinds.duration(0.1, 604800, off=True)] = 3600.0
    """For a whole exchange; 0 for off; default 3600."""
    pool: Annotated[float, kinds.duration(0.1, 3600)] = 10.0
    """For an upstream connection when all are busy; default 10."""
    handshake: Annotated[float, kinds.duration(0.1, 3600)] = 10.0
    """For a client's TLS handshake; default 10."""
    header: Annotated[float, kinds.duration(0.1, 3600)] = 10.0
    """For a client's request head, from its first byte; default 10."""
    body: Annotated[float, kinds.duration(0.1, 3600)] = 30.0
    """For a client that sends nothing of a body it owes; default 30."""
    keepalive: Annotated[float, kinds.duration(0.1, 86400)] = 75.0
    """For the next request on a client connection; default 75."""
    upstream_keepalive: Annotated[float, kinds.duration(0.1, 86400)] = 4.0
    """That an idle connection to an http upstream is kept; default 4 (llama.cpp and vLLM close at
    5)."""
    upstream_keepalive_https: Annotated[float, kinds.duration(0.1, 86400)] = 55.0
    """The same to an https one; default 55 (load balancers close at 60 and later)."""
    close: Annotated[float, kinds.duration(0.1, 3600)] = 5.0
    """For a lingering close, and to flush to a client that does not read; default 5."""


@dataclass(frozen=True, slots=True)
class Limits:
    """[proxy.limits]: how much one process takes on."""

    connections: Annotated[int, kinds.count(1, 1_000_000)] = 4096
    """Client connections; default 4096."""
    requests: Annotated[int, kinds.count(1, 1_000_000)] = 2048
    """Requests in flight; default 2048."""
    upstream_connections: Annotated[int, kinds.count(1, 1_000_000)] = 2048
    """Connections to the upstream; default 2048."""
    header_bytes: Annotated[int, kinds.size(1 << 10, 16 << 20)] = 64 << 10
    """Bytes of a request's or response's head; default 64 KiB."""
    header_count: Annotated[int, kinds.count(8, 10_000)] = 128
    """Header fields of a request or response; default 128."""
    body_rate: Annotated[int, kinds.size(1, 1 << 30, off=True)] = 256
    """Bytes a second a client's upload must average after timeouts.body; 0 for off; default 256."""
    retry_body: Annotated[int, kinds.size(0, 1 << 30)] = 1 << 20
    """Bytes of the largest request body that is kept for the one retry; default 1 MiB."""


@dataclass(frozen=True, slots=True)
class Compression:
    """[proxy.compression]: what is coded on the wire, and for whom."""

    requests: Annotated[
        str,
        kinds.one_of(
            {
                '"auto"': "auto",
                "true": "auto",
                '"zstd"': "zstd",
                '"gzip"': "gzip",
                '"m2m"': "m2m",
                **_OFF,
            }
        ),
    ] = "auto"
    """Coding of requests to the upstream; 'auto' for what it shows that it reads, the default."""
    responses: Annotated[
        str, kinds.one_of({'"auto"': "auto", '"on"': "on", "true": "on", **_OFF})
    ] = "auto"
    """Coding of response bodies as clients ask for; 'auto' for clients elsewhere, the default."""
    min_size: Annotated[int, kinds.size(0, 1 << 30)] = 1024
    """Bytes of the smallest body that is coded; default 1 KiB."""
    level: Annotated[int, kinds.count(1, 9)] = 5
    """How hard zstd, brotli and gzip try, from 1 to 9; default 5."""
    endpoints: Annotated[
        str, kinds.one_of({'"loopback"': "loopback", '"on"': "on", "true": "on", **_OFF})
    ] = "loopback"
    """Who may use /v1/compress and /v1/decompress: 'loopback', the default, 'on' or 'off'."""
    vocabularies: Annotated[tuple[str, ...], _VOCABULARIES] = ()
    """Vocabularies that are loaded at the start, to read token ids: 'cl100k', 'o200k', 'llama3';
    none, the default."""


@dataclass(frozen=True, slots=True)
class Link:
    """[link]: what this instance and another one remember of a connection between them."""

    enabled: Annotated[bool, _SWITCH] = True
    """Whether links are offered to clients, and made to the upstream; default true."""
    memory: Annotated[int, kinds.size(1 << 20, 1 << 40)] = 256 << 20
    """Bytes that all links together hold at most; default 256 MiB."""
    connection_memory: Annotated[int, kinds.size(1 << 20, 1 << 34)] = 32 << 20
    """Bytes that one connection's hold; the other end is told; default 32 MiB."""
    credential_memory: Annotated[int, kinds.size(64 << 10, 1 << 34)] = 16 << 20
    """Bytes of these that one credential's take; default 16 MiB."""
    ttl: Annotated[float, kinds.duration(1, 86400)] = 900.0
    """Seconds that what is not used is kept, and an idle link open; default 15m."""
    isolation: Annotated[str, kinds.names("block", "credential", "conversation")] = "block"
    """What requests with one credential may share: 'block', 'credential' or 'conversation';
    default block."""
    tenant_header: Annotated[str, _HEADER] = ""
    """Header field that tells tenants with one credential apart; '' for none, the default."""


@dataclass(frozen=True, slots=True)
class Security:
    """[proxy.security]: the scanner of requests."""

    enabled: Annotated[bool, _SWITCH] = False
    """Whether requests are scanned; default false."""
    blocking: Annotated[bool, _SWITCH] = True
    """Whether a finding refuses the request, rather than only being logged; default true."""
    threshold: Annotated[float, kinds.number(float, 0, 1, "a number from 0 to 1")] = 0.8
    """Score from which on something counts as a finding; 0 to refuse nothing; default 0.8."""
    thresholds: Annotated[tuple[tuple[str, float], ...], _THRESHOLDS] = ()
    """The same for categories, such as {jailbreak = 0.9}, in place of `threshold`; none, the
    default."""
    roles: Annotated[tuple[str, ...], _ROLES] = ("user", "assistant", "tool")
    """Whose words are scored: 'user', 'assistant', 'tool', 'system', 'definition'; default user,
    assistant, tool."""
    off: Annotated[tuple[str, ...], _SOURCES] = ()
    """Ids of rules and checks that do not count; none, the default."""
    max_size: Annotated[int, kinds.size(1 << 10, 1 << 30)] = 8 << 20
    """Bytes of the largest body that is scanned; default 8 MiB."""
    replies: Annotated[bool, _SWITCH] = False
    """Whether links in replies that could carry data away are logged and counted; default false."""
    cache: Annotated[int, kinds.count(0, 1_000_000)] = 16384
    """Messages whose verdicts are remembered, 0 for none; default 16384."""


@dataclass(frozen=True, slots=True)
class Tls:
    """[proxy.tls]: certificates and keys, all by the paths of files in PEM."""

    cert: Annotated[tuple[str, ...], _PEM_PATHS] = ()
    """Certificates shown to clients, each with its chain; the first is for names of none; none is
    no TLS, the default."""
    key: Annotated[tuple[str, ...], _PEM_PATHS] = ()
    """Their private keys, in the same order; none where the files of `cert` hold them."""
    client_ca: Annotated[str, _PEM_PATH] = ""
    """Certificates that sign those which clients must have; '' for none, the default."""
    upstream_cert: Annotated[str, _PEM_PATH] = ""
    """Certificate shown to the upstream, with its chain; '' for none, the default."""
    upstream_key: Annotated[str, _PEM_PATH] = ""
    """Its private key; '' where the file of `upstream_cert` holds it."""
    insecure: Annotated[bool, _SWITCH] = False
    """Whether the upstream's certificate and name are not verified; default false."""


@dataclass(frozen=True, slots=True)
class Logging:
    """[logging]: what is written to standard error."""

    format: Annotated[str, kinds.names("text", "json")] = "text"
    """'text' or 'json'; default text."""
    level: Annotated[str, kinds.names("debug", "info", "warning", "error")] = "info"
    """The least level that is written: 'debug', 'info', 'warning' or 'error'; default info."""
    access: Annotated[bool, _SWITCH] = True
    """Whether each exchange is a line; default true."""


@dataclass(frozen=True, slots=True)
class Peer:
    """[peer]: what other instances of m2mproxy are known by."""

    psk_file: Annotated[str, _PSK_PATH] = ""
    """File of the key that is shared with other instances; '' for none, the default."""
    seal: Annotated[str, kinds.names("aead", "hmac")] = "aead"
    """How bodies between them are sealed: 'aead', encrypted, or 'hmac'; default aead."""
    required: Annotated[bool, _SWITCH] = False
    """Whether a body is sent to the upstream, and taken from it, only sealed; default false."""
    psk: bytes = field(default=b"", repr=False)
    """The key, 32 bytes: no key of the configuration, but what `psk_file` holds."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """[tokens]: what is known of the tokens that exchanges take."""

    count: Annotated[
        str, kinds.one_of({'"usage"': "usage", '"all"': "all", "true": "all", **_OFF})
    ] = "usage"
    """'usage' for what replies say, the default; 'all' to count what they do not say; 'off'."""
    vocabularies: Annotated[tuple[str, ...], _NAMES] = ("cl100k", "o200k")
    """Vocabularies that are loaded to count with, where `count` is 'all'; default cl100k, o200k."""
    prices: Annotated[str, _PRICES_PATH] = ""
    """File of what tokens cost; '' for none, the default."""
    table: Prices = field(default_factory=Prices)
    """The prices: no key of the configuration, but what `prices` holds."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """[stats]: who may read the figures, and where."""

    access: Annotated[
        str, kinds.one_of({'"loopback"': "loopback", '"on"': "on", "true": "on", **_OFF})
    ] = "loopback"
    """Who may use /stats and /metrics where clients connect: 'loopback', the default, 'on' or
    'off'."""
    listen: Annotated[tuple[Listen, ...], MORE_LISTEN] = ()
    """Addresses where there are only these and /health, for whoever connects; none, the
    default."""


class Place(NamedTuple):
    """Where a key was given: the file, `environment` or `command line`, and its name there."""

    source: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """[proxy] and its sections, and the others."""

    listen: Annotated[tuple[Listen, ...], LISTEN] = (Listen("127.0.0.1", 8080),)
    """Addresses where clients connect; default 127.0.0.1:8080."""
    upstream: Annotated[Upstream, UPSTREAM]
    """Base URL that requests are forwarded to; required."""
    upstream_http: Annotated[str, kinds.names("auto", "1.1", "2")] = "auto"
    """HTTP version to the upstream: '1.1', '2', or 'auto' for what TLS offers; default auto."""
    provider: Annotated[str, _PROVIDER] = "auto"
    """Profile of the upstream, or 'auto' to tell it from the URL; default auto."""
    api_key: Annotated[str, KEY_TEXT] = field(default="", repr=False)
    """Key for the upstream where the client sends none; '' for none, the default."""
    web_origins: Annotated[tuple[str, ...], _WEB_ORIGINS] = ()
    """Origins of web pages that may use what opens the upstream, and read what it says; '*' for
    all; none but this machine's own, the default."""
    max_body: Annotated[int, kinds.size(1, 1 << 40)] = 64 << 20
    """Bytes of the largest request body that is accepted; default 64 MiB."""
    drain: Annotated[float, kinds.duration(0, 86400)] = 30.0
    """Seconds that running exchanges have to finish after SIGTERM; default 30."""
    forwarded: Annotated[bool, _SWITCH] = True
    """Whether requests to the upstream get an RFC 7239 Forwarded field; default true."""
    ca_file: Annotated[str, _CA_PATH] = ""
    """File of the certificates trusted for https, in PEM; '' for the system's, the default."""
    api_version: Annotated[str, _API_VERSION] = ""
    """Azure's classic `api-version` query parameter; '' for none, the default."""
    sse_keepalive: Annotated[float, kinds.duration(0.1, 3600, off=True)] = 0.0
    """Seconds of silence after which an event stream gets a comment; 0 for off, the default."""
    tls: Tls = Tls()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    compression: Compression = Compression()
    security: Security = Security()
    peer: Peer = Peer()
    link: Link = Link()
    tokens: Tokens = Tokens()
    stats: Exposure = Exposure()
    logging: Logging = Logging()
    places: Mapping[str, Place] = field(default_factory=dict, repr=False, compare=False)
    """Where each key that was given was given, by its path: no key itself, but for errors."""

    def refusal(self, path: str, value: object, reason: str) -> ConfigError:
        """The error for a value that turns out to be of no use only when it is put to use."""
        source, name = self.places.get(path, Place(DEFAULT, path))
        return ConfigError(source, name, KEYS[path].kind.public(value), reason=reason)


SECTIONS: Mapping[str, type[Any]] = {
    "proxy": Config,
    "proxy.tls": Tls,
    "proxy.timeouts": Timeouts,
    "proxy.limits": Limits,
    "proxy.compression": Compression,
    "proxy.security": Security,
    "peer": Peer,
    "link": Link,
    "tokens": Tokens,
    "stats": Exposure,
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
        path = self.path.removeprefix("proxy.").removeprefix("tls.").replace("logging.", "log-")
        path = path.removesuffix(".enabled").removeprefix("security.")
        return "--" + re.sub("[._]", "-", path)


def _all_keys() -> Iterator[Key]:
    for section, kind in SECTIONS.items():
        for each in fields(kind):
            # The fields that are sections themselves carry no Kind.
            for meta in getattr(each.type, "__metadata__", ()):
                default = None if each.default is MISSING else each.default
                yield Key(f"{section}.{each.name}", meta, default)
    # A field of no dataclass: it is read when the configuration is, and becomes the api_key.
    yield Key(API_KEY_FILE, _KEY_PATH, "")


KEYS: Mapping[str, Key] = {key.path: key for key in _all_keys()}
