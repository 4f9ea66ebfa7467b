"""The configuration: flags over `M2M_*` variables over a TOML file over defaults.

`schema` is the table of keys, `load` fills it in. This is all that others use of it.
"""

from m2mproxy.config.addresses import Listen, Upstream
from m2mproxy.config.errors import COMMAND_LINE, ENVIRONMENT, ConfigError, printable
from m2mproxy.config.kinds import Kind, size_text
from m2mproxy.config.load import FILE_VARIABLE, load
from m2mproxy.config.prices import Price, Prices
from m2mproxy.config.schema import (
    KEYS,
    SECTIONS,
    SECURITY,
    THRESHOLD,
    Compression,
    Config,
    Exposure,
    Key,
    Limits,
    Link,
    Logging,
    Peer,
    Security,
    Timeouts,
    Tls,
    Tokens,
)

__all__ = [
    "COMMAND_LINE",
    "ENVIRONMENT",
    "FILE_VARIABLE",
    "KEYS",
    "SECTIONS",
    "SECURITY",
    "THRESHOLD",
    "Compression",
    "Config",
    "ConfigError",
    "Exposure",
    "Key",
    "Kind",
    "Limits",
    "Link",
    "Listen",
    "Logging",
    "Peer",
    "Price",
    "Prices",
    "Security",
    "Timeouts",
    "Tls",
    "Tokens",
    "Upstream",
    "load",
    "printable",
    "size_text",
]
