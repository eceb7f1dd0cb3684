"""What is known of a family's tokens, and who may say otherwise."""

from __future__ import annotations

import pytest

from catalogue.rows import ModelRow, ProviderRow
from catalogue.tokens import USUAL, TokenFacts, facts_of

OWN = TokenFacts(ratio=1.5)


def provider(**over: object) -> ProviderRow:
    values = {"name": "p", "dialect": "openai_chat", "base_url": "https://p.example", **over}
    return ProviderRow.model_validate(values)


@pytest.mark.parametrize(
    ("model", "vocabulary", "ratio"),
    [
        ("gpt-5-mini", "o200k", 1.0),
        ("gpt-4o", "o200k", 1.0),
        ("gpt-4.1-mini", "o200k", 1.0),
        ("gpt-4", "cl100k", 1.0),
        ("gpt-4-turbo-2024-04-09", "cl100k", 1.0),
        ("gpt-3.5-turbo", "cl100k", 1.0),
        ("claude-haiku-4-5", "o200k", 1.14),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "o200k", 1.14),
        ("anthropic/claude-sonnet-5", "o200k", 1.24),
        ("deepseek-chat", "deepseek", 1.0),
        ("Qwen/Qwen3-32B", "qwen", 1.0),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "llama3", 1.0),
        ("mistral-large-latest", "mistral", 1.0),
        ("accounts/fireworks/models/kimi-k2-instruct", "kimi", 1.0),
        ("glm-4.6", "glm", 1.0),
        ("nobody-knows-it", "o200k", 1.0),
    ],
)
def test_a_family_is_known_by_its_name_wherever_it_is_served(model: str, vocabulary: str, ratio: float) -> None:
    facts = facts_of(provider(), ModelRow(name=model))
    assert (facts.vocabulary, facts.ratio) == (vocabulary, ratio)


def test_a_models_row_says_it_over_its_providers_and_that_over_the_family() -> None:
    assert facts_of(provider(tokens=OWN), ModelRow(name="claude-haiku-4-5")) == OWN
    assert facts_of(provider(tokens=OWN), ModelRow(name="m", tokens=USUAL)) == USUAL


def test_a_row_may_say_it_and_a_misspelt_word_is_an_error() -> None:
    row = provider(tokens={"vocabulary": "llama3", "tools_fixed": 90})
    assert row.tokens == TokenFacts(vocabulary="llama3", tools_fixed=90)
    for wrong in ({"vocabulary": "tiktoken"}, {"ratio": 9}, {"fixd": 1}):
        with pytest.raises(ValueError, match="tokens"):
            provider(tokens=wrong)
