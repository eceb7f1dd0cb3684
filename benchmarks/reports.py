"""How long reports take over a ledger of ten million attempts, on Postgres.

``python -m benchmarks.reports --database postgresql+asyncpg://… [--attempts 10000000] [--rows 1000000]`` fills an empty
database itself: a year of traffic of 240 sources (20 projects, 12 deployments), thinner at night, some of it failed,
each attempt with a tag, a tenth of them in an experiment. The sums are those of all ``--attempts``; of the attempts
themselves the newest ``--rows`` are made as well.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from job_contracts.spend import AskAttempts, AskForecast, AskSpend
from ledger.budgets import Forecaster
from ledger.database import SERVER
from ledger.reports import Reports
from ledger.tables import metadata
from runtime.settings import Config

END = int(datetime(2026, 11, 29, 15, 30, tzinfo=UTC).timestamp())
DAYS, SOURCES, TAGS = 365, 240, 10
LIMIT = 300.0
"""Milliseconds that the slowest report may take, by the median of its runs."""
RUNS = 7
FORECAST = "forecast, 25 budgets"

_SOURCES = """
INSERT INTO sources (id, project, key, route, provider, model, deployment)
SELECT s, 'project' || s / 12, 'key' || s / 12, 'route' || s % 4, 'p' || s % 3, 'model' || s % 12,
       'p' || s % 3 || '/model' || s % 12 FROM generate_series(0, :sources - 1) s
"""
_TAGS = """
INSERT INTO tags (id, project, name, value)
SELECT p * :tags + t, 'project' || p, 'team', 'team' || t FROM generate_series(0, 19) p, generate_series(0, :tags - 1) t
"""
_HOURS = """
INSERT INTO spend SELECT 1, h, s, r, n, CASE WHEN r = 'user' THEN n ELSE 0 END, 0, n / 50, n * 900, n * 300, n * 20,
       n * 150, n * 40, n * 2100000000, CASE WHEN r = 'user' THEN 0 ELSE n * 2100000000 END
FROM (SELECT h, s, r, greatest(1, round(:mean * w * (1 + 0.6 * sin((h % 86400) / 13750.0)) * (0.5 + random())))::bigint
      n FROM generate_series((:end / 3600 - :days * 24) * 3600, (:end / 3600) * 3600, 3600) h,
           generate_series(0, :sources - 1) s, (VALUES ('user', 1.0), ('failed', 0.05)) reasons(r, w)
      WHERE r = 'user' OR (h / 3600 + s) % 10 = 0 ORDER BY h) made
"""
_DAYS = """
INSERT INTO {table} SELECT 24, start - start % 86400, {keys}, sum(attempts), sum(won), sum(unpriced), sum(estimated),
       sum(input), sum(cache_read), sum(cache_write), sum(output), sum(reasoning), sum(cost), sum(waste)
FROM {table} WHERE grain = 1 GROUP BY start - start % 86400, {keys}
"""
_MONTHS = """
INSERT INTO {table}
SELECT 720, extract(epoch FROM date_trunc('month', to_timestamp(start) AT TIME ZONE 'UTC'))::bigint m, {keys},
       sum(attempts), sum(won), sum(unpriced), sum(estimated), sum(input), sum(cache_read), sum(cache_write),
       sum(output), sum(reasoning), sum(cost), sum(waste)
FROM {table} WHERE grain = 24 GROUP BY m, {keys}
"""
_BY_TAG = """
INSERT INTO spend_tags SELECT 1, start, (source / 12) * :tags + (start / 3600 + source) % :tags, source,
       sum(attempts), sum(won), sum(unpriced), sum(estimated), sum(input), sum(cache_read), sum(cache_write),
       sum(output), sum(reasoning), sum(cost), sum(waste) FROM spend WHERE grain = 1 GROUP BY start, source
"""
_ARMS = "INSERT INTO arms (id, experiment, name) VALUES (1, 'exp', 'control'), (2, 'exp', 'b'), (3, 'exp', 'rare')"
_ATTEMPTS = """
INSERT INTO attempts (attempt, submitted, source, at, seconds, reason, failure, won, told_by, reported, stated, input,
       cache_read, cache_write, output, reasoning, cost, reserved, arm, tags)
SELECT 'project' || s / 12 || '.job-' || n || '.1', :end::bigint * 1000 + n, s,
       :end - (:rows - n) * (:days * 86400.0 / :attempts), 1.5,
       CASE WHEN n % 20 = 0 THEN 'failed' ELSE 'user' END,
       CASE WHEN n % 4000 = 0 THEN 'bad_request' WHEN n % 20 = 0 THEN 'timeout' END, n % 20 <> 0, 'worker', true, false,
       900, 300, 20, 150, 40, 2100000000, 5000000000,
       CASE WHEN n % 100000 = 77 THEN 3 WHEN n % 10 = 3 THEN 1 + n / 10 % 2 END, '{"team": "team' || n % :tags || '"}'
