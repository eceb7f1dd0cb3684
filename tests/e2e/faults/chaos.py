"""Break a fleet for some minutes, judge what is left, write a report: ``python -m tests.e2e.faults.chaos``."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.faults import chaos_plan as plan
from tests.e2e.faults import report
from tests.e2e.faults.chaos_run import Settings, run
from tests.e2e.faults.events import read
from tests.e2e.faults.history import judged
from tests.e2e.faults.history_book import book_of
from tests.e2e.faults.model.deep import run_for

JOBS_A_SECOND = 17.0
SHOWN = 40
"""Violations that are printed; the log has what is needed for all."""


MODEL = 0.1
"""Share of the minutes that the model of the promise searches, after the fleet has stopped."""


def settings_of(minutes: float, seed: int) -> Settings:
    """A long run: defaults of a real deployment, pauses of 30 s among the faults."""
    seconds = minutes * 60.0
    command = f"make chaos MINUTES={minutes:g} SEED={seed}"
    return Settings(seed, seconds, int(seconds * JOBS_A_SECOND), plan.Pace(), calm=40.0, command=command)


def main() -> int:
    """Run, judge, report; 0 if nothing was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--directory", type=Path, help="where logs and stores go, kept; default: a temporary one")
    parser.add_argument("--judge", type=Path, metavar="LOG", help="only judge an event log")
    parser.add_argument("--report", type=Path, help="the page to write; its plots lie beside it")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else secrets.randbelow(10**6)
    path = options.judge
    if path is None:
        print(f"seed {seed}: repeat with `make chaos MINUTES={options.minutes:g} SEED={seed}`", flush=True)
        directory = options.directory or Path(tempfile.mkdtemp(prefix="penstock-chaos-"))
        limit = options.minutes * 60.0 + 600.0
        path = asyncio.run(asyncio.wait_for(run(settings_of(options.minutes, seed), directory), limit))
    began = time.monotonic()
    book = book_of(read(path))
    verdict = judged(book)
    print(report.summary(book, verdict))
    for violation in verdict.violations[:SHOWN]:
        print(violation)
    if options.report is not None:
        report.write(options.report, book, verdict)
        print(f"the report: {options.report}")
    print(f"judged in {time.monotonic() - began:.1f} s: {path}")
    wrong = [] if options.judge is not None else searched(options.minutes * MODEL, seed)
    return 0 if verdict.good and not wrong else 1


def searched(minutes: float, seed: int) -> list[str]:
    """Let the model search for some minutes; prints what it did, returns what is wrong."""
    told = run_for(minutes, seed)
    print(f"model: {told.walks} walks and {told.runs} runs from seed {seed}, {len(told.problems)} with problems")
    print("\n".join(told.problems), end="\n" if told.problems else "")
    return told.problems


if __name__ == "__main__":
    sys.exit(main())
