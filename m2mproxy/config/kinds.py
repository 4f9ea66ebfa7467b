"""How the values of keys are read: numbers with bounds and units, words, texts.

The one rule: a Kind takes exactly what its `allowed` says, and never corrects.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from m2mproxy.config.errors import shown


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


# What else Python takes for one: white space around it, "_" within, digits of every script.
_is_number = re.compile(r"[-+.0-9eE]+").fullmatch


def _scalar(text: str) -> object:
    """The boolean or number that a text spells, else the text."""
    if text in ("true", "false"):
        return text == "true"
    if not _is_number(text):
        return text
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


def number(
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


def duration(low: float, high: float, off: bool = False) -> Kind:
    """Seconds from `low` to `high`, as a number or with a unit; with `off`, 0 as well."""
    bounds = f"from {low:g} to {high:g}" + (", or 0 for off" if off else "")
    allowed = f'a number of seconds {bounds}, such as 10 or "10s"'
    return number(float, low, high, allowed, _DURATIONS, off)


def size(low: int, high: int, off: bool = False) -> Kind:
    """Bytes from `low` to `high`, as a number or with a unit; with `off`, 0 as well."""
    bounds = f"from {size_text(low)} to {size_text(high)}" + (", or 0 for off" if off else "")
    allowed = f'a number of bytes {bounds}, such as 65536 or "64KiB"'
    return number(int, low, high, allowed, _SIZES, off)


def count(low: int, high: int) -> Kind:
    """A whole number from `low` to `high`."""
    return number(int, low, high, f"a whole number from {low} to {high}")


def one_of(values: Mapping[str, object]) -> Kind:
    """One of a few values, each by its TOML spelling."""

    def read(value: object) -> object:
        spelling = shown(value)
        if spelling not in values:
            raise ValueError
        return values[spelling]

    return Kind(read, " or ".join(values), _scalar)


def names(*names: str) -> Kind:
    """One of a few texts; "2" among them is a text, too."""

    def read(value: object) -> object:
        if value not in names:
            raise ValueError
        return value

    return Kind(read, " or ".join(f'"{name}"' for name in names))


def texts(pattern: str, allowed: str) -> Kind:
    """One text or several, each of `pattern`, in a variable between commas; "" and [] are none."""

    def read(value: object) -> tuple[str, ...]:
        several = ([value] if value else []) if isinstance(value, str) else value
        if not isinstance(several, list):
            raise ValueError
        for each in several:
            if not isinstance(each, str) or not re.fullmatch(pattern, each):
                raise ValueError
        return tuple(several)

    return Kind(read, allowed, split)


def shares(names: Sequence[str], allowed: str) -> Kind:
    """A table from some of the `names` to numbers from 0 to 1, in a variable `name=number` between
    commas. It becomes pairs in the order of `names`."""
    share = number(float, 0, 1, "a number from 0 to 1")

    def read(value: object) -> tuple[tuple[str, object], ...]:
        if not isinstance(value, dict) or not set(names).issuperset(value):
            raise ValueError
        return tuple((name, share.read(value[name])) for name in names if name in value)

    def from_text(text: str) -> object:
        parts = [part.partition("=") for part in text.split(",")] if text else []
        return {name.strip(): _scalar(number.strip()) for name, _, number in parts}

    return Kind(read, allowed, from_text)


def split(text: str) -> object:
    """The parts of a text between commas."""
    return [part.strip() for part in text.split(",")] if text else []


def text(pattern: str, allowed: str, public: Callable[[object], object] = _same) -> Kind:
    """A text that all of `pattern` matches; `allowed` says which those are, in words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError
        return value

    return Kind(read, allowed, public=public)
