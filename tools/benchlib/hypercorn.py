"""hypercorn: the peer that tells what HTTP/2 costs in Python, and the yardstick of part `h2`.

One process on uvloop serves `asgi.py`, which answers at once: it has no upstream, so half of a
proxy's work is not asked of it.
"""

import importlib.metadata
import sys
from pathlib import Path

CONFIG = """\
bind = "127.0.0.1:{port}"
worker_class = "uvloop"
workers = 0  # one, in this very process
keep_alive_timeout = 3600
keep_alive_max_requests = 1000000000
"""


def command(directory: Path, port: int) -> list[str]:
    path = directory / "hypercorn.toml"
    path.write_text(CONFIG.format(port=port))
    return [sys.executable, "-m", "hypercorn", "--config", str(path), "benchlib.asgi:app"]


def version() -> str:
    try:
        return importlib.metadata.version("hypercorn")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
