"""A simulator in this process, and the vendors' own clients for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from anthropic import AsyncAnthropic
from google import genai
from openai import AsyncOpenAI

from simulator import Settings, Simulator

KEY = "sk-of-a-test"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Three providers, unlimited and immediate; what hangs is given up after 20 s."""
    async with Simulator(Settings(longest_hold=20.0)) as one:
        yield one


@pytest.fixture
async def openai(simulator: Simulator) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{simulator.base_url('openai')}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic(simulator: Simulator) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=simulator.base_url("anthropic"), api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def gemini(simulator: Simulator) -> AsyncIterator[genai.client.AsyncClient]:
    client = genai.Client(api_key=KEY, http_options={"base_url": simulator.base_url("gemini")})
    async with client.aio as one:
        yield one
    client.close()
