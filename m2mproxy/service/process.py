"""What the process takes of the machine, as the kernel has it.

The one rule: it is read when somebody asks, and what the system does not show is left out.
"""

from __future__ import annotations

import os
import resource
import time

_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
# Fields of /proc/self/stat behind the name, which ends with the last bracket (proc(5)).
_USER, _SYSTEM, _VIRTUAL, _RESIDENT = 11, 12, 20, 21
# As good as the start, and the same whenever it is asked for.
_BEGUN = time.time()


def figures() -> dict[str, float]:
    """Seconds, bytes, and files; without some where there is no /proc."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    found: dict[str, float] = {"started": round(_BEGUN, 3), "most_files": most}
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        files = len(os.listdir("/proc/self/fd")) - 1  # without the one that lists them
    except OSError:  # no /proc, or no file left to read it by
        return found
    return {
        "cpu_s": (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS,
        "virtual_bytes": int(fields[_VIRTUAL]),
        "resident_bytes": int(fields[_RESIDENT]) * _PAGE,
        "open_files": files,
        **found,
    }
