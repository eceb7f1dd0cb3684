"""What a simulated provider hands out about its bill: by day and model, and call by call."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest

from simulator import Settings, Simulator
from simulator.exports import COLUMNS, FORMS
from tests.support.eventually import eventually
from tests.support.simulated import SimulatorControl


@pytest.fixture
async def used() -> AsyncIterator[Simulator]:
    """One that has answered three calls, one of them cut, and refused one."""
    async with Simulator(Settings()) as simulator, httpx.AsyncClient(trust_env=False) as client:
        url = f"{simulator.base_url('openai')}/v1/chat/completions"
        for number, model in enumerate(("gpt-4o", "gpt-4o-mini", "gpt-4o+fault=cut@0.5", "gpt-4o+fault=503")):
            body = {"model": model, "messages": [{"role": "user", "content": "Tell me of the sea."}], "stream": True}
            named = {"authorization": "Bearer sk-1", "x-penstock-attempt": f"demo.a-{number}.1"}
            try:
                await client.post(url, json=body, headers=named)
            except httpx.HTTPError:
                assert "cut" in model
        await eventually(lambda: len(simulator.control.bills().lines) == 4)
        yield simulator


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


async def test_each_call_is_billed_by_name_also_the_one_that_was_cut(used: Simulator) -> None:
    lines = {line.request_id: line for line in used.control.bills().lines}
    assert lines.keys() == {f"demo.a-{number}.1" for number in range(4)}
    whole, cut, refused = lines["demo.a-0.1"], lines["demo.a-2.1"], lines["demo.a-3.1"]
    assert (whole.outcome, cut.outcome, refused.outcome) == ("ok", "broken", "refused")
    assert 0 < cut.output_tokens < whole.output_tokens
    assert cut.cost_usd == Decimal(cut.input_tokens + 4 * cut.output_tokens) / 1_000_000
    assert refused.cost_usd == 0


async def test_every_form_of_export_has_the_meters_sums(used: Simulator) -> None:
    total = used.control.meter().total
    async with SimulatorControl(used.url) as control:
        texts = {form: await control.export(form, "openai") for form in FORMS}
        assert await control.bills() == used.control.bills()
    for form in ("csv", "requests"):
        found = rows(texts[form])
        assert tuple(found[0]) == COLUMNS
        assert sum(Decimal(row["cost"]) for row in found) == total.cost_usd
        assert sum(int(row["requests"]) for row in found) == 3
        assert sum(int(row["output_tokens"]) for row in found) == total.output_tokens
    called = {datetime.fromtimestamp(line.at, UTC).date().isoformat() for line in used.control.bills().lines}
    assert {row["date"] for row in rows(texts["csv"])} <= called
    assert {row["model"] for row in rows(texts["csv"])} == {"gpt-4o", "gpt-4o-mini"}
    usage = [one for bucket in json.loads(texts["openai_usage"])["data"] for one in bucket["results"]]
    assert sum(one["input_tokens"] for one in usage) == total.input_tokens
    assert sum(one["num_model_requests"] for one in usage) == 3
    costs = [one for bucket in json.loads(texts["openai_costs"])["data"] for one in bucket["results"]]
    assert sum(Decimal(one["amount"]["value"]) for one in costs) == total.cost_usd
    messages = [one for bucket in json.loads(texts["anthropic_usage"])["data"] for one in bucket["results"]]
    assert sum(one["output_tokens"] for one in messages) == total.output_tokens


async def test_a_form_nobody_knows_and_a_provider_that_is_not_there_are_refused(used: Simulator) -> None:
    async with SimulatorControl(used.url) as control:
        for form, provider in (("xml", None), ("csv", "nobody")):
            with pytest.raises(httpx.HTTPStatusError):
                await control.export(form, provider)
