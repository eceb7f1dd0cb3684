"""Conversations that are too long for a model, through the whole gateway: a real broker, simulated providers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from catalogue.rows import ProviderRow
from job_contracts.failures import FailureKind
from producer_sdk import JobFailed, Producer
from simulator import ProviderSettings, Settings, Simulator
from tests.support.gateway import Gateway, gateway

SMALL, LARGE, SMALLER = "small", "large", "smaller"
"""Providers: with the window the catalogue says, with a larger one, and with a smaller one than the catalogue says."""
WINDOWS = {SMALL: 1_000, LARGE: 10_000, SMALLER: 1_000}
MODELS = {SMALL: "m+context=1000", LARGE: "m+context=10000", SMALLER: "m+context=650"}
ROUTES: Mapping[str, Any] = {
    "short": {"deployments": [f"{SMALL}/{MODELS[SMALL]}"]},
    "either": {"deployments": [f"{SMALL}/{MODELS[SMALL]}", f"{LARGE}/{MODELS[LARGE]}"]},
    "trims": {"deployments": [f"{SMALL}/{MODELS[SMALL]}"], "fit": "trim"},
    "surprised": {"deployments": [f"{SMALLER}/{MODELS[SMALLER]}"], "fit": "trim"},
}
WORDS = "The quick brown fox jumps over the lazy dog. "


def talk(exchanges: int) -> list[dict[str, Any]]:
    """Of some 100 tokens each."""
    turns: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
    for n in range(exchanges):
        turns += [{"role": "user", "content": f"{n}: {WORDS * 5}"}, {"role": "assistant", "content": WORDS * 4}]
    return [*turns, {"role": "user", "content": "And now?"}]


@asynccontextmanager
async def standing(directory: Path) -> AsyncIterator[tuple[Gateway, Producer, Simulator]]:
    made = tuple(ProviderSettings(name=name, dialect="openai") for name in WINDOWS)
    async with Simulator(Settings(providers=made)) as simulator:
        urls = {name: f"{simulator.base_url(name)}/v1" for name in WINDOWS}
        rows = {name: row(name, urls[name], window) for name, window in WINDOWS.items()}
        values = {"providers": {name: {"key": "sk-of-a-test", "slots": 4} for name in WINDOWS}, "routes": ROUTES}
        async with gateway(directory, values, rows) as whole, whole.producer(timeout=30) as producer:
            yield whole, producer, simulator


def row(name: str, url: str, window: int) -> ProviderRow:
    return ProviderRow.model_validate(
        {
            "name": name,
            "dialect": "openai_chat",
            "base_url": url,
            "auth": {"authorization": "Bearer {key}"},
            "models": [{"name": "*", "context_window": window}],
        }
    )


def requests(simulator: Simulator) -> int:
    return simulator.control.meter().total.requests


async def test_too_long_for_every_model_is_refused_at_once_with_the_numbers(tmp_path: Path) -> None:
    async with standing(tmp_path) as (_, producer, simulator):
        with pytest.raises(JobFailed) as refused:
            await producer.complete(model="short", messages=talk(30))
        assert refused.value.kind is FailureKind.CONTEXT_OVERFLOW
        assert "window of 1000 tokens" in str(refused.value)
        assert refused.value.result is not None
        assert refused.value.result.attempts == ()
        assert requests(simulator) == 0


async def test_too_long_for_the_first_model_goes_to_the_larger_one_and_the_first_is_never_called(
    tmp_path: Path,
) -> None:
    async with standing(tmp_path) as (whole, producer, simulator):
        # So little over the window that the scheduler cannot be sure; the worker counts.
        answer = await producer.complete(model="either", messages=talk(11))
        first, second = answer.result.attempts
        assert first.failure is not None
        assert first.failure.kind is FailureKind.CONTEXT_OVERFLOW
        assert "1000 tokens of the context window" in first.failure.message
        assert (second.provider, second.failure) == (LARGE, None)
        assert requests(simulator) == 1
        assert len(await whole.facts(1)) == 1


async def test_a_route_that_trims_answers_and_tells_what_went(tmp_path: Path) -> None:
    async with standing(tmp_path) as (_, producer, simulator):
        answer = await producer.complete(model="trims", messages=talk(100), max_tokens=100)
        (attempt,) = answer.result.attempts
        (loss,) = attempt.losses
        assert (loss.kind, loss.field.partition(":")[0]) == ("dropped", "messages[1")
        assert 400 <= answer.result.usage.input <= 900
        assert requests(simulator) == 1


async def test_a_window_smaller_than_known_is_met_by_trimming_harder(tmp_path: Path) -> None:
    async with standing(tmp_path) as (_, producer, simulator):
        answer = await producer.complete(model="surprised", messages=talk(100), max_tokens=60)
        kinds = [attempt.failure and attempt.failure.kind for attempt in answer.result.attempts]
        assert kinds[:-1] == [FailureKind.CONTEXT_OVERFLOW] * (len(kinds) - 1)
        assert 2 <= len(kinds) <= 3
        assert kinds[-1] is None
        assert answer.result.usage.input <= 590
        assert requests(simulator) == len(kinds)
