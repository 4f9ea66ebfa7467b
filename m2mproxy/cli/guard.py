"""The scanner for the commands: as a configuration wants it, and for `m2m scan`.

The one rule: the scanner, its rules and its model are in memory only where requests are scanned.
"""

import pickle
from collections.abc import Collection
from typing import Any

from m2mproxy.config import SECURITY, Config, Security

OFF = "proxy.security.off"


def scanner(config: Config) -> Any:
    """What scans requests as `config` wants it; None for nothing.

    Raises:
        ConfigError: an id that is switched off does not exist, or a library does not.
    """
    security = config.security
    if not (security.enabled or security.off):
        return None
    from m2mproxy.guard.engine import EngineMissing

    try:
        if security.enabled:
            return build(security)
        _check(security.off)
    except ValueError as error:
        raise config.refusal(OFF, security.off, str(error)) from None
    except EngineMissing as error:
        if security.enabled:
            raise config.refusal(SECURITY, True, str(error)) from None
    return None


def _check(ids: Collection[str]) -> None:
    """Look whether they exist, for the day on which requests are scanned. What that takes is in
    memory in a process of its own only.

    Raises:
        ValueError: one does not.
        EngineMissing: a library that knows is not installed.
    """
    from m2mproxy.guard.beside import beside

    def unknown() -> bytes:
        from m2mproxy.guard.scanner import CHECKS
        from m2mproxy.guard.scorer import sources

        return pickle.dumps([each for each in ids if each not in CHECKS and each not in sources()])

    for each in pickle.loads(beside(unknown)):
        raise ValueError(f"no rule {each!r}")


def build(security: Security) -> Any:
    """The scanner of that configuration.

    Raises:
        ValueError: an id that is switched off does not exist.
        EngineMissing: the library that it needs is not installed.
    """
    from m2mproxy.guard.finding import Category
    from m2mproxy.guard.scanner import CHECKS, Scanner
    from m2mproxy.guard.scorer import Scorer

    checks, others = _divided(security.off, CHECKS)
    thresholds = {each: security.threshold for each in Category}
    thresholds |= {Category(name): value for name, value in security.thresholds}
    return Scanner(Scorer(others), thresholds, checks, security.roles, security.cache)


def _divided(ids: Collection[str], some: Collection[str]) -> tuple[list[str], list[str]]:
    """Those that are among `some`, and the others."""
    return [each for each in ids if each in some], [each for each in ids if each not in some]
