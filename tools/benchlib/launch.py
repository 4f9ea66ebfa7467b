"""Starts the proxy with the code of its later stages, or without: `python -m benchlib.launch`.

    python -m benchlib.launch whole|bare FILE FLAG...

`bare` is the proxy as it would be if nobody had thought of tokens and scanning: in the place of the
packages `tokens` and `guard`, and of what uses them in `proxy` and `service`, stand modules of
which every name is an empty class. What is left of those stages is what asks whether they are on.
When the proxy ends, the names of all modules that it has, the empty ones left out, are in FILE.

The one rule: nothing but those modules is different, in both cases all is as it is shipped.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

BARE, WHOLE = "bare", "whole"
STAGES = (
    "m2mproxy.tokens",
    "m2mproxy.guard",
    "m2mproxy.proxy.scanning",
    "m2mproxy.proxy.tally",
    "m2mproxy.service.accounts",
    "m2mproxy.service.counting",
)


def is_of_a_stage(module: str) -> bool:
    """Whether that module would not be there without tokens and scanning."""
    return any(module == stage or module.startswith(f"{stage}.") for stage in STAGES)


class Accounts:
    """Where service/accounts.py is: the line of the log, and nothing else."""

    def __init__(self, loop: object, prices: object, write: Callable[[Any], None]) -> None:
        self.ended = write

    def reset(self) -> None:
        """There is nothing."""

    def snapshot(self) -> dict[str, object]:
        """Nothing."""
        return {}


class Empty(ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = Accounts if name == "Accounts" else type(name, (), {})
        setattr(self, name, made)
        return made


class Absent(MetaPathFinder, Loader):
    """Finds an empty module for each that is not to be there."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if is_of_a_stage(name) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to be done."""


def _write_modules(file: Path) -> None:
    names = [name for name, module in sys.modules.items() if not isinstance(module, Empty)]
    file.write_text("".join(f"{name}\n" for name in sorted(names)))


def main(mode: str, file: str, *flags: str) -> int:
    if mode == BARE:
        sys.meta_path.insert(0, Absent())
    atexit.register(_write_modules, Path(file))
    from m2mproxy.cli.daemon import main as daemon

    return daemon(flags)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
