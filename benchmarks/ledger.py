"""How many facts a second the ledger stores, and what share of a core it takes at a steady rate.

    python -m benchmarks.ledger sqlite:////tmp/ledger.db [--facts 40000] [--rate 1000] [--seconds 10] [--together 1]
    python -m benchmarks.ledger postgresql://user@127.0.0.1/ledger

A broker and ``python -m ledger`` run beside this process. First LEDGER holds ``--facts`` facts, 50 a message, which the
ledger has to catch up with; then ``--rate`` facts a second come, ``--together`` a message: one is the most work. The
processor's time is that of the whole ledger process: reading from JetStream, decoding, storing. Of Postgres the
server's own time is told beside it, where its processes can be seen from here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import psutil

from job_contracts import subjects
from job_contracts.chat import Usage
from job_contracts.codec import encode
from job_contracts.facts import AttemptFact, Facts
from ledger.database import Database
from ledger.store import Store
from runtime.broker import Broker, BrokerConfig
from runtime.bus import NatsBus, connect
from runtime.bus.settings import BusSettings
from runtime.connection import declared
from runtime.settings import Config

ROOT = Path(__file__).parents[1]
TOGETHER = 50
"""Facts in a message of those to catch up with."""
AT_ONCE = 64
"""Messages on their way to LEDGER at once."""
TOLD = {
    "providers": {"openai": {"base_url": "http://127.0.0.1:9", "key": "${OPENAI_KEY}", "slots": 4}},
    "routes": {"chat": {"deployments": ["openai/gpt"]}},
    "nats": {"max_queue_bytes": 64 * 1024**2},
}


def message(first: int, together: int) -> bytes:
    """What a worker stores: facts of twenty projects and nine deployments, an hour's worth of 3,600,000."""
    return encode(Facts(facts=tuple(fact(first + one) for one in range(together))))


def fact(number: int) -> AttemptFact:
    """One attempt."""
    return AttemptFact(
        attempt=f"p{number % 20}.key-{number:032x}.1",
        project=f"p{number % 20}",
        route=f"route-{number % 3}",
        deployment=f"provider-{number % 3}/model-{number % 9}",
        provider=f"provider-{number % 3}",
        model=f"model-{number % 9}",
        started=1_790_000_000.0 + number / 1000,
        seconds=1.5,
        usage=Usage(input=310, output=200),
        cost=Decimal("0.000431"),
        reserved=Decimal("0.0012"),
        reason="user",
        won=True,
        tags={"team": f"team-{number % 10}"},
    )


class Bench:
    """A broker, a database, and facts that nobody has stored yet."""

    def __init__(self, bus: NatsBus, database: Database, config: Path) -> None:
        self.bus = bus
        self.database = database
        self._config = config
        self._store = Store(database)
        self._numbers = 0
        self.seq = 0

    async def tell(self, facts: int, together: int) -> None:
        """Put them into LEDGER."""
        told = range(self._numbers, self._numbers + facts // together * together, together)
        self._numbers += len(told) * together
        for start in range(0, len(told), AT_ONCE):
            some = (message(first, together) for first in told[start : start + AT_ONCE])
            stored = await asyncio.gather(*(self.bus.append(subjects.usage("openai", "w1"), data) for data in some))
            self.seq = max(self.seq, *(each.seq for each in stored))

    async def stored(self, seq: int) -> None:
        """Until the ledger has stored all up to there."""
        while await self._store.position() < seq:  # noqa: ASYNC110 - it is another process that stores
            await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def ledger(self) -> AsyncIterator[psutil.Process]:
        """The process that is measured, once it has begun to read."""
        told = ("-m", "ledger", "--config", str(self._config))
        child = await asyncio.create_subprocess_exec(
            sys.executable, *told, cwd=ROOT, stdout=asyncio.subprocess.PIPE, limit=1024 * 1024
        )
        assert child.stdout is not None  # noqa: S101 - it was asked for
        try:
            async for line in child.stdout:
                if json.loads(line).get("event") == "ledger.reading":
                    break
            draining = asyncio.create_task(child.stdout.read())
            yield psutil.Process(child.pid)
        finally:
            child.terminate()
            await child.wait()
        await draining


async def measure(bench: Bench, facts: int, rate: int, seconds: float, together: int) -> None:
    """Both figures, printed."""
    kind = bench.database.kind
    await bench.tell(facts, TOGETHER)
    async with bench.ledger() as process:
        begun, before, servers = time.perf_counter(), _spent(process), _servers(kind)
        await bench.stored(bench.seq)
        took, used = time.perf_counter() - begun, _spent(process) - before
        print(
            f"{kind}: catching up: {facts / took:,.0f} facts/s, "
            f"{used / facts * 1e6:,.0f} us a fact{_beside(kind, servers, facts)}"
        )
        begun, before, servers, told = time.perf_counter(), _spent(process), _servers(kind), 0
        while (now := time.perf_counter() - begun) < seconds:
            due = int(now * rate) - told
            await bench.tell(due, together)
            told += due // together * together
            await asyncio.sleep(0.01)
        await bench.stored(bench.seq)
        took, used = time.perf_counter() - begun, _spent(process) - before
        print(
            f"{kind}: at {told / took:,.0f} facts/s, {together} a message: {used / took:.1%} of a core, "
            f"{used / told * 1e6:,.0f} us a fact{_beside(kind, servers, told)}"
        )


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _servers(kind: str) -> float:
    """What Postgres' processes on this machine have used until now."""
    if kind != "postgresql":
        return 0.0
    found = 0.0
    for each in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if str(each.info["name"]).startswith("postgres"):
                times = each.cpu_times()
                found += times.user + times.system + times.children_user + times.children_system
    return found


def _beside(kind: str, before: float, facts: int) -> str:
    if kind != "postgresql":
        return ""
    return f", {(_servers(kind) - before) / facts * 1e6:,.0f} us of the server's"


async def run(given: argparse.Namespace) -> None:
    """Start what is needed, and measure."""
    with tempfile.TemporaryDirectory() as folder:
        broker = await Broker(BrokerConfig(sync="default"), Path(folder) / "broker").start()
        config = Path(folder) / "penstock.yaml"
        nats = {"url": broker.url, "max_queue_bytes": 64 * 1024**2}
        config.write_text(json.dumps({**TOLD, "nats": nats, "ledger": {"database": given.url, "auto_migrate": True}}))
        bus, database = await connect(BusSettings(url=broker.url)), Database(given.url)
        try:
            await bus.ensure(declared(Config.model_validate(TOLD)))
            await database.migrate()
            await measure(Bench(bus, database, config), given.facts, given.rate, given.seconds, given.together)
        finally:
            await database.close()
            await bus.close()
            await broker.stop()


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="as ledger.database is written; use one that holds nothing")
    parser.add_argument("--facts", type=int, default=40_000)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--together", type=int, default=1)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
