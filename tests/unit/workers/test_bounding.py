"""No call asks for more output than was reserved for it, in any dialect, reasoning included."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogue.load import providers
from catalogue.quirks import least_output, quirks_of
from job_contracts.chat import Conversation
from job_contracts.failures import Failure, FailureKind
from tests.support import builders
from tests.support.upstream import completion, response, upstream
from tests.support.worker import bench
from workers.bounding import bounded
from workers.dialects import DIALECTS
from workers.dialects.port import Encoded, Target

ROWS = providers()
MODELS = (
    ("openai", "gpt-5-mini"),
    ("openai", "gpt-4o"),
    ("anthropic", "claude-opus-4-1"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-opus-4-6"),
    ("anthropic", "claude-nobody-knows"),
    ("gemini", "gemini-2.5-flash"),
    ("gemini", "gemini-3-pro-preview"),
    ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("bedrock", "amazon.nova-pro-v1:0"),
    ("cohere", "command-a-reasoning-08-2025"),
    ("ollama", "qwen3:8b"),
    ("qwen", "qwen-plus"),
    ("qwen", "qwen3.5-plus"),
    ("deepseek", "deepseek-reasoner"),
    ("openrouter", "anthropic/claude-sonnet-4.5"),
    ("mistral", "magistral-medium-latest"),
)
every_model = pytest.mark.parametrize(("provider", "model"), MODELS, ids=[f"{one}/{two}" for one, two in MODELS])

LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxTokens", "maxOutputTokens", "num_predict")
BUDGETS = ("budget_tokens", "token_budget", "thinking_budget", "thinkingBudget")

settings = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(1, 200_000),
        "reasoning_budget": st.integers(1, 100_000),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
    },
)


def found(value: Any, names: tuple[str, ...]) -> list[int]:
    """Every figure of one of these names, wherever it stands."""
    if not isinstance(value, dict):
        return []
    own = [one for name, one in value.items() if name in names and isinstance(one, int)]
    return own + [one for inner in value.values() for one in found(inner, names)]


def encoded(conversation: Conversation, target: Target) -> Encoded:
    return DIALECTS[target.model.dialect or target.provider.dialect].encode(conversation, target)


@every_model
@pytest.mark.parametrize("stream", [False, True])
@given(asked=settings, most=st.integers(16, 40_000))
def test_what_is_sent_never_allows_more_than_the_bound(
    provider: str, model: str, stream: bool, asked: dict[str, Any], most: int
) -> None:
    row = ROWS[provider]
    target = Target(row, row.model(model), stream=stream)
    conversation = builders.conversation(settings=asked)
    held = bounded(conversation, most, target)
    assert not isinstance(held, Failure)
    body = json.loads(encoded(held[0], target).body)
    budget = found(body.pop("reasoning", None), ("max_tokens",))
    assert all(one < most for one in budget), body
    limits, budgets = found(body, LIMITS), found(body, BUDGETS)
    assert len(limits) == 1, body
    beyond = sum(budgets) if quirks_of(row, target.model).thinks_beyond else 0
    assert 0 < limits[0] + beyond <= most, body
    if (asked.get("max_tokens") or 0) > most:
        assert next(loss.kind for loss in held[1] if loss.field == "settings.max_tokens") == "clamped"
    if quirks_of(row, target.model).thinks_beyond and not budgets:
        assert body.get("enable_thinking") is not True, "nothing would bound what it thinks"


@every_model
def test_without_a_bound_nothing_is_changed(provider: str, model: str) -> None:
    target = Target(ROWS[provider], ROWS[provider].model(model))
    conversation = builders.conversation(settings={"max_tokens": 7, "reasoning_effort": "high"})
    held = bounded(conversation, None, target)
    assert held == (conversation, ())


def test_a_wish_below_the_bound_stands_and_none_is_given_the_bound_without_a_loss_where_the_model_has_no_more() -> None:
    row = ROWS["openai"]
    target = Target(row, row.model("gpt-4o"))
    wish = builders.conversation(settings={"max_tokens": 7})
    assert bounded(wish, 100, target) == (wish, ())
    limit = target.model.max_output
    assert limit is not None
    held = bounded(builders.conversation(), limit + 5, target)
    assert not isinstance(held, Failure)
    assert (held[0].settings.max_tokens, held[1]) == (limit, ())
    clamped = bounded(builders.conversation(), 100, target)
    assert not isinstance(clamped, Failure)
    assert clamped[0].settings.max_tokens == 100
    assert [(loss.kind, loss.field) for loss in clamped[1]] == [("clamped", "settings.max_tokens")]


def test_a_target_that_puts_out_more_at_least_is_not_asked() -> None:
    row = ROWS["openai"].changed(dialect="openai_responses")
    target = Target(row, row.model("gpt-4o").model_copy(update={"dialect": "openai_responses"}))
    assert least_output(row, target.model) == 16
    held = bounded(builders.conversation(settings={"max_tokens": 5}), 5, target)
    assert isinstance(held, Failure)
    assert (held.kind, held.field) == (FailureKind.UNSUPPORTED_PARAM, "settings.max_tokens")


async def test_a_worker_clamps_to_its_grant_and_says_so_and_an_unknown_price_is_never_free() -> None:
    async with upstream([response(completion())]) as provider, bench(provider.url) as worker:
        job = builders.job(conversation=builders.conversation(settings={"max_tokens": 5_000}))
        grant = {"max_output": 40, "cost": "0.5", "charged": 77.0}
        given = await worker.hand(worker.assignment(job=job, grant=grant, key="k-1"))
        result = await worker.result(given)
        assert json.loads(provider.asked[0].body)["max_tokens"] == 40
        (loss,) = [loss for loss in result.attempts[0].losses if loss.field == "settings.max_tokens"]
        assert (loss.kind, "5000 to 40" in loss.detail) == ("clamped", True)
        fact = worker.facts()[given.attempt_id]
        assert (str(fact.reserved), fact.charged, fact.at, fact.key) == ("0.5", 77.0, 77.0, "k-1")
        assert (fact.cost, fact.price, result.cost) == (None, None, None)
