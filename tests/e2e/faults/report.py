"""The page about a run: what was broken, what became of the jobs, how long each fault was felt."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from tests.e2e.faults import report_plots as plots
from tests.e2e.faults.chaos_plan import KINDS
from tests.e2e.faults.history import Verdict, extras, in_flight
from tests.e2e.faults.history_book import Book
from tests.e2e.faults.report_recovery import percentile, recoveries

FIGURES = (
    "jobs accepted",
    "records",
    "lost",
    "duplicated",
    "calls",
    "facts",
    "facts estimated",
    "attempts booked",
    "extra calls",
    "in flight at faults",
)
ABOUT = ("processes", "lease", "machine", "versions")
FAULT_HEAD = (
    *("fault", "struck", "in flight then", "silence p50", "p95", "longest"),
    *("as usual p50", "p95", "longest"),
)
MOST = 50
EXTRA = """\
Extra calls are those beyond one a job that followed a call its provider had not spoiled. Each of them must follow a
call that a fault hit, and together they may be no more than what was under way at the faults.
"""
FELT = """\
Silence: seconds without a call within the fault's reach, the longest stretch that began under it. As usual: seconds
from the fault to the end of the first second, after that, with half of the run's mean rate. Faults overlap, so a time
may be owed to another fault as well; providers misbehave besides.
"""


def write(path: Path, book: Book, verdict: Verdict) -> None:
    """Write the page to ``path``, and its plots into a folder of its name beside it."""
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawing in drawings(book).items():
        (folder / f"{name}.svg").write_text(drawing, encoding="utf-8")
    path.write_text(page(book, verdict, folder.name), encoding="utf-8")


def page(book: Book, verdict: Verdict, folder: str) -> str:
    """The page as Markdown; its plots are in ``folder``."""
    about = book.began.about
    figures = verdict.figures
    word = "Nothing was violated." if verdict.good else f"{len(verdict.violations)} violations."
    load = about.get("load", "")
    parts = [
        "# Chaos: a fleet under fire\n",
        f"{word} Seed {book.began.seed}, {load}. The run wrote this page from its event log.\n",
        f"```sh\n{about['command']}\n```\n" if about.get("command") else "",
        _table(("", ""), [(name, about[name]) for name in ABOUT if name in about]),
        "## What became of the jobs\n",
        _table(("", "count"), [(name, str(figures.get(name, 0))) for name in FIGURES]) + _states(figures),
        EXTRA,
        f"![Jobs and calls a second, and calls in flight; red: faults]({folder}/flow.svg)\n",
        "## Faults, and how long they were felt\n",
        _table(FAULT_HEAD, _fault_rows(book)),
        FELT,
        f"![Seconds without a call, by kind of fault]({folder}/recovery.svg)\n",
        f"![Calls under way at the faults, and extra calls, by provider]({folder}/extra.svg)\n",
        "## Violations\n",
        "".join(f"- {violation}\n" for violation in verdict.violations[:MOST]) or "None.\n",
    ]
    return "\n".join(part for part in parts if part)


def summary(book: Book, verdict: Verdict) -> str:
    """The same in a few lines for a terminal."""
    rows = [f"{name:<24}{figure:>10}" for name, figure in verdict.figures.items()]
    rows += ["", f"{'fault':<24}{'struck':>8}{'silence p50':>16}{'longest':>10}"]
    rows += [f"{row[0]:<24}{row[1]:>8}{row[3]:>16}{row[5]:>10}" for row in _fault_rows(book)]
    return "\n".join(rows)


def drawings(book: Book) -> dict[str, str]:
    """The plots by name."""
    began = book.began.at
    marks = [(strike.at - began, f"{strike.struck.what} at {strike.at - began:.1f} s") for strike in book.strikes]
    recovered: dict[str, list[float]] = defaultdict(list)
    for one in recoveries(book):
        if one.silence is not None:
            recovered[one.what].append(one.silence)
    wasted = Counter(flight.call.provider for _, flights in extras(book) for flight in flights)
    flying = Counter(
        flight.call.provider
        for strike in book.strikes
        for flights in book.flights.values()
        for flight in flights
        if strike.reaches(flight.call.provider) and flight.call.at <= strike.at <= flight.until
    )
    pairs = {pool: (float(flying[pool]), float(wasted[pool])) for pool in book.began.pools}
    return {
        "flow": plots.lines("Jobs and calls a second, calls in flight", "", _flow(book), marks),
        "recovery": plots.dots(
            "The longest silence under each fault", "seconds", {kind: recovered[kind] for kind in KINDS}
        ),
        "extra": plots.bars("Calls", "by provider", pairs, ("under way at faults", "extra")),
    }


def _flow(book: Book) -> Mapping[str, Sequence[tuple[float, float]]]:
    began = book.began.at
    accepted = Counter(math.floor(at - began) for at in book.acked.values())
    called = Counter(math.floor(call.at - began) for call in book.calls)
    last = max((*accepted, *called), default=0)
    changes: Counter[int] = Counter()
    for call in book.calls:
        changes[math.ceil(call.at - began)] += 1
        changes[math.ceil(call.ended - began)] -= 1
    flying = list(accumulate(changes[second] for second in range(last + 1)))
    return {
        "calls in flight": list(enumerate(map(float, flying))),
        "calls a second": [(second, float(called[second])) for second in range(last + 1)],
        "jobs a second": [(second, float(accepted[second])) for second in range(last + 1)],
    }


def _fault_rows(book: Book) -> list[tuple[str, ...]]:
    by_kind = defaultdict(list)
    for one in recoveries(book):
        by_kind[one.what].append(one)
    flying: Counter[str] = Counter()
    for strike in book.strikes:
        flying[strike.struck.what] += in_flight(book, strike)
    rows: list[tuple[str, ...]] = []
    for kind in KINDS:
        found = by_kind[kind]
        calls = [one.silence for one in found if one.silence is not None]
        usual = [one.usual for one in found if one.usual is not None]
        rows.append((kind, str(len(found)), str(flying[kind]), *_percentiles(calls), *_percentiles(usual)))
    return rows


def _percentiles(values: Sequence[float]) -> tuple[str, str, str]:
    if not values:
        return "-", "-", "-"
    return f"{percentile(values, 0.5):.2f}", f"{percentile(values, 0.95):.2f}", f"{max(values):.2f}"


def _states(figures: Mapping[str, int]) -> str:
    states = [(name.removeprefix("records "), count) for name, count in figures.items() if name.startswith("records ")]
    words = ", ".join(f"{count} {name}" for name, count in states)
    return f"\nRecords: {words}.\n" if words else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
