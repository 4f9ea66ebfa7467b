"""What tokens cost: the file that `tokens.prices` names, a table for each pattern of model names.

    currency = "USD"

    ["gpt-4o-mini*"]
    input = 0.15            # for a million tokens
    cached_input = 0.075    # where it is left out, those cost the same
    output = 0.60

    ["claude-*"]
    input = 3.00
    cached_input = 0.30
    cache_write_input = 3.75     # where it is left out, as `input`
    cache_write_1h_input = 6.00  # for an hour; where it is left out, as `cache_write_input`
    output = 15.00

The one rule: the first pattern that matches sets the price, and anything else in the file is an
error that names the file, the key and the reason.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from m2mproxy.config.errors import ConfigError
from m2mproxy.config.files import MOST_TEXT, contents

_MILLION = 1_000_000
_AMOUNTS = ("input", "cached_input", "cache_write_input", "cache_write_1h_input", "output")
_AMOUNT = "a price for a million tokens, 0 or more"


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens of some models cost."""

    pattern: str
    """Of the models' names, with `*`, `?` and `[...]` as in file names."""
    input: float
    """Of a request."""
    cached_input: float
    """Of a request, where the provider had them in a cache."""
    output: float
    """Of a reply."""
    cache_write_input: float
    """Of a request, where the provider put them into a cache."""
    cache_write_1h_input: float
    """The same, where the cache keeps them for an hour."""

    def cost(
        self, given: int, cached: int, made: int, written: int = 0, written_1h: int = 0
    ) -> float:
        """Of `given` tokens, `cached` of them from a cache, `written` to one and `written_1h` of
        these for an hour, and of `made` ones."""
        fresh = max(0, given - cached - written)
        amount = fresh * self.input + cached * self.cached_input + made * self.output
        amount += max(0, written - written_1h) * self.cache_write_input
        amount += written_1h * self.cache_write_1h_input
        return amount / _MILLION


@dataclass(frozen=True, slots=True)
class Prices:
    """All of them, in the order of the file."""

    currency: str = ""
    """Its code, "" where there are no prices."""
    rows: tuple[Price, ...] = ()
    """The first that matches counts."""

    def of(self, model: str) -> Price | None:
        """The price of a model; None where it is not known. Names differ in no more than case."""
        name = model.lower()
        return next((row for row in self.rows if fnmatchcase(name, row.pattern.lower())), None)


def read(path: str) -> Prices:
    """The prices of a file.

    Raises:
        OSError: it cannot be read.
        ConfigError: it is no such file; with its path, the key and the reason.
    """
    import tomllib  # only where there is a file

    data, _ = contents(path, MOST_TEXT)
    try:
        table = tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise ConfigError(path, reason="not UTF-8") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and limits of Python's own
        raise ConfigError(path, reason=f"not TOML: {error}") from None
    currency = table.pop("currency", "USD")
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        raise ConfigError(path, "currency", currency, 'a code of three letters, such as "USD"')
    return Prices(currency, tuple(_price(path, name, row) for name, row in table.items()))


def _price(path: str, pattern: str, row: object) -> Price:
    if not isinstance(row, Mapping):
        raise ConfigError(path, pattern, None, f'a table of prices, written ["{pattern}"]')
    for name in row:
        if name not in _AMOUNTS:
            raise ConfigError(path, f'"{pattern}".{name}', reason="unknown key")
    amounts = {name: _amount(path, f'"{pattern}".{name}', value) for name, value in row.items()}
    for name in ("input", "output"):
        if name not in amounts:
            raise ConfigError(path, f'"{pattern}".{name}', None, _AMOUNT, "not given")
    each = amounts["input"]
    cached, written = amounts.get("cached_input", each), amounts.get("cache_write_input", each)
    written_1h = amounts.get("cache_write_1h_input", written)
    return Price(pattern, each, cached, amounts["output"], written, written_1h)


def _amount(path: str, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(path, name, value, _AMOUNT)
    if not 0 <= value <= 1e9:  # which no NaN is
        raise ConfigError(path, name, value, _AMOUNT)
    return float(value)
