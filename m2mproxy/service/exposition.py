"""Figures as Prometheus reads them: its text format 0.0.4, and OpenMetrics 1.0.

The two differ in little: OpenMetrics has an end, and names a counter without the `_total` that its
sample has.

The one rule: it knows the formats and nothing of what is counted; whatever a label holds, a line
stays a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

COUNTER, GAUGE, HISTOGRAM, SUMMARY = "counter", "gauge", "histogram", "summary"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

_OURS, _PLAIN = "application/openmetrics-text", "text/plain"
_weight = re.compile(r"[01](?:\.[0-9]{0,3})?").fullmatch
_is_version_1 = re.compile(r'"?1\.[0-9]+\.[0-9]+"?').fullmatch


class Sample(NamedTuple):
    """One line: its value, its labels, and what it adds to the name of its family."""

    value: float
    labels: Mapping[str, str] = {}
    suffix: str = ""


class Family(NamedTuple):
    """What has one name. That of a counter is without `_total`. `help` is one line without quotes
    and backslashes."""

    name: str
    kind: str
    help: str
    samples: Iterable[Sample]


def wants_open_metrics(accept: str) -> bool:
    """Whether an Accept field (RFC 9110 12.5.1) puts OpenMetrics 1 above the text format, or beside
    it. Who takes just anything gets the text, which everyone can read."""
    best = {_OURS: 0.0, _PLAIN: 0.0}
    for member in accept.lower().split(","):
        name, *rest = [part.strip() for part in member.split(";")]
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        if name == _OURS and not _is_version_1(parameters.get("version", "1.0.0")):
            continue  # an older one, of another shape
        if name in best and (weight := _weight(parameters.get("q", "1"))):
            best[name] = max(best[name], float(weight[0]))
    return best[_OURS] > 0 and best[_OURS] >= best[_PLAIN]


def written(families: Iterable[Family], open_metrics: bool) -> bytes:
    """All of it, in one of the two formats."""
    lines = [line for family in families for line in _lines(family, open_metrics)]
    lines.append("# EOF\n" if open_metrics else "")
    return "".join(lines).encode("utf-8", "replace")


def _lines(family: Family, open_metrics: bool) -> Iterator[str]:
    is_counter = family.kind == COUNTER
    sampled = f"{family.name}_total" if is_counter else family.name
    named = family.name if open_metrics else sampled
    yield f"# HELP {named} {family.help}\n# TYPE {named} {family.kind}\n"
    for value, labels, suffix in family.samples:
        yield f"{sampled}{suffix}{_labels(labels)} {value}\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{_escaped(text)}"' for name, text in labels.items()]) + "}"


@lru_cache(256)  # a model's name is in a dozen samples
def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