FROM (SELECT n, (n * 7919::bigint % :sources)::int s FROM generate_series(1, :rows) n) made
"""

_BEHIND = """
SELECT 1, {start}, {keys}, count(*), count(*) FILTER (WHERE won), count(*) FILTER (WHERE cost IS NULL),
       count(*) FILTER (WHERE NOT reported), sum(input), sum(cache_read), sum(cache_write), sum(output), sum(reasoning),
       coalesce(sum(cost), 0), coalesce(sum(cost) FILTER (WHERE NOT won), 0)
FROM attempts {more} GROUP BY {start}, {keys}
"""
_START = "(floor(at / 3600) * 3600)::bigint"
TRUE_HOURS = "INSERT INTO spend" + _BEHIND.format(start=_START, keys="source, reason", more="")
TRUE_TAGS = "INSERT INTO spend_tags" + _BEHIND.format(
    start=_START,
    keys="tags.id, source",
    more="JOIN sources ON sources.id = source JOIN tags ON tags.project = sources.project AND tags.value = "
    "attempts.tags::json ->> 'team'",
)
"""Sums that are those of the attempts which are there, as the ledger has them."""


async def fill(engine: AsyncEngine, attempts: int, rows: int) -> None:
    """Make the tables and what is in them; where all attempts are made, the sums are theirs."""
    mean = attempts / (DAYS * 24 * SOURCES) / 1.005
    said: dict[str, Any] = {"days": DAYS, "end": END, "sources": SOURCES, "tags": TAGS}
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        for statement, extra in (
            (_SOURCES, {}),
            (_TAGS, {}),
            (_ARMS, {}),
            (_ATTEMPTS, {"attempts": attempts, "rows": rows}),
            *(((TRUE_HOURS, {}), (TRUE_TAGS, {})) if rows == attempts else ((_HOURS, {"mean": mean}), (_BY_TAG, {}))),
            (_DAYS.format(table="spend", keys="source, reason"), {}),
            (_DAYS.format(table="spend_tags", keys="tag, source"), {}),
            (_MONTHS.format(table="spend", keys="source, reason"), {}),
            (_MONTHS.format(table="spend_tags", keys="tag, source"), {}),
        ):
            asked = {name: value for name, value in {**said, **extra}.items() if f":{name}" in statement}
            inlined = statement
            for name in sorted(
                asked, key=len, reverse=True
            ):  # our own numbers: asyncpg would have to guess their types
                inlined = inlined.replace(f":{name}", str(asked[name]))
            await connection.exec_driver_sql(inlined)
    async with engine.connect() as connection:
        vacuum = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await vacuum.execute(text("VACUUM ANALYZE"))


def configured(**more: Any) -> Config:
    """What the traffic would be of: 25 budgets."""
    told = {
        "providers": {"p0": {"key": "k", "dialect": "openai_chat", "base_url": "http://127.0.0.1"}},
        "routes": {f"route{n}": {"deployments": ["p0/model0"], "budget": {"month": 9}} for n in range(4)},
        "projects": {
            f"project{n}": {"budget": {"day": 1, "month": 9}, "tags": {"team=team1": {"month": 1}} if not n else {}}
            for n in range(20)
        },
    }
    return Config.model_validate({**told, **more})


def questions(reports: Reports, pooled: Reports) -> dict[str, Callable[[], Awaitable[Any]]]:
    """What is measured: by name, what asks it once. A forecast asks several things at once, ``pooled``."""
    month = END - END % 86_400 - 30 * 86_400 + 5_400.0
    middle = END - END % 86_400 - 14 * 86_400.0 - 3_600.0
    year = END - DAYS * 86_400.0 + 5_400.0
    forecaster = Forecaster(pooled, configured())

    def spent(**asked: Any) -> Callable[[], Awaitable[Any]]:
        return lambda: reports.spend(AskSpend.model_validate(asked), float(END))

    def behind(**asked: Any) -> Callable[[], Awaitable[Any]]:
        return lambda: reports.attempts(AskAttempts.model_validate(asked), float(END))

    return {
        "a year by model": spent(by=("model",), since=year),
        "a year by project and month": spent(by=("project", "month"), since=year, limit=1_000),
        "a year by day": spent(by=("day",), since=year, limit=1_000),
        "a year of one project by model, reason": spent(by=("model", "reason"), since=year, project="project7"),
        "a year by tag and month": spent(by=("tag", "month"), tag="team", since=year, limit=1_000),
        "a year by tag and day": spent(by=("tag", "day"), tag="team", since=year, limit=1_000),
        "a year by model and day": spent(by=("model", "day"), since=year, limit=1_000),
        "a year by day, project": spent(by=("day", "project"), since=year, limit=1_000),
        "a year by hour": spent(by=("hour",), since=year, limit=1_000),
        "a year by hour, model": spent(by=("hour", "model"), since=year, limit=1_000),
        "a year by model, hour": spent(by=("model", "hour"), since=year, limit=1_000),
        "a year by key, route, reason, provider": spent(by=("key", "route", "reason", "provider"), since=year),
        "a year by deployment, tag": spent(by=("deployment", "tag"), tag="team", since=year),
        "a year of one tag's value": spent(tag="team", tag_value="team3", since=year),
        "from the middle of a month to another's": spent(
            by=("model", "tag"), tag="team", since=middle - 300 * 86_400.0, until=middle
        ),
        "a year by tag": spent(by=("tag",), tag="team", since=year),
        "a month by tag": spent(by=("tag",), tag="team", since=month),
        "a month by hour": spent(by=("hour",), since=month, limit=1_000),
        "a year of one project by tag": spent(by=("tag",), tag="team", since=year, project="project7"),
        "a month of one project by hour, model": spent(by=("hour", "model"), since=month, project="project7"),
        "all there is": spent(),
        "attempts: the newest": behind(),
        "attempts: of one project": behind(project="project7"),
        "attempts: failed so, one project": behind(project="project7", failure="bad_request"),
        "attempts: failed so, none": behind(project="project7", failure="overloaded"),
        "attempts: of one tag's value": behind(tag="team", tag_value="team3", since=END - 86_400.0),
        FORECAST: lambda: forecaster.forecast(AskForecast(), float(END)),
    }


def _here(backend: int) -> int:
    """A process of this machine; 0: it is one of another."""
    return backend if Path(f"/proc/{backend}/stat").exists() else 0


def _processor(backend: int) -> float:
    """Seconds that we and the database's process for us have used; on a busy machine, the clock tells of others."""
    told = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split() if backend else ["0"] * 13
    return time.process_time() + (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


async def measure(engine: AsyncEngine, pooled: AsyncEngine) -> bool:
    """Print the times; whether all are within their limits."""
    fine = True
    async with engine.connect() as connection:
        backend = _here((await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one())
    for name, ask in questions(Reports(engine), Reports(pooled)).items():
        await ask()
        took, used = [], _processor(backend)
        for _ in range(RUNS):
            began = time.perf_counter()
            await ask()
            took.append((time.perf_counter() - began) * 1_000)
        median = statistics.median(took)
        alone = backend and name != FORECAST  # that has several processes of the database work for it
        busy = f"{(_processor(backend) - used) * 1_000 / RUNS:8.1f} ms of a processor" if alone else ""
        within = median <= LIMIT
        fine &= within
        sys.stdout.write(
            f"{name:42} {median:8.1f} ms  (most {max(took):8.1f}) {busy}{'' if within else '  TOO SLOW'}\n"
        )
        sys.stdout.flush()
    return fine


async def run(database: str, attempts: int, rows: int, *, filled: bool) -> bool:
    """Fill (unless it is), say what there is, measure."""
    own = {**SERVER, "max_parallel_workers_per_gather": "0"}  # so that one process does it all
    told = {"server_settings": own}
    engine = create_async_engine(database, pool_size=1, max_overflow=0, connect_args=told)
    pooled = create_async_engine(database, pool_size=8, connect_args=told)  # as the ledger has it
    try:
        if not filled:
            began = time.perf_counter()
            await fill(engine, attempts, rows)
            sys.stdout.write(f"filled in {time.perf_counter() - began:.0f} s\n")
        async with engine.connect() as connection:
            for table in ("spend", "spend_tags", "attempts"):
                count = (await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608
                sys.stdout.write(f"{table}: {count} rows\n")
            total = await connection.exec_driver_sql("SELECT sum(attempts) FROM spend WHERE grain = 24")
            sys.stdout.write(f"attempts in the sums: {total.scalar_one()}\n")
        return await measure(engine, pooled)
    finally:
        await engine.dispose()
        await pooled.dispose()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--attempts", type=int, default=10_000_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--filled", action="store_true", help="measure what an earlier run made")
    asked = parser.parse_args()
    sys.exit(0 if asyncio.run(run(asked.database, asked.attempts, asked.rows, filled=asked.filled)) else 1)


if __name__ == "__main__":
    main()
