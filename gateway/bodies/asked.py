"""One request for an answer, whichever API it came by, in the words of ``producer_sdk``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """What a body asks for. The SDK checks ``messages``, ``tools`` and ``settings``; the rest is the edge's."""

    model: str
    messages: Sequence[Any]
    """Turns, ours (``job_contracts.chat``) or as the OpenAI chat API has them."""
    tools: Sequence[Any] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Generation settings by their names in ``producer_sdk.options.Options``; absent ones are the model's choice."""
    stream: bool = False
    n: int = 1
    """Answers wanted: as many jobs."""
    usage_wanted: bool = True
    """Whether a stream ends with the tokens used (``stream_options.include_usage``)."""
    unused: tuple[str, ...] = ()
    """Fields of the body that were understood and change nothing here; told in ``x-penstock-unused``."""
    echo: Mapping[str, Any] = field(default_factory=dict)
    """Fields that the API's answer repeats."""
    session: str | None = None
    """The body's own word for what belongs together (``prompt_cache_key``, ``metadata.user_id``), if it has one."""
