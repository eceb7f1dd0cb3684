"""An answer while it comes, with what happens to it on the way."""

import asyncio

from producer_sdk import Finished, Producer, Queued, Started, Switched, Token


async def main() -> None:
    async with Producer() as producer:
        stream = producer.stream(model="fast", messages="Tell the story of a drop of water.", lane="rt", max_tokens=300)
        async for event in stream:
            match event:
                case Queued(position=int(position)):
                    print(f"[{position} jobs before this one]")
                case Started():
                    print(f"[{event.deployment}]")
                case Token():
                    print(event.text, end="", flush=True)
                case Switched():
                    print(f"\n[{event.reason}: {event.deployment} starts over]")
                case Finished():
                    print("\n[done]")
                case _:
                    pass
        print(stream.result.usage)


asyncio.run(main())
