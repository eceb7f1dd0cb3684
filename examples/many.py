"""Many requests at once, with a checkpoint: interrupt it, run it again, and it goes on."""

import asyncio
import sys
from collections import Counter

from producer_sdk import Producer

RIVERS = ["Rhine", "Elbe", "Loire", "Danube", "Volga", "Po", "Ebro", "Tagus", "Oder", "Dniester"]


async def main() -> None:
    checkpoint = sys.argv[1] if len(sys.argv) > 1 else "rivers.sqlite"
    requests = [
        {"model": "fast", "messages": f"One sentence about the {river}.", "lane": "batch", "tags": {"river": river}}
        for river in RIVERS
    ]
    outcome: Counter[str] = Counter()
    async with Producer() as producer:
        async for item in producer.map(requests, concurrency=4, ordered=True, checkpoint=checkpoint):
            outcome["read from the checkpoint" if item.resumed else "answered" if item.ok else "failed"] += 1
            print(f"{RIVERS[item.index]}: {item.answer.text if item.answer else item.error}")
    print(", ".join(f"{count} {what}" for what, count in outcome.items()))


asyncio.run(main())
