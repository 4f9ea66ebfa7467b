"""Shared by all tests: the test bed (clock, link, world) is importable from everywhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from link import SPLITS, Split


@pytest.fixture(params=list(SPLITS))
def split(request: pytest.FixtureRequest) -> Split:
    """Every case runs whole, byte by byte and in random pieces."""
    return SPLITS[request.param]
