"""A run's figures as a table for people and as JSON for programs."""

import statistics
from collections.abc import Sequence
from typing import Any

from .results import Results, Row, Target

NAME_WIDTH = 46
CELL_WIDTH = 12


def table(results: Results, servers: Sequence[str]) -> str:
    lines: list[str] = []
    for part in dict.fromkeys(row.part for row in results.samples):
        rows = [row for row in results.samples if row.part == part]
        shown = [name for name in servers if any(name in results.samples[row] for row in rows)]
        lines += ["", f"{part}: {results.notes.get(part, '')}"]
        lines.append(" " * (NAME_WIDTH + 2) + "".join(f"{name:>{CELL_WIDTH}}" for name in shown))
        lines += [_line(results, row, shown) for row in rows]
    if any(row.added for row in results.samples):
        lines += ["", "+ is what a server adds to the direct value"]
    return "\n".join(lines)


def _line(results: Results, row: Row, servers: Sequence[str]) -> str:
    cells = [_cell(row, name, results.value(row, name)) for name in servers]
    return f"  {row.name:{NAME_WIDTH}}" + "".join(cells) + f"  {row.unit}"


def _cell(row: Row, server: str, value: float | None) -> str:
    if value is None:
        return " " * CELL_WIDTH
    sign = "+" if row.added and server != "direct" else ""
    return f"{value:{sign},.{row.digits}f}".rjust(CELL_WIDTH)


def target_table(targets: Sequence[Target]) -> str:
    lines = ["", "targets"]
    for target in targets:
        if target.value is None:
            continue
        limit = f"{'at most' if target.at_most else 'at least'} {target.limit:g}"
        verdict = "met" if target.met else "NOT MET"
        lines.append(
            f"  {target.name:{NAME_WIDTH}}{target.value:{CELL_WIDTH},.2f}  {target.unit:6}"
            f"{limit:16}{verdict}"
        )
    return "\n".join(lines) if len(lines) > 2 else ""


def as_json(results: Results, targets: Sequence[Target], about: dict[str, Any]) -> dict[str, Any]:
    return {
        **about,
        "figures": [_figure(row, cells) for row, cells in results.samples.items()],
        "targets": [_target(target) for target in targets],
        "failures": results.failures,
    }


def _figure(row: Row, cells: dict[str, list[float]]) -> dict[str, Any]:
    servers = {
        name: {
            "median": statistics.median(samples),
            "min": min(samples),
            "max": max(samples),
            "samples": len(samples),
        }
        for name, samples in cells.items()
    }
    return {
        "part": row.part,
        "name": row.name,
        "unit": row.unit,
        "added_to_direct": row.added,
        "servers": servers,
    }


def _target(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "value": target.value,
        "unit": target.unit,
        "at_most" if target.at_most else "at_least": target.limit,
        "met": target.met,
    }
