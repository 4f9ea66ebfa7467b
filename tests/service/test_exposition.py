"""The two formats that Prometheus reads, as its own parsers read them."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_text

from m2mproxy.service.exposition import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    SUMMARY,
    Family,
    Sample,
    wants_open_metrics,
    written,
)

FAMILIES = [
    Family("a_seconds", COUNTER, "A counter.", [Sample(3, {"l": "x"}), Sample(0.25, {"l": "y"})]),
    Family("b", GAUGE, "A gauge.", [Sample(-1)]),
    Family("c", GAUGE, "Nothing of it.", []),
    Family(
        "d_seconds",
        HISTOGRAM,
        "A histogram.",
        [
            Sample(1, {"le": "0.5"}, "_bucket"),
            Sample(2, {"le": "+Inf"}, "_bucket"),
            Sample(1.5, suffix="_sum"),
            Sample(2, suffix="_count"),
        ],
    ),
    Family(
        "e_seconds",
        SUMMARY,
        "A summary.",
        [Sample(0.5, {"quantile": "0.99"}), Sample(2.5, suffix="_sum"), Sample(4, suffix="_count")],
    ),
]
FORMATS = pytest.mark.parametrize(
    ("is_open", "read"), [(False, read_text), (True, read_open)], ids=["text", "open"]
)


def values(families: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


@FORMATS
def test_what_is_written_is_read(is_open: bool, read: Any) -> None:
    found = list(read(written(FAMILIES, is_open).decode()))
    kinds = {family.name: (family.type, family.documentation) for family in found}
    assert kinds == {each.name: (each.kind, each.help) for each in FAMILIES}
    assert values(found) == {
        ("a_seconds_total", (("l", "x"),)): 3,
        ("a_seconds_total", (("l", "y"),)): 0.25,
        ("b", ()): -1,
        ("d_seconds_bucket", (("le", "0.5"),)): 1,
        ("d_seconds_bucket", (("le", "+Inf"),)): 2,
        ("d_seconds_sum", ()): 1.5,
        ("d_seconds_count", ()): 2,
        ("e_seconds", (("quantile", "0.99"),)): 0.5,
        ("e_seconds_sum", ()): 2.5,
        ("e_seconds_count", ()): 4,
    }


def test_the_formats_differ_in_the_name_of_a_counter_and_in_the_end() -> None:
    text, opened = written(FAMILIES[:1], False), written(FAMILIES[:1], True)
    assert text.startswith(b"# HELP a_seconds_total A counter.\n# TYPE a_seconds_total counter\n")
    assert opened.startswith(b"# HELP a_seconds A counter.\n# TYPE a_seconds counter\n")
    lines = b'a_seconds_total{l="x"} 3\na_seconds_total{l="y"} 0.25\n'
    assert text.endswith(b"counter\n" + lines)
    assert opened.endswith(b"counter\n" + lines + b"# EOF\n")


@FORMATS
@pytest.mark.parametrize(
    "name", ['a"b', "a\\", "a\\n", "a\nb 1", "a\r", "}", "# EOF", "\0", "é\u2028", ""]
)
def test_a_label_holds_whatever_a_client_names(name: str, is_open: bool, read: Any) -> None:
    text = written([Family("a", GAUGE, "A.", [Sample(1, {"l": name}), Sample(2)])], is_open)
    assert values(read(text.decode())) == {("a", (("l", name),)): 1, ("a", ()): 2}


def test_what_no_text_can_have_does_not_break_it() -> None:
    assert b'{l="?"} 1\n' in written([Family("a", GAUGE, "A.", [Sample(1, {"l": "\ud800"})])], True)


@pytest.mark.parametrize(
    ("accept", "is_open"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/json", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0", True),
        ('Application/OpenMetrics-Text;Version="1.0.0";q=0.1', True),
        ("application/openmetrics-text; version=0.0.1", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=nonsense", False),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.5", False),
        ("text/plain;q=0.5,application/openmetrics-text;q=0.5", True),
        # Prometheus 2 and 3.
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;"
            "version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            True,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/"
            "openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;"
            "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            True,
        ),
    ],
)
def test_who_gets_open_metrics(accept: str, is_open: bool) -> None:
    assert wants_open_metrics(accept) is is_open
