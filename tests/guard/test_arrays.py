"""numpy as it is loaded here."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NAME = "OPENBLAS_NUM_THREADS"
LOADED = f"""
import os
from m2mproxy.guard import arrays
print(os.environ.get({NAME!r}), len(os.listdir("/proc/self/task")))
"""


@pytest.mark.parametrize(("set_to", "told"), [(None, "None 1"), ("1", "1 1")])
def test_no_thread_is_started_and_no_child_hears_of_that(set_to: str | None, told: str) -> None:
    others = {name: value for name, value in os.environ.items() if name != NAME}
    environment = others if set_to is None else {**others, NAME: set_to}
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == told
