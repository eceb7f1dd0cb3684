"""How to test a program that uses the SDK: no broker, no network, the real ``Producer``. Run it with pytest."""

# ruff: noqa: S101 - it is a test

import asyncio

from producer_sdk import FailureKind, JobFailed, Producer
from producer_sdk.testing import FakeGateway, fails, says


async def headline(producer: Producer, text: str) -> str:
    """The code under test: a headline, or the first words of the text if there is none to be had."""
    try:
        answer = await producer.complete(model="fast", messages=f"A headline for: {text}")
    except JobFailed:
        return " ".join(text.split()[:5])
    return answer.text.strip().strip('"')


def test_a_headline_is_the_models_words_without_quotes() -> None:
    async def scene() -> None:
        async with FakeGateway() as gateway:
            gateway.script(says(' "Water flows downhill" '))
            assert await headline(gateway.producer(), "Long text") == "Water flows downhill"
            assert gateway.jobs[0].job.route == "fast"

    asyncio.run(scene())


def test_without_a_model_the_first_words_will_do() -> None:
    async def scene() -> None:
        async with FakeGateway() as gateway:
            gateway.script(fails(FailureKind.OVERLOADED))
            assert await headline(gateway.producer(), "one two three four five six") == "one two three four five"

    asyncio.run(scene())
