"""What tests of batches share: a gateway over a simulated provider, input files, the official client, output lines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from catalogue.load import providers
from simulator import ProviderSettings, Settings, Simulator
from tests.support.edge import RunningEdge, edge
from tests.support.eventually import eventually
from tests.support.gateway import Gateway, gateway

CHAT = "/v1/chat/completions"
SIMULATED = "simulated"
QUICK: Mapping[str, Any] = {"beat": 0.2, "silence": 1.0}
"""Settings of ``gateway.batches`` for tests: signs of life more often."""
ROUTES = {
    "fast": {"deployments": ["alpha/fast"]},
    "slow": {"deployments": ["alpha/slow+ttft=0.3"]},
    "stuck": {"deployments": ["alpha/stuck+ttft=60"], "timeouts": {"ttft": 120, "total": 120}},
    "vectors": {"deployments": ["openai/text-embedding-3-small"]},
    "broken": {"deployments": ["alpha/broken+fault=bad_request"], "max_attempts": 1},
}


@dataclass
class House:
    """A gateway with a simulated provider, and its first edge."""

    whole: Gateway
    simulator: Simulator
    edge: RunningEdge
    client: AsyncOpenAI

    def calls(self) -> int:
        """Calls that the provider has received."""
        return len(self.simulator.control.log(100_000))


@asynccontextmanager
async def house(tmp_path: Path, **settings: Any) -> AsyncIterator[House]:
    """Start everything; ``settings`` are those of the section ``gateway``."""
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(
            Simulator(Settings(providers=(ProviderSettings(name=SIMULATED, dialect="openai"),), log_size=100_000))
        )
        provider = {
            "dialect": "openai_chat",
            "base_url": f"{simulator.base_url(SIMULATED)}/v1",
            "key": "sk-of-a-test",
            "slots": 64,
        }
        known = {"key": "sk-of-a-test", "base_url": provider["base_url"], "slots": 8}
        values = {"providers": {"alpha": provider, "openai": known}, "routes": ROUTES}
        whole = await stack.enter_async_context(gateway(tmp_path, values, providers()))
        first = await stack.enter_async_context(edge(whole, **{"batches": dict(QUICK), **settings}))
        yield House(whole, simulator, first, await stack.enter_async_context(client(first)))


@asynccontextmanager
async def client(of: RunningEdge) -> AsyncIterator[AsyncOpenAI]:
    """The official client at an edge."""
    async with AsyncOpenAI(base_url=f"{of.url}/v1", api_key=of.key, max_retries=0) as made:
        yield made


def request(number: int, model: str = "fast", text: str | None = None, **over: Any) -> dict[str, Any]:
    """One line of an input file."""
    body = {"model": model, "messages": [{"role": "user", "content": text or f"Number {number}"}]}
    return {"custom_id": f"request-{number}", "method": "POST", "url": CHAT, "body": body, **over}


def jsonl(lines: Iterable[Any]) -> bytes:
    """Lines of a file; texts stay as they are."""
    return b"".join((one if isinstance(one, str) else json.dumps(one)).encode() + b"\n" for one in lines)


async def begun(to: AsyncOpenAI, lines: Iterable[Any], window: str = "24h", endpoint: str = CHAT, **more: Any) -> Any:
    """Upload a file and begin a batch of it."""
    file = await to.files.create(file=("requests.jsonl", jsonl(lines)), purpose="batch")
    wish: dict[str, Any] = {"endpoint": endpoint, "completion_window": window, **more}
    return await to.batches.create(input_file_id=file.id, **wish)


async def ended(of: AsyncOpenAI, batch: str, within: float = 30.0) -> Any:
    """The batch once it has ended."""

    async def look() -> Any:
        now = await of.batches.retrieve(batch)
        return now if now.status in {"completed", "failed", "expired", "cancelled"} else None

    return await eventually(look, within=within, says=f"{batch} has not ended")


async def output(of: AsyncOpenAI, batch: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines of the file of answers, and of that of errors."""
    found: list[list[dict[str, Any]]] = []
    for file in (batch.output_file_id, batch.error_file_id):
        text = (await of.files.content(file)).text if file else ""
        assert not text or text.endswith("\n")
        found.append([json.loads(line) for line in text.splitlines()])
    return found[0], found[1]


def completed(batch: Any) -> int:
    """How many requests of it are answered."""
    return int(batch.request_counts.completed)


def each_once(lines: Iterable[Mapping[str, Any]], count: int) -> None:
    """Every request of ``request(0)`` up to ``count`` has exactly one output line."""
    names = sorted(line["custom_id"] for line in lines)
    assert names == sorted(f"request-{number}" for number in range(count))
