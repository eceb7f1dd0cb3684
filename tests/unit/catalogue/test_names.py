from __future__ import annotations

import pytest

from catalogue.names import kin, kind_of, readings, suffix_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4o", ("gpt-4o",)),
        ("gpt-4o-mini-2024-07-18", ("gpt-4o-mini-2024-07-18", "gpt-4o-mini")),
        ("models/gemini-2.5-pro", ("models/gemini-2.5-pro", "gemini-2.5-pro")),
        (
            "projects/p/locations/l/publishers/google/models/gemini-2.5-pro",
            ("projects/p/locations/l/publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro"),
        ),
        ("accounts/fireworks/models/glm-5p2", ("accounts/fireworks/models/glm-5p2", "glm-5p2")),
        (
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            (
                "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
                "anthropic.claude-sonnet-4-5-20250929-v1:0",
                "anthropic.claude-sonnet-4-5-20250929",
                "anthropic.claude-sonnet-4-5",
            ),
        ),
        (
            "arn:aws:bedrock:eu-west-1:123:inference-profile/eu.amazon.nova-lite-v1:0",
            (
                "arn:aws:bedrock:eu-west-1:123:inference-profile/eu.amazon.nova-lite-v1:0",
                "eu.amazon.nova-lite-v1:0",
                "amazon.nova-lite-v1:0",
                "amazon.nova-lite",
            ),
        ),
        (
            "claude-3-7-sonnet@20250219",
            ("claude-3-7-sonnet@20250219", "claude-3-7-sonnet-20250219", "claude-3-7-sonnet"),
        ),
        ("gpt-35-turbo", ("gpt-35-turbo", "gpt-3.5-turbo")),
        ("command-r-08-2024", ("command-r-08-2024", "command-r")),
        ("mistral-large-latest", ("mistral-large-latest", "mistral-large")),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", ("meta-llama/Llama-3.3-70B-Instruct-Turbo",)),
        ("", ("",)),
    ],
)
def test_a_name_is_read_step_by_step(name: str, expected: tuple[str, ...]) -> None:
    assert readings(name) == expected


def test_kin_are_less_near() -> None:
    assert kin("moonshotai/Kimi-K2-Instruct-0905:groq")[-2:] == (
        "moonshotai/Kimi-K2-Instruct-0905",
        "Kimi-K2-Instruct-0905",
    )
    assert kin("llama3.2:3b-instruct-fp16") == ("llama3.2:3b-instruct-fp16", "llama3.2")
    assert suffix_of("moonshotai/kimi-k2:groq") == "groq"
    assert suffix_of("gpt-4o") == ""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gpt-5-mini", "chat"),
        ("gpt-4o-mini-tts", "other"),
        ("gpt-realtime-2", "other"),
        ("whisper-1", "other"),
        ("gpt-image-2", "other"),
        ("models/text-embedding-004", "embeddings"),
        ("us.cohere.embed-v4:0", "embeddings"),
        ("voyage-3-large", "embeddings"),
        ("davinci-002", "completions"),
        ("gpt-3.5-turbo-instruct", "completions"),
        ("mistral-7b-instruct", "chat"),
        ("llama-guard-3-8b", "other"),
        ("claude-opus-5-5", "chat"),
        ("grok-voice-latest", "other"),
    ],
)
def test_what_a_model_is_for_is_told_by_its_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind
