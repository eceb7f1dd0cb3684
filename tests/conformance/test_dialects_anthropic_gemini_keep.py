"""Files, cache marks, budgets and pairs at Anthropic and Gemini: kept or told, and never what the API refuses."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from catalogue.load import providers
from catalogue.quirks import quirks_of
from job_contracts.chat import Conversation, FilePart, ImagePart
from job_contracts.results import Loss
from simulator.dialects.anthropic import reading as anthropic_reading
from simulator.dialects.dialect import Rejected, Route
from simulator.dialects.gemini import reading as gemini_reading
from simulator.settings import ProviderSettings
from tests.conformance.translate import translate
from tests.support import strategies_chat
from workers.dialects import DIALECTS
from workers.dialects.port import Target

MODELS = {
    "anthropic": ("claude-sonnet-5", "claude-sonnet-4-5", "claude-3-5-haiku-latest"),
    "gemini": ("gemini-3-flash", "gemini-2.5-flash", "gemini-2.0-flash"),
    "vertex": ("gemini-2.5-pro", "claude-opus-4-6", "claude-sonnet-4-5@20250929"),
}
every_model = pytest.mark.parametrize(
    ("provider", "model"), [(provider, model) for provider, models in MODELS.items() for model in models]
)
any_conversation = given(conversation=strategies_chat.marked_conversations())
calmly = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@cache
def target(provider: str, model: str) -> Target:
    row = providers()[provider]
    return Target(provider=row, model=row.model(model))


def dialect_of(chosen: Target) -> str:
    return chosen.model.dialect or chosen.provider.dialect


def encoded(conversation: Conversation, chosen: Target) -> tuple[dict[str, Any], tuple[Loss, ...]]:
    one = DIALECTS[dialect_of(chosen)].encode(conversation, chosen)
    body: dict[str, Any] = json.loads(one.body)
    return body, one.losses


def read_back(body: dict[str, Any], chosen: Target) -> Conversation:
    return translate(dialect_of(chosen), body, family=chosen.model.family).conversation


def shown(conversation: Conversation) -> int:
    """How many images and files there are."""
    return sum(
        isinstance(part, ImagePart | FilePart)
        for turn in conversation.messages
        if not isinstance(turn.content, str)
        for part in turn.content
    )


def marks(conversation: Conversation) -> int:
    """How many cache marks there are."""
    parts = [part for turn in conversation.messages if not isinstance(turn.content, str) for part in turn.content]
    return sum(bool(getattr(one, "cache", None)) for one in [*conversation.tools, *parts])


@every_model
@calmly
@any_conversation
def test_every_image_and_file_is_sent_or_a_loss_says_it_is_not(
    provider: str, model: str, conversation: Conversation
) -> None:
    chosen = target(provider, model)
    body, losses = encoded(conversation, chosen)
    untold = [loss for loss in losses if loss.kind == "dropped" and loss.detail.startswith("the API")]
    not_sent = [loss for loss in untold if loss.field.endswith(".content")]
    assert shown(read_back(body, chosen)) == shown(conversation) - len(not_sent)


@every_model
@calmly
@any_conversation
def test_a_cache_mark_is_sent_or_a_loss_names_one(provider: str, model: str, conversation: Conversation) -> None:
    chosen = target(provider, model)
    body, losses = encoded(conversation, chosen)
    sent = marks(read_back(body, chosen))
    assert sent <= 4
    if sent != marks(conversation):
        assert any(loss.field.endswith("cache") for loss in losses)


@every_model
@calmly
@any_conversation
def test_every_setting_is_sent_or_a_loss_names_it(provider: str, model: str, conversation: Conversation) -> None:
    chosen = target(provider, model)
    body, losses = encoded(conversation, chosen)
    read, asked = read_back(body, chosen).settings, conversation.settings
    named = {loss.field.split(".")[1] for loss in losses if loss.field.startswith("settings.")}
    assert read.top_k == asked.top_k or "top_k" in named
    if asked.reasoning_budget is not None:
        assert read.reasoning_budget == asked.reasoning_budget or "reasoning_budget" in named
    elif asked.reasoning_effort not in {None, "none"}:
        assert "reasoning_effort" in named or read.reasoning_effort or read.reasoning_budget


@every_model
@calmly
@any_conversation
def test_nothing_is_sent_that_the_api_is_known_to_refuse(provider: str, model: str, conversation: Conversation) -> None:
    chosen = target(provider, model)
    body, _ = encoded(conversation, chosen)
    if dialect_of(chosen) == "anthropic":
        _check_anthropic(body, chosen)
    else:
        _check_gemini(body, chosen)


def _check_anthropic(body: dict[str, Any], chosen: Target) -> None:
    messages = body["messages"]
    assert messages[0]["role"] == "user"
    seen: set[str] = set()
    waiting: list[str] = []
    for message in messages:
        blocks = message["content"] if isinstance(message["content"], list) else []
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert sorted(results) == sorted(waiting)
        assert [block["type"] for block in blocks[: len(results)]] == ["tool_result"] * len(results)
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        assert not seen & set(waiting)
        seen.update(waiting)
        assert len(set(waiting)) == len(waiting)
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
    assert not waiting
    if not quirks_of(chosen.provider, chosen.model).prefill:
        assert messages[-1]["role"] != "assistant"
    lives = [mark.get("ttl", "5m") for mark in _cache_controls(body)]
    assert lives == sorted(lives), "marks for an hour come first"
    thinking = body.get("thinking", {})
    assert thinking.get("budget_tokens", 0) < body["max_tokens"]
    if thinking.get("type") in {"enabled", "adaptive"}:
        assert "top_k" not in body
        assert body.get("temperature", 1) == 1


def _cache_controls(body: dict[str, Any]) -> list[dict[str, str]]:
    system = body.get("system") or ()
    blocks = [*body.get("tools", ()), *([] if isinstance(system, str) else system)]
    for message in body["messages"]:
        blocks += [] if isinstance(message["content"], str) else message["content"]
    return [block["cache_control"] for block in blocks if "cache_control" in block]


def _check_gemini(body: dict[str, Any], chosen: Target) -> None:
    quirks = quirks_of(chosen.provider, chosen.model)
    assert body["contents"][0]["role"] == "user"
    called: list[str] = []
    for content in body["contents"]:
        assert content["parts"]
        names = [part["functionResponse"]["name"] for part in content["parts"] if "functionResponse" in part]
        assert names == called if not quirks.call_ids else sorted(names) == sorted(called)
        called = [part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part]
    assert not called
    config = body.get("generationConfig", {})
    assert not (quirks.tools_or_schema and "tools" in body and "responseMimeType" in config)


@every_model
@calmly
@any_conversation
def test_the_simulated_provider_takes_what_is_sent(provider: str, model: str, conversation: Conversation) -> None:
    chosen = target(provider, model)
    one = DIALECTS[dialect_of(chosen)].encode(conversation, chosen)
    assume(not _says_nothing(json.loads(one.body)))
    try:
        if dialect_of(chosen) == "anthropic":
            in_path = model if provider == "vertex" else ""
            anthropic_reading.read(one.body, ProviderSettings(name="anthropic", dialect="anthropic"), in_path=in_path)
        else:
            gemini_reading.read(
                one.body, Route("complete", model=model), ProviderSettings(name="gemini", dialect="gemini")
            )
    except Rejected as rejected:
        pytest.fail(f"{rejected.refusal}\n{one.body.decode()}\n{one.losses}")


def _says_nothing(body: dict[str, Any]) -> bool:
    """A conversation without a word is not for sending: that it is refused is right."""
    messages = body.get("messages") or [{"content": content["parts"]} for content in body["contents"]]
    return any(message["content"] in ("", [], [{"text": ""}]) for message in messages)
