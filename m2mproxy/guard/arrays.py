"""numpy, for what adds up or looks up many numbers at a time.

The one rule: numpy is imported here only.
"""

from __future__ import annotations

import os

from m2mproxy.guard.engine import EngineMissing

# Nothing here multiplies matrices: numpy's library for that need not start its threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as error:
    raise EngineMissing("the scanner needs numpy: install m2mproxy[guard]") from error

__all__ = ["NDArray", "np"]
