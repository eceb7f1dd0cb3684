"""How long the console's pages take over a ledger of ten million attempts, on Postgres, a leader and an edge.

``python -m benchmarks.pages [--database postgresql://…] [--attempts 10000000] [--runs 30] [--only WORD]`` starts a
broker, and a Postgres if none is named, fills it as ``benchmarks.reports`` does (the sums are those of the attempts),
starts what ``benchmarks.pages_load`` has beside it, and asks a console for each page again and again, over HTTP.
``--filled``: measure what an earlier run made in the database that is named. Pages that are refused are left out and
named. The first time is told by itself: later ones may be of what was read before. Beside the clock stands what all
that took part used of a processor, console, ledger, browser, broker, leader, edge and the database's processes
together: on a busy machine the clock tells of others.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import uvloop
from sqlalchemy import text

from benchmarks.pages_load import ADMIN, HOLDER, Load, loaded, settings
from benchmarks.reports import END, fill
from catalogue.load import providers
from console.asking import OPERATOR
from console.assembly import assemble
from job_contracts import subjects
from ledger.database import Database
from ledger.desk import Desk
from runtime.broker import Broker, BrokerConfig
from runtime.bus import connect
from runtime.bus.settings import BusSettings
from runtime.collecting import set_aside
from runtime.telemetry import Telemetry
from tests.support.postgres import Postgres

AIM = 300.0
"""Milliseconds that 95 of 100 pages may take at most."""
FILLING = 3_600.0
"""Seconds that one statement which fills the database may take."""
POSTGRES = ("shared_buffers=1GB", "max_wal_size=8GB")
PAGES = (
    "/spend",
    *(f"/spend?period={one}" for one in ("today", "7d", "month", "year", "all")),
    *(f"/spend?by={one}" for one in ("provider", "project", "route", "key", "reason")),
    "/spend?by=tag&tag=team",
    "/spend?by=tag&tag=team&period=year",
    "/spend?by=key&period=year",
    "/spend?by=project&period=today",
    "/spend?by=tag&tag=team&period=today",
    "/spend?by=project&unit=hour&since=2026-11-25&until=2026-11-29",
    "/spend?by=key&unit=day&since=2026-06-05&until=2026-09-12",
    "/spend?project=project7&period=year&by=model",
    "/spend?tag=team%3Dteam3&period=year",
    "/spend?show=budgets",
    "/spend?show=budgets&project=project0",
    "/spend?period=year&show=comparison",
    "/spend/spend.csv?by=key&period=year",
    "/attempts",
    "/attempts?period=all",
    *(f"/attempts?period=all&{one}" for one in ("project=project7", "model=model3", "route=route1&project=project7")),
    *(f"/attempts?period=all&experiment=exp{one}" for one in ("", "&arm=b", "&arm=rare", "&arm=never")),
    *(f"/attempts?period=all&experiment=exp&arm=b&{one}" for one in ("project=project7", "won=false")),
    "/attempts?period=all&project=nobody",
    "/attempts?period=all&key=key7&won=false",
    "/attempts?period=all&reason=failed",
    "/attempts?period=all&reason=shadow",
    "/attempts?period=all&won=false",
    "/attempts?period=all&priced=false",
    "/attempts?period=all&failure=bad_request",
    "/attempts?period=all&failure=bad_request&project=project7",
    "/attempts?period=all&failure=overloaded",
    "/attempts?period=all&tag=team%3Dteam3",
    "/attempts?period=all&tag=team%3Dnobody",
    "/attempts?project=project10&job=job-5000010",
    "/attempts?until=2026-03-01&project=project7",
    "/attempts?until=2026-03-01&after=WzE3NzIzMjMyMDAuMCw5OTk5OTk5OTk5XQ%3D%3D",
    "/drafts",
    "/models",
    "/experiments",
)
"""Addresses that ask the ledger alone."""
BESIDE = (
    "/overview",
    "/pools",
    "/workers",
    "/jobs",
    "/jobs?state=queued",
    "/jobs?state=held",
    "/jobs?state=dispatched",
    "/jobs?project=project7&route=way7",
    "/jobs?pool=pool7",
    "/jobs?age=3h",
    "/jobs?project=nobody",
    "/jobs?key=key7",
    "/jobs?tag=team%3Dteam3",
    "/jobs?tag=team%3Dnobody",
    "/jobs?ask=cancel&project=project7",
    "/jobs?before=15000",
    "/jobs?view=ended",
    "/jobs?view=ended&project=project7",
    "/jobs?view=ended&state=failed",
    "/job?project=project7&id=job-019987",
    "/job?project=project0&id={held}",
    "/job?project=project7&id=ended-000007",
    "/job?project=project7&id=dead-000007",
    "/dead",
    "/dead?state=any",
    "/dead?state=discarded",
    "/dead?project=project7",
    "/dead?project=project7&route=way7",
    "/dead?project=-",
    "/dead?fingerprint={cause}",
    "/dead?letters=all",
    "/dead?letters=all&after=15000",
    "/dead?fingerprint={cause}&do=replay",
    "/dead?do=discard",
    "/dead?project=project7&job=dead-000007",
    "/keys",
    "/keys?project=project7",
    "/keys?state=ended",
    "/keys?id={key}",
    "/audit",
    "/audit?on=letters",
    "/health",
    "/config",
    "/playground",
)
"""Addresses that ask the leader, the edge or the broker as well."""
OF_A_KEY = ("/project", "/spend", "/attempts", "/drafts", "/jobs", "/jobs?view=ended", "/dead", "/keys", "/playground")
"""Addresses as the holder of one project's key sees them."""


