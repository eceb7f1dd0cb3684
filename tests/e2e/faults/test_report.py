"""The report says what the log says, and nothing of the machine's folders."""

from __future__ import annotations

from pathlib import Path
from xml.dom import minidom

import pytest

from tests.e2e.faults import events as log
from tests.e2e.faults import report
from tests.e2e.faults.history import judged
from tests.e2e.faults.history_book import book_of
from tests.e2e.faults.history_samples import T0, call, good, plain
from tests.e2e.faults.report_recovery import percentile, recoveries


def test_the_page_tells_figures_faults_and_violations_and_has_its_plots_beside_it(tmp_path: Path) -> None:
    book = book_of([*good(), *plain(4, "s-d")[:2]])
    report.write(tmp_path / "chaos.md", book, judged(book))
    page = (tmp_path / "chaos.md").read_text(encoding="utf-8")
    assert "| jobs accepted | 4 |" in page
    assert "| worker kill | 1 | 1 | 4.00 |" in page
    assert "- I1 lost: red.s-d: it was accepted and has no result" in page
    assert str(tmp_path) not in page
    for name in ("flow", "recovery", "extra"):
        assert f"(chaos/{name}.svg)" in page
        minidom.parse(str(tmp_path / "chaos" / f"{name}.svg"))


def test_a_run_without_violation_says_so() -> None:
    book = book_of(good())
    page = report.page(book, judged(book), "chaos")
    assert "Nothing was violated. Seed 1" in page
    assert page.endswith("## Violations\n\nNone.\n")


def test_a_fault_is_felt_as_long_as_nothing_within_its_reach_is_called() -> None:
    elsewhere = call("s-x", T0 + 5.5, provider="beta")
    [felt] = recoveries(book_of([*good(), elsewhere]))
    assert felt.silence == pytest.approx(4.0)
    everywhere = log.Struck(at=T0 + 5.0, id=2, what="leader kill", targets={"s1": 3})
    assert recoveries(book_of([*good(), elsewhere, everywhere]))[1].silence == pytest.approx(3.5)


def test_a_fault_after_the_last_call_has_no_recovery() -> None:
    late = log.Struck(at=T0 + 50.0, id=2, what="leader kill", targets={"s1": 3})
    assert recoveries(book_of([*good(), late]))[-1].silence is None


def test_a_percentile_is_one_of_the_values() -> None:
    assert [percentile([3.0, 1.0, 2.0, 4.0], share) for share in (0.25, 0.5, 0.95, 1.0)] == [1.0, 2.0, 4.0, 4.0]
