"""The quick part of ``make chaos``: every kind of fault once, while jobs flow, judged from the log."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.e2e.faults import chaos_plan as plan
from tests.e2e.faults.chaos_run import Settings, run
from tests.e2e.faults.events import read
from tests.e2e.faults.history import judged
from tests.e2e.faults.history_book import book_of

SEED = "CHAOS_SEED"
"""Set it to a seed that a failure told, and the same faults strike at the same times."""


@pytest.mark.timeout(300)
async def test_whatever_is_killed_or_paused_every_job_ends_once_and_every_call_is_accounted_for(tmp_path: Path) -> None:
    seed = int(os.environ.get(SEED, secrets.randbelow(10**6)))  # noqa: TID251 - how a person repeats a failed run
    print(f"repeat with {SEED}={seed}")
    settings = Settings(
        seed, 60.0, 1_300, plan.QUICK, lease=3.0, beat_missed=4.0, calm=6.0, patience=60.0, settling=30.0
    )
    book = book_of(read(await run(settings, tmp_path)))
    verdict = judged(book)
    assert {strike.struck.what for strike in book.strikes} == set(plan.KINDS)
    assert verdict.figures["jobs accepted"] > 1_000, verdict.figures
    assert verdict.figures["bills"] == verdict.figures["calls"], verdict.figures  # else money was not compared
    assert verdict.figures["attempts booked"] > 1_000, verdict.figures
    words = "\n".join(map(str, verdict.violations[:40]))
    assert verdict.good, f"{SEED}={seed} {verdict.figures}\n{words}"
