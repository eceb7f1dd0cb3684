"""Templates become pages; numbers are written whole, because they are to equal the ledger's and the broker's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from console.filters import at

ROOM = Path(__file__).parent
STATIC = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "console.svg": "image/svg+xml",
    "playground.js": "text/javascript; charset=utf-8",
}
"""The files that pages load, all of them ours, with their content types."""
_TURNING, _EMPTY = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C), (0x200B, 0x2060, 0xFEFF)
FIGURE = "\N{FIGURE SPACE}"
"""As wide as a digit."""
_UNSEEN = dict.fromkeys((*_TURNING, *_EMPTY), "\N{REPLACEMENT CHARACTER}")


class Pages:
    """Everything that is shown. Each variable is escaped, and one that is missing is an error, not an empty place."""

    def __init__(self) -> None:
        self._made = Environment(
            loader=FileSystemLoader(ROOM / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            finalize=seen,
        )
        self._made.filters.update(money=money, number=number, span=span, moment=moment, size=size, stamp=at)
        self._made.filters["percent"] = percent
        self._made.globals.update(stacked=stacked, decimals=decimals)
        self.static = {name: (kind, (ROOM / "static" / name).read_bytes()) for name, kind in STATIC.items()}

    def made(self, template: str, **values: Any) -> str:
        """A template, filled in."""
        return self._made.get_template(f"{template}.html").render(values)


def seen(value: object) -> object:
    """Text without characters that turn or hide what stands beside it: each becomes one that can be seen."""
    hides = isinstance(value, str) and not value.isascii() and not hasattr(value, "__html__")
    return str(value).translate(_UNSEEN) if hides else value


def number(value: float | None) -> str:
    """``12,345`` or ``0.25``; all of its digits up to a thousandth."""
    if value is None:
        return "–"
    return f"{int(value):,}" if value == int(value) else f"{value:,.3f}".rstrip("0").rstrip(".")


def money(value: Decimal | None, places: int = 0) -> str:
    """US dollars, exactly: ``1,234.50``, ``0.150000000001``; two decimals at least.

    ``places``: decimals of the longest in its column. Room is left empty so that the points stand in line.
    """
    if value is None:
        return "–"
    whole, _, rest = f"{value or Decimal(0):,f}".partition(".")
    return f"{whole}.{rest.rstrip('0'):0<2}" + FIGURE * (places - max(2, len(rest.rstrip("0"))))


def decimals(values: Iterable[Decimal | None]) -> int:
    """How many decimals the longest of them has as ``money`` writes it."""
    return max((len(money(one).partition(".")[2]) for one in values), default=0)


def percent(share: float | Decimal) -> str:
    """``0 %``, ``< 0.1 %``, ``31.8 %``, ``100 %``."""
    if 0 < share < 0.0005:
        return "< 0.1\N{NO-BREAK SPACE}%"
    return f"{100 * share:.1f}".removesuffix(".0") + "\N{NO-BREAK SPACE}%"


def size(count: int | None) -> str:
    """``17 B``, ``1.5 KiB``, ``8 GiB``."""
    if count is None:
        return "–"
    told, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if told < 1024:
            break
        told, unit = told / 1024, larger
    return f"{told:.1f}".removesuffix(".0") + f" {unit}"


def span(seconds: float | None) -> str:
    """``40 ms``, ``4.2 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds is None:
        return "–"
    if 0 < seconds < 0.1:
        return f"{1_000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, part, smaller in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {part}"
    return f"{whole} s"


def moment(wall: float | None) -> str:
    """A moment in UTC; the page shows it in the reader's own zone if it can."""
    return "–" if wall is None else datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def stacked(whole: float, *parts: float) -> list[tuple[float, float]]:
    """Where each part of a bar of 100 begins and how long it is; what does not fit is cut."""
    at, found = 0.0, []
    for part in parts:
        length = max(0.0, min(100 * part / whole if whole > 0 else 0.0, 100 - at))
        found.append((round(at, 2), round(length, 2)))
        at += length
    return found
