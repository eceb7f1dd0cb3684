"""Requests of the wire formats as conversations: what an edge that speaks these formats has to do.

``translate(dialect, body)`` gives the conversation, the model, whether a stream is wanted, and the fields that were
left aside because a conversation has no place for them and the answer's meaning does not depend on them. What cannot be
left aside (an audio part, a tool that runs at the provider) raises ``Untranslatable`` with the field's path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.conformance.translate.anthropic import from_anthropic
from tests.conformance.translate.bedrock import from_bedrock
from tests.conformance.translate.cohere import from_cohere
from tests.conformance.translate.gemini import from_gemini
from tests.conformance.translate.ollama import from_ollama
from tests.conformance.translate.openai_chat import from_openai_chat
from tests.conformance.translate.openai_responses import from_openai_responses
from tests.conformance.translate.reading import Translated, Untranslatable

_TRANSLATORS: Mapping[str, Callable[..., Translated]] = {
    "openai_chat": from_openai_chat,
    "openai_responses": from_openai_responses,
    "anthropic": from_anthropic,
    "bedrock": from_bedrock,
    "gemini": from_gemini,
    "cohere": from_cohere,
    "ollama": from_ollama,
}


def translate(dialect: str, body: Mapping[str, Any], *, family: str = "", model: str = "") -> Translated:
    """The request ``body`` of a dialect as a conversation.

    ``family`` is what the target's reasoning signatures are good for (``origin`` of the parts that bear one); ``model``
    is the name from the path, where the format does not have it in the body.

    Raises Untranslatable for what a conversation cannot express, ContractError where the result is no conversation.
    """
    return _TRANSLATORS[dialect](body, family=family, model=model)


TRANSLATED = frozenset(_TRANSLATORS)
"""The dialects whose requests can be read."""

__all__ = [
    "TRANSLATED",
    "Translated",
    "Untranslatable",
    "from_anthropic",
    "from_bedrock",
    "from_gemini",
    "from_openai_chat",
    "from_openai_responses",
    "translate",
]
