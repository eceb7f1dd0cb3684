"""A key's own budget over HTTP: its jobs are held to it, others' are not, and each API says so in its own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from tests.support.edge import edge
from tests.support.gateway import gateway
from tests.support.upstream import completion, response, upstream

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}


def values(url: str) -> dict[str, Any]:
    return {
        "providers": {"openai": {"key": "sk-one", "base_url": f"{url}/v1"}},
        "routes": {"chat": {"deployments": ["openai/gpt-4o-mini"]}},
    }


@pytest.mark.parametrize(
    ("path", "kind"), [("/v1/chat/completions", "insufficient_quota"), ("/v1/messages", "billing_error")]
)
async def test_a_key_without_money_is_refused_with_402_and_others_go_on(path: str, kind: str, tmp_path: Path) -> None:
    async with (
        upstream([response(completion("Hello!"))]) as provider,
        gateway(tmp_path, values(provider.url), providers()) as whole,
        edge(whole, name="poor", scope={"budget": {"total": "0.0000001"}}) as poor,
        edge(whole, name="rich") as rich,
    ):
        refused = await poor.client.post(path, json=CHAT)
        assert refused.status_code == 402, refused.text
        error = refused.json()["error"]
        assert error["type"] == kind
        assert "budget" in error["message"]
        assert provider.asked == []
        answered = await rich.client.post(path, json=CHAT)
        assert answered.status_code == 200, answered.text
        assert float(answered.headers["x-penstock-cost"]) > 0


async def test_a_receipt_tells_what_the_job_is_likely_to_cost_and_at_most(tmp_path: Path) -> None:
    async with (
        upstream([response(completion("Hello!"))]) as provider,
        gateway(tmp_path, values(provider.url), providers()) as whole,
        edge(whole) as one,
    ):
        later = {**CHAT, "not_before": 3600}
        accepted = await one.client.post("/v1/jobs", json=later)
        assert accepted.status_code == 202, accepted.text
        told = accepted.json()
        assert 0 < float(told["estimated_cost"]) <= float(told["worst_cost"])


async def test_a_job_above_its_own_max_cost_is_refused_before_it_is_called(tmp_path: Path) -> None:
    async with (
        upstream([response(completion("Hello!"))]) as provider,
        gateway(tmp_path, values(provider.url), providers()) as whole,
        edge(whole) as one,
    ):
        headers = {"x-penstock-max-cost": "0.00000001"}
        refused = await one.client.post("/v1/chat/completions", json=CHAT, headers=headers)
        assert refused.status_code == 402, refused.text
        assert "max_cost" in refused.json()["error"]["message"]
        assert provider.asked == []
