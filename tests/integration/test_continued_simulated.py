"""Simulated providers cut an answer at any of its tokens, and others go on: one text, told once, in either dialect."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from catalogue.load import providers
from catalogue.rows import ProviderRow
from job_contracts.stream import Finished, Started, Switched, Token
from simulator import FaultOrder, ProviderSettings, Settings, Simulator
from simulator.settings import DialectName
from tests.support.gateway import gateway

PATHS: dict[DialectName, str] = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
DIALECTS: tuple[DialectName, ...] = ("openai", "anthropic", "gemini")
CUTS = (0.2, 0.5, 0.8)


def row(name: str, dialect: DialectName) -> ProviderRow:
    known = providers()[dialect].model_dump(exclude_unset=True)
    models = [{"name": "*", "quirks": {"prefill_taken": True}}]
    return ProviderRow.model_validate({**known, "name": name, "models": models})


@pytest.mark.parametrize(("first", "second"), list(itertools.product(DIALECTS, DIALECTS)))
async def test_a_simulated_answer_that_is_cut_is_gone_on_with(
    tmp_path: Path, first: DialectName, second: DialectName
) -> None:
    made = tuple(ProviderSettings(name=name, dialect=spoken) for name, spoken in (("one", first), ("two", second)))
    async with Simulator(Settings(providers=made)) as simulator:
        for cut, fault in itertools.product(CUTS, ("cut", "reset_within")):
            order = FaultOrder(fault=f"{fault}@{cut}", provider="one", models=f"{name_of(cut, fault)}*")
            await simulator.control.add_fault(order)
        values: dict[str, Any] = {
            "providers": {
                name: {"key": "sk", "base_url": f"{simulator.base_url(name)}{PATHS[spoken]}"}
                for name, spoken in (("one", first), ("two", second))
            },
            "routes": {
                name_of(cut, fault): {"deployments": [f"one/{name_of(cut, fault)}+tokens=60", "two/m+tokens=20"]}
                for cut, fault in itertools.product(CUTS, ("cut", "reset_within"))
            },
        }
        rows = {"one": row("one", first), "two": row("two", second)}
        async with gateway(tmp_path, values, rows) as whole, whole.producer() as producer:
            for route in values["routes"]:
                text, continued = "", list[int | None]()
                async with producer.stream(model=route, messages="Tell me of the sea.") as events:
                    async for event in events:
                        assert not isinstance(event, Switched), route
                        text += event.text if isinstance(event, Token) else ""
                        continued += [event.continues] if isinstance(event, Started) else []
                        if isinstance(event, Finished):
                            assert event.result.answer is not None
                            assert event.result.answer.text == text
                            assert [one.continued for one in event.result.attempts] == [None, 1]
                assert continued == [None, 1], route


def name_of(cut: float, fault: str) -> str:
    return f"{fault.replace('_', '-')}-{round(cut * 10)}"
