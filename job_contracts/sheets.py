"""Rows as CSV (RFC 4180) that no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a cell must not begin with: spreadsheets run what follows, or pass it to other programs."""
_CUT = re.compile(r"(?<!^)([;|\t\r\n]\s*)(?=[=+\-@＝＋－＠])")
"""Where a spreadsheet of another country, which takes other characters for ends of cells, would begin one with it."""


def cell(value: object) -> str:
    """A value as the text of a cell: numbers as they are, texts so that they stay texts, nothing as an empty cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, int | float):
        return str(value)
    text = _CUT.sub(r"\1'", str(value).replace("\0", "�"))
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def sheet(columns: Sequence[str], rows: Iterable[Sequence[object]], *, headed: bool = True) -> str:
    """Lines ending in CR LF, the first of which names the columns."""
    lines = _Lines()
    writer = csv.writer(lines)
    if headed:
        writer.writerow(columns)
    writer.writerows([cell(value) for value in row] for row in rows)
    return "".join(lines.written)


class _Lines:
    """What csv writes to."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> None:
        self.written.append(text)
