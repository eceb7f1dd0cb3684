"""Charts: what is drawn is to scale, never leaves its frame, and is said in words."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.charts import LEFT, TICKS, TOP, WIDTH, Series, columns, steps
from console.pages import Pages, money

amounts = st.decimals(0, 10**9, places=12, allow_nan=False)


@given(amounts)
def test_lines_across_are_few_and_round_and_reach_the_highest_column(most: Decimal) -> None:
    found = steps(most)
    assert found[0] == 0
    assert found[-1] >= most
    assert 1 <= len(found) <= TICKS + 2
    if len(found) > 1:
        assert found[-2] < most
        assert found[1].normalize().as_tuple().digits in {(1,), (2,), (5,)}


@pytest.mark.parametrize(
    ("most", "steps_"),
    [("0", ["0"]), ("7", ["0", "2", "4", "6", "8"]), ("0.04", ["0", "0.01", "0.02", "0.03", "0.04"])],
)
def test_lines_across_for_some_amounts(most: str, steps_: list[str]) -> None:
    assert steps(Decimal(most)) == [Decimal(one) for one in steps_]


@given(st.lists(st.lists(amounts, min_size=3, max_size=3), max_size=7))
def test_parts_stand_on_one_another_to_scale_and_within_the_frame(drawn: list[list[Decimal]]) -> None:
    chart = columns(["a", "b", "c"], [Series(f"s{number}", one) for number, one in enumerate(drawn)], money)
    most = max((sum(one[at] for one in drawn) for at in range(3)), default=Decimal(0))
    for at, column in enumerate(chart.columns):
        assert column.x >= LEFT
        assert column.x + column.width <= WIDTH
        foot = float(chart.base)
        for part in column.parts:
            assert part.y + part.height == pytest.approx(foot, abs=0.05)
            foot = part.y
        assert foot >= TOP - 0.05
        if most:
            share = (chart.base - foot) / (chart.base - chart.ticks[-1][0])
            whole = sum(one[at] for one in drawn)
            assert share == pytest.approx(float(whole / steps(most)[-1]), abs=0.01)


def test_a_column_says_what_it_is_of_the_top_first_and_without_what_is_nothing() -> None:
    series = [Series("a", [Decimal(1), Decimal(0)]), Series("b", [Decimal("2.5"), Decimal(0)])]
    first, second = columns(["mon", "tue"], series, money).columns
    assert first.words == "mon: 3.50 (b 2.50, a 1.00)"
    assert second.words == "tue: 0.00"


def test_few_columns_are_named_below_where_there_are_many() -> None:
    chart = columns([str(one) for one in range(93)], [Series("a", [Decimal(1)] * 93)], money)
    assert [text for _, text in chart.labels] == [str(one) for one in range(0, 93, 12)]


def test_charts_are_drawn_with_words_and_no_name_is_markup() -> None:
    made = Pages()._made
    chart = columns(["mon"], [Series("<b>a</b>", [Decimal(1)]), Series("b", [Decimal(1)])], money)
    text = '{% from "charts.html" import columns %}{{ columns(chart, "Cost") }}'
    shown = made.from_string(text).render(chart=chart)
    assert "<b>" not in shown
    assert 'role="img" aria-label="Cost"' in shown
    assert "<title>mon: 2.00 (b 1.00, &lt;b&gt;a&lt;/b&gt; 1.00)</title>" in shown
    assert re.findall(r'class="swatch (s\d)"', shown) == ["s1", "s0"]
