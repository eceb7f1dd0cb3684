"""The edges of the other tests: several on one broker, each with the project's key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from catalogue.load import providers
from tests.support.edge import edge
from tests.support.gateway import gateway
from tests.support.upstream import completion, response, upstream


def values(url: str) -> dict[str, Any]:
    return {
        "providers": {"openai": {"key": "sk-one", "base_url": f"{url}/v1"}},
        "routes": {"chat": {"deployments": ["openai/gpt-4o-mini"]}},
    }


async def test_two_edges_on_one_broker_answer_each_and_know_the_key(tmp_path: Path) -> None:
    async with (
        upstream([response(completion("Hello!"))]) as provider,
        gateway(tmp_path, values(provider.url), providers()) as whole,
        edge(whole, name="one") as one,
        edge(whole, name="two", scope={"routes": ("other",)}) as two,
    ):
        asked = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
        answered = await one.client.post("/v1/chat/completions", json=asked)
        assert answered.status_code == 200, answered.text
        assert answered.json()["choices"][0]["message"]["content"] == "Hello!"
        assert (await two.client.post("/v1/chat/completions", json=asked)).status_code == 403
        await one.stop()
        await one.stop()
