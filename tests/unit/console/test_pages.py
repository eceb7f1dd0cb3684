"""Pages: numbers are whole, everything is escaped, nothing comes from elsewhere."""

from __future__ import annotations

import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from console.app import _within
from console.pages import FIGURE, ROOM, Pages, decimals, moment, money, number, percent, size, span, stacked
from tests.support.console import overview

FOREIGN = re.compile(r"https?:|//[a-z]|data:|javascript:|@import|url\(", re.IGNORECASE)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234567, "1,234,567"), (12.5, "12.5"), (0.25, "0.25"), (0.1234, "0.123"), (None, "–"), (-3.0, "-3")],
)
def test_numbers_are_written_whole(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (Decimal(0), "0.00"),
        (Decimal("-0"), "0.00"),
        (Decimal(5), "5.00"),
        (Decimal("0.5"), "0.50"),
        (Decimal("1234567.123456789012"), "1,234,567.123456789012"),
        (Decimal("1.000E-9"), "0.000000001"),
        (Decimal("-1200.10"), "-1,200.10"),
    ],
)
def test_money_is_exact_and_has_two_decimals_at_least(value: Decimal | None, text: str) -> None:
    assert money(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (0.04, "40 ms"),
        (0.1, "0.1 s"),
        (59.9, "59.9 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
        (None, "–"),
    ],
)
def test_spans_of_time_are_readable(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0.00"),
        ("1234.5", "1,234.50"),
        ("0.000015", "0.000015"),
        ("1E+3", "1,000.00"),
        ("0.100", "0.10"),
        ("-3.2", "-3.20"),
    ],
)
def test_money_is_exact(amount: str, text: str) -> None:
    assert money(Decimal(amount)) == text
    assert money(None) == "–"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (8_589_934_592, "8 GiB"), (2**45, "32 TiB"), (None, "–")],
)
def test_sizes_are_readable(count: int | None, text: str) -> None:
    assert size(count) == text


def test_the_points_of_a_column_of_money_stand_below_each_other() -> None:
    column = (Decimal("12.5"), Decimal("0.000015"), None, Decimal(3))
    places = decimals(column)
    assert places == 6
    shown = [money(one, places) for one in column]
    assert shown == ["12.50" + 4 * FIGURE, "0.000015", "–", "3.00" + 4 * FIGURE]
    assert decimals(()) == 0


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (0.0001, "< 0.1 %"),
        (0.0023, "0.2 %"),
        (Decimal("0.31818"), "31.8 %"),
        (1, "100 %"),
        (0.9996, "100 %"),
    ],
)
def test_a_share_has_one_decimal(share: float | Decimal, text: str) -> None:
    assert percent(share).replace("\N{NO-BREAK SPACE}", " ") == text


def test_a_moment_is_in_utc() -> None:
    assert moment(0.0) == "1970-01-01 00:00:00 UTC"


def test_a_bar_never_leaves_its_frame() -> None:
    assert stacked(100, 30, 20) == [(0.0, 30.0), (30.0, 20.0)]
    assert stacked(100, 90, 50) == [(0.0, 90.0), (90.0, 10.0)]
    assert stacked(0, 5) == [(0.0, 0.0)]
    assert stacked(100, -5, 200) == [(0.0, 0.0), (0.0, 100.0)]


def test_what_others_named_is_text_and_never_markup() -> None:
    nasty = '"><script src=//evil></script><img src=x onerror=alert(1)>{{ 7 * 7 }}'
    now = overview()
    pool = now.pools[0].model_copy(update={"name": nasty})
    shown = Pages().made("overview", now=now.model_copy(update={"pools": (pool,)}), queued=0, spent=None, done=None)
    assert {"script", "img", "b"} & _Tags.of(shown) == set()
    assert "49" not in shown


def test_what_others_wrote_turns_nothing_around_and_hides_nothing() -> None:
    now = overview()
    pool = now.pools[0].model_copy(
        update={"name": "a\N{RIGHT-TO-LEFT OVERRIDE}b\N{ZERO WIDTH SPACE}c \N{LATIN SMALL LETTER E WITH ACUTE}"}
    )
    shown = Pages().made("overview", now=now.model_copy(update={"pools": (pool,)}), queued=0, spent=None, done=None)
    assert "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c \N{LATIN SMALL LETTER E WITH ACUTE}" in shown
    assert not {"\N{RIGHT-TO-LEFT OVERRIDE}", "\N{ZERO WIDTH SPACE}"} & set(shown)


def test_no_page_names_another_origin_or_holds_scripts_or_styles_of_its_own() -> None:
    for path in sorted((ROOM / "templates").glob("*.html")):
        text = path.read_text(encoding="utf-8")
        assert FOREIGN.search(text) is None, path.name
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?! src=\"/static/)", text), path.name
    for path in sorted((ROOM / "static").iterdir()):
        text = path.read_text(encoding="utf-8")
        text = text.replace("http://www.w3.org/2000/svg", "")  # a name, which nothing loads
        assert not re.search(r"https?:|@import|url\(|\beval\(|new Function|document\.write", text), path.name


def test_login_goes_on_to_addresses_of_ours_alone() -> None:
    assert _within("/pools?on=pool:a") == "/pools?on=pool:a"
    for foreign in ("https://evil.example", "//evil.example", "/\\evil.example", "", "pools"):
        assert _within(foreign) == "/"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)

    @classmethod
    def of(cls, html: str) -> set[str]:
        made = cls()
        made.feed(html)
        return made.found
