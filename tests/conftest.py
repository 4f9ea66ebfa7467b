"""Shared by all tests: the test bed (clock, link, world) is importable from everywhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

from certificates import Authority
from link import SPLITS, Split
from world import Pair

# How long an example takes, and how long to make it, depends on what else the machine does. The
# examples are the same each time, but for tools/fuzz: what others would find is no fault of the
# change that is being tested.
settings.register_profile(
    "m2mproxy",
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("m2mproxy")

PAIRS: list[Pair] = [("1.1", "1.1"), ("1.1", "2"), ("2", "1.1"), ("2", "2")]


@pytest.fixture(params=PAIRS, ids=lambda pair: f"h{pair[0]}-h{pair[1]}")
def pair(request: pytest.FixtureRequest) -> Pair:
    """Every case runs for each version of the client with each of the upstream."""
    assert isinstance(request.param, tuple)
    return request.param


@pytest.fixture(params=list(SPLITS))
def split(request: pytest.FixtureRequest) -> Split:
    """Every case runs whole, byte by byte and in random pieces."""
    return SPLITS[request.param]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom the ends of the tests trust."""
    return Authority("trusted", tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom they do not."""
    return Authority("stranger", tmp_path_factory.mktemp("stranger"))