class Standing:
    """A clock at the end of the traffic, for the wall; else as it runs."""

    def wall(self) -> float:
        """UTC seconds."""
        return float(END)

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic()


@dataclass(frozen=True)
class Site:
    """Two browsers that are logged in, and what stands behind what they see."""

    admin: httpx.AsyncClient
    holder: httpx.AsyncClient
    load: Load


@asynccontextmanager
async def site(url: str) -> AsyncIterator[Site]:
    """A broker with all that is in it, a ledger's desk and a console over a database."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = await Broker(BrokerConfig(sync="default"), folder / "broker").start()
        stack.push_async_callback(broker.stop)
        database = Database(url)
        stack.push_async_callback(database.close)
        theirs = BusSettings(url=broker.url, inbox_prefix=subjects.inbox_prefix(OPERATOR))
        buses = [await connect(BusSettings(url=broker.url)), await connect(theirs), await connect(theirs)]
        for bus in buses:
            stack.push_async_callback(bus.close)
        config = settings(broker.url)
        load = await stack.enter_async_context(loaded(folder, broker.url, buses[2], buses[1]))
        load.pids.append(broker.pid)
        desk = Desk(buses[0], database, providers(), config, Telemetry(), clock=Standing())
        await desk.start()
        stack.push_async_callback(desk.stop)
        made = assemble(
            config, bus=buses[1], clock=Standing(), telemetry=Telemetry(), told=lambda _, __: (200, "text/plain", b"")
        )
        await made.server.start()
        stack.push_async_callback(made.server.stop)
        here = f"http://127.0.0.1:{made.server.port}"
        admin = await stack.enter_async_context(httpx.AsyncClient(base_url=here, timeout=60.0))
        holder = await stack.enter_async_context(httpx.AsyncClient(base_url=here, timeout=60.0))
        for browser, key in ((admin, ADMIN), (holder, HOLDER)):
            await browser.post("/login", data={"key": key}, headers={"origin": here})
        set_aside()  # as a console does; it is not to walk through what was filled in here either
        yield Site(admin, holder, load)


async def postmaster(url: str) -> psutil.Process | None:
    """The database's first process, if it is one of this machine."""
    database = Database(url)
    async with database.engine.connect() as connection:
        backend = (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
        found = psutil.Process(backend).parent() if psutil.pid_exists(backend) else None
    await database.close()
    return found


def used(server: psutil.Process | None, others: Sequence[int]) -> float:
    """Seconds of a processor so far, ours, the database's and the others'."""
    total = time.process_time()
    for one in (*(server.children() if server is not None else ()), *map(psutil.Process, others)):
        times = one.cpu_times()
        total += times.user + times.system
    return total


async def measure(site: Site, server: psutil.Process | None, runs: int, only: str) -> bool:
    """Print the times; whether all are within the aim."""
    fine, left = True, []
    pages = [(address, site.admin, "") for address in (*PAGES, *BESIDE)]
    pages += [(address, site.holder, " of a key") for address in OF_A_KEY]
    for template, browser, whose in pages:
        address = template.format(**site.load.names)
        if only not in f"{address}{whose}":
            continue
        began = time.perf_counter()
        answer = await browser.get(address)
        first = (time.perf_counter() - began) * 1_000
        if answer.status_code != httpx.codes.OK:
            left.append(f"{address}{whose} ({answer.status_code})")
            continue
        took, before = [], used(server, site.load.pids)
        for _ in range(runs):
            began = time.perf_counter()
            await browser.get(address)
            took.append((time.perf_counter() - began) * 1_000)
        busy = (used(server, site.load.pids) - before) * 1_000 / runs
        p95 = sorted(took)[math.ceil(len(took) * 0.95) - 1]
        fine &= p95 <= AIM
        sys.stdout.write(
            f"{address + whose:60} p50 {statistics.median(took):7.1f} ms  p95 {p95:7.1f} ms  {p95 / AIM:5.2f} of it"
            f"  {busy:6.1f} ms of a processor"
            f"  {len(answer.content) / 1024:6.1f} KiB  first {first:7.1f} ms{'' if p95 <= AIM else '  TOO SLOW'}\n"
        )
        sys.stdout.flush()
    if left:
        sys.stdout.write(f"left out: {', '.join(left)}\n")
    return fine


async def prepared(url: str, attempts: int) -> None:
    """Fill a database, and say how far it has read."""
    database = Database(url, command=FILLING)
    began = time.perf_counter()
    await fill(database.engine, attempts, attempts)
    async with database.engine.begin() as connection:
        read = f"INSERT INTO positions (stream, seq, at) VALUES ('LEDGER', 1, {END})"  # noqa: S608 - our own number
        await connection.execute(text(read))
    await database.close()
    sys.stdout.write(f"{attempts} attempts, filled in {time.perf_counter() - began:.0f} s\n")


async def run(asked: argparse.Namespace, url: str) -> bool:
    """Fill it unless it is, and measure."""
    if not asked.filled:
        await prepared(url, asked.attempts)
    async with site(url) as made:
        return await measure(made, await postmaster(url), asked.runs, asked.only)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", default="", help="postgresql://…; default: one of its own, gone afterwards")
    parser.add_argument("--attempts", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--only", default="", help="addresses with this in them")
    parser.add_argument("--filled", action="store_true", help="measure what an earlier run made")
    asked = parser.parse_args()
    if asked.database:
        sys.exit(0 if uvloop.run(run(asked, asked.database)) else 1)
    server = Postgres()
    try:
        server.make()
        server.start(*POSTGRES)
        sys.exit(0 if uvloop.run(run(asked, server.url())) else 1)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
