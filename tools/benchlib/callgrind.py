"""Instructions that a process executes, counted by valgrind's callgrind.

A count is the same within a thousandth whatever else the machine does, where CPU time is not the
same within a tenth. It says nothing of waiting for memory.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from .process import Process, ProcessFailed

# Nothing is counted until it is asked for: starting takes a tenth of the time.
_TOOL = ("valgrind", "--tool=callgrind", "--instr-atstart=no")
_CONTROL = "callgrind_control"
SECONDS_TO_START = 120.0


def is_here() -> bool:
    return all(shutil.which(name) for name in (_TOOL[0], _CONTROL))


def command(argv: list[str], directory: Path) -> list[str]:
    """What starts `argv` so that its instructions can be counted; results go to the directory."""
    out, log = directory / "callgrind", directory / "callgrind.log"
    return [*_TOOL, f"--callgrind-out-file={out}", f"--log-file={log}", *argv]


def begin(process: Process) -> None:
    """Count from now on."""
    _control(process, "--instr=on")


def end(process: Process, directory: Path) -> int:
    """Stop counting; how many there were since `begin`."""
    _control(process, "--instr=off")
    before = set(directory.glob("callgrind.*"))
    _control(process, "--dump")
    dumps = [each for each in directory.glob("callgrind.*") if each not in before]
    found = re.search(r"^totals: (\d+)", "".join(each.read_text() for each in dumps), re.MULTILINE)
    if found is None:
        raise ProcessFailed(f"callgrind wrote no sum: {process.last_words()}")
    return int(found[1])


def _control(process: Process, order: str) -> None:
    process.check()
    told = subprocess.run(
        [_CONTROL, order, str(process.pid)], capture_output=True, text=True, timeout=60, check=False
    )
    if told.returncode:
        raise ProcessFailed(f"{_CONTROL} {order}: {(told.stderr or told.stdout).strip()}")
