"""One question, one answer. PENSTOCK_URL and PENSTOCK_KEY say where and as whom."""

import asyncio
import sys

from producer_sdk import JobFailed, Producer


async def main() -> None:
    question = " ".join(sys.argv[1:]) or "What does a penstock do?"
    async with Producer() as producer:
        try:
            answer = await producer.complete(model="fast", messages=question, max_tokens=200, deadline=60)
        except JobFailed as error:
            print(f"no answer: {error}")
            for attempt in error.attempts:
                print(f"  {attempt.number}. {attempt.deployment}: {attempt.failure.kind if attempt.failure else 'ok'}")
            return
        usage = answer.usage
        print(answer.text)
        print(f"-- {answer.model}: {usage.input} tokens in, {usage.output} out, {len(answer.attempts)} attempt(s)")


asyncio.run(main())
