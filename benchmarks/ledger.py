"""How many facts a second the ledger stores, in batches as it takes them, and the processor's time for each.

python -m benchmarks.ledger sqlite:////tmp/ledger.db --facts 60000
python -m benchmarks.ledger postgresql://user@127.0.0.1/ledger
"""

from __future__ import annotations

import argparse
import asyncio
import time
from decimal import Decimal

from job_contracts.chat import Usage
from job_contracts.codec import decode, encode
from job_contracts.facts import AttemptFact, Facts
from ledger.bookings import booking
from ledger.database import Database
from ledger.store import Store

TOGETHER = 50
"""Facts in a message."""


def message(number: int) -> bytes:
    """What a worker stores: facts of twenty projects and nine deployments, an hour's worth of 3,600,000."""
    return encode(Facts(facts=tuple(fact(number * TOGETHER + one) for one in range(TOGETHER))))


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


async def measure(url: str, facts: int, batch: int) -> None:
    """Store them, and print what that took. The database keeps them."""
    database = Database(url)
    await database.migrate()
    store = Store(database)
    messages = [message(number) for number in range(facts // TOGETHER)]
    seq = await store.position()
    begun, processor = time.perf_counter(), time.process_time()
    for start in range(0, len(messages), batch // TOGETHER):
        some = messages[start : start + batch // TOGETHER]
        told = [booking(one) for data in some for one in decode(Facts, data).facts]
        await store.store(told, before=seq, through=seq + len(some), at=time.time())
        seq += len(some)
    took, used, count = time.perf_counter() - begun, time.process_time() - processor, len(messages) * TOGETHER
    print(f"{database.kind}: {count / took:,.0f} facts/s, {used / count * 1e6:,.0f} us of processor time a fact")
    await database.close()


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="as ledger.database is written; use one that holds nothing")
    parser.add_argument("--facts", type=int, default=60_000)
    parser.add_argument("--batch", type=int, default=2_000)
    given = parser.parse_args()
    asyncio.run(measure(given.url, given.facts, given.batch))


if __name__ == "__main__":
    main()
