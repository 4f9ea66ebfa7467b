"""What Python may allocate while something is done: for bodies that claim or become much."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def allocating_at_most(size: float) -> Iterator[None]:
    """More than `size` bytes at once fail the test."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()
