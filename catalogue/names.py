"""The names one model goes by: prefixes of paths, regions and owners, dates and versions at the end. Pure.

A provider's own name for a model is what is sent, always; the other readings only find its facts.
"""

from __future__ import annotations

import re

__all__ = ["kin", "kind_of", "readings", "suffix_of"]

_STEPS: tuple[tuple[re.Pattern[str], str], ...] = (
    # arn:aws:bedrock:eu-west-1:123:inference-profile/eu.anthropic.claude-… · …:foundation-model/…
    (re.compile(r"^arn:[^/]*/"), ""),
    # models/… · publishers/google/models/… · accounts/fireworks/models/… · projects/p/locations/l/publishers/…/models/…
    (re.compile(r"^(?:[^/]+/)*models/"), ""),
    # Cross-region profiles of Bedrock: us.anthropic.… · global.amazon.…
    (re.compile(r"^(?:us|eu|apac|jp|au|ca|sa|us-gov|global)\.(?=[a-z0-9]+\.)"), ""),
    # Fine-tuned models of OpenAI: ft:gpt-4o-mini-2024-07-18:organisation::id
    (re.compile(r"^ft:([^:]+):.*$"), r"\1"),
    # Azure, where a name may hold no dot.
    (re.compile(r"^gpt-35"), "gpt-3.5"),
    # On Vertex a date follows an @: claude-3-7-sonnet@20250219
    (re.compile(r"@(?=[\w-]+$)"), "-"),
    # Bedrock's version: …-v1:0 · …-1:0
    (re.compile(r"-v?\d+:\d+$"), ""),
    # …-2024-07-18 · …-20250219 · …-08-2024 · …-latest · …-preview-09-2025
    (re.compile(r"-(?:\d{4}-\d{2}-\d{2}|20\d{6}|\d{2}-20\d{2})$"), ""),
    (re.compile(r"-latest$"), ""),
)
_LOOSER: tuple[tuple[re.Pattern[str], str], ...] = (
    # How a gateway serves it: …:free · …:groq; Ollama's tags: llama3.2:3b-instruct-fp16
    (re.compile(r":[^:/]+$"), ""),
    # Whose it is: moonshotai/kimi-k2 · anthropic.claude-…
    (re.compile(r"^(?:.*/|(?:amazon|anthropic|cohere|deepseek|meta|mistral|openai|qwen)\.)"), ""),
)
_SUFFIX = re.compile(r":([\w.-]+)$")

_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("embeddings", re.compile(r"(?:^|[^a-z])embed|^voyage|(?:^|/)(?:bge|gte|e5)-|titan-embed")),
    (
        "other",
        re.compile(
            r"whisper|tts|transcri|realtime|moderation|(?:^|[-/])ocr|rerank|imagen|image|(?:^|/)veo-|lyria|orpheus|voice"
            r"|nano-banana|dall-e|flux|stable-diffusion|sonic|guard|(?:^|[-/])live(?:-|$)|translate|aqa|computer-use|speech"
            r"|robotics|-audio|omni-(?:\d\.\d-)?flash|^m2-her"
        ),
    ),
    (
        "completions",
        re.compile(r"^(?:ada|babbage|curie|davinci|text-(?:ada|babbage|curie|davinci))(?:-\d+)?$|-turbo-instruct"),
    ),
)


def readings(name: str) -> tuple[str, ...]:
    """The name, then other spellings of the same model, the nearest first."""
    return _steps((name,), _STEPS)


def kin(name: str) -> tuple[str, ...]:
    """``readings``, then names of which most of the same is true, but perhaps not the price."""
    return _steps(readings(name), _LOOSER)


def suffix_of(name: str) -> str:
    """How a gateway is told to serve a model (``groq`` in ``moonshotai/kimi-k2:groq``), or nothing."""
    found = _SUFFIX.search(name)
    return found.group(1) if found else ""


def kind_of(name: str) -> str:
    """``chat``, ``embeddings``, ``completions`` (the old interface) or ``other`` (speech, pictures, ranking …).

    For models of which nobody says what they do; told by the words that providers put into such names.
    """
    lower = readings(name)[-1].lower()
    return next((kind for kind, words in _KINDS if words.search(lower)), "chat")


def _steps(names: tuple[str, ...], steps: tuple[tuple[re.Pattern[str], str], ...]) -> tuple[str, ...]:
    found = list(names)
    for pattern, other in steps:
        shorter = pattern.sub(other, found[-1])
        if shorter and shorter != found[-1]:
            found.append(shorter)
    return tuple(found)
