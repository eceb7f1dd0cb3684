"""Plots as SVG text, of the few kinds a report needs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 300, 60, 20, 34, 40
COLOURS = ("#1f6feb", "#d1622b", "#4c9a52", "#8250df")

Line = Sequence[tuple[float, float]]


def lines(title: str, unit: str, series: Mapping[str, Line], marks: Sequence[tuple[float, str]]) -> str:
    """Lines over seconds, with vertical marks that tell their words when pointed at."""
    longest = max((x for line in series.values() for x, _ in line), default=1.0) or 1.0
    highest = max((y for line in series.values() for _, y in line), default=1.0) or 1.0
    parts = [_grid(highest, unit), _seconds(longest)]
    for at, words in marks:
        x = _x(at, longest)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#c33" stroke-opacity="0.35">'
            f"<title>{escape(words)}</title></line>"
        )
    for number, (name, line) in enumerate(series.items()):
        points = " ".join(f"{_x(x, longest):.1f},{_y(y, highest):.1f}" for x, y in line)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.3" points="{points}"/>')
        parts.append(_text(WIDTH - RIGHT - 150 * (number + 1), 18, name, colour=colour))
    return _page(title, parts)


def dots(title: str, unit: str, rows: Mapping[str, Sequence[float]]) -> str:
    """A row of dots for each name, over the unit."""
    height = TOP + BOTTOM + 24 * len(rows)
    left = 180
    longest = max((value for row in rows.values() for value in row), default=1.0) or 1.0
    parts = []
    for step in range(6):
        x = left + (WIDTH - left - RIGHT) * step / 5
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - BOTTOM}" stroke="#ddd"/>')
        parts.append(_text(x, height - BOTTOM + 18, f"{longest * step / 5:.1f}", anchor="middle"))
    parts.append(_text(WIDTH - RIGHT, height - 6, unit, anchor="end"))
    for number, (name, row) in enumerate(rows.items()):
        y = TOP + 24 * number + 12
        parts.append(_text(left - 10, y + 4, name, anchor="end"))
        for value in row:
            x = left + (WIDTH - left - RIGHT) * value / longest
            parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="4" fill="{COLOURS[0]}" fill-opacity="0.55"/>')
    return _page(title, parts, height)


def bars(title: str, unit: str, rows: Mapping[str, tuple[float, float]], names: tuple[str, str]) -> str:
    """Two bars for each name."""
    height = TOP + BOTTOM + 30 * len(rows)
    left = 180
    longest = max((value for row in rows.values() for value in row), default=1.0) or 1.0
    parts = [
        _text(left + 160 * number, 18 + TOP - 10, name, colour=COLOURS[number]) for number, name in enumerate(names)
    ]
    for number, (name, pair) in enumerate(rows.items()):
        y = TOP + 30 * number + 14
        parts.append(_text(left - 10, y + 12, name, anchor="end"))
        for place, value in enumerate(pair):
            long = (WIDTH - left - RIGHT - 60) * value / longest
            top = y + 11 * place
            parts.append(f'<rect x="{left}" y="{top}" width="{long:.1f}" height="10" fill="{COLOURS[place]}"/>')
            parts.append(_text(left + long + 6, top + 9, f"{value:g}"))
    parts.append(_text(WIDTH - RIGHT, height - 6, unit, anchor="end"))
    return _page(title, parts, height)


def _grid(highest: float, unit: str) -> str:
    parts = [_text(LEFT, TOP - 6, unit, anchor="end")]
    for step in range(5):
        y = _y(highest * step / 4, highest)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{highest * step / 4:.0f}", anchor="end"))
    return "".join(parts)


def _seconds(longest: float) -> str:
    return "".join(
        _text(_x(longest * step / 10, longest), HEIGHT - BOTTOM + 18, f"{longest * step / 10:.0f} s", anchor="middle")
        for step in range(11)
    )


def _x(value: float, longest: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * value / longest


def _y(value: float, highest: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / highest


def _text(x: float, y: float, words: str, *, anchor: str = "start", colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def _page(title: str, parts: Sequence[str], height: int = HEIGHT) -> str:
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{_text(10, 18, title)}\n{body}\n</svg>\n'
    )
