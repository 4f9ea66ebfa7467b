"""nghttp2's h2load as the load of part `h2`: many streams on one cleartext connection.

It sends the one body it is given with every request, counts what was answered and how, and is
believed only when every request was answered 200 and as many bytes came as they had to.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .process import ProcessFailed

TIMEOUT = 60


@dataclass(frozen=True)
class Plan:
    streams: int
    body: Path
    fields: Sequence[tuple[str, str]]
    reply_size: int


def run(url: str, plan: Plan, requests: int) -> float:
    """Requests a second; it shares its CPU with us, which is the one for load."""
    argv = ["h2load", "-c1", f"-m{plan.streams}", f"-n{requests}", "-d", str(plan.body)]
    for name, value in plan.fields:
        argv += ["-H", f"{name}: {value}"]
    try:
        done = subprocess.run(
            [*argv, url], capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise ProcessFailed(f"h2load: {requests} requests took more than {TIMEOUT} s") from None
    wanted = (
        f" {requests} succeeded, 0 failed",
        f"status codes: {requests} 2xx",
        f"({requests * plan.reply_size}) data",
    )
    rate = re.search(r"finished in .* ([\d.]+) req/s", done.stdout)
    if not rate or not all(part in done.stdout for part in wanted):
        said = " / ".join(done.stdout.splitlines()[-12:-5]) + done.stderr
        raise ProcessFailed(f"h2load, {requests} requests: {said}")
    return float(rate[1])
