"""Pydantic AI: an agent with a tool, a typed answer, a stream. It reads OPENAI_BASE_URL and OPENAI_API_KEY itself."""

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel


class Reading(BaseModel):
    place: str
    degrees: float


def get_weather(city: str) -> str:
    """The weather in a city."""
    print("tool: get_weather", city)
    return f"Rain in {city}."


async def main() -> None:
    model = OpenAIChatModel("fast")
    agent = Agent(model, tools=[get_weather], instructions="You look things up.")
    answer = await agent.run("What is the weather in Bergen?")
    print("whole:", answer.output)

    print("streamed:", end=" ")
    async with agent.run_stream("Count: [[say one two three]]") as stream:
        async for text in stream.stream_text(delta=True):
            print(text, end="")
    print()

    typed = Agent(model, tools=[get_weather], output_type=Reading)
    print("typed:", repr((await typed.run("What is the weather in Bergen?")).output))

    print("responses:", (await Agent(OpenAIResponsesModel("fast")).run("And what does a turbine do?")).output)


asyncio.run(main())
