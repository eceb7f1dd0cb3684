"""What a whole run may cost, with a real scheduler, workers, and a provider whose first answer is a failure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from tests.support.gateway import Gateway, gateway
from tests.support.upstream import completion, error, response, upstream

USED = {"prompt_tokens": 10, "completion_tokens": 90, "total_tokens": 100}
ASKED: dict[str, Any] = {"model": "chat", "messages": "Hi", "max_tokens": 100}


@pytest.fixture
async def whole(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A route whose second place is many times dearer than the first, which fails once."""
    answer = [response(completion(usage=USED))]
    async with upstream([error(404, "model_not_found", "no such model")], *[answer] * 8) as provider:
        values: dict[str, Any] = {
            "providers": {"openai": {"key": "sk-one", "base_url": f"{provider.url}/v1"}},
            "routes": {"chat": {"deployments": ["openai/gpt-4o-mini", "openai/gpt-4o"]}},
        }
        async with gateway(tmp_path, values, providers()) as made:
            yield made


async def test_a_run_costs_no_more_than_it_may_when_one_of_its_jobs_fails_at_the_cheaper_place(whole: Gateway) -> None:
    async with whole.producer() as producer:
        worst = (await producer.estimate(**ASKED)).worst
        assert worst is not None
        items = [item async for item in producer.map([ASKED] * 4, max_cost=worst * 4, concurrency=4)]
    assert len(items) == 4
    costs = [result.cost for result in (await whole.results()).values() if result.cost is not None]
    assert sum(costs, Decimal()) <= worst * 4
