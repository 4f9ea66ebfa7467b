"""numpy, for what adds up or looks up many numbers at a time.

The one rule: numpy is imported here only.
"""

from __future__ import annotations

import os

from m2mproxy.guard.engine import EngineMissing

# Nothing here multiplies matrices: numpy's library for that need not start its threads. It asks
# once, when it is loaded; what is started from here later is not to hear of it.
_THREADS = "OPENBLAS_NUM_THREADS"
_said = _THREADS in os.environ
os.environ.setdefault(_THREADS, "1")
try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as error:
    raise EngineMissing("the scanner needs numpy: install m2mproxy[guard]") from error
finally:
    if not _said:
        del os.environ[_THREADS]

__all__ = ["NDArray", "np"]
