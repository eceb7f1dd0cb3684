"""The price library behind the rows: read late, read right, and never from the network."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from functools import cache

import pytest
from genai_prices.data import providers as theirs
from genai_prices.types import Usage as TheirUsage

from catalogue.library import Library
from catalogue.load import providers
from catalogue.prices import cost_of
from catalogue.rows import ProviderRow
from job_contracts.chat import Usage
from tests.architecture.tree import ROOT

USAGES = (
    Usage(input=1_000, output=100),
    Usage(input=150_000, output=5_000, cache_read=100_000),
    Usage(input=400_000, output=2_000, cache_read=1_000, cache_write=50_000, cache_write_1h=20_000),
    Usage(input=20_000, output=9_000, reasoning=8_000),
)
MOMENTS = (
    datetime(2026, 11, 28, 12, tzinfo=UTC),
    datetime(2026, 11, 28, 2, tzinfo=UTC),
    datetime(2026, 1, 1, 20, tzinfo=UTC),
)


@cache
def catalogue() -> dict[str, ProviderRow]:
    return dict(providers())


def test_at_least_three_hundred_chat_models_are_known_and_embeddings_apart() -> None:
    kinds = Counter(model.kind for row in catalogue().values() for model in row.known())
    assert kinds["chat"] >= 300
    assert kinds["embeddings"] >= 20
    own = Counter(model.kind for name in ("openai", "anthropic", "gemini") for model in catalogue()[name].known())
    assert own["chat"] >= 100


def test_most_known_chat_models_have_a_window_and_a_price() -> None:
    chat = [(row, model) for row in catalogue().values() for model in row.known() if model.kind == "chat"]
    assert sum(model.context_window is not None for _, model in chat) > len(chat) * 0.6
    assert sum(bool(row.prices(model.name)) for row, model in chat) > len(chat) * 0.8


def test_costs_equal_the_librarys_own_for_every_model_and_length_and_hour() -> None:
    """Wherever both know the price: of every model, for prompts of several lengths, by day and by night."""
    compared = 0
    wrong = []
    for provider in theirs:
        book = Library((provider.id,), {})
        for model in provider.models:
            prices = book.prices(model.id)
            for usage in USAGES:
                for at in MOMENTS:
                    ours = cost_of(usage, prices, at)
                    if ours is None:
                        continue
                    kinds = usage.model_dump(include={"input", "output", "cache_read", "cache_write", "reasoning"})
                    said = TheirUsage(
                        input_tokens=kinds["input"],
                        output_tokens=kinds["output"],
                        cache_read_tokens=kinds["cache_read"],
                        cache_write_tokens=kinds["cache_write"],
                        cache_write_1h_tokens=usage.cache_write_1h,
                        output_reasoning_tokens=kinds["reasoning"],
                    )
                    their = model.calc_price(said, provider, genai_request_timestamp=at).total_price
                    compared += 1
                    if their != ours:
                        wrong.append(f"{provider.id}/{model.id} at {at}: {their} is not {ours} for {usage}")
    assert compared > 10_000
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize(
    ("provider", "name", "like"),
    [
        ("gemini", "models/gemini-3.5-flash", "gemini-3.5-flash"),
        ("bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("azure", "gpt-35-turbo", "gpt-3.5-turbo"),
        ("fireworks", "accounts/fireworks/models/kimi-k2p5", "kimi-k2p5"),
        ("vertex", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("zhipu", "glm-5.3", "GLM-5.3"),
        ("openai", "gpt-4o-2024-11-20", "gpt-4o"),
    ],
)
def test_a_price_is_found_under_the_names_a_provider_uses(provider: str, name: str, like: str) -> None:
    row = catalogue()[provider]
    assert row.prices(name) == row.prices(like) != ()


def test_where_a_gateway_sends_a_call_is_part_of_the_price() -> None:
    row = catalogue()["huggingface"]
    dear, cheap = row.prices("openai/gpt-oss-120b:groq"), row.prices("openai/gpt-oss-120b:together")
    assert dear != cheap
    assert row.prices("openai/gpt-oss-120b") == ()
    free = catalogue()["openrouter"]
    assert free.prices("meta-llama/llama-3.3-70b-instruct") != ()
    assert free.prices("meta-llama/llama-3.3-70b-instruct:free") == ()


def test_windows_in_the_rows_are_those_of_the_library() -> None:
    """Within rounding; where they differ by more, the row is right, and why is said here."""
    known_better = {
        ("deepseek", "deepseek-chat"),  # the name has moved on to a newer model
        ("deepseek", "deepseek-reasoner"),
        ("gemini", "gemini-1.5-pro"),  # two million, as it was published
        ("vertex", "gemini-1.5-pro"),
    }
    wrong = [
        f"{row.name}/{name}: {window}, in the library {known}"
        for row in catalogue().values()
        for name in Library(row.library, row.library_names).names()
        if (row.name, name) not in known_better
        and (window := row.model(name).context_window) is not None
        and (known := Library(row.library, row.library_names).window(name)) is not None
        and row.model(name).kind == "chat"
        and not 0.9 <= window / known <= 1.1
    ]
    assert not wrong, "\n".join(wrong)


def test_the_library_is_read_only_when_something_asks_what_no_row_says() -> None:
    program = """
import sys
sys.addaudithook(lambda event, _: event.startswith("socket.") and sys.exit(f"asked the network: {event}"))
from catalogue.load import providers
rows = providers()
assert rows["openai"].model("gpt-5-mini").context_window == 400_000
assert rows["vllm"].model("mine").context_window is None
assert "genai_prices" not in sys.modules, "read too early"
assert rows["openrouter"].model("google/gemini-2.5-flash").context_window > 1_000_000
assert "genai_prices" in sys.modules
assert sum(len(row.known()) for row in rows.values()) > 300
assert all(row.prices(model.name) is not None for row in rows.values() for model in row.known())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
