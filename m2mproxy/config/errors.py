"""Errors about settings that cannot be used.

The one rule: an error is one printable line that names the place, the key, the value and what is
allowed; a value that may be a secret is left out.
"""

COMMAND_LINE = "command line"
ENVIRONMENT = "environment"
DEFAULT = "default"
# Characters of a value.
_LONGEST = 200


class ConfigError(Exception):
    """A setting that cannot be used: where it was given, its name there, what is allowed."""

    def __init__(
        self, source: str, key: str = "", value: object = None, allowed: str = "", reason: str = ""
    ) -> None:
        super().__init__(source, key, value, allowed, reason)
        self.source, self.key, self.value = source, key, value
        self.allowed, self.reason = allowed, reason

    def __str__(self) -> str:
        name = self.key if self.value is None else f"{self.key} = {shown(self.value)}"
        must = f"must be {self.allowed}" if self.allowed else ""
        line = ": ".join(part for part in (self.source, name, self.reason, must) if part)
        return printable(line)  # whatever a file or a variable holds


def printable(text: str) -> str:
    """`text` on one line, and nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """A value as TOML spells it, as far as an error needs it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return "{...}"
    if isinstance(value, int) and value.bit_length() > _LONGEST:
        value = f"{value:#x}"  # Python refuses to write thousands of decimals
        return f"{value[:_LONGEST]}..." if len(value) > _LONGEST else value
    text = str(value)
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
    return f'"{text}"' if isinstance(value, str) else text
