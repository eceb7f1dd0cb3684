"""The tables of ``penstock pools``, ``limits`` and ``top``, for a width: words that would break them stand below."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from job_contracts.operating import Overview
from producer_sdk.cli.operating_views import LIMITS, POOLS, TEXT, head, limit_rows, pool_rows

WORDS = 36
"""Columns that are wanted for the words at the end of a row; with fewer they stand below the table."""
GAP = 2
SHORTEST = 8
"""Columns for a name, at least."""


def screen(told: Overview, width: int) -> Group:
    """All of a moment."""
    first = Text("\n").join(Text(line, style="bold") for line in _lines(head(told).split("  "), width))
    return Group(first, Text(), pools_table(told, width), Text(), limits_table(told, width))


def pools_table(told: Overview, width: int) -> Group:
    """A row a pool, and what is ordered of it and of its deployments."""
    return _fitted(POOLS, pool_rows(told), width)


def limits_table(told: Overview, width: int) -> Group:
    """A row a metered quantity, and what is ordered of it."""
    return _fitted(LIMITS, limit_rows(told), width)


def _fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Group:
    if not rows:
        return Group()
    *sizes, words = _sizes(columns, rows)
    if width - sum(sizes) - GAP * len(sizes) >= min(words, WORDS):
        return Group(_table(columns, rows, sizes, GAP))
    kept = [row for row in rows if not row[0].startswith(" ")]
    short = [[*(cell.partition(":")[0] for cell in row[:-1])] for row in kept]
    notes = [note for row in rows for note in _notes(row)]
    names, *sizes = _sizes(columns[:-1], short)
    gap = GAP if names + sum(sizes) + GAP * len(sizes) <= width else 1
    sizes.insert(0, min(names, max(SHORTEST, width - sum(sizes) - gap * len(sizes))))
    below = (Padding(Text(note), (0, 0, 0, GAP)) for note in notes)
    return Group(_table(columns[:-1], short, sizes, gap), *([Text()] if notes else []), *below)


def _sizes(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Each column's: its longest cell, or the longest word of its heading."""
    headings = (max(map(cell_len, column.split())) for column in columns)
    return [max(size, *map(cell_len, cells)) for size, cells in zip(headings, zip(*rows, strict=True), strict=True)]


def _notes(row: Sequence[str]) -> list[str]:
    """The words of a row that are more than one: what it is closed for, what is ordered."""
    whose = row[0].strip()
    return [f"{whose}: {cell}" for cell in (*(cell for cell in row[1:-1] if ":" in cell), row[-1]) if cell]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], sizes: Sequence[int], gap: int) -> Table:
    """Headings break between words, cells do not, but for names where there is no room at all."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    for number, column in enumerate(columns):
        left = column in TEXT
        size = sizes[number] if number < len(sizes) else None
        table.add_column(column, justify="left" if left else "right", overflow="fold", width=size)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _lines(parts: Sequence[str], width: int) -> list[str]:
    """Parts that are kept whole, as many on a line as it takes."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + GAP + len(part) <= width:
            lines[-1] += " " * GAP + part
        else:
            lines.append(part)
    return lines
